#include "controlplane/translate/proxy_key.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>

namespace weft::ctl {
namespace {

using ::testing::HasSubstr;

envoy::config::core::v3::Node Node(const std::string& id, const std::string& metadata = "{}") {
  envoy::config::core::v3::Node node;
  node.set_id(id);
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(metadata, node.mutable_metadata()).ok());
  return node;
}

constexpr char kId[] = "sidecar~127.0.2.3~reviews-v1-1.default~default.svc.cluster.local";

TEST(ProxyKey, FromIdAndMetadata) {
  const auto key = ProxyKeyFromNode(Node(kId, R"({
    "NAMESPACE": "prod", "LABELS": {"app": "reviews", "version": "v1"}, "SERVICE_ACCOUNT": "sa",
    "APP_ADDRESS": "127.0.1.3", "OUTBOUND_ADDRESS": "127.0.3.3", "HTTP_PROXY_PORT": 15001, "CLUSTER_ID": "c1",
    "SERVICE_LISTENERS": {"reviews.default.svc.cluster.local:9080": 15103}, "ACCESS_LOG": "/tmp/log", "OTHER": [1, 2]})"));
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->name, "reviews-v1-1");
  EXPECT_EQ(key->ns, "prod");
  EXPECT_EQ(key->address, "127.0.2.3");
  EXPECT_EQ(key->dns_domain, "default.svc.cluster.local");
  EXPECT_EQ(key->labels, (Labels{{"app", "reviews"}, {"version", "v1"}}));
  EXPECT_EQ(key->service_account, "sa");
  EXPECT_EQ(key->app_address, "127.0.1.3");
  EXPECT_EQ(key->outbound_address, "127.0.3.3");
  EXPECT_EQ(key->http_proxy_port, 15001u);
  EXPECT_EQ(key->cluster_id, "c1");
  EXPECT_EQ(key->service_listeners.at("reviews.default.svc.cluster.local:9080"), 15103u);
  EXPECT_EQ(key->access_log, "/tmp/log");
}

TEST(ProxyKey, Defaults) {
  const auto key = ProxyKeyFromNode(Node(kId));
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(key->ns, "default");
  EXPECT_EQ(key->app_address, "127.0.0.1");
  EXPECT_TRUE(key->outbound_address.empty());
  EXPECT_EQ(key->http_proxy_port, 0u);
}

TEST(ProxyKey, SaysWhatIsWrong) {
  auto message = [](const std::string& id, const std::string& metadata) {
    return std::string(ProxyKeyFromNode(Node(id, metadata)).status().message());
  };
  EXPECT_THAT(message("envoy-1", "{}"), HasSubstr("node.id: expected \"sidecar~ADDRESS~NAME.NAMESPACE~DOMAIN\""));
  EXPECT_THAT(message("sidecar~here~a.b~c", "{}"), HasSubstr("node.id: expected"));
  EXPECT_THAT(message("router~1.2.3.4~a.b~c", "{}"), HasSubstr("\"router\" are not supported"));
  EXPECT_THAT(message(kId, R"({"NAMESPACE": 5})"), HasSubstr("node.metadata.NAMESPACE: expected a string"));
  EXPECT_THAT(message(kId, R"({"APP_ADDRESS": "localhost"})"), HasSubstr("node.metadata.APP_ADDRESS: expected an IPv4"));
  EXPECT_THAT(message(kId, R"({"HTTP_PROXY_PORT": 70000})"), HasSubstr("HTTP_PROXY_PORT: expected a port"));
  EXPECT_THAT(message(kId, R"({"HTTP_PROXY_PORT": 1.5})"), HasSubstr("HTTP_PROXY_PORT: expected a port"));
  EXPECT_THAT(message(kId, R"({"LABELS": {"a": 1}})"), HasSubstr("LABELS: expected a mapping of strings"));
  EXPECT_THAT(message(kId, R"({"LABELS": "a"})"), HasSubstr("LABELS: expected a mapping of strings"));
  EXPECT_THAT(message(kId, R"({"SERVICE_LISTENERS": {"reviews": 1}})"), HasSubstr("SERVICE_LISTENERS: expected"));
  EXPECT_THAT(message(kId, R"({"SERVICE_LISTENERS": {"reviews:80": "x"}})"), HasSubstr("SERVICE_LISTENERS: expected"));
}

TEST(ProxyKey, EveryFieldCounts) {
  const ProxyKey base = *ProxyKeyFromNode(Node(kId));
  EXPECT_EQ(base.Hash(), ProxyKeyFromNode(Node(kId))->Hash());
  for (const char* metadata :
       {R"({"NAMESPACE": "x"})", R"({"LABELS": {"a": "b"}})", R"({"SERVICE_ACCOUNT": "x"})", R"({"APP_ADDRESS": "::1"})",
        R"({"OUTBOUND_ADDRESS": "::1"})", R"({"HTTP_PROXY_PORT": 1})", R"({"SERVICE_LISTENERS": {"a:1": 2}})",
        R"({"CLUSTER_ID": "x"})", R"({"ACCESS_LOG": "x"})"}) {
    const ProxyKey other = *ProxyKeyFromNode(Node(kId, metadata));
    EXPECT_FALSE(other == base) << metadata;
    EXPECT_NE(other.Hash(), base.Hash()) << metadata;
  }
}

TEST(ProxyScope, WhatIsSharedByWhom) {
  ProxyKey key;
  key.ns = "prod";
  const ProxyScope scope(std::make_shared<const ProxyKey>(key), 7);
  EXPECT_EQ(scope.Of(ResourceType::kListener, "127.0.2.1_9080"), "proxy/7");
  EXPECT_EQ(scope.Of(ResourceType::kCluster, "inbound|9080||"), "proxy/7");
  EXPECT_EQ(scope.Of(ResourceType::kCluster, "outbound|9080||a"), "");
  EXPECT_EQ(scope.Of(ResourceType::kEndpoint, "outbound|9080||a"), "");
  EXPECT_EQ(scope.Of(ResourceType::kRoute, "9080"), "ns/prod");
  EXPECT_EQ(scope.Of(ResourceType::kRoute, "http_proxy"), "ns/prod");
  EXPECT_EQ(scope.Of(ResourceType::kRoute, "a.b:9080"), "");
}

}  // namespace
}  // namespace weft::ctl
