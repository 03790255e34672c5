#include "controlplane/xds/hub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "test/controlplane/xds/fake_provider.h"
#include "test/controlplane/xds/fake_stream.h"

namespace weft::ctl::xds {
namespace {

const std::string kCds(kClusterUrl);

Node MakeNode(const std::string& id) {
  Node node;
  node.set_id(id);
  node.set_cluster("reviews.default");
  node.set_user_agent_name("envoy");
  node.mutable_user_agent_build_version()->mutable_version()->set_major_number(1);
  node.mutable_user_agent_build_version()->mutable_version()->set_minor_number(40);
  return node;
}

Request Subscribe() {
  Request r;
  r.type_url = kCds;
  r.subscribe = {"*"};
  return r;
}

Request Ack(const Response& response) {
  Request r;
  r.type_url = response.type_url;
  r.nonce = response.nonce;
  return r;
}

class HubTest : public ::testing::Test {
 protected:
  struct Client {
    std::shared_ptr<FakeStream> stream = std::make_shared<FakeStream>();
    std::shared_ptr<Connection> connection;
  };
  Client Connect(Hub& hub, const std::string& id) {
    Client client;
    auto connection = hub.Open(Protocol::kDelta, MakeNode(id), "127.0.0.1:5", client.stream);
    EXPECT_TRUE(connection.ok()) << connection.status();
    if (connection.ok()) client.connection = *connection;
    return client;
  }

  FakeProvider provider;
};

TEST_F(HubTest, RequestIsAnsweredAndChangesFollow) {
  Hub hub(&provider, {});
  provider.Set(kCds, "a", "1");
  Client c = Connect(hub, "sidecar~1~a.default~d");
  c.connection->OnRequest(Subscribe());
  auto first = c.stream->Read(*c.connection);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->resources.size(), 1u);
  c.connection->OnRequest(Ack(*first));
  provider.Set(kCds, "a", "2");
  hub.OnNewState();
  auto second = c.stream->Read(*c.connection);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->resources[0]->value, "2");

  std::vector<ConnectionStatus> status = hub.Status();
  ASSERT_EQ(status.size(), 1u);
  EXPECT_EQ(status[0].node_id, "sidecar~1~a.default~d");
  EXPECT_EQ(status[0].cluster, "reviews.default");
  EXPECT_EQ(status[0].client, "envoy 1.40.0");
  EXPECT_EQ(status[0].peer, "127.0.0.1:5");
  ASSERT_EQ(status[0].types.size(), 1u);
  EXPECT_EQ(status[0].types[0].state, SyncState::kStale);
  c.connection->OnRequest(Ack(*second));
  EXPECT_EQ(hub.Status()[0].types[0].state, SyncState::kSynced);
  EXPECT_EQ(hub.counters().acks, 2u);
  c.connection->OnClosed();
  EXPECT_EQ(hub.sessions(), 0u);
}

TEST_F(HubTest, ClientThatDoesNotReadHoldsOneResponseAndGetsTheNewestNext) {
  Hub hub(&provider, {});
  provider.Set(kCds, "a", "0");
  Client c = Connect(hub, "slow");
  c.connection->OnRequest(Subscribe());
  ASSERT_TRUE(c.stream->WaitForWrites(1));
  for (int i = 1; i <= 1000; ++i) {
    provider.Set(kCds, "a", absl::StrCat(i));
    hub.OnNewState();
  }
  auto first = c.stream->Read(*c.connection);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->resources[0]->value, "0");
  c.connection->OnRequest(Ack(*first));
  auto second = c.stream->Read(*c.connection);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->resources[0]->value, "1000");
  EXPECT_EQ(c.stream->writes(), 2u);
  EXPECT_FALSE(c.stream->overlapping());
}

TEST_F(HubTest, ClientThatNeverReadsIsEnded) {
  std::atomic<int64_t> now_ms{1000};
  Hub hub(&provider, {}, [&] { return SteadyTime(std::chrono::milliseconds(now_ms.load())); });
  provider.Set(kCds, "a", "1");
  Client c = Connect(hub, "dead");
  c.connection->OnRequest(Subscribe());
  ASSERT_TRUE(c.stream->WaitForWrites(1));
  now_ms += 59999;
  hub.Tick();
  EXPECT_FALSE(c.stream->closed().has_value());
  now_ms += 1;
  hub.Tick();
  ASSERT_TRUE(c.stream->closed().has_value());
  EXPECT_EQ(c.stream->closed()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(hub.counters().stalled_closed, 1u);
}

TEST_F(HubTest, TickWakesSessionsWhoseWaitIsOver) {
  std::atomic<int64_t> now_ms{1000};
  Hub hub(&provider, {}, [&] { return SteadyTime(std::chrono::milliseconds(now_ms.load())); });
  provider.Set(kCds, "a", "1");
  Client c = Connect(hub, "silent");
  c.connection->OnRequest(Subscribe());
  ASSERT_TRUE(c.stream->Read(*c.connection).has_value());
  provider.Set(kCds, "a", "2");
  hub.OnNewState();
  while (hub.Status()[0].types[0].state != SyncState::kStale || hub.queued() > 0)
    std::this_thread::yield();
  now_ms += 10001;  // the first was never answered
  // The queue's thread may still be at the push before: tick until it saw the time.
  for (int i = 0; i < 2000 && c.stream->writes() < 2; ++i) {
    hub.Tick();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  auto second = c.stream->Read(*c.connection);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->resources[0]->value, "2");
}

TEST_F(HubTest, BrokenRequestEndsTheStreamWithTheReason) {
  Hub hub(&provider, {});
  Client c = Connect(hub, "broken");
  c.connection->OnRequest({});
  ASSERT_TRUE(c.stream->closed().has_value());
  EXPECT_EQ(c.stream->closed()->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(hub.counters().bad_requests, 1u);
  c.connection->OnClosed();
  c.connection->OnClosed();
  EXPECT_EQ(hub.sessions(), 0u);
}

TEST_F(HubTest, TooManySessionsAreRefused) {
  HubOptions options;
  options.max_sessions = 2;
  Hub hub(&provider, options);
  Client a = Connect(hub, "a"), b = Connect(hub, "b");
  auto c = hub.Open(Protocol::kDelta, MakeNode("c"), "", std::make_shared<FakeStream>());
  EXPECT_EQ(c.status().code(), absl::StatusCode::kResourceExhausted);
  a.connection->OnClosed();
  EXPECT_TRUE(hub.Open(Protocol::kDelta, MakeNode("c"), "", std::make_shared<FakeStream>()).ok());
  EXPECT_EQ(hub.counters().sessions_rejected, 1u);
}

TEST_F(HubTest, ProviderMayRefuseANode) {
  Hub hub(&provider, {});
  provider.Refuse(
      absl::InvalidArgumentError("node id \"x\" is not TYPE~ADDRESS~NAME.NAMESPACE~DOMAIN"));
  auto c = hub.Open(Protocol::kDelta, MakeNode("x"), "", std::make_shared<FakeStream>());
  EXPECT_EQ(c.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(HubTest, ShutdownEndsStreamsAndRefusesNewOnes) {
  Hub hub(&provider, {});
  Client a = Connect(hub, "a");
  hub.Shutdown();
  ASSERT_TRUE(a.stream->closed().has_value());
  EXPECT_EQ(a.stream->closed()->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(hub.Open(Protocol::kDelta, MakeNode("b"), "", a.stream).status().code(),
            absl::StatusCode::kUnavailable);
  a.connection->OnClosed();
}

// Everything at once, for TSAN: each client ends with the newest state.
TEST_F(HubTest, ManyClientsChangesAndReaders) {
  HubOptions options;
  options.tick = std::chrono::milliseconds(1);
  Hub hub(&provider, options);
  provider.Set(kCds, "last", "0");
  constexpr int kClients = 8;
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      Client c = Connect(hub, absl::StrCat("client-", i));
      c.connection->OnRequest(Subscribe());
      while (true) {
        auto response = c.stream->Read(*c.connection);
        ASSERT_TRUE(response.has_value());
        c.connection->OnRequest(Ack(*response));
        bool done = false;
        for (const ResourcePtr& r : response->resources)
          done |= r->name == "last" && r->value == "1";
        if (done) break;
      }
      EXPECT_FALSE(c.stream->overlapping());
      c.connection->OnClosed();
    });
  }
  std::thread status([&] {
    for (int i = 0; i < 200; ++i) hub.Status();
  });
  for (int i = 0; i < 500; ++i) {
    provider.Set(kCds, absl::StrCat("n", i % 20), absl::StrCat(i));
    hub.OnNewState();
  }
  provider.Set(kCds, "last", "1");
  hub.OnNewState();
  for (std::thread& thread : threads) thread.join();
  status.join();
  EXPECT_EQ(hub.sessions(), 0u);
}

}  // namespace
}  // namespace weft::ctl::xds
