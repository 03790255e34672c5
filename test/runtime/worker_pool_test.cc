// Listeners that come, change and go, on real workers and real sockets.
#include "dataplane/runtime/worker_pool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/net/listener.h"
#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"

namespace weft::runtime {
namespace {

using fakes::BodyOf;
using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::StatusOf;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";

// A port that was free a moment ago.
net::Address FreePort() {
  std::string error;
  int fd = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), {}, &error);
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len);
  close(fd);
  return net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
}

class WorkerPoolTest : public ::testing::Test {
 protected:
  WorkerPoolTest() { proxy_.Cluster("c", {up_.address()}); }
  std::shared_ptr<config::ListenerSpec> Spec(
      const std::string& name, const net::Address& at,
      const std::function<void(proxy::HttpManagerSpec&)>& change = {}) {
    auto http = std::make_shared<proxy::HttpManagerSpec>();
    http->stat_prefix = "test";
    http->rds_name = "routes";
    http->drain_timeout = 300 * kMillisecond;
    if (change) change(*http);
    auto l = std::make_shared<config::ListenerSpec>();
    l->name = name;
    l->address = at;
    auto chain = std::make_shared<config::FilterChainSpec>();
    chain->http = http;
    l->chains = {chain};
    return l;
  }
  ApplyResult Put(std::vector<std::shared_ptr<const config::ListenerSpec>> listeners,
                  std::vector<std::string> removed = {}) {
    auto update = std::make_shared<config::Update>();
    update->listeners = std::move(listeners);
    update->removed_listeners = std::move(removed);
    ApplyResult result;
    proxy_.Apply(update, &result);
    return result;
  }
  // "server" tells which version of a listener answered.
  static std::function<void(proxy::HttpManagerSpec&)> Named(const std::string& name) {
    return [name](proxy::HttpManagerSpec& s) { s.server_name = name; };
  }
  static std::string Server(const net::Address& at) {
    RawClient c(at);
    if (!c.connected()) return "";
    c.Send(kGet);
    return HeaderOf(c.ReadResponse(), "server");
  }
  void SetUp() override { proxy_.Listen(ProxyUnderTest::AllTo("c")); }

  FakeUpstream up_{[](const std::string& q, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false,
                                q.find("/slow") != std::string::npos ? 200 : 0};
  }};
  ProxyUnderTest proxy_{2};
};

TEST_F(WorkerPoolTest, AnUpdateKeepsTheSocketAndRefusesNobody) {
  net::Address at = FreePort();
  ASSERT_TRUE(Put({Spec("a", at)}).refused_listeners.empty());
  std::atomic<bool> over{false};
  std::atomic<int> ok{0}, refused{0}, failed{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&] {
      while (!over) {
        RawClient c(at);
        if (!c.connected()) {
          ++refused;
          continue;
        }
        c.Send(kGet);
        (StatusOf(c.ReadResponse()) == 200 ? ok : failed)++;
      }
    });
  }
  // Connections that stay, one request after another, while listeners change under them.
  std::atomic<int> lost{0};
  std::thread keeper([&] {
    std::unique_ptr<RawClient> c;
    while (!over) {
      if (c == nullptr) c = std::make_unique<RawClient>(at);
      c->Send(kGet);
      std::string r = c->ReadResponse();
      if (StatusOf(r) != 200) ++lost;
      if (HeaderOf(r, "connection") == "close" || r.empty()) c.reset();
    }
  });
  int i = 0;
  auto start = std::chrono::steady_clock::now();
  for (;
       i < 100 || (ok < 500 && std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
       ++i) {
    ASSERT_TRUE(Put({Spec("a", at, Named("v" + std::to_string(i)))}).refused_listeners.empty());
  }
  over = true;
  for (auto& t : clients) t.join();
  keeper.join();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(lost, 0) << "an idle connection was closed while its next request was on its way";
  EXPECT_GT(ok, 100);
  EXPECT_EQ(Server(at), "v" + std::to_string(i - 1));
}

TEST_F(WorkerPoolTest, IdleConnectionsOfAnOldVersionCarryOneMoreRequestThenGo) {
  net::Address at = FreePort();
  Put({Spec("a", at, Named("old"))});
  RawClient used(at), unused(at);
  used.Send(kGet);
  EXPECT_EQ(HeaderOf(used.ReadResponse(), "connection"), "");
  ASSERT_TRUE(proxy_.WaitStat("http.test.downstream_cx_active", 2));
  Put({Spec("a", at, Named("new"))});
  used.Send(kGet);
  std::string r = used.ReadResponse();
  EXPECT_EQ(HeaderOf(r, "server"), "old");
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  EXPECT_TRUE(used.WaitClosed());
  EXPECT_TRUE(unused.WaitClosed()) << "the drain time is over";
  EXPECT_EQ(Server(at), "new");
}

TEST_F(WorkerPoolTest, APortInUseIsReportedAndTheRestIsApplied) {
  net::Address taken, fine = FreePort();
  net::ListenOptions alone;
  alone.reuse_port = false;
  std::string error;
  int other = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), alone, &error);
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(other, reinterpret_cast<sockaddr*>(&ss), &len);
  taken = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  ApplyResult r = Put({Spec("bad", taken), Spec("good", fine)});
  ASSERT_EQ(r.refused_listeners.size(), 1u);
  EXPECT_EQ(r.refused_listeners[0].first, "bad");
  EXPECT_NE(r.refused_listeners[0].second.find(taken.ToString() + ": another process"),
            std::string::npos)
      << r.refused_listeners[0].second;
  EXPECT_EQ(Server(fine), "weft");
  close(other);
  EXPECT_TRUE(Put({Spec("bad", taken)}).refused_listeners.empty()) << "free now";
  EXPECT_EQ(Server(taken), "weft");
}

TEST_F(WorkerPoolTest, APortInUseByAProcessThatSharesIsStillFound) {
  // SO_REUSEPORT would let two processes of one user share a port without a word.
  std::string error;
  int other = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), {}, &error);
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(other, reinterpret_cast<sockaddr*>(&ss), &len);
  EXPECT_EQ(Put({Spec("a", net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len))})
                .refused_listeners.size(),
            1u);
  close(other);
}

TEST_F(WorkerPoolTest, TwoListenersOfOneAddressAreAMistakeThatSaysWhichOne) {
  net::Address at = FreePort();
  Put({Spec("first", at)});
  ApplyResult r = Put({Spec("second", at)});
  ASSERT_EQ(r.refused_listeners.size(), 1u);
  EXPECT_NE(r.refused_listeners[0].second.find("listener \"first\""), std::string::npos)
      << r.refused_listeners[0].second;
  EXPECT_EQ(Server(at), "weft") << "the first one is not disturbed";
}

TEST_F(WorkerPoolTest, ARefusedChangeKeepsTheLastGoodVersion) {
  net::Address at = FreePort(), taken = FreePort();
  Put({Spec("a", at, Named("good"))});
  Put({Spec("b", taken)});
  EXPECT_EQ(Put({Spec("a", taken, Named("bad"))}).refused_listeners.size(), 1u);
  EXPECT_EQ(Server(at), "good");
}

TEST_F(WorkerPoolTest, ARemovedListenerFreesItsPort) {
  net::Address at = FreePort();
  Put({Spec("a", at)});
  RawClient busy(at);
  busy.Send("GET /slow HTTP/1.1\r\nHost: s\r\n\r\n");
  ASSERT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 1));
  Put({}, {"a"});
  EXPECT_FALSE(RawClient(at).connected());
  std::string error;
  net::ListenOptions alone;
  alone.reuse_port = false;
  int fd = net::OpenListenSocket(at, alone, &error);
  EXPECT_GE(fd, 0) << error;
  close(fd);
  EXPECT_EQ(StatusOf(busy.ReadResponse()), 200) << "what is under way is finished";
  EXPECT_EQ(proxy_.pool().ListenAddresses().size(), 1u);
}

TEST_F(WorkerPoolTest, AnotherListenerMayTakeTheAddressInTheSameUpdate) {
  net::Address at = FreePort();
  Put({Spec("a", at, Named("a"))});
  std::atomic<bool> over{false};
  std::atomic<int> refused{0}, failed{0};
  std::thread client([&] {
    while (!over) {
      RawClient c(at);
      if (!c.connected()) {
        ++refused;
        continue;
      }
      c.Send(kGet);
      if (StatusOf(c.ReadResponse()) != 200) ++failed;
    }
  });
  for (int i = 0; i < 20; ++i) {
    std::string from = i % 2 == 0 ? "a" : "b", to = i % 2 == 0 ? "b" : "a";
    ApplyResult r = Put({Spec(to, at, Named(to))}, {from});
    ASSERT_TRUE(r.refused_listeners.empty()) << r.refused_listeners[0].second;
  }
  over = true;
  client.join();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(Server(at), "a");
}

TEST_F(WorkerPoolTest, AnAddressThatIsStillBeingClosedCanBeHadAgain) {
  // Two updates at once: the second is worked out on main before the workers have closed what the
  // first one removes.
  net::Address at = FreePort();
  Put({Spec("a", at)});
  int done = 0;
  auto removal = std::make_shared<config::Update>();
  removal->removed_listeners.push_back("a");
  proxy_.pool().Apply(removal, [&](ApplyResult) { ++done; });
  ApplyResult r = Put({Spec("z", at, Named("z"))});
  EXPECT_TRUE(r.refused_listeners.empty()) << r.refused_listeners[0].second;
  EXPECT_EQ(done, 1);
  EXPECT_EQ(Server(at), "z");
}

TEST_F(WorkerPoolTest, AUnixSocketThatIsStillBeingClosedCanBeHadAgain) {
  std::string path = "/tmp/weft_pool_test2." + std::to_string(getpid());
  net::Address at = *net::Address::FromPath(path);
  ASSERT_TRUE(Put({Spec("a", at)}).refused_listeners.empty());
  auto removal = std::make_shared<config::Update>();
  removal->removed_listeners.push_back("a");
  proxy_.pool().Apply(removal, {});
  ApplyResult r = Put({Spec("z", at, Named("z"))});
  EXPECT_TRUE(r.refused_listeners.empty()) << r.refused_listeners[0].second;
  EXPECT_EQ(Server(at), "z");
  Put({}, {"z"});
  unlink(path.c_str());
}

TEST_F(WorkerPoolTest, AChangedAddressMovesTheListener) {
  net::Address one = FreePort(), two = FreePort();
  Put({Spec("a", one)});
  Put({Spec("a", two)});
  EXPECT_FALSE(RawClient(one).connected());
  EXPECT_EQ(Server(two), "weft");
  Put({Spec("a", one)});
  EXPECT_EQ(Server(one), "weft");
}

TEST_F(WorkerPoolTest, WithoutBindToPortThereIsNoSocket) {
  net::Address at = FreePort();
  auto spec = Spec("a", at);
  spec->bind_to_port = false;
  Put({spec});
  EXPECT_FALSE(RawClient(at).connected());
  Put({Spec("a", at)});
  EXPECT_EQ(Server(at), "weft");
  Put({spec});
  EXPECT_FALSE(RawClient(at).connected());
}

TEST_F(WorkerPoolTest, WithoutReusePortAllWorkersShareOneSocket) {
  auto spec = Spec("a", FreePort());
  spec->reuse_port = false;
  ASSERT_TRUE(Put({spec}).refused_listeners.empty());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Server(spec->address), "weft");
  EXPECT_TRUE(Put({spec}).refused_listeners.empty());
  EXPECT_EQ(Server(spec->address), "weft");
}

TEST_F(WorkerPoolTest, AdditionalAddressesServeToo) {
  auto spec = Spec("a", FreePort());
  spec->additional_addresses.push_back(FreePort());
  Put({spec});
  EXPECT_EQ(Server(spec->address), "weft");
  EXPECT_EQ(Server(spec->additional_addresses[0]), "weft");
  EXPECT_EQ(proxy_.pool().ListenAddresses().size(), 3u);
}

TEST_F(WorkerPoolTest, UnixSocketsServe) {
  std::string path = "/tmp/weft_pool_test." + std::to_string(getpid());
  auto spec = Spec("a", *net::Address::FromPath(path));
  ApplyResult r = Put({spec});
  ASSERT_TRUE(r.refused_listeners.empty()) << r.refused_listeners[0].second;
  EXPECT_EQ(Server(spec->address), "weft");
  Put({}, {"a"});
  unlink(path.c_str());
}

TEST_F(WorkerPoolTest, DrainStopsAcceptingFinishesAndTells) {
  net::Address at = proxy_.address();
  RawClient busy(at), idle(at);
  busy.Send("GET /slow HTTP/1.1\r\nHost: s\r\n\r\n");
  ASSERT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 1));
  ASSERT_TRUE(proxy_.WaitStat("http.test.downstream_cx_active", 2));
  std::atomic<bool> drained{false};
  auto nothing = std::make_shared<config::Update>();
  proxy_.pool().Drain([&] { drained = true; });
  proxy_.Apply(nothing);  // behind the drain in every worker's queue
  EXPECT_FALSE(RawClient(at).connected());
  EXPECT_TRUE(idle.WaitClosed());
  EXPECT_FALSE(drained) << "a request is under way";
  std::string r = busy.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200);
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  for (int i = 0; i < 300 && !drained; ++i) {
    proxy_.Apply(nothing);  // runs the main loop
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(drained);
  // A listener that comes afterwards is not opened.
  net::Address late = FreePort();
  EXPECT_TRUE(Put({Spec("late", late)}).refused_listeners.empty());
  EXPECT_FALSE(RawClient(late).connected());
}

TEST_F(WorkerPoolTest, DrainOfNothingIsDoneAtOnce) {
  bool drained = false;
  proxy_.pool().Drain([&] { drained = true; });
  auto nothing = std::make_shared<config::Update>();
  for (int i = 0; i < 100 && !drained; ++i) proxy_.Apply(nothing);
  EXPECT_TRUE(drained);
}

TEST_F(WorkerPoolTest, HostsAreSummedOverWorkers) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Server(proxy_.address()), "weft");
  ASSERT_TRUE(proxy_.WaitStat("http.test.downstream_rq_active", 0));
  std::vector<upstream::HostStatus> hosts;
  bool done = false;
  proxy_.pool().CollectHosts([&](std::vector<upstream::HostStatus> h) {
    hosts = std::move(h);
    done = true;
  });
  auto nothing = std::make_shared<config::Update>();
  while (!done) proxy_.Apply(nothing);
  ASSERT_EQ(hosts.size(), 1u);
  EXPECT_EQ(hosts[0].cluster, "c");
  EXPECT_EQ(hosts[0].address, up_.address().ToString());
  EXPECT_EQ(hosts[0].requests.rq_total, 20u);
  EXPECT_EQ(hosts[0].requests.rq_success, 20u);
  EXPECT_EQ(hosts[0].requests.rq_active, 0u);
  EXPECT_GE(hosts[0].cx_total, 1u);
}

}  // namespace
}  // namespace weft::runtime
