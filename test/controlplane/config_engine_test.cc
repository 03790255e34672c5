// The whole path, nothing faked: files -> objects -> graph -> resources.
#include "controlplane/translate/config_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/ingest/file/file_source.h"
#include "controlplane/ingest/read.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "test/controlplane/bookinfo.h"
#include "test/controlplane/temp_directory.h"

namespace weft::ctl {
namespace {

using envoy::config::cluster::v3::Cluster;
using envoy::config::endpoint::v3::ClusterLoadAssignment;
using envoy::config::listener::v3::Listener;
using envoy::config::route::v3::RouteConfiguration;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::ReviewsProxy;
using testing::ReviewsRoutesYaml;
using testing::ReviewsRuleYaml;
using testing::TempDirectory;

constexpr std::chrono::seconds kLimit{10};
constexpr char kReviews[] = "reviews.default.svc.cluster.local";

class ConfigEngineTest : public ::testing::Test {
 protected:
  ConfigEngineTest() {
    directory_.Write("registry/all.yaml", testing::RegistryYaml());
    directory_.Write("config/rule.yaml", ReviewsRuleYaml());
    directory_.Write("config/routes.yaml", ReviewsRoutesYaml(50, 50));
  }
  ~ConfigEngineTest() override { engine_.Stop(); }

  void Start() {
    FileSourceOptions options;
    options.directories = {directory_.Path("registry"), directory_.Path("config")};
    options.removal_grace = std::chrono::milliseconds(20);
    engine_.AddSource(std::make_unique<FileSource>(options));
    engine_.OnNewState([this](StatePtr state, const StateChange& change) {
      std::lock_guard lock(mutex_);
      for (const ResourceId& id : change.resources) changed_.push_back(id);
      changed_at_ = state->generation();
      told_.notify_all();
    });
    engine_.Start();
    ASSERT_TRUE(engine_.WaitForConfigGeneration(1, kLimit));
    proxy_ = engine_.Attach(ReviewsProxy());
  }

  // Changes a file and waits until the engine has taken it in.
  void Change(const std::string& file, const std::string& text) {
    const uint64_t before = engine_.state()->config_generation();
    directory_.Replace(file, text);
    ASSERT_TRUE(engine_.WaitForConfigGeneration(before + 1, kLimit));
  }
  // Until `done` holds for the state.
  template <typename F>
  bool WaitFor(F done) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, kLimit, [&] { return done(engine_.state()); });
  }

  template <typename M>
  M Get(ResourceType type, const std::string& name) {
    M message;
    const ResourcePtr resource = engine_.state()->Get(type, name, proxy_);
    EXPECT_NE(resource, nullptr) << name;
    if (resource != nullptr) {
      EXPECT_EQ(resource->name, name);
      EXPECT_TRUE(message.ParseFromString(resource->value));
    }
    return message;
  }
  bool Has(ResourceType type, const std::string& name) { return engine_.state()->Get(type, name, proxy_) != nullptr; }
  HttpConnectionManager ManagerOf(const std::string& listener) {
    HttpConnectionManager manager;
    const auto message = Get<Listener>(ResourceType::kListener, listener);
    EXPECT_TRUE(message.filter_chains(0).filters(0).typed_config().UnpackTo(&manager));
    return manager;
  }
  std::vector<std::string> ErrorTexts() {
    std::vector<std::string> out;
    for (const api::SourceError& error : engine_.Errors()) out.push_back(error.ToString());
    return out;
  }
  // Versions of everything that the proxy can ask for.
  std::map<std::string, std::string> Versions() {
    std::map<std::string, std::string> out;
    for (ResourceType type : kResourceTypes) {
      for (const ResourcePtr& resource : engine_.state()->List(type, proxy_)) {
        out[std::string(TypeUrl(type)) + " " + resource->name] = resource->version;
      }
    }
    return out;
  }

  TempDirectory directory_;
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<ResourceId> changed_;
  uint64_t changed_at_ = 0;
  ConfigEngine engine_{MeshOptions()};
  ProxyRef proxy_;
};

TEST_F(ConfigEngineTest, NamesAreTheContract) {
  Start();
  const StatePtr state = engine_.state();
  EXPECT_THAT(state->Names(ResourceType::kListener, proxy_),
              ElementsAre("127.0.2.2_15001", "127.0.2.2_15101", "127.0.2.2_15102", "127.0.2.2_9080", "127.0.3.2_9080"));
  EXPECT_THAT(state->Names(ResourceType::kRoute, proxy_),
              ElementsAre("9080", "http_proxy", "ratings.default.svc.cluster.local:9080",
                          "reviews.default.svc.cluster.local:9080"));
  EXPECT_THAT(state->Names(ResourceType::kCluster, proxy_),
              ElementsAre("inbound|9080||", "outbound|9080|v1|reviews.default.svc.cluster.local",
                          "outbound|9080|v2|reviews.default.svc.cluster.local",
                          "outbound|9080|v3|reviews.default.svc.cluster.local",
                          "outbound|9080||productpage.default.svc.cluster.local",
                          "outbound|9080||ratings.default.svc.cluster.local",
                          "outbound|9080||reviews.default.svc.cluster.local"));
  EXPECT_EQ(state->Names(ResourceType::kEndpoint, proxy_).size(), 6u);
}

TEST_F(ConfigEngineTest, InboundListener) {
  Start();
  const auto listener = Get<Listener>(ResourceType::kListener, "127.0.2.2_9080");
  EXPECT_EQ(listener.address().socket_address().address(), "127.0.2.2");
  EXPECT_EQ(listener.address().socket_address().port_value(), 9080u);
  EXPECT_EQ(listener.traffic_direction(), envoy::config::core::v3::INBOUND);
  const HttpConnectionManager manager = ManagerOf("127.0.2.2_9080");
  EXPECT_EQ(manager.route_config().name(), "inbound|9080||");
  EXPECT_EQ(manager.route_config().virtual_hosts(0).name(), "inbound|http|9080");
  EXPECT_THAT(manager.route_config().virtual_hosts(0).domains(), ElementsAre("*"));
  EXPECT_EQ(manager.route_config().virtual_hosts(0).routes(0).route().cluster(), "inbound|9080||");
  EXPECT_TRUE(manager.route_config().virtual_hosts(0).routes(0).route().has_timeout());
  EXPECT_EQ(manager.http_filters(0).name(), "envoy.filters.http.router");
  EXPECT_TRUE(manager.access_log().empty());

  const auto cluster = Get<Cluster>(ResourceType::kCluster, "inbound|9080||");
  EXPECT_EQ(cluster.type(), Cluster::STATIC);
  const auto& address = cluster.load_assignment().endpoints(0).lb_endpoints(0).endpoint().address().socket_address();
  EXPECT_EQ(address.address(), "127.0.1.2");
  EXPECT_EQ(address.port_value(), 9080u);
}

TEST_F(ConfigEngineTest, OutboundListeners) {
  Start();
  EXPECT_EQ(ManagerOf("127.0.2.2_15001").rds().route_config_name(), "http_proxy");
  EXPECT_TRUE(ManagerOf("127.0.2.2_15001").rds().config_source().has_ads());
  EXPECT_TRUE(ManagerOf("127.0.2.2_15001").http_protocol_options().allow_absolute_url().value());
  EXPECT_EQ(ManagerOf("127.0.2.2_15101").rds().route_config_name(), "ratings.default.svc.cluster.local:9080");
  EXPECT_EQ(ManagerOf("127.0.3.2_9080").rds().route_config_name(), "9080");
  EXPECT_EQ(Get<Listener>(ResourceType::kListener, "127.0.3.2_9080").traffic_direction(), envoy::config::core::v3::OUTBOUND);
}

TEST_F(ConfigEngineTest, AccessLogWhereTheNodeSays) {
  Start();
  ProxyKey key = ReviewsProxy();
  key.access_log = "/dev/stdout";
  proxy_ = engine_.Attach(key);
  EXPECT_EQ(ManagerOf("127.0.2.2_9080").access_log(0).name(), "envoy.access_loggers.file");
}

TEST_F(ConfigEngineTest, RoutesByPortHaveShortNames) {
  Start();
  const auto routes = Get<RouteConfiguration>(ResourceType::kRoute, "9080");
  ASSERT_EQ(routes.virtual_hosts_size(), 3);
  const auto& reviews = routes.virtual_hosts(2);
  EXPECT_EQ(reviews.name(), "reviews.default.svc.cluster.local:9080");
  EXPECT_THAT(reviews.domains(),
              ::testing::UnorderedElementsAre(kReviews, std::string(kReviews) + ":9080", "reviews", "reviews:9080",
                                              "reviews.default", "reviews.default:9080", "reviews.default.svc",
                                              "reviews.default.svc:9080"));
  const auto& clusters = reviews.routes(0).route().weighted_clusters().clusters();
  ASSERT_EQ(clusters.size(), 2);
  EXPECT_EQ(clusters[0].name(), "outbound|9080|v1|reviews.default.svc.cluster.local");
  EXPECT_EQ(clusters[0].weight().value(), 50u);
  EXPECT_EQ(clusters[1].name(), "outbound|9080|v3|reviews.default.svc.cluster.local");
  // Without a VirtualService: the default cluster, no timeout, harmless retries.
  const auto& ratings = routes.virtual_hosts(1).routes(0);
  EXPECT_EQ(ratings.name(), "default");
  EXPECT_EQ(ratings.route().cluster(), "outbound|9080||ratings.default.svc.cluster.local");
  EXPECT_TRUE(ratings.route().has_timeout());
  EXPECT_EQ(ratings.route().timeout().seconds(), 0);
  EXPECT_EQ(ratings.route().retry_policy().num_retries().value(), 2u);
}

TEST_F(ConfigEngineTest, ShortNamesDependOnTheNamespaceOfTheCaller) {
  Start();
  ProxyKey other = ReviewsProxy();
  other.ns = "prod";
  proxy_ = engine_.Attach(other);
  const auto routes = Get<RouteConfiguration>(ResourceType::kRoute, "9080");
  EXPECT_THAT(routes.virtual_hosts(2).domains(), Contains("reviews.default"));
  EXPECT_THAT(routes.virtual_hosts(2).domains(), Not(Contains("reviews")));
}

TEST_F(ConfigEngineTest, SharedResourcesAreTheSameObject) {
  Start();
  const ProxyRef same = engine_.Attach(ReviewsProxy());
  EXPECT_EQ(same.get(), proxy_.get());
  ProxyKey other_key = ReviewsProxy();
  other_key.address = "127.0.2.3";
  const ProxyRef other = engine_.Attach(other_key);
  const StatePtr state = engine_.state();
  for (const auto& [type, name] : std::vector<std::pair<ResourceType, std::string>>{
           {ResourceType::kRoute, "9080"},
           {ResourceType::kRoute, "http_proxy"},
           {ResourceType::kRoute, "reviews.default.svc.cluster.local:9080"},
           {ResourceType::kCluster, "outbound|9080|v1|reviews.default.svc.cluster.local"},
           {ResourceType::kEndpoint, "outbound|9080|v1|reviews.default.svc.cluster.local"}}) {
    EXPECT_EQ(state->Get(type, name, proxy_).get(), state->Get(type, name, other).get()) << name;
  }
  EXPECT_NE(state->Get(ResourceType::kCluster, "inbound|9080||", proxy_), nullptr);
  EXPECT_EQ(state->Get(ResourceType::kListener, "127.0.2.2_9080", other), nullptr);
}

TEST_F(ConfigEngineTest, RouteOfOneServiceAndForwardProxy) {
  Start();
  const auto one = Get<RouteConfiguration>(ResourceType::kRoute, "reviews.default.svc.cluster.local:9080");
  ASSERT_EQ(one.virtual_hosts_size(), 1);
  EXPECT_EQ(one.virtual_hosts(0).name(), "reviews.default.svc.cluster.local:9080");
  EXPECT_THAT(one.virtual_hosts(0).domains(), ElementsAre("*"));
  const auto all = Get<RouteConfiguration>(ResourceType::kRoute, "http_proxy");
  EXPECT_EQ(all.virtual_hosts_size(), 3);
  EXPECT_FALSE(Has(ResourceType::kRoute, "9081"));
  EXPECT_FALSE(Has(ResourceType::kRoute, "reviews.default.svc.cluster.local:9081"));
  EXPECT_FALSE(Has(ResourceType::kRoute, "nonsense"));
  EXPECT_FALSE(Has(ResourceType::kRoute, "99999999999999"));
}

TEST_F(ConfigEngineTest, ClustersAndEndpoints) {
  directory_.Write("config/rule.yaml", R"(
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    connectionPool:
      tcp: {maxConnections: 100, connectTimeout: 250ms}
      http: {http1MaxPendingRequests: 10, http2MaxRequests: 1000, maxRequestsPerConnection: 7, idleTimeout: 1m30s}
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v3
    labels: {version: v3}
    trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}
)");
  Start();
  const auto v1 = Get<Cluster>(ResourceType::kCluster, "outbound|9080|v1|reviews.default.svc.cluster.local");
  EXPECT_EQ(v1.type(), Cluster::EDS);
  EXPECT_TRUE(v1.eds_cluster_config().eds_config().has_ads());
  EXPECT_EQ(v1.connect_timeout().nanos(), 250000000);
  EXPECT_EQ(v1.circuit_breakers().thresholds(0).max_connections().value(), 100u);
  EXPECT_EQ(v1.circuit_breakers().thresholds(0).max_pending_requests().value(), 10u);
  EXPECT_EQ(v1.circuit_breakers().thresholds(0).max_requests().value(), 1000u);
  EXPECT_EQ(v1.typed_extension_protocol_options().size(), 1u);
  const auto v3 = Get<Cluster>(ResourceType::kCluster, "outbound|9080|v3|reviews.default.svc.cluster.local");
  EXPECT_EQ(v3.circuit_breakers().thresholds(0).max_connections().value(), 5u);
  EXPECT_EQ(v3.circuit_breakers().thresholds(0).max_requests().value(), 1000u) << "what the subset leaves open is the rule's";
  const auto ratings = Get<Cluster>(ResourceType::kCluster, "outbound|9080||ratings.default.svc.cluster.local");
  EXPECT_EQ(ratings.connect_timeout().seconds(), 10);
  EXPECT_FALSE(ratings.has_circuit_breakers());

  const auto all = Get<ClusterLoadAssignment>(ResourceType::kEndpoint, "outbound|9080||reviews.default.svc.cluster.local");
  ASSERT_EQ(all.endpoints_size(), 1);
  EXPECT_EQ(all.endpoints(0).lb_endpoints_size(), 3);
  // What gRPC's clients need of a group, even where no locality is known.
  EXPECT_TRUE(all.endpoints(0).has_locality());
  EXPECT_EQ(all.endpoints(0).load_balancing_weight().value(), 3u);
  const auto some = Get<ClusterLoadAssignment>(ResourceType::kEndpoint, "outbound|9080|v3|reviews.default.svc.cluster.local");
  EXPECT_EQ(some.cluster_name(), "outbound|9080|v3|reviews.default.svc.cluster.local");
  ASSERT_EQ(some.endpoints(0).lb_endpoints_size(), 1);
  EXPECT_EQ(some.endpoints(0).lb_endpoints(0).endpoint().address().socket_address().address(), "127.0.2.4");
}

TEST_F(ConfigEngineTest, OneWeightChangesTheRoutesThatHaveItAndNothingElse) {
  Start();
  proxy_ = engine_.Attach([] {
    ProxyKey key = ReviewsProxy();
    // A sidecar with listeners of services only: one route configuration has the changed route.
    key.outbound_address.clear();
    key.http_proxy_port = 0;
    return key;
  }());
  const auto before = Versions();
  const uint64_t generation = engine_.state()->generation();
  Change("config/routes.yaml", ReviewsRoutesYaml(49, 51));
  const auto after = Versions();
  ASSERT_EQ(before.size(), after.size());
  std::vector<std::string> differ;
  for (const auto& [name, version] : after) {
    if (before.at(name) != version) differ.push_back(name);
  }
  EXPECT_THAT(differ, ElementsAre("type.googleapis.com/envoy.config.route.v3.RouteConfiguration "
                                  "reviews.default.svc.cluster.local:9080"));
  // The change says the same.
  EXPECT_THAT(engine_.state()->ChangedSince(ResourceType::kRoute, proxy_, generation, false),
              ::testing::Optional(ElementsAre("reviews.default.svc.cluster.local:9080")));
  for (ResourceType type : {ResourceType::kListener, ResourceType::kCluster, ResourceType::kEndpoint}) {
    EXPECT_THAT(engine_.state()->ChangedSince(type, proxy_, generation, true), ::testing::Optional(IsEmpty()));
  }
}

TEST_F(ConfigEngineTest, AnEndpointChangesItsAssignmentsOnly) {
  Start();
  const auto before = Versions();
  Change("registry/more.yaml", testing::WorkloadYaml("reviews", "v1b", "127.0.2.9"));
  const auto after = Versions();
  std::vector<std::string> differ;
  for (const auto& [name, version] : after) {
    if (before.at(name) != version) differ.push_back(name.substr(name.find(' ') + 1));
  }
  EXPECT_THAT(differ, ElementsAre("outbound|9080||reviews.default.svc.cluster.local"));
}

TEST_F(ConfigEngineTest, OnlyWhatReadTheChangeIsComputed) {
  for (int i = 0; i < 50; ++i) {
    directory_.Write("registry/s" + std::to_string(i) + ".yaml", testing::ServiceYaml("s" + std::to_string(i)));
  }
  Start();
  Versions();
  const uint64_t before = engine_.counts().recomputed;
  Change("config/routes.yaml", ReviewsRoutesYaml(10, 90));
  // rules, routes of the virtual host, and the three route configurations that have it.
  EXPECT_EQ(engine_.counts().recomputed - before, 5u);
}

TEST_F(ConfigEngineTest, NewAndRemovedServices) {
  Start();
  Versions();
  const uint64_t generation = engine_.state()->generation();
  const std::string details = "outbound|9080||details.default.svc.cluster.local";
  EXPECT_FALSE(Has(ResourceType::kCluster, details));
  Change("registry/details.yaml", testing::ServiceYaml("details") + testing::WorkloadYaml("details", "v1", "127.0.2.9"));
  EXPECT_TRUE(Has(ResourceType::kCluster, details));
  EXPECT_THAT(engine_.state()->ChangedSince(ResourceType::kCluster, proxy_, generation, true),
              ::testing::Optional(ElementsAre(details)));
  EXPECT_EQ(Get<RouteConfiguration>(ResourceType::kRoute, "9080").virtual_hosts_size(), 4);

  const uint64_t with_details = engine_.state()->generation();
  directory_.Remove("registry/details.yaml");
  ASSERT_TRUE(WaitFor([&](const StatePtr& state) { return state->Get(ResourceType::kCluster, details, proxy_) == nullptr; }));
  EXPECT_THAT(engine_.state()->ChangedSince(ResourceType::kCluster, proxy_, with_details, true),
              ::testing::Optional(ElementsAre(details)));
  EXPECT_EQ(Get<RouteConfiguration>(ResourceType::kRoute, "9080").virtual_hosts_size(), 3);
}

// A name that a proxy waits for is told when it appears, also when no other resource of the proxy changes.
TEST_F(ConfigEngineTest, AnAbsentNameIsToldWhenItAppears) {
  Start();
  const std::string name = "outbound|9080|v9|reviews.default.svc.cluster.local";
  EXPECT_FALSE(Has(ResourceType::kCluster, name));
  const uint64_t generation = engine_.state()->generation();
  std::string rule = ReviewsRuleYaml();
  Change("config/rule.yaml", rule + "  - {name: v9, labels: {version: v9}}\n");
  EXPECT_THAT(engine_.state()->ChangedSince(ResourceType::kCluster, proxy_, generation, false),
              ::testing::Optional(ElementsAre(name)));
  EXPECT_TRUE(Has(ResourceType::kCluster, name));
}

TEST_F(ConfigEngineTest, AMissingSubsetKeepsTheLastGoodVersion) {
  Start();
  const auto before = Versions();
  std::string bad = ReviewsRoutesYaml(10, 90);
  bad.replace(bad.find("subset: v3"), 10, "subset: v4");
  Change("config/routes.yaml", bad);
  EXPECT_EQ(Versions(), before);
  EXPECT_THAT(ErrorTexts(),
              ElementsAre(AllOf(HasSubstr("config/routes.yaml:10:"),
                                HasSubstr("spec.http[0].route[1].destination.subset: subset \"v4\" is not defined"),
                                HasSubstr("has v1, v2, v3"))));
  const auto statuses = engine_.Statuses();
  const auto status = std::find_if(statuses.begin(), statuses.end(),
                                   [](const ObjectStatus& s) { return s.key.kind == "VirtualService"; });
  EXPECT_TRUE(status->in_effect());
  EXPECT_FALSE(status->current());
  EXPECT_EQ(status->conditions[0].reason, "MissingSubset");

  // As soon as the subset exists, the version that waited is taken.
  Change("config/rule.yaml", ReviewsRuleYaml() + "  - {name: v4, labels: {version: v3}}\n");
  EXPECT_THAT(ErrorTexts(), IsEmpty());
  EXPECT_NE(Versions(), before);
}

TEST_F(ConfigEngineTest, ABrokenFileKeepsItsObjectsAndDisturbsNobody) {
  Start();
  const auto before = Versions();
  const uint64_t generation = engine_.state()->generation();
  directory_.Replace("config/rule.yaml", "apiVersion: [\nthis is: not: yaml");
  ASSERT_TRUE(engine_.WaitForConfigGeneration(1, kLimit));
  // Another file's change arrives after it, so it has been read by then.
  Change("registry/x.yaml", testing::ServiceYaml("x"));
  EXPECT_THAT(ErrorTexts(), Contains(HasSubstr("rule.yaml")));
  const auto after = Versions();
  for (const auto& [name, version] : before) {
    if (name.find("|reviews.default") != std::string::npos) {
      EXPECT_EQ(after.at(name), version) << name;
    }
  }
  EXPECT_GT(engine_.state()->generation(), generation);
}

TEST_F(ConfigEngineTest, WhatWasGeneratedForOneProxyGoesWithIt) {
  Start();
  engine_.state()->List(ResourceType::kListener, proxy_);
  engine_.state()->List(ResourceType::kCluster, proxy_);
  for (int i = 0; i < 100; ++i) Has(ResourceType::kCluster, "outbound|1|nobody|" + std::to_string(i));
  auto settled = [&](uint64_t proxies) {
    // States follow each other until nothing is left to precompute or to forget.
    for (int i = 0; i < 1000 && engine_.counts().proxies != proxies; ++i) std::this_thread::yield();
    return engine_.counts();
  };
  ProxyKey other_key = ReviewsProxy();
  other_key.address = "127.0.2.3";
  ProxyRef other = engine_.Attach(other_key);
  engine_.state()->List(ResourceType::kListener, other);
  EXPECT_EQ(settled(2).proxies, 2u);
  other.reset();
  proxy_.reset();
  EXPECT_EQ(settled(0).proxies, 0u);
  Change("registry/x.yaml", testing::ServiceYaml("x"));
  // The six outbound clusters that List read are shared and stay; nothing of the proxies does.
  EXPECT_EQ(engine_.counts().resources, 6u);
}

TEST_F(ConfigEngineTest, ManyReadersWhileFilesChange) {
  Start();
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  std::atomic<int> bad{0};
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      ProxyKey key = ReviewsProxy();
      int round = 0;
      while (!stop) {
        key.name = "reader-" + std::to_string(i) + "-" + std::to_string(round++ % 3);
        const ProxyRef proxy = engine_.Attach(key);
        const StatePtr state = engine_.state();
        for (ResourceType type : kResourceTypes) {
          for (const ResourcePtr& resource : state->List(type, proxy)) {
            if (resource->value.empty()) ++bad;
          }
        }
        RouteConfiguration routes;
        if (!routes.ParseFromString(state->Get(ResourceType::kRoute, "9080", proxy)->value)) ++bad;
        const auto& clusters = routes.virtual_hosts(2).routes(0).route().weighted_clusters().clusters();
        if (clusters.size() != 2 || clusters[0].weight().value() + clusters[1].weight().value() != 100) ++bad;
      }
    });
  }
  for (int i = 1; i < 30; ++i) Change("config/routes.yaml", ReviewsRoutesYaml(i, 100 - i));
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(bad, 0);
}

TEST_F(ConfigEngineTest, ChecksWhatIsNotThereYet) {
  Start();
  const std::string bad = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec:\n"
                          "  hosts: [ratings]\n  http: [{route: [{destination: {host: rating}}]}]\n";
  const ReadObjectsResult read = ReadObjects(bad, "new.yaml");
  ASSERT_NE(read.objects.at(0).object, nullptr);
  const auto errors = engine_.Check({read.objects[0].object});
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].ToString(),
            "new.yaml:6:40: spec.http[0].route[0].destination.host: no service has the host "
            "\"rating.default.svc.cluster.local\"; did you mean \"ratings.default.svc.cluster.local\"?");
  EXPECT_THAT(ErrorTexts(), IsEmpty());
}

}  // namespace
}  // namespace weft::ctl
