#include "api/cpp/names.h"

#include <gtest/gtest.h>

#include "api/cpp/suggest.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"

namespace weft::api {
namespace {

template <typename M>
std::string UrlOf() {
  google::protobuf::Any any;
  any.PackFrom(M());
  return any.type_url();
}

TEST(TypeUrlsTest, AreThoseOfTheMessages) {
  EXPECT_EQ(kListenerType, UrlOf<envoy::config::listener::v3::Listener>());
  EXPECT_EQ(kRouteType, UrlOf<envoy::config::route::v3::RouteConfiguration>());
  EXPECT_EQ(kClusterType, UrlOf<envoy::config::cluster::v3::Cluster>());
  EXPECT_EQ(kEndpointType, UrlOf<envoy::config::endpoint::v3::ClusterLoadAssignment>());
  EXPECT_EQ(kHttpConnectionManagerType,
            UrlOf<envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager>());
  EXPECT_EQ(kRouterType, UrlOf<envoy::extensions::filters::http::router::v3::Router>());
  EXPECT_EQ(kHeaderMutationType, UrlOf<envoy::extensions::filters::http::header_mutation::v3::HeaderMutation>());
  EXPECT_EQ(kHeaderMutationPerRouteType,
            UrlOf<envoy::extensions::filters::http::header_mutation::v3::HeaderMutationPerRoute>());
  EXPECT_EQ(kFileAccessLogType, UrlOf<envoy::extensions::access_loggers::file::v3::FileAccessLog>());
  EXPECT_EQ(kStdoutAccessLogType, UrlOf<envoy::extensions::access_loggers::stream::v3::StdoutAccessLog>());
  EXPECT_EQ(kStderrAccessLogType, UrlOf<envoy::extensions::access_loggers::stream::v3::StderrAccessLog>());
  EXPECT_EQ(kHttpProtocolOptionsType, UrlOf<envoy::extensions::upstreams::http::v3::HttpProtocolOptions>());
  EXPECT_EQ(kHttpProtocolOptionsKey, MessageNameOf(kHttpProtocolOptionsType));
  EXPECT_EQ(kRawBufferType, UrlOf<envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer>());
  EXPECT_EQ(MessageNameOf("a/b/c.D"), "c.D");
  EXPECT_EQ(MessageNameOf("c.D"), "c.D");
  EXPECT_EQ(ShortTypeName(kRouteType), "route");
  EXPECT_EQ(ShortTypeName(kRouterType), "envoy.extensions.filters.http.router.v3.Router");
}

TEST(ClusterNamesTest, BothWays) {
  EXPECT_EQ(OutboundCluster(9080, "v1", "reviews.default.svc.cluster.local"),
            "outbound|9080|v1|reviews.default.svc.cluster.local");
  EXPECT_EQ(OutboundCluster(9080, "", "r"), "outbound|9080||r");
  EXPECT_EQ(InboundCluster(9080), "inbound|9080||");
  for (const char* name : {"outbound|9080|v1|reviews.default.svc.cluster.local", "outbound|1||h", "inbound|65535||",
                           "inbound|80|http|h"}) {
    const auto parsed = ParseClusterName(name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_EQ(parsed->ToString(), name);
  }
  EXPECT_EQ(ParseClusterName("outbound|9080|v1|h"),
            (ClusterName{ClusterName::Direction::kOutbound, 9080, "v1", "h"}));
  EXPECT_EQ(ParseClusterName("inbound|9080||")->direction, ClusterName::Direction::kInbound);
  for (const char* name : {"", "outbound", "outbound|9080|v1", "outbound|9080|v1|h|x", "outbound|0||h", "outbound|65536||h",
                           "outbound|x||h", "outbound|||h", "outbound|+80||h", "outbound|080||h", "sideways|80||h",
                           "outbound|80 ||h", "BlackHoleCluster"}) {
    EXPECT_FALSE(ParseClusterName(name).has_value()) << name;
  }
}

TEST(HostPortTest, BothWays) {
  EXPECT_EQ(HostPort("reviews", 9080), "reviews:9080");
  EXPECT_EQ(HostPort("::1", 80), "[::1]:80");
  EXPECT_EQ(ParseHostPort("reviews:9080"), (HostAndPort{"reviews", 9080}));
  EXPECT_EQ(ParseHostPort("[::1]:80"), (HostAndPort{"::1", 80}));
  for (const char* text : {"", "reviews", "reviews:", ":80", "::1:80", "[::1]", "[::1:80", "[]:80", "a]:80", "a:0", "a:65536",
                           "a:-1"}) {
    EXPECT_FALSE(ParseHostPort(text).has_value()) << text;
  }
  EXPECT_EQ(InboundVirtualHost(9080), "inbound|http|9080");
}

TEST(NodeIdTest, BothWays) {
  const NodeId id{"sidecar", "127.0.2.1", "reviews-v1-1", "default", "default.svc.cluster.local"};
  EXPECT_EQ(id.ToString(), "sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local");
  EXPECT_EQ(ParseNodeId(id.ToString()), id);
  EXPECT_EQ(ParseNodeId("router~::1~a.b.ns~d"), (NodeId{"router", "::1", "a.b", "ns", "d"}));
  EXPECT_EQ(ParseNodeId("sidecar~1.2.3.4~name~d"), (NodeId{"sidecar", "1.2.3.4", "name", "", "d"}));
  EXPECT_EQ(ParseNodeId("sidecar~1.2.3.4~name~d")->ToString(), "sidecar~1.2.3.4~name~d");
  for (const char* text : {"", "node", "a~b~c", "a~b~c.d~e~f", "~b~c.d~e", "a~b~~e", "a~b~.d~e", "a~b~c.~e"}) {
    EXPECT_FALSE(ParseNodeId(text).has_value()) << text;
  }
}

TEST(SpiffeTest, BothWays) {
  EXPECT_EQ(SpiffeId("cluster.local", "default", "reviews"), "spiffe://cluster.local/ns/default/sa/reviews");
  EXPECT_EQ(ParseSpiffeId("spiffe://cluster.local/ns/default/sa/reviews"),
            (SpiffeIdentity{"cluster.local", "default", "reviews"}));
  for (const char* text : {"", "spiffe://", "spiffe://d/ns/a/sa/", "spiffe://d/ns//sa/b", "spiffe:///ns/a/sa/b",
                           "spiffe://d/ns/a/sb/b", "spiffe://d/ns/a/sa/b/c", "http://d/ns/a/sa/b", "SPIFFE://d/ns/a/sa/b"}) {
    EXPECT_FALSE(ParseSpiffeId(text).has_value()) << text;
  }
}

TEST(DnsLabelTest, SaysWhatIsWrong) {
  for (const char* good : {"a", "0", "reviews-v1", "a--b"}) EXPECT_EQ(CheckDnsLabel(good), "") << good;
  EXPECT_EQ(CheckDnsLabel(std::string(63, 'a')), "");
  EXPECT_EQ(CheckDnsLabel(std::string(64, 'a')), "has 64 characters, at most 63 are allowed");
  EXPECT_EQ(CheckDnsLabel(""), "is empty");
  EXPECT_EQ(CheckDnsLabel("Reviews"), "has an upper-case letter; only a-z, 0-9 and '-' are allowed");
  EXPECT_EQ(CheckDnsLabel("a.b"), "has a character other than a-z, 0-9 and '-'");
  EXPECT_EQ(CheckDnsLabel("-a"), "begins or ends with '-'");
  EXPECT_EQ(CheckDnsLabel("a-"), "begins or ends with '-'");
  EXPECT_EQ(ServiceHost("reviews", "default"), "reviews.default.svc.cluster.local");
}

TEST(SuggestTest, NearestName) {
  const std::vector<std::string> names = {"weight", "destination", "headers", "connect_timeout", "codec_type", "name"};
  EXPECT_EQ(Nearest("wieght", names), "weight");
  EXPECT_EQ(Nearest("destinations", names), "destination");
  EXPECT_EQ(Nearest("header", names), "headers");
  EXPECT_EQ(Nearest("connectTimeout", names), "connect_timeout");
  EXPECT_EQ(Nearest("conect-timeout", names), "connect_timeout");
  EXPECT_EQ(Nearest("codec", names), "codec_type");
  EXPECT_EQ(Nearest("nam", names), "name");
  EXPECT_EQ(Nearest("namespace", names), "");
  EXPECT_EQ(Nearest("xyz", names), "");
  EXPECT_EQ(Nearest("", names), "");
  EXPECT_EQ(Nearest("n", names), "");
  EXPECT_EQ(Nearest(std::string(100000, 'w'), names), "");
  EXPECT_EQ(EditDistance("abcd", "acbd", 3), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting", 5), 3);
  EXPECT_EQ(EditDistance("", "abc", 5), 3);
  EXPECT_EQ(EditDistance("abc", "xyz", 1), 2);
  EXPECT_EQ(EditDistance("a_b-C", "abc", 0), 0);
}

}  // namespace
}  // namespace weft::api
