// Many connections on several real workers: how they are spread, limited, held back and told to go.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/runtime/worker_pool.h"
#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"

namespace weft::runtime {
namespace {

using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::StatusOf;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";

class WorkerPoolLoadTest : public ::testing::Test {
 protected:
  WorkerPoolLoadTest() { proxy_.Cluster("c", {up_.address()}); }
  void SetUp() override { proxy_.Listen(ProxyUnderTest::AllTo("c")); }
  // What main has posted to the workers is done.
  void Settle() { proxy_.Apply(std::make_shared<config::Update>()); }
  // Before the first connection.
  void Limit(uint64_t connections) {
    proxy_.pool().overload().set_max_connections(connections);
    Settle();
  }
  static bool Eventually(const std::function<bool()>& f) {
    for (int i = 0; i < 2000; ++i) {
      if (f()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  uint32_t Total() {
    auto n = proxy_.pool().Connections();
    return std::accumulate(n.begin(), n.end(), 0u);
  }

  FakeUpstream up_{[](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x"), false, false, 0};
  }};
  ProxyUnderTest proxy_{4};
};

TEST_F(WorkerPoolLoadTest, FewLongConnectionsAreSpread) {
  Limit(100);
  for (int round = 0; round < 10; ++round) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<RawClient>(proxy_.address()));
      clients.back()->Send(kGet);
      ASSERT_EQ(StatusOf(clients.back()->ReadResponse()), 200);
    }
    auto n = proxy_.pool().Connections();
    EXPECT_EQ(std::accumulate(n.begin(), n.end(), 0u), 8u);
    EXPECT_LE(*std::max_element(n.begin(), n.end()), 3u);  // 1.5 times the mean
    clients.clear();
    ASSERT_TRUE(Eventually([&] { return Total() == 0; }));
  }
  EXPECT_EQ(proxy_.pool().overload().connections(), 0u);
  EXPECT_EQ(proxy_.Stat("http.test.downstream_cx_total"), 80);
}

TEST_F(WorkerPoolLoadTest, TheConnectionLimitHoldsAcrossWorkers) {
  Limit(1);
  RawClient first(proxy_.address());
  first.Send(kGet);
  ASSERT_EQ(StatusOf(first.ReadResponse()), 200);
  for (int i = 0; i < 16; ++i) {
    RawClient other(proxy_.address());
    EXPECT_TRUE(other.WaitClosed());
  }
  first.Send(kGet);
  EXPECT_EQ(StatusOf(first.ReadResponse()), 200);
  EXPECT_EQ(proxy_.Stat("listener.127.0.0.1_0.downstream_global_cx_overflow"), 16);
}

TEST_F(WorkerPoolLoadTest, HeldBackClientsAreServedLater) {
  proxy_.pool().SetAccepting(false);
  Settle();
  RawClient c(proxy_.address());
  ASSERT_TRUE(c.connected());  // by the kernel
  c.Send(kGet);
  Settle();
  EXPECT_EQ(Total(), 0u);
  proxy_.pool().SetAccepting(true);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
}

TEST_F(WorkerPoolLoadTest, WhileTheDrainIsAnnouncedEverybodyIsServedAndToldToGo) {
  RawClient old(proxy_.address());
  old.Send(kGet);
  ASSERT_EQ(StatusOf(old.ReadResponse()), 200);
  proxy_.pool().AnnounceDrain();
  Settle();
  for (int i = 0; i < 8; ++i) {
    RawClient c(proxy_.address());
    c.Send(kGet);
    std::string r = c.ReadResponse();
    EXPECT_EQ(StatusOf(r), 200);
    EXPECT_EQ(HeaderOf(r, "connection"), "close");
    EXPECT_TRUE(c.WaitClosed());
  }
  old.Send(kGet);
  std::string r = old.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200);
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  // Who connects just before the end is in the kernel's queue then, and served all the same.
  RawClient last(proxy_.address());
  bool drained = false;
  proxy_.pool().Drain([&] { drained = true; });
  last.Send(kGet);
  r = last.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200);
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  EXPECT_TRUE(Eventually([&] {
    Settle();
    return drained;
  }));
}

TEST_F(WorkerPoolLoadTest, OverloadedRequestsGetAnAnswerThatSaysSo) {
  proxy_.pool().overload().Set(OverloadAction::kStopAcceptingRequests, OverloadState::kSaturated);
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 503);
  EXPECT_EQ(fakes::BodyOf(r), "overloaded");
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_overload_close"), 1);
  proxy_.pool().overload().Set(OverloadAction::kStopAcceptingRequests, 0);
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
  proxy_.pool().overload().Set(OverloadAction::kDisableHttpKeepalive, OverloadState::kSaturated);
  c.Send(kGet);
  r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 200);
  EXPECT_EQ(HeaderOf(r, "connection"), "close");
  EXPECT_TRUE(c.WaitClosed());
  proxy_.pool().overload().Set(OverloadAction::kRejectIncomingConnections,
                               OverloadState::kSaturated);
  RawClient refused(proxy_.address());
  EXPECT_TRUE(refused.WaitClosed());
}

// Nobody reads these answers: the largest of them goes.
TEST(WorkerPoolOverload, TheLargestStreamsAreCutOff) {
  FakeUpstream up{[](const std::string& q, int) {
    size_t size = q.find("/large") != std::string::npos ? 64 << 20 : 10;
    return FakeUpstream::Action{FakeUpstream::Ok(std::string(size, 'x')), false, false, 0};
  }};
  ProxyUnderTest proxy(1);
  proxy.Cluster("c", {up.address()});
  proxy.Listen(ProxyUnderTest::AllTo("c"));
  RawClient large(proxy.address());
  large.Send("GET /large HTTP/1.1\r\nHost: s\r\n\r\n");
  large.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(proxy.WaitStat("http.test.downstream_rq_active", 1));
  auto nothing = std::make_shared<config::Update>();
  for (int i = 0; i < 2000 && proxy.Stat("http.test.downstream_rq_overload_close") < 1; ++i) {
    proxy.pool().ResetLargestStreams(1);
    proxy.Apply(nothing);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(proxy.Stat("http.test.downstream_rq_overload_close"), 1);
  std::string all = large.ReadAll();
  EXPECT_LT(all.size(), size_t{64 << 20}) << "cut off, and not as if whole";
  RawClient small(proxy.address());
  small.Send(kGet);
  EXPECT_EQ(StatusOf(small.ReadResponse()), 200);
}

}  // namespace
}  // namespace weft::runtime
