// HTTP/1.1 through the real workers, between a fake downstream and a fake upstream on real sockets.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"

namespace weft {
namespace {

using fakes::BodyOf;
using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::StatusOf;

constexpr char kGet[] = "GET /a?q=1 HTTP/1.1\r\nHost: svc\r\n\r\n";

class H1Proxy : public ::testing::Test {
 protected:
  void Up(FakeUpstream::Script script, const std::string& extra_route = "",
          const std::function<void(proxy::HttpManagerSpec&)>& http = {},
          const std::function<void(upstream::ClusterSpec&)>& cluster = {}) {
    upstream_ = std::make_unique<FakeUpstream>(std::move(script));
    proxy_.Cluster("c", {upstream_->address()}, cluster);
    proxy_.Listen(ProxyUnderTest::AllTo("c", extra_route), http);
  }
  std::unique_ptr<FakeUpstream> upstream_;
  ProxyUnderTest proxy_;
};

FakeUpstream::Script Always(std::string bytes) {
  return [bytes](const std::string&, int) { return FakeUpstream::Action{bytes}; };
}

TEST_F(H1Proxy, RelaysARequestAndItsResponse) {
  Up(Always(FakeUpstream::Ok("hello", "X-Up: yes\r\n")));
  RawClient c(proxy_.address());
  c.Send("GET /a?q=1 HTTP/1.1\r\nHost: svc:80\r\nX-Mixed-Case: V\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200);
  EXPECT_EQ(BodyOf(r), "hello");
  EXPECT_EQ(HeaderOf(r, "x-up"), "yes");
  EXPECT_EQ(HeaderOf(r, "server"), "weft");
  EXPECT_NE(HeaderOf(r, "date"), "");
  ASSERT_EQ(upstream_->requests().size(), 1u);
  std::string q = upstream_->requests()[0];
  EXPECT_EQ(q.substr(0, q.find("\r\n")), "GET /a?q=1 HTTP/1.1");
  EXPECT_EQ(HeaderOf(q, "host"), "svc:80");
  EXPECT_NE(q.find("X-Mixed-Case: V"), std::string::npos) << "header case is kept";
  EXPECT_EQ(HeaderOf(q, "x-request-id").size(), 36u);
  EXPECT_EQ(HeaderOf(q, "x-forwarded-proto"), "http");
  EXPECT_EQ(HeaderOf(q, "x-envoy-expected-rq-timeout-ms"), "15000");
}

TEST_F(H1Proxy, KeepsBothConnectionsAlive) {
  Up(Always(FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  for (int i = 0; i < 50; ++i) {
    c.Send(kGet);
    ASSERT_EQ(StatusOf(c.ReadResponse()), 200);
  }
  EXPECT_EQ(upstream_->connections(), 1);
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_total"), 50);
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_cx_total"), 1);
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_rq_2xx", 50));  // counted once the answer is written
}

TEST_F(H1Proxy, AnswersPipelinedRequestsInOrder) {
  Up([](const std::string& q, int) {
    FakeUpstream::Action a{FakeUpstream::Ok(q.substr(4, 2))};
    if (q[5] == '0') a.delay_ms = 30;
    return a;
  });
  RawClient c(proxy_.address());
  std::string all;
  for (int i = 0; i < 10; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: s\r\n\r\n";
  c.Send(all);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(BodyOf(c.ReadResponse()), "/" + std::to_string(i));
}

TEST_F(H1Proxy, RelaysBodiesOfBothFramings) {
  std::string seen;
  Up([](const std::string& q, int) { return FakeUpstream::Action{FakeUpstream::Ok(BodyOf(q))}; });
  RawClient c(proxy_.address());
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nabcde");
  EXPECT_EQ(BodyOf(c.ReadResponse()), "abcde");
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n");
  std::string r = BodyOf(c.ReadResponse());
  EXPECT_NE(r.find("abc"), std::string::npos);
  EXPECT_NE(r.find("T: v"), std::string::npos) << "trailers pass: " << r;
}

TEST_F(H1Proxy, RelaysChunkedResponsesWithTrailers) {
  Up(Always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"));
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(HeaderOf(r, "transfer-encoding"), "chunked");
  EXPECT_EQ(HeaderOf(r, "content-length"), "");
  EXPECT_NE(r.find("X-T: 1"), std::string::npos);
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
  EXPECT_EQ(upstream_->connections(), 1);
}

TEST_F(H1Proxy, LargeBodiesPassBothWaysIntact) {
  std::string big(20'000'000, 0);
  for (size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>('a' + (i * 7 + i / 1000) % 26);
  Up([](const std::string& q, int) { return FakeUpstream::Action{FakeUpstream::Ok(BodyOf(q))}; });
  RawClient c(proxy_.address());
  std::thread sender([&] {
    c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: " + std::to_string(big.size()) + "\r\n\r\n" + big);
  });
  sender.join();
  std::string r = c.ReadResponse();
  EXPECT_TRUE(BodyOf(r) == big);
}

TEST_F(H1Proxy, ASlowReaderHoldsTheUpstreamBack) {
  std::string big(64'000'000, 'x');
  Up(Always(FakeUpstream::Ok(big)));
  RawClient c(proxy_.address());
  c.Send(kGet);
  c.ReadUntil("\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  // Whatever the proxy took lies in socket buffers (a few MB each) and its bounded pipe, not in memory.
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_active"), 1);
  EXPECT_LT(c.buffer().size(), 10'000'000u);
  EXPECT_TRUE(BodyOf(c.ReadResponse()) == big);
}

TEST_F(H1Proxy, HeadAnd304KeepTheirLengthAndHaveNoBody) {
  Up([](const std::string& q, int) {
    if (q.substr(0, 4) == "HEAD") return FakeUpstream::Action{"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"};
    if (q.substr(4, 4) == "/304") return FakeUpstream::Action{"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"};
    return FakeUpstream::Action{"HTTP/1.1 204 No Content\r\n\r\n"};
  });
  RawClient c(proxy_.address());
  c.Send("HEAD / HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(HeaderOf(c.ReadResponse(true), "content-length"), "1234");
  c.Send("GET /304 HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(HeaderOf(c.ReadResponse(), "content-length"), "77");
  c.Send("GET /204 HTTP/1.1\r\nHost: s\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 204);
  EXPECT_EQ(HeaderOf(r, "content-length"), "");
}

TEST_F(H1Proxy, BodyUntilCloseIsReframed) {
  Up([](const std::string&, int) {
    return FakeUpstream::Action{"HTTP/1.1 200 OK\r\n\r\nuntil the end", true};
  });
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(HeaderOf(r, "transfer-encoding"), "chunked");
  EXPECT_NE(r.find("until the end"), std::string::npos);
  c.Send(kGet);  // our own side stays open
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
}

TEST_F(H1Proxy, ATruncatedResponseNeverLooksComplete) {
  Up([](const std::string& q, int) {
    if (q.find("/chunked") != std::string::npos) {
      return FakeUpstream::Action{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true};
    }
    return FakeUpstream::Action{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", true};
  });
  for (const char* path : {"/chunked", "/length"}) {
    RawClient c(proxy_.address());
    c.Send(std::string("GET ") + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
    std::string all = c.ReadAll();
    EXPECT_EQ(all.find("\r\n0\r\n\r\n"), std::string::npos) << all;
    EXPECT_LT(BodyOf(all).size(), 100u);
  }
  EXPECT_TRUE(proxy_.WaitStat("http.test.rq_reset_after_downstream_response_started", 2));
}

TEST_F(H1Proxy, ConnectionCloseIsHonoured) {
  Up(Always(FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  c.Send("GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  EXPECT_TRUE(c.WaitClosed());
  EXPECT_EQ(HeaderOf(upstream_->requests()[0], "connection"), "");
}

TEST_F(H1Proxy, Http10ClosesUnlessAsked) {
  Up([](const std::string&, int) {
    return FakeUpstream::Action{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"};
  });
  {
    RawClient c(proxy_.address());
    c.Send("GET / HTTP/1.0\r\nHost: s\r\n\r\n");
    std::string r = c.ReadAll();
    EXPECT_EQ(BodyOf(r), "hi") << "no chunks to HTTP/1.0: " << r;
  }
  RawClient c(proxy_.address());
  c.Send("GET / HTTP/1.0\r\nHost: s\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(BodyOf(c.ReadAll()), "hi");
}

TEST_F(H1Proxy, ExpectContinueGoesToTheUpstream) {
  Up([](const std::string& q, int) {
    return FakeUpstream::Action{"HTTP/1.1 100 Continue\r\n\r\n" + FakeUpstream::Ok(BodyOf(q))};
  });
  RawClient c(proxy_.address());
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 100);
  EXPECT_EQ(BodyOf(c.ReadResponse()), "abc");
  EXPECT_EQ(HeaderOf(upstream_->requests()[0], "expect"), "100-continue");
}

TEST_F(H1Proxy, EarlyHintsPass) {
  Up(Always("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string hint = c.ReadResponse();
  EXPECT_EQ(StatusOf(hint), 103);
  EXPECT_EQ(HeaderOf(hint, "link"), "</a.css>");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
}

TEST_F(H1Proxy, AbsoluteFormNamesTheHost) {
  Up(Always(FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  c.Send("GET http://real.host:8080/p HTTP/1.1\r\nHost: other\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
  std::string q = upstream_->requests()[0];
  EXPECT_EQ(q.substr(0, q.find("\r\n")), "GET /p HTTP/1.1");
  EXPECT_EQ(HeaderOf(q, "host"), "real.host:8080");
}

TEST_F(H1Proxy, HopByHopFieldsStop) {
  Up(Always("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\r\nx"));
  RawClient c(proxy_.address());
  c.Send("GET / HTTP/1.1\r\nHost: s\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Connection: x\r\nTE: trailers, deflate\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(HeaderOf(r, "x-secret"), "");
  EXPECT_EQ(HeaderOf(r, "keep-alive"), "");
  std::string q = upstream_->requests()[0];
  EXPECT_EQ(HeaderOf(q, "x-hop"), "");
  EXPECT_EQ(HeaderOf(q, "proxy-connection"), "");
  EXPECT_EQ(HeaderOf(q, "te"), "trailers");
}

// ---- what is refused, and never forwarded

struct BadCase {
  const char* name;
  std::string request;
  int status;
};

class Refused : public H1Proxy, public ::testing::WithParamInterface<BadCase> {};

TEST_P(Refused, WithItsStatusAndAClose) {
  Up(Always(FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  c.Send(GetParam().request);
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), GetParam().status) << r;
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  c.ShutdownWrite();
  EXPECT_TRUE(c.WaitClosed());
  EXPECT_TRUE(upstream_->requests().empty());
}

std::string WithHeaders(const std::string& h) { return "POST / HTTP/1.1\r\nHost: s\r\n" + h + "\r\n"; }

INSTANTIATE_TEST_SUITE_P(
    All, Refused,
    ::testing::Values(
        BadCase{"ClAndTe", WithHeaders("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400},
        BadCase{"TwoLengths", WithHeaders("Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd", 400},
        BadCase{"TwoEqualLengths", WithHeaders("Content-Length: 3\r\nContent-Length: 3\r\n") + "abc", 400},
        BadCase{"LengthList", WithHeaders("Content-Length: 3, 3\r\n") + "abc", 400},
        BadCase{"LengthSign", WithHeaders("Content-Length: +3\r\n") + "abc", 400},
        BadCase{"LengthHuge", WithHeaders("Content-Length: 99999999999999999999\r\n"), 400},
        BadCase{"TeGzip", WithHeaders("Transfer-Encoding: gzip\r\n"), 501},
        BadCase{"TeGzipChunked", WithHeaders("Transfer-Encoding: gzip, chunked\r\n"), 501},
        BadCase{"TeTwice", WithHeaders("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        BadCase{"TeIn10", "POST / HTTP/1.0\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        BadCase{"ObsFold", WithHeaders("A: b\r\n c\r\n"), 400},
        BadCase{"BareCr", WithHeaders("A: b\rc\r\n"), 400},
        BadCase{"BareLf", "GET / HTTP/1.1\nHost: s\n\n", 400},
        BadCase{"Nul", WithHeaders(std::string("A: b\0c\r\n", 8)), 400},
        BadCase{"SpaceBeforeColon", WithHeaders("A : b\r\n"), 400},
        BadCase{"NoColon", WithHeaders("abc\r\n"), 400},
        BadCase{"EmptyName", WithHeaders(": b\r\n"), 400},
        BadCase{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        BadCase{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        BadCase{"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        BadCase{"TwoSpaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadCase{"Fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        BadCase{"Version2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        BadCase{"NotHttp", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
        BadCase{"HugeHead", WithHeaders("A: " + std::string(70000, 'x') + "\r\n"), 431},
        BadCase{"ManyHeaders",
                [] {
                  std::string h;
                  for (int i = 0; i < 150; ++i) h += "A" + std::to_string(i) + ": b\r\n";
                  return WithHeaders(h);
                }(),
                431},
        BadCase{"Expectation", WithHeaders("Expect: magic\r\n"), 417}),
    [](const auto& info) { return info.param.name; });

TEST_F(H1Proxy, ABadChunkEndsTheRequestAndNothingPassesAsComplete) {
  Up(Always(FakeUpstream::Ok("x")));
  for (const char* body : {"zz\r\n", "3\r\nabcdef\r\n", "-1\r\n", "ffffffffffffffff1\r\n", "3 \r\nabc\r\n", "3\nabc\r\n"}) {
    RawClient c(proxy_.address());
    c.Send("POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body));
    EXPECT_EQ(StatusOf(c.ReadResponse()), 400) << body;
  }
  EXPECT_TRUE(upstream_->requests().empty()) << "the upstream saw a complete request";
}

// ---- failures

TEST_F(H1Proxy, NoRouteNoClusterNoHost) {
  Up(Always(FakeUpstream::Ok("x")));
  proxy_.Cluster("empty", {});
  proxy_.Routes(
      "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['s']\n  routes:\n"
      "  - match: {prefix: /none}\n    route: {cluster: nosuch}\n"
      "  - match: {prefix: /empty}\n    route: {cluster: empty}\n");
  RawClient c(proxy_.address());
  c.Send("GET /x HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 404);
  c.Send("GET /none HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 503);
  c.Send("GET /empty HTTP/1.1\r\nHost: s\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 503);
  EXPECT_EQ(BodyOf(r), "no healthy upstream");
  c.Send("GET / HTTP/1.1\r\nHost: other\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 404);
  EXPECT_EQ(proxy_.Stat("http.test.no_route"), 2);
  EXPECT_EQ(proxy_.Stat("http.test.no_cluster"), 1);
}

TEST_F(H1Proxy, ConnectFailureIs503) {
  FakeUpstream gone(Always(""));
  net::Address dead = *net::Address::FromIp("127.0.0.1", 1);
  proxy_.Cluster("c", {dead});
  proxy_.Listen(ProxyUnderTest::AllTo("c"));
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 503);
  EXPECT_NE(BodyOf(r).find("connection failure"), std::string::npos);
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_cx_connect_fail"), 1);
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_pending_active"), 0);
}

TEST_F(H1Proxy, RouteTimeoutIs504) {
  Up([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 600}; },
     "timeout: 0.1s");
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 504);
  EXPECT_EQ(BodyOf(r), "upstream request timeout");
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_timeout"), 1);
}

TEST_F(H1Proxy, UpstreamGarbageIs502) {
  Up(Always("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  RawClient c(proxy_.address());
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 502);
}

TEST_F(H1Proxy, BytesBehindAResponseAreNotTheNextAnswer) {
  Up([](const std::string&, int n) {
    return FakeUpstream::Action{FakeUpstream::Ok("right") +
                                (n == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong" : "")};
  });
  RawClient c(proxy_.address());
  for (int i = 0; i < 3; ++i) {
    c.Send(kGet);
    EXPECT_EQ(BodyOf(c.ReadResponse()), "right");
  }
}

TEST_F(H1Proxy, AKeepAliveRaceIsReplayedForIdempotentRequests) {
  // Closes each connection when its second request arrives, without an answer.
  Up([](const std::string&, int n) {
    return n == 0 ? FakeUpstream::Action{FakeUpstream::Ok("x")} : FakeUpstream::Action{"", true};
  });
  RawClient c(proxy_.address());
  for (int i = 0; i < 10; ++i) {
    c.Send(kGet);
    ASSERT_EQ(StatusOf(c.ReadResponse()), 200) << i;
  }
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 503) << "a POST may have been processed";
}

TEST_F(H1Proxy, RetriesByPolicy) {
  std::atomic<int> calls{0};
  Up(
      [&](const std::string&, int) {
        return ++calls < 3 ? FakeUpstream::Action{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"}
                           : FakeUpstream::Action{FakeUpstream::Ok("third")};
      },
      "retry_policy: {retry_on: 5xx, num_retries: 3}");
  RawClient c(proxy_.address());
  c.Send(kGet);
  EXPECT_EQ(BodyOf(c.ReadResponse()), "third");
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_retry"), 2);
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_retry_success"), 1);
}

TEST_F(H1Proxy, AClientThatLeavesCancelsTheUpstreamRequest) {
  Up([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 300}; });
  {
    RawClient c(proxy_.address());
    c.Send(kGet);
    ASSERT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 1));
    c.Reset();
  }
  EXPECT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 0));
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_cx_active", 0));
  EXPECT_EQ(proxy_.Stat("cluster.c.upstream_rq_tx_reset"), 1);
}

TEST_F(H1Proxy, CircuitBreakersHoldAcrossWorkers) {
  ProxyUnderTest four(4);
  FakeUpstream slow([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 300}; });
  four.Cluster("c", {slow.address()}, [](upstream::ClusterSpec& s) { s.breakers.max_requests = 1; });
  four.Listen(ProxyUnderTest::AllTo("c"));
  std::atomic<int> ok{0}, refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      RawClient c(four.address());
      c.Send(kGet);
      int s = StatusOf(c.ReadResponse());
      (s == 200 ? ok : refused)++;
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(ok, 1);
  EXPECT_EQ(refused, 15);
}

TEST_F(H1Proxy, HeadTimeoutAndIdleTimeoutClose) {
  Up(Always(FakeUpstream::Ok("x")), "", [](proxy::HttpManagerSpec& s) {
    s.request_headers_timeout = 50 * kMillisecond;
    s.idle_timeout = 100 * kMillisecond;
  });
  RawClient slow(proxy_.address());
  slow.Send("GET / HTT");
  EXPECT_EQ(StatusOf(slow.ReadResponse()), 408);
  RawClient idle(proxy_.address());
  EXPECT_TRUE(idle.WaitClosed());
}

TEST_F(H1Proxy, RequestTimeoutBoundsASlowUpload) {
  Up(Always(FakeUpstream::Ok("x")), "",
     [](proxy::HttpManagerSpec& s) { s.request_timeout = 100 * kMillisecond; });
  RawClient c(proxy_.address());
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 10\r\n\r\nabc");
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 408);
  EXPECT_EQ(BodyOf(r), "request timeout");
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_timeout"), 1);
  EXPECT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 0));
}

TEST_F(H1Proxy, MaxStreamDurationBoundsTheWhole) {
  Up([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 500}; }, "",
     [](proxy::HttpManagerSpec& s) { s.max_stream_duration = 100 * kMillisecond; });
  RawClient c(proxy_.address());
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 408);
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_max_duration_reached"), 1);
}

TEST_F(H1Proxy, PathsAreNormalizedWhenAsked) {
  Up(Always(FakeUpstream::Ok("x")), "", [](proxy::HttpManagerSpec& s) {
    s.normalize_path = true;
    s.merge_slashes = true;
  });
  RawClient c(proxy_.address());
  c.Send("GET /a/%2e%2e//b/./c?d=/../ HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
  std::string q = upstream_->requests()[0];
  EXPECT_EQ(q.substr(0, q.find("\r\n")), "GET /b/c?d=/../ HTTP/1.1");
}

TEST_F(H1Proxy, EachAnswerIsCountedOnce) {
  Up(Always(FakeUpstream::Ok("x")));
  RawClient c(proxy_.address());
  for (int i = 0; i < 3; ++i) {
    c.Send(kGet);
    c.ReadResponse();
  }
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_rq_2xx", 3));
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_completed"), 3);
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_active"), 0);
}

TEST_F(H1Proxy, RouteChangesTakeEffectWithoutTouchingConnections) {
  FakeUpstream other(Always(FakeUpstream::Ok("other")));
  Up(Always(FakeUpstream::Ok("first")));
  proxy_.Cluster("d", {other.address()});
  RawClient c(proxy_.address());
  c.Send(kGet);
  EXPECT_EQ(BodyOf(c.ReadResponse()), "first");
  proxy_.Routes(ProxyUnderTest::AllTo("d"));
  c.Send(kGet);
  EXPECT_EQ(BodyOf(c.ReadResponse()), "other");
}

TEST_F(H1Proxy, RedirectAndDirectResponse) {
  Up(Always(FakeUpstream::Ok("x")));
  proxy_.Routes(
      "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n  routes:\n"
      "  - match: {prefix: /old}\n    redirect: {host_redirect: new.host, prefix_rewrite: /new}\n"
      "  - match: {path: /direct}\n    direct_response: {status: 418, body: {inline_string: teapot}}\n");
  RawClient c(proxy_.address());
  c.Send("GET /old/x?y=1 HTTP/1.1\r\nHost: s\r\n\r\n");
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 301);
  EXPECT_EQ(HeaderOf(r, "location"), "http://new.host/new/x?y=1");
  c.Send("GET /direct HTTP/1.1\r\nHost: s\r\n\r\n");
  r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 418);
  EXPECT_EQ(BodyOf(r), "teapot");
}

TEST_F(H1Proxy, DrainFinishesWhatIsUnderWay) {
  Up([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("late"), false, false, 200}; });
  RawClient busy(proxy_.address()), idle(proxy_.address());
  busy.Send(kGet);
  ASSERT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 1));
  proxy_.pool().Drain([] {});
  EXPECT_TRUE(idle.WaitClosed());
  std::string r = busy.ReadResponse();
  EXPECT_EQ(BodyOf(r), "late");
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
}

TEST_F(H1Proxy, EndpointsGoAwayWithoutHarmToRequests) {
  FakeUpstream second(Always(FakeUpstream::Ok("second")));
  Up([](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("first"), false, false, 150}; });
  RawClient c(proxy_.address());
  c.Send(kGet);
  ASSERT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 1));
  proxy_.Cluster("c", {second.address()});
  EXPECT_EQ(BodyOf(c.ReadResponse()), "first");
  c.Send(kGet);
  EXPECT_EQ(BodyOf(c.ReadResponse()), "second");
}

}  // namespace
}  // namespace weft
