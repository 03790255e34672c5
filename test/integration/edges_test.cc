// Where requests, connections and configuration end at the same time: the real workers between
// hostile peers.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"
#include "test/fakes/raw_upstream.h"

namespace weft {
namespace {

using fakes::BodyOf;
using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::RawUpstream;
using fakes::StatusOf;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";

void Sleep(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

class Edges : public ::testing::Test {
 protected:
  void Route(const net::Address& to, const std::string& extra_route = "",
             const std::function<void(upstream::ClusterSpec&)>& cluster = {},
             const std::function<void(proxy::HttpManagerSpec&)>& http = {}) {
    proxy_->Cluster("c", {to}, [&](upstream::ClusterSpec& s) {
      if (cluster) cluster(s);
      usage_ = s.usage;
    });
    proxy_->Listen(ProxyUnderTest::AllTo("c", extra_route), http);
  }
  // Whatever was done, no level may stay above what is really under way: nothing.
  void ExpectNothingUnderWay() {
    for (const char* name : {"cluster.c.upstream_rq_active", "cluster.c.upstream_rq_pending_active",
                             "http.test.downstream_rq_active", "http.test.downstream_cx_active",
                             "http.test.downstream_cx_http1_active"}) {
      EXPECT_TRUE(proxy_->WaitStat(name, 0)) << name << " is " << proxy_->Stat(name);
    }
    for (int i = 0; i < 200 && (usage_->requests | usage_->pending | usage_->retries) != 0; ++i)
      Sleep(10);
    EXPECT_EQ(usage_->requests, 0u);
    EXPECT_EQ(usage_->pending, 0u);
    EXPECT_EQ(usage_->retries, 0u);
    EXPECT_EQ(static_cast<int64_t>(usage_->connections.load()),
              proxy_->Stat("cluster.c.upstream_cx_active"));
  }
  std::unique_ptr<ProxyUnderTest> proxy_ = std::make_unique<ProxyUnderTest>();
  std::shared_ptr<upstream::ClusterUsage> usage_;
};

// ---- bodies and answers that cross

TEST_F(Edges, AnEarlyAnswerReachesWhoIsStillSending) {
  RawUpstream up([](int fd) {
    RawUpstream::ReadUntil(fd, "\r\n\r\n");
    RawUpstream::Send(fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    Sleep(50);  // and closes with the body unread: a reset
  });
  Route(up.address());
  RawClient c(proxy_->address());
  std::thread sender([&] {
    c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 30000000\r\n\r\n");
    for (int i = 0; i < 300 && c.Send(std::string(100'000, 'x')); ++i) {
    }
  });
  std::string r = c.ReadResponse();
  sender.join();
  EXPECT_EQ(StatusOf(r), 413) << r;
  EXPECT_EQ(BodyOf(r), "big");
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  c.Reset();
  ExpectNothingUnderWay();
}

TEST_F(Edges, AnAnswerThatIsFollowedByAResetIsReadToItsEnd) {
  std::string page(60'000, 'p');
  RawUpstream up([&](int fd) {
    RawUpstream::ReadUntil(fd, "\r\n\r\n");
    RawUpstream::ResetOnClose(fd);
    RawUpstream::Send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + page);
  });
  Route(up.address(), "timeout: 3s");
  for (int i = 0; i < 20; ++i) {
    RawClient c(proxy_->address());
    c.Send(kGet);
    std::string r = c.ReadResponse();
    ASSERT_EQ(StatusOf(r), 200);
    ASSERT_TRUE(BodyOf(r) == page) << "stuck after " << BodyOf(r).size();
  }
}

TEST_F(Edges, ASlowUploadDoesNotUseUpTheTimeout) {
  FakeUpstream up(
      [](const std::string& q, int) { return FakeUpstream::Action{FakeUpstream::Ok(BodyOf(q))}; });
  Route(up.address(),
        "timeout: 0.15s, retry_policy: {retry_on: connect-failure, per_try_timeout: 0.1s}");
  RawClient c(proxy_->address());
  c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 8\r\n\r\n");
  for (int i = 0; i < 8; ++i) {
    Sleep(60);
    c.Send("x");
  }
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200) << r;
  EXPECT_EQ(BodyOf(r), "xxxxxxxx");
}

TEST_F(Edges, AnUpstreamThatTakesNoBodyTimesOut) {
  std::atomic<bool> over{false};
  RawUpstream up([&](int fd) {
    RawUpstream::ReadUntil(fd, "\r\n\r\n");
    while (!over) Sleep(10);
  });
  Route(up.address(), "timeout: 0.2s");
  RawClient c(proxy_->address());
  std::thread sender([&] {
    c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 100000000\r\n\r\n");
    for (int i = 0; i < 1000 && c.Send(std::string(100'000, 'x')); ++i) {
    }
  });
  std::string r = c.ReadResponse();
  over = true;
  EXPECT_EQ(StatusOf(r), 504) << r;
  sender.join();
  c.Reset();
  ExpectNothingUnderWay();
}

TEST_F(Edges, ASlowReaderIsNotTheUpstreamsTimeout) {
  std::string big(3'000'000, 'b');
  FakeUpstream up(
      [&](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok(big)}; });
  Route(up.address(), "timeout: 0.3s");
  RawClient c(proxy_->address());
  c.Send(kGet);
  c.ReadUntil("\r\n\r\n");
  Sleep(20);
  std::string r = c.ReadResponse();
  EXPECT_EQ(BodyOf(r).size(), big.size());
}

TEST_F(Edges, AClientThatLeavesBeforeItIsToldToContinue) {
  FakeUpstream up(
      [](const std::string& q, int) { return FakeUpstream::Action{FakeUpstream::Ok("x")}; });
  Route(up.address(), "", [](upstream::ClusterSpec& s) { s.breakers.max_connections = 1; });
  for (int i = 0; i < 30; ++i) {
    RawClient c(proxy_->address());
    c.Send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    if (i % 3 != 0) std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 5)));
    c.Reset();
  }
  ExpectNothingUnderWay();
  RawClient c(proxy_->address());
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200) << "the only connection is lost";
}

TEST_F(Edges, AClientThatEndsItsSideIsGone) {
  // As with Envoy and nginx: the end of the stream within an exchange is a client that left, and
  // what it asked for is not worth an upstream's time. (An answer that needs no upstream has left
  // before the end is read.)
  FakeUpstream up([](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 200};
  });
  Route(up.address());
  RawClient c(proxy_->address());
  c.Send(kGet);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_active", 1));
  c.ShutdownWrite();
  EXPECT_EQ(c.ReadAll(), "");
  ExpectNothingUnderWay();
  EXPECT_EQ(proxy_->Stat("cluster.c.upstream_rq_tx_reset"), 1);
}

TEST_F(Edges, LocalRepliesToHeadAndWithoutABodyKeepTheConnection) {
  FakeUpstream up(
      [](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x")}; });
  Route(up.address());
  proxy_->Routes(
      "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n  routes:\n"
      "  - match: {path: /204}\n    direct_response: {status: 204, body: {inline_string: none}}\n"
      "  - match: {path: /304}\n    direct_response: {status: 304, body: {inline_string: none}}\n"
      "  - match: {path: /200}\n    direct_response: {status: 200, body: {inline_string: text}}\n");
  RawClient c(proxy_->address());
  for (const char* path : {"/204", "/304", "/200", "/none"}) {
    c.Send(std::string("HEAD ") + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
    EXPECT_NE(StatusOf(c.ReadResponse(true)), 0) << path;
    EXPECT_EQ(c.buffer(), "") << path;
  }
  for (const char* path : {"/204", "/304"}) {
    c.Send(std::string("GET ") + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
    std::string r = c.ReadResponse();
    EXPECT_EQ(HeaderOf(r, "content-length"), "") << r;
    EXPECT_EQ(HeaderOf(r, "transfer-encoding"), "") << r;
  }
  c.Send("GET /200 HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(BodyOf(c.ReadResponse()), "text");
}

// ---- waiting for a connection

TEST_F(Edges, APerTryTimeoutRunsWhileTheRequestWaits) {
  FakeUpstream up([](const std::string& q, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false,
                                q.find("/slow") != std::string::npos ? 700 : 0};
  });
  Route(up.address(), "retry_policy: {retry_on: 5xx, num_retries: 0, per_try_timeout: 0.1s}",
        [](upstream::ClusterSpec& s) { s.breakers.max_connections = 1; });
  proxy_->Routes(
      "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n  routes:\n"
      "  - match: {prefix: /slow}\n    route: {cluster: c}\n"
      "  - match: {prefix: /}\n    route: {cluster: c, retry_policy: {retry_on: 5xx, num_retries: "
      "0, per_try_timeout: 0.1s}}\n");
  RawClient slow(proxy_->address()), waits(proxy_->address());
  slow.Send("GET /slow HTTP/1.1\r\nHost: s\r\n\r\n");
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_active", 1));
  waits.Send(kGet);
  EXPECT_EQ(StatusOf(waits.ReadResponse()), 504);
  EXPECT_EQ(proxy_->Stat("cluster.c.upstream_rq_per_try_timeout"), 1);
  EXPECT_EQ(proxy_->Stat("cluster.c.upstream_rq_pending_active"), 0);
  EXPECT_EQ(StatusOf(slow.ReadResponse()), 200);
}

TEST_F(Edges, WhoWaitsForARemovedEndpointGoesToAnother) {
  FakeUpstream first([](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("first"), false, false, 600};
  });
  FakeUpstream second(
      [](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("second")}; });
  Route(first.address(), "", [](upstream::ClusterSpec& s) { s.breakers.max_connections = 2; });
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 2; ++i) {
    busy.push_back(std::make_unique<RawClient>(proxy_->address()));
    busy.back()->Send(kGet);
  }
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_active", 2));
  RawClient waits(proxy_->address());
  waits.Send(kGet);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_pending_active", 1));
  // The limit is used up by requests to the endpoint that goes: who waits is told so at once rather
  // than never.
  proxy_->Endpoints("c", {second.address()});
  std::string r = waits.ReadResponse();
  EXPECT_EQ(StatusOf(r), 503) << r;
  for (auto& b : busy) EXPECT_EQ(BodyOf(b->ReadResponse()), "first");
  waits.Send(kGet);
  EXPECT_EQ(BodyOf(waits.ReadResponse()), "second");
}

TEST_F(Edges, WhoWaitsForADialToARemovedEndpointGoesToAnother) {
  // Nobody answers at the first address (a full queue), so the request waits in its pool.
  int full = socket(AF_INET, SOCK_STREAM, 0);
  net::Address any = *net::Address::FromIp("127.0.0.1", 0);
  ASSERT_EQ(bind(full, any.sa(), any.length()), 0);
  ASSERT_EQ(listen(full, 0), 0);
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(full, reinterpret_cast<sockaddr*>(&ss), &len);
  net::Address silent = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)!connect(fillers.back(), silent.sa(), silent.length());
  }
  Sleep(20);
  FakeUpstream second(
      [](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("second")}; });
  Route(silent);
  RawClient waits(proxy_->address()), too(proxy_->address());
  waits.Send(kGet);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_pending_active", 1));
  auto start = std::chrono::steady_clock::now();
  proxy_->Endpoints("c", {second.address()});
  EXPECT_EQ(BodyOf(waits.ReadResponse()), "second");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  // And to none when none is left.
  proxy_->Endpoints("c", {silent});
  too.Send(kGet);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_pending_active", 1));
  proxy_->Endpoints("c", {});
  std::string r = too.ReadResponse();
  EXPECT_EQ(StatusOf(r), 503);
  EXPECT_EQ(BodyOf(r), "no healthy upstream");
  for (int fd : fillers) close(fd);
  close(full);
}

TEST_F(Edges, ABackOffEndsWithItsClient) {
  std::atomic<int> calls{0};
  FakeUpstream up([&](const std::string&, int) {
    ++calls;
    return FakeUpstream::Action{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"};
  });
  Route(up.address(),
        "retry_policy: {retry_on: 5xx, num_retries: 5, retry_back_off: {base_interval: 3s, "
        "max_interval: 3s}}");
  {
    RawClient c(proxy_->address());
    c.Send(kGet);
    ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_retry", 1));
    c.Reset();
  }
  ExpectNothingUnderWay();
  EXPECT_LE(calls, 2);
}

TEST_F(Edges, ARestartedUpstreamCostsNoIdempotentRequest) {
  // Many connections are idle, and all of them are dead when they are used again.
  FakeUpstream up([](const std::string& q, int n) {
    if (n > 0) return FakeUpstream::Action{"", true};
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false,
                                q.find("/warm") != std::string::npos ? 100 : 0};
  });
  Route(up.address());
  {
    std::vector<std::unique_ptr<RawClient>> warm;
    for (int i = 0; i < 8; ++i) {
      warm.push_back(std::make_unique<RawClient>(proxy_->address()));
      warm.back()->Send("GET /warm HTTP/1.1\r\nHost: s\r\n\r\n");
    }
    for (auto& w : warm) ASSERT_EQ(StatusOf(w->ReadResponse()), 200);
  }
  ASSERT_EQ(up.connections(), 8);
  RawClient c(proxy_->address());
  for (int i = 0; i < 12; ++i) {
    c.Send(kGet);
    ASSERT_EQ(StatusOf(c.ReadResponse()), 200) << i;
  }
}

// ---- ends of everything

TEST_F(Edges, TheProxyEndsWithRequestsUnderWay) {
  FakeUpstream up([](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 300};
  });
  Route(up.address());
  RawClient busy(proxy_->address()), idle(proxy_->address()), half(proxy_->address());
  busy.Send(kGet);
  half.Send("GET / HT");
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_active", 1));
  proxy_.reset();
  EXPECT_TRUE(busy.WaitClosed() && idle.WaitClosed() && half.WaitClosed());
}

TEST_F(Edges, TheProxyEndsWithRetiredListenersUnderWay) {
  FakeUpstream up([](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 300};
  });
  Route(up.address());
  RawClient busy(proxy_->address()), also(proxy_->address());
  busy.Send(kGet);
  also.Send(kGet);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_rq_active", 2));
  proxy_->Listen(
      ProxyUnderTest::AllTo("c"));  // a new version: the first one retires with its connections
  proxy_->pool().Drain([] {});
  proxy_.reset();
  EXPECT_TRUE(busy.WaitClosed() && also.WaitClosed());
}

TEST_F(Edges, NothingIsAppliedAfterTheEnd) {
  FakeUpstream up(
      [](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("x")}; });
  Route(up.address());
  proxy_->pool().Stop();
  auto update = std::make_shared<config::Update>();
  update->removed_clusters.push_back("c");
  proxy_->pool().Apply(update, [](runtime::ApplyResult) { ADD_FAILURE() << "nobody could do it"; });
  proxy_.reset();
}

TEST_F(Edges, DescriptorsComeBack) {
  FakeUpstream up([](const std::string& q, int n) {
    if (q.find("/close") != std::string::npos) return FakeUpstream::Action{"", true};
    if (q.find("/reset") != std::string::npos)
      return FakeUpstream::Action{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", false, true};
    return FakeUpstream::Action{FakeUpstream::Ok("x"), n % 3 == 2};
  });
  Route(up.address());
  auto open = [] {
    size_t n = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
    return n;
  };
  auto round = [&] {
    for (const char* path : {"/", "/close", "/reset", "/"}) {
      RawClient c(proxy_->address());
      c.Send(std::string("GET ") + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
      c.ReadResponse();
      c.Send("GET / HT");
      if (path[1] == 'c') c.Reset();
    }
    ExpectNothingUnderWay();
  };
  round();
  size_t before = open();
  for (int i = 0; i < 20; ++i) round();
  EXPECT_LE(open(), before + 4);
}

TEST_F(Edges, OutOfDescriptorsIsA503AndPasses) {
  FakeUpstream up([](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), true};
  });
  Route(up.address());
  RawClient c(proxy_->address());
  c.Send(kGet);
  ASSERT_EQ(StatusOf(c.ReadResponse()), 200);
  ASSERT_TRUE(proxy_->WaitStat("cluster.c.upstream_cx_active", 0));
  Sleep(50);  // the upstream's thread closes its end
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = {3, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  c.Send(kGet);
  std::string r = c.ReadResponse();
  setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(StatusOf(r), 503) << r;
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
}

TEST_F(Edges, LevelsReturnToZeroAfterMayhem) {
  // Peers that do everything wrong, configuration that changes all the time, four workers.
  proxy_ = std::make_unique<ProxyUnderTest>(4);
  FakeUpstream::Script script = [](const std::string& q, int n) -> FakeUpstream::Action {
    uint64_t dice = std::hash<std::string>()(q) + static_cast<uint64_t>(n);
    switch (dice % 9) {
      case 0:
        return {"", true};
      case 1:
        return {"", false, true};
      case 2:
        return {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", true};
      case 3:
        return {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
      case 4:
        return {FakeUpstream::Ok("slow"), false, false, 30};
      case 5:
        return {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"};
      case 6:
        return {FakeUpstream::Ok(std::string(300'000, 'x'))};
      case 7:
        return {FakeUpstream::Ok("two") + "HTTP/1.1 200 OK\r\n"};
      default:
        return {FakeUpstream::Ok("fine"), dice % 2 == 0};
    }
  };
  FakeUpstream a(script), b(script);
  Route(a.address(),
        "timeout: 0.2s, retry_policy: {retry_on: '5xx,reset', num_retries: 2, per_try_timeout: "
        "0.05s}",
        [](upstream::ClusterSpec& s) {
          s.breakers.max_connections = 4;
          s.breakers.max_pending_requests = 8;
          s.idle_timeout = 20 * kMillisecond;
        });
  std::atomic<bool> over{false};
  net::Address at = proxy_->address();
  std::vector<std::thread> clients;
  for (int t = 0; t < 8; ++t) {
    clients.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      while (!over) {
        RawClient c(at);
        for (unsigned n = random() % 4 + 1; n > 0; --n) {
          std::string path = "/" + std::to_string(random() % 1000);
          switch (random() % 5) {
            case 0:
              c.Send("POST " + path + " HTTP/1.1\r\nHost: s\r\nContent-Length: 200000\r\n\r\n" +
                     std::string(random() % 200'000, 'y'));
              break;
            case 1:
              c.Send("POST " + path +
                     " HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" +
                     (random() % 2 ? "0\r\n\r\n" : "bad"));
              break;
            default:
              c.Send("GET " + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
          }
        }
        if (random() % 2) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
        } else {
          c.ReadUntil("\r\n\r\n");
        }
        if (random() % 2) c.Reset();
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    Sleep(20);
    if (i % 2 == 0)
      proxy_->Endpoints(
          "c", i % 4 == 0 ? std::vector{a.address(), b.address()} : std::vector{b.address()});
    if (i % 5 == 0) proxy_->Listen(ProxyUnderTest::AllTo("c", "timeout: 0.2s"));
  }
  over = true;
  for (auto& t : clients) t.join();
  ExpectNothingUnderWay();
  EXPECT_GT(proxy_->Stat("http.test.downstream_rq_2xx"), 0);
}

}  // namespace
}  // namespace weft
