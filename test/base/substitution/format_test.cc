#include "dataplane/base/substitution/format.h"

#include <cstdlib>
#include <map>
#include <string>

#include "dataplane/base/substitution/response_flags.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

class MapHeaders : public HeaderSource {
 public:
  MapHeaders(std::initializer_list<std::pair<const std::string, std::string>> h) : headers_(h) {}
  std::optional<std::string_view> Get(std::string_view name) const override {
    auto it = headers_.find(name);
    if (it == headers_.end()) return std::nullopt;
    return it->second;
  }

 private:
  std::map<std::string, std::string, std::less<>> headers_;
};

std::string Text(std::string_view text, const StreamFields& fields, FormatStyle style = FormatStyle::kLog) {
  absl::StatusOr<Format> format = Format::Compile(text);
  if (!format.ok()) return "ERROR " + std::string(format.status().message());
  std::string out;
  format->Append(fields, style, &out);
  return out;
}

class FormatTest : public testing::Test {
 protected:
  FormatTest() {
    f.start_wall_micros = 1460751420310123;  // 2016-04-15T20:17:00.310123Z
    f.request_end_nanos = 1'000'000;
    f.response_first_byte_nanos = 6'500'000;
    f.response_end_nanos = 9'000'000;
    f.duration_nanos = 10'999'999;
    f.method = "GET";
    f.path = "/productpage?u=test";
    f.scheme = "http";
    f.authority = "productpage:9080";
    f.protocol = "HTTP/1.1";
    f.request_headers = &request;
    f.response_headers = &response;
    f.response_trailers = &trailers;
    f.response_code = 200;
    f.response_code_details = "via_upstream";
    f.bytes_received = 12;
    f.bytes_sent = 345;
    f.upstream_host = "127.0.2.4:9080";
    f.upstream_cluster = "outbound|9080||reviews.default.svc.cluster.local";
    f.upstream_local_address = "127.0.0.1:40000";
    f.upstream_attempts = 2;
    f.downstream_remote_address = "127.0.1.1:51234";
    f.downstream_local_address = "[::1]:15001";
    f.route_name = "default";
    f.connection_id = 7;
    f.stream_id = 9;
  }

  MapHeaders request{{"user-agent", "curl/7.88.1"}, {"x-request-id", "abc-123"}};
  MapHeaders response{{"x-envoy-upstream-service-time", "5"}, {"server", "envoy"}};
  MapHeaders trailers{{"grpc-status", "0"}};
  StreamFields f;
};

TEST_F(FormatTest, DefaultFormatIsEnvoys) {
  EXPECT_EQ(Text(kDefaultAccessLogFormat, f),
            "[2016-04-15T20:17:00.310Z] \"GET /productpage?u=test HTTP/1.1\" 200 - 12 345 10 5 \"-\" \"curl/7.88.1\" "
            "\"abc-123\" \"productpage:9080\" \"127.0.2.4:9080\"\n");
}

TEST_F(FormatTest, DefaultFormatOfNothingKnown) {
  EXPECT_EQ(Text(kDefaultAccessLogFormat, StreamFields{}),
            "[1970-01-01T00:00:00.000Z] \"- - -\" 0 - 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

TEST_F(FormatTest, EveryCommand) {
  f.response_flags = Bit(ResponseFlag::kUpstreamConnectionFailure) | Bit(ResponseFlag::kUpstreamRetryLimitExceeded);
  f.requested_server_name = "sni.example";
  f.upstream_transport_failure_reason = "connection refused";
  f.connection_termination_details = "closed";
  f.virtual_host_name = "reviews:9080";
  EXPECT_EQ(Text("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", f),
            "UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
  EXPECT_EQ(Text("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %DURATION%", f), "1 6 2 10");
  EXPECT_EQ(Text("%UPSTREAM_CLUSTER%|%UPSTREAM_CLUSTER_RAW%", f), std::string(f.upstream_cluster) + "|" + std::string(f.upstream_cluster));
  EXPECT_EQ(Text("%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%", f),
            "127.0.0.1:40000 127.0.2.4:9080 2");
  EXPECT_EQ(Text("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%", f),
            "127.0.1.1:51234 127.0.1.1 51234");
  EXPECT_EQ(Text("%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", f),
            "[::1]:15001 ::1 15001");
  EXPECT_EQ(Text("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", f),
            "127.0.1.1:51234 127.0.1.1");
  EXPECT_EQ(Text("%ROUTE_NAME% %VIRTUAL_HOST_NAME% %REQUESTED_SERVER_NAME% %CONNECTION_ID% %STREAM_ID%", f),
            "default reviews:9080 sni.example 7 9");
  EXPECT_EQ(Text("%UPSTREAM_TRANSPORT_FAILURE_REASON% %CONNECTION_TERMINATION_DETAILS% %RESPONSE_CODE_DETAILS%", f),
            "connection refused closed via_upstream");
  EXPECT_EQ(Text("%RESP(server)% %RESP(:status)% %TRAILER(Grpc-Status)%", f), "envoy 200 0");
  EXPECT_EQ(Text("100%% %PROTOCOL%", f), "100% HTTP/1.1");
}

TEST_F(FormatTest, HeaderAlternativeAndLength) {
  EXPECT_EQ(Text("%REQ(X-NONE?USER-AGENT)%", f), "curl/7.88.1");
  EXPECT_EQ(Text("%REQ(X-NONE?X-NEITHER)%", f), "-");
  EXPECT_EQ(Text("%REQ(USER-AGENT):4%", f), "curl");
  EXPECT_EQ(Text("%REQ(X-NONE?:PATH):8%", f), "/product");
  EXPECT_EQ(Text("%REQ(host)%", f), "productpage:9080");
}

TEST_F(FormatTest, StartTimeFormats) {
  EXPECT_EQ(Text("%START_TIME(%Y/%m/%dT%H:%M:%S%z)%", f), "2016/04/15T20:17:00+0000");
  EXPECT_EQ(Text("%START_TIME(%s.%3f)%", f), "1460751420.310");
  EXPECT_EQ(Text("%START_TIME(%6f %9f %f %1f)%", f), "310123 310123000 310123000 3");
  EXPECT_EQ(Text("%START_TIME(%E3S)%", f), "00.310");
  EXPECT_EQ(Text("%START_TIME()%", f), "2016-04-15T20:17:00.310Z");
}

TEST_F(FormatTest, IsoDatesAgreeWithTheLibrary) {
  // Every 40.6 days over 200 years, so that all months and leap years come up.
  for (int64_t t = -2208988800; t < 4102444800; t += 3511111) {
    f.start_wall_micros = t * 1'000'000 + 999'000;
    EXPECT_EQ(Text("%START_TIME%", f), Text("%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%", f)) << t;
  }
}

TEST_F(FormatTest, PeersCannotForgeLines) {
  MapHeaders evil{{"user-agent", "a\r\n[forged] \"x\\\x01\x7f\xc3\xa9"}};
  f.request_headers = &evil;
  EXPECT_EQ(Text("\"%REQ(USER-AGENT)%\"", f), "\"a\\x0d\\x0a[forged] \\\"x\\\\\\x01\\x7f\xc3\xa9\"");
}

TEST_F(FormatTest, HeaderStyleHasNoDashesAndNoLineBreaks) {
  MapHeaders evil{{"a", "one\r\ntwo \"q\""}};
  f.request_headers = &evil;
  EXPECT_EQ(Text("[%REQ(X-NONE)%][%RESPONSE_FLAGS%]", f, FormatStyle::kHeader), "[][]");
  EXPECT_EQ(Text("%REQ(A)%", f, FormatStyle::kHeader), "onetwo \"q\"");
}

TEST_F(FormatTest, TextOfTheProcess) {
  setenv("WEFT_FORMAT_TEST", "from env", 1);
  EXPECT_EQ(Text("%ENVIRONMENT(WEFT_FORMAT_TEST)% %ENVIRONMENT(WEFT_FORMAT_TEST):4% %ENVIRONMENT(WEFT_NONE)%", f),
            "from env from -");
  std::string host = Text("%HOSTNAME%", f);
  EXPECT_FALSE(host.empty());
  EXPECT_TRUE(Format::Compile("a %HOSTNAME% b")->is_literal());
  setenv("WEFT_FORMAT_TEST", "two\nlines", 1);
  EXPECT_TRUE(Format::Compile("%PROTOCOL%%ENVIRONMENT(WEFT_FORMAT_TEST)%")->has_line_break());
  EXPECT_TRUE(Format::Compile("%START_TIME(%H\n%M)%")->has_line_break());
  EXPECT_FALSE(Format::Compile("%PROTOCOL% text")->has_line_break());
}

TEST_F(FormatTest, ErrorsNameTheCommandAndThePlace) {
  EXPECT_EQ(Text("ok %FOO% x", f).substr(0, 44), "ERROR %FOO% at byte 3: unknown command; know");
  EXPECT_NE(Text("%FOO%", f).find("BYTES_RECEIVED, BYTES_SENT"), std::string::npos);
  EXPECT_NE(Text("%FOO%", f).find(", VIRTUAL_HOST_NAME"), std::string::npos);
  EXPECT_EQ(Text("50% done", f), "ERROR % at byte 2: expected a command such as %PROTOCOL%, or %% for a percent sign");
  EXPECT_EQ(Text("%REQ%", f), "ERROR %REQ% at byte 0: needs an argument in parentheses");
  EXPECT_EQ(Text("%PROTOCOL(x)%", f), "ERROR %PROTOCOL% at byte 0: takes no argument");
  EXPECT_EQ(Text("%REQ(a%", f), "ERROR %REQ% at byte 0: the parenthesis is not closed");
  EXPECT_EQ(Text("%REQ(a)", f), "ERROR %REQ% at byte 0: the closing % is missing");
  EXPECT_EQ(Text("%REQ(a):x%", f), "ERROR %REQ% at byte 0: expected a length of 1 or more behind the colon");
  EXPECT_EQ(Text("%REQ(a):99999999999%", f), "ERROR %REQ% at byte 0: expected a length of 1 or more behind the colon");
  EXPECT_EQ(Text("%REQ()%", f), "ERROR %REQ% at byte 0: a header name is missing between the parentheses");
  EXPECT_EQ(Text("%REQ(a?b?c)%", f),
            "ERROR %REQ% at byte 0: \"a?b?c\": expected NAME or NAME?ALTERNATIVE with one alternative");
  EXPECT_EQ(Text("%REQ(a b)%", f), "ERROR %REQ% at byte 0: \"a b\": not a header name");
  EXPECT_EQ(Text("%START_TIME(%Q)%", f), "ERROR %START_TIME% at byte 0: \"%Q\" is not a time conversion");
  EXPECT_EQ(Text("%START_TIME(%)%", f), "ERROR %START_TIME% at byte 0: the time format ends in a single %");
  EXPECT_NE(Text(std::string(70000, 'x'), f).find("ERROR a format of 70000 bytes"), std::string::npos);
}

TEST(AddressTextTest, Ports) {
  EXPECT_EQ(WithoutPort("127.0.0.1:80"), "127.0.0.1");
  EXPECT_EQ(WithoutPort("[2001:db8::1]:80"), "2001:db8::1");
  EXPECT_EQ(WithoutPort("2001:db8::1"), "2001:db8::1");
  EXPECT_EQ(WithoutPort("/run/weft.sock"), "/run/weft.sock");
  EXPECT_EQ(WithoutPort(""), "");
  EXPECT_EQ(PortOf("127.0.0.1:80"), "80");
  EXPECT_EQ(PortOf("[::1]:81"), "81");
  EXPECT_EQ(PortOf("[::1]"), "");
  EXPECT_EQ(PortOf("::1"), "");
  EXPECT_EQ(PortOf("x"), "");
}

TEST(ResponseFlagsTest, AllHaveNames) {
  for (int i = 0; i < static_cast<int>(ResponseFlag::kCount); ++i) {
    EXPECT_FALSE(ShortName(static_cast<ResponseFlag>(i)).empty());
    EXPECT_FALSE(LongName(static_cast<ResponseFlag>(i)).empty());
  }
  EXPECT_EQ(ShortName(ResponseFlag::kUnconditionalDropOverload), "UDO");
  EXPECT_EQ(ShortName(ResponseFlag::kNoRouteFound), "NR");
  EXPECT_EQ(ShortName(ResponseFlag::kDurationTimeout), "DT");
}

}  // namespace
}  // namespace weft
