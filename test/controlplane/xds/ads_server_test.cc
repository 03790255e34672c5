#include "controlplane/xds/ads_server.h"

#include <gtest/gtest.h>

#include <thread>

#include "test/controlplane/xds/ads_client.h"
#include "test/controlplane/xds/fake_provider.h"

namespace weft::ctl::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

const std::string kCds(kClusterUrl), kRds(kRouteUrl);

class AdsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AdsServerOptions options;
    options.address = "127.0.0.1:0";
    server = std::make_unique<AdsServer>(&hub, options);
    ASSERT_TRUE(server->Start().ok());
  }
  void TearDown() override { server->Stop(); }

  static discovery::DeltaDiscoveryRequest Delta(const std::string& type,
                                                std::vector<std::string> names) {
    discovery::DeltaDiscoveryRequest r;
    r.set_type_url(type);
    for (auto& name : names) r.add_resource_names_subscribe(name);
    return r;
  }
  void WaitForSessions(size_t count) {
    for (int i = 0; i < 5000 && hub.sessions() != count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(hub.sessions(), count);
  }

  FakeProvider provider;
  Hub hub{&provider, {}};
  std::unique_ptr<AdsServer> server;
};

TEST_F(AdsServerTest, DeltaConversation) {
  provider.Set(kCds, "a", "1");
  DeltaClient client(server->address(), "sidecar~127.0.2.1~a.default~d");
  ASSERT_TRUE(client.Send(Delta(kCds, {})));
  auto first = client.Read();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->type_url(), kCds);
  ASSERT_EQ(first->resources_size(), 1);
  EXPECT_EQ(first->resources(0).name(), "a");
  EXPECT_EQ(first->resources(0).version(), "v-1");
  EXPECT_EQ(first->resources(0).resource().value(), "1");
  client.Ack(*first);
  provider.Remove(kCds, "a");
  hub.OnNewState();
  auto second = client.Read();
  ASSERT_TRUE(second.has_value());
  ASSERT_EQ(second->removed_resources_size(), 1);
  EXPECT_EQ(second->removed_resources(0), "a");
  EXPECT_EQ(hub.Status()[0].node_id, "sidecar~127.0.2.1~a.default~d");
  EXPECT_NE(hub.Status()[0].peer.find("127.0.0.1"), std::string::npos);
  client.HalfClose();
  EXPECT_TRUE(client.Finish().ok());
  WaitForSessions(0);
}

TEST_F(AdsServerTest, ReconnectWithVersionsGetsNothingAgain) {
  provider.Set(kCds, "a", "1");
  DeltaClient client(server->address(), "n");
  auto request = Delta(kCds, {});
  (*request.mutable_initial_resource_versions())["a"] = "v-1";
  ASSERT_TRUE(client.Send(request));
  auto answer = client.Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->resources_size(), 0);
  EXPECT_EQ(answer->removed_resources_size(), 0);
}

TEST_F(AdsServerTest, StateOfTheWorldConversation) {
  provider.Set(kRds, "80", "1");
  provider.Set(kRds, "81", "1");
  SotwClient client(server->address(), "n");
  discovery::DiscoveryRequest request;
  request.set_type_url(kRds);
  request.add_resource_names("80");
  ASSERT_TRUE(client.Send(request));
  auto first = client.Read();
  ASSERT_TRUE(first.has_value());
  ASSERT_EQ(first->resources_size(), 1);
  EXPECT_EQ(first->resources(0).type_url(), kRds);
  EXPECT_EQ(first->resources(0).value(), "1");
  EXPECT_FALSE(first->version_info().empty());
  request.set_response_nonce(first->nonce());
  request.set_version_info(first->version_info());
  ASSERT_TRUE(client.Send(request));
  provider.Set(kRds, "80", "2");
  hub.OnNewState();
  auto second = client.Read();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->resources(0).value(), "2");
  EXPECT_EQ(hub.Status()[0].protocol, Protocol::kStateOfTheWorld);
}

TEST_F(AdsServerTest, StreamWithoutNodeIsRefused) {
  DeltaClient client(server->address(), "n");
  ASSERT_TRUE(client.SendRaw(Delta(kCds, {})));
  EXPECT_FALSE(client.Read().has_value());
  grpc::Status status = client.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("node"), std::string::npos);
}

TEST_F(AdsServerTest, NodeThatTheProviderRefusesHearsWhy) {
  provider.Refuse(absl::InvalidArgumentError("bad node id"));
  SotwClient client(server->address(), "n");
  discovery::DiscoveryRequest request;
  request.set_type_url(kCds);
  ASSERT_TRUE(client.Send(request));
  EXPECT_FALSE(client.Read().has_value());
  EXPECT_EQ(client.Finish().error_message(), "bad node id");
  WaitForSessions(0);
}

TEST_F(AdsServerTest, ClientThatVanishesIsForgotten) {
  {
    DeltaClient client(server->address(), "n");
    ASSERT_TRUE(client.Send(Delta(kCds, {})));
    ASSERT_TRUE(client.Read().has_value());
    WaitForSessions(1);
    client.Cancel();
  }
  WaitForSessions(0);
}

TEST_F(AdsServerTest, LargeResourceGoesThrough) {
  provider.Set(kCds, "a", std::string(6u << 20, 'x'));
  DeltaClient client(server->address(), "n");
  ASSERT_TRUE(client.Send(Delta(kCds, {})));
  auto answer = client.Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->resources(0).resource().value().size(), 6u << 20);
}

TEST_F(AdsServerTest, TooLargeRequestIsRefused) {
  DeltaClient client(server->address(), "n");
  client.Send(Delta(kCds, {std::string(17u << 20, 'x')}));
  EXPECT_FALSE(client.Read().has_value());
  EXPECT_EQ(client.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(AdsServerTest, StopEndsStreamsAsUnavailable) {
  DeltaClient client(server->address(), "n");
  ASSERT_TRUE(client.Send(Delta(kCds, {})));
  ASSERT_TRUE(client.Read().has_value());
  const auto before = std::chrono::steady_clock::now();
  server->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
  EXPECT_FALSE(client.Read().has_value());
  EXPECT_EQ(client.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(AdsServerTest, AddressInUseIsNamed) {
  AdsServerOptions options;
  options.address = server->address();
  AdsServer second(&hub, options);
  absl::Status status = second.Start();
  EXPECT_NE(status.message().find(server->address()), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("in use"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("--xds-address"), absl::string_view::npos) << status;
}

TEST(CheckListen, BadAddressesAreExplained) {
  for (const char* address : {"15010", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"}) {
    EXPECT_NE(CheckListen(address, "--xds-address").message().find("HOST:PORT"),
              absl::string_view::npos)
        << address;
  }
  EXPECT_NE(CheckListen("example:15010", "--f").message().find("not an IP address"),
            absl::string_view::npos);
  EXPECT_NE(CheckListen("203.0.113.1:15010", "--f").message().find("does not have that address"),
            absl::string_view::npos);
  EXPECT_TRUE(CheckListen("127.0.0.1:0", "--f").ok());
  EXPECT_TRUE(CheckListen("localhost:0", "--f").ok());
}

// Many streams on one server while the state changes: each ends with the newest.
TEST_F(AdsServerTest, ManyClients) {
  provider.Set(kCds, "last", "0");
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      DeltaClient client(server->address(), "n" + std::to_string(i));
      ASSERT_TRUE(client.Send(Delta(kCds, {"*"})));
      bool done = false;
      while (!done) {
        auto response = client.Read();
        ASSERT_TRUE(response.has_value());
        for (const auto& r : response->resources())
          done |= r.name() == "last" && r.resource().value() == "1";
        client.Ack(*response);
      }
    });
  }
  WaitForSessions(16);
  for (int i = 0; i < 200; ++i) {
    provider.Set(kCds, "n" + std::to_string(i % 10), std::to_string(i));
    hub.OnNewState();
  }
  provider.Set(kCds, "last", "1");
  hub.OnNewState();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace weft::ctl::xds
