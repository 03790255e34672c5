#include "dataplane/http/h1/head_parser.h"

#include <gtest/gtest.h>

namespace weft::http::h1 {
namespace {

RequestHead Parse(std::string_view text, HeadParser* p, HeadParser::Result want = HeadParser::Result::kDone) {
  RequestHead h;
  EXPECT_EQ(p->ParseRequest(text, {}, &h), want) << text << p->error().detail;
  return h;
}

TEST(HeadParser, ReadsARequestByteByByte) {
  const std::string text = "PUT /p?q=1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 12\r\nX-A:  v \t\r\nEmpty:\r\n\r\n";
  HeadParser p;
  RequestHead h;
  for (size_t n = 1; n < text.size(); ++n) {
    ASSERT_EQ(p.ParseRequest(std::string_view(text).substr(0, n), {}, &h), HeadParser::Result::kNeedMore) << n;
  }
  ASSERT_EQ(p.ParseRequest(text, {}, &h), HeadParser::Result::kDone);
  EXPECT_EQ(h.method, "PUT");
  EXPECT_EQ(h.path, "/p?q=1");
  EXPECT_EQ(h.authority, "h:1");
  EXPECT_EQ(h.content_length, 12);
  EXPECT_TRUE(h.has_body);
  EXPECT_EQ(h.headers.Get("x-a"), "v");
  EXPECT_EQ(h.headers.Get("empty"), "");
  EXPECT_FALSE(h.headers.Get("host").has_value()) << "the host is the authority";
  EXPECT_EQ(p.head_bytes(), text.size());
}

TEST(HeadParser, ADrippedHeadCostsLinearTime) {
  std::string text = "GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(50'000, 'x');
  HeadParser p;
  RequestHead h;
  for (size_t n = 1; n <= text.size(); ++n) {
    ASSERT_EQ(p.ParseRequest(std::string_view(text).substr(0, n), {}, &h), HeadParser::Result::kNeedMore);
  }
}

TEST(HeadParser, KeepAliveByVersionAndToken) {
  struct {
    const char* text;
    bool keep;
  } cases[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, Close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
      {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
  };
  for (auto& c : cases) {
    HeadParser p;
    Parse(c.text, &p);
    EXPECT_EQ(p.keep_alive(), c.keep) << c.text;
  }
}

TEST(HeadParser, UpgradeNeedsItsConnectionToken) {
  HeadParser p, q, r;
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", &p).upgrade, "websocket");
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", &q).upgrade, "");
  EXPECT_EQ(Parse("GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", &r).upgrade, "");
}

TEST(HeadParser, IgnoresFewEmptyLinesBeforeARequest) {
  HeadParser p, q;
  Parse("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", &p);
  Parse("\r\n\r\n\r\n\r\n\r\n\r\n", &q, HeadParser::Result::kError);
}

TEST(HeadParser, TargetForms) {
  HeadParser a, b, c, d, e;
  EXPECT_EQ(Parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", &a).path, "*");
  Parse("GET * HTTP/1.1\r\nHost: h\r\n\r\n", &b, HeadParser::Result::kError);
  RequestHead h = Parse("GET HTTPS://x:2/y?z HTTP/1.1\r\nHost: h\r\n\r\n", &c);
  EXPECT_EQ(h.authority, "x:2");
  EXPECT_EQ(h.scheme, "https");
  EXPECT_EQ(h.path, "/y?z");
  EXPECT_EQ(Parse("GET http://x HTTP/1.1\r\nHost: h\r\n\r\n", &d).path, "/");
  Parse("GET http://u@x/ HTTP/1.1\r\nHost: h\r\n\r\n", &e, HeadParser::Result::kError);
}

ResponseHead ParseResponse(std::string_view text, std::string_view method, HeadParser* p,
                           HeadParser::Result want = HeadParser::Result::kDone) {
  ResponseHead h;
  EXPECT_EQ(p->ParseResponse(text, {}, method, &h), want) << text << p->error().detail;
  return h;
}

TEST(HeadParser, ResponseFraming) {
  HeadParser a, b, c, d, e, f;
  EXPECT_EQ(ParseResponse("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "GET", &a).content_length, 7);
  EXPECT_TRUE(ParseResponse("HTTP/1.1 200\r\n\r\n", "GET", &b).has_body);
  EXPECT_TRUE(b.until_close());
  ResponseHead head = ParseResponse("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD", &c);
  EXPECT_FALSE(head.has_body);
  EXPECT_TRUE(head.length_without_body);
  EXPECT_FALSE(ParseResponse("HTTP/1.1 204 No\r\n\r\n", "GET", &d).has_body);
  ParseResponse("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", &e, HeadParser::Result::kError);
  ParseResponse("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", &f,
                HeadParser::Result::kError);
}

TEST(HeadParser, ResponsesThatAreNone) {
  for (const char* text : {"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
                           "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 O\x01K\r\n\r\n", "HTTP/1.1 200 OK\n\n"}) {
    HeadParser p;
    ParseResponse(text, "GET", &p, HeadParser::Result::kError);
  }
}

TEST(ChunkedDecoder, EmitsBodyWhereverItIsCut) {
  const std::string text = "5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0;z\r\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    ChunkedDecoder d;
    std::string out;
    bool end = false;
    for (std::string_view in : {std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)}) {
      for (;;) {
        std::string_view data;
        auto r = d.Next(&in, &data);
        if (r == ChunkedDecoder::Result::kData) {
          out.append(data);
          continue;
        }
        end |= r == ChunkedDecoder::Result::kTrailers;
        ASSERT_NE(r, ChunkedDecoder::Result::kError) << d.error().detail;
        break;
      }
    }
    EXPECT_EQ(out, "hello world") << cut;
    EXPECT_TRUE(end);
  }
}

TEST(ChunkedDecoder, BoundsExtensionsAndSizes) {
  for (std::string text : {"1;" + std::string(300, 'a') + "\r\n", std::string(16, 'f') + "\r\n", std::string("1\rx"),
                           std::string("1;\x01\r\n"), std::string(" 1\r\n"), std::string("0x1\r\n")}) {
    ChunkedDecoder d;
    std::string_view in = text, data;
    ChunkedDecoder::Result r;
    while ((r = d.Next(&in, &data)) == ChunkedDecoder::Result::kData) {
    }
    EXPECT_EQ(r, ChunkedDecoder::Result::kError) << text;
  }
}

TEST(HeaderMap, KnownAndUnknownFields) {
  HeaderMap h;
  h.Add("X-Request-ID", "1");
  h.Add("a", "1");
  h.Add("A", "2");
  EXPECT_EQ(h.Get(HeaderId::kXRequestId), "1");
  EXPECT_EQ(h.Count("a"), 2u);
  h.Set("a", "3");
  EXPECT_EQ(h.Count("a"), 1u);
  EXPECT_EQ(h.Get("A"), "3");
  h.Set("new", "4");
  EXPECT_EQ(h.Get("new"), "4");
  EXPECT_EQ(h.Remove("X-REQUEST-ID"), 1u);
  EXPECT_FALSE(h.Has(HeaderId::kXRequestId));
  for (int i = 1; i < static_cast<int>(HeaderId::kCount); ++i) {
    EXPECT_EQ(IdentifyHeader(HeaderName(static_cast<HeaderId>(i))), static_cast<HeaderId>(i));
  }
}

TEST(HopByHop, NominatedFieldsGoFramingAndIdentityStay) {
  HeaderMap h;
  h.Add("Connection", "x-a, host, content-length, x-forwarded-for");
  h.Add("x-a", "1");
  h.Add("x-forwarded-for", "1.2.3.4");
  h.Add("te", "gzip");
  RemoveHopByHop(h);
  EXPECT_FALSE(h.Get("x-a").has_value());
  EXPECT_TRUE(h.Get("x-forwarded-for").has_value());
  EXPECT_FALSE(h.Get("te").has_value());
  EXPECT_FALSE(h.Get("connection").has_value());
}

// Framing and routing fields in a trailer section could be taken for the head's by whoever joins the
// two (RFC 9110 section 6.5.1).
TEST(TrailerParser, DropsWhatTrailersMayNotCarry) {
  TrailerParser parser;
  HeaderMap trailers;
  EXPECT_EQ(parser.Parse("Grpc-Status: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                         "Host: h\r\nConnection: close\r\nKeep-Alive: 1\r\nTE: trailers\r\n"
                         "Trailer: x\r\nUpgrade: h\r\nExpect: 100-continue\r\nX-B: 1\r\n\r\n",
                         HeadLimits(), &trailers),
            HeadParser::Result::kDone);
  std::string names;
  for (const Header& h : trailers) names += std::string(h.name) + " ";
  EXPECT_EQ(names, "Grpc-Status X-B ");
}

TEST(TrailerParser, RefusesBadFieldsAndTooMany) {
  HeadLimits limits;
  limits.max_headers = 2;
  HeaderMap trailers;
  TrailerParser folded, many;
  EXPECT_EQ(folded.Parse("A: 1\r\n b\r\n\r\n", limits, &trailers), HeadParser::Result::kError);
  EXPECT_EQ(folded.error().status, 400);
  trailers.Clear();
  EXPECT_EQ(many.Parse("A: 1\r\nB: 1\r\nC: 1\r\n\r\n", limits, &trailers),
            HeadParser::Result::kError);
  EXPECT_EQ(many.error().status, 431);
}

}  // namespace
}  // namespace weft::http::h1
