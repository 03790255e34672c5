#include "dataplane/config/manager.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/decide/route_table.h"
#include "dataplane/decide/weighted_pick.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "test/config/fake_xds_transport.h"
#include "test/http/h2/fake_server.h"

namespace weft::config {
namespace {

using test::FakeXdsTransport;
namespace ds = envoy::service::discovery::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;

const std::string kCds(api::kClusterType), kEds(api::kEndpointType), kLds(api::kListenerType), kRds(api::kRouteType);

constexpr char kXds[] = R"(
node: {id: me, cluster: us}
static_resources:
  clusters:
  - name: xds
    http2_protocol_options: {}
    load_assignment: {cluster_name: xds, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}
  - name: fixed
    load_assignment: {cluster_name: fixed, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 2}}}}]}]}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
  lds_config: {ads: {}}
  cds_config: {ads: {}}
)";

std::string Cluster(const std::string& name, const std::string& eds = "", int timeout_s = 1) {
  envoy::config::cluster::v3::Cluster c;
  c.set_name(name);
  c.mutable_connect_timeout()->set_seconds(timeout_s);
  if (!eds.empty()) {
    c.set_type(envoy::config::cluster::v3::Cluster::EDS);
    auto* e = c.mutable_eds_cluster_config();
    e->mutable_eds_config()->mutable_ads();
    e->mutable_eds_config()->mutable_initial_fetch_timeout()->set_nanos(60'000'000);
    if (eds != name) e->set_service_name(eds);
  }
  return c.SerializeAsString();
}

std::string Endpoints(const std::string& name, std::vector<int> ports) {
  envoy::config::endpoint::v3::ClusterLoadAssignment a;
  a.set_cluster_name(name);
  auto* g = a.add_endpoints();
  for (int p : ports) {
    auto* s = g->add_lb_endpoints()->mutable_endpoint()->mutable_address()->mutable_socket_address();
    s->set_address("127.0.0.1");
    s->set_port_value(static_cast<uint32_t>(p));
  }
  return a.SerializeAsString();
}

std::string Listener(const std::string& name, int port, const std::string& rds, const std::string& prefix = "p") {
  hcm::HttpConnectionManager m;
  m.set_stat_prefix(prefix);
  if (rds.empty()) {
    m.mutable_route_config()->set_name("inline");
    auto* v = m.mutable_route_config()->add_virtual_hosts();
    v->set_name("v");
    v->add_domains("*");
  } else {
    m.mutable_rds()->set_route_config_name(rds);
    m.mutable_rds()->mutable_config_source()->mutable_ads();
    m.mutable_rds()->mutable_config_source()->mutable_initial_fetch_timeout()->set_nanos(60'000'000);
  }
  auto* router = m.add_http_filters();
  router->set_name("router");
  router->mutable_typed_config()->PackFrom(envoy::extensions::filters::http::router::v3::Router());
  envoy::config::listener::v3::Listener l;
  l.set_name(name);
  auto* s = l.mutable_address()->mutable_socket_address();
  s->set_address("127.0.0.1");
  s->set_port_value(static_cast<uint32_t>(port));
  l.add_filter_chains()->add_filters()->mutable_typed_config()->PackFrom(m);
  return l.SerializeAsString();
}

std::string Routes(const std::string& name, const std::string& cluster) {
  envoy::config::route::v3::RouteConfiguration r;
  r.set_name(name);
  auto* v = r.add_virtual_hosts();
  v->set_name("v");
  v->add_domains("*");
  auto* route = v->add_routes();
  route->mutable_match()->set_prefix("/");
  route->mutable_route()->set_cluster(cluster);
  return r.SerializeAsString();
}

struct Reply {
  ds::DeltaDiscoveryResponse m;
  Reply(const std::string& type, const std::string& nonce) {
    m.set_type_url(type);
    m.set_nonce(nonce);
  }
  Reply& Put(const std::string& name, const std::string& version, const std::string& bytes) {
    auto* r = m.add_resources();
    r->set_name(name);
    r->set_version(version);
    r->mutable_resource()->set_type_url(m.type_url());
    r->mutable_resource()->set_value(bytes);
    return *this;
  }
  Reply& Remove(const std::string& name) {
    m.add_removed_resources(name);
    return *this;
  }
};

class ManagerTest : public ::testing::Test {
 protected:
  ManagerTest() {
    const char* base = getenv("TEST_TMPDIR");
    dir_ = StrCat(base != nullptr ? base : "/tmp", "/weft-manager-", getpid());
  }
  ~ManagerTest() override {
    unlink(LastGoodPath(dir_).c_str());
    rmdir(dir_.c_str());
  }
  void Make(const char* text = kXds, bool disk = false) {
    std::vector<api::SourceError> errors;
    auto b = ReadBootstrap(text, "b.yaml", {}, CompileEnv(), &errors);
    ASSERT_NE(b, nullptr) << api::ToString(errors);
    auto transport = std::make_unique<FakeXdsTransport>();
    t_ = transport.get();
    ManagerOptions o;
    if (disk) o.state_dir = dir_;
    o.disk_after = 30 * kMillisecond;
    o.save_delay = 10 * kMillisecond;
    o.backoff_min = o.backoff_max = 8 * kMillisecond;
    emitted_.clear();
    m_ = std::make_unique<ConfigManager>(
        loop_, slab_, std::move(b), o,
        [this](std::shared_ptr<const Update> u, ConfigManager::Applied done) {
          emitted_.push_back(Text(*u));
          last_ = u;
          std::vector<std::pair<std::string, std::string>> refused;
          for (const auto& l : u->listeners) {
            if (l->address.port() == taken_port_) refused.emplace_back(l->name, "cannot listen: Address already in use");
          }
          if (hold_) {
            held_.push_back([done, refused] { done(refused); });
          } else {
            done(refused);
          }
        },
        std::move(transport));
    m_->OnReadyChange([this] { ready_ = true; });
    m_->Start();
  }
  void Connect() {
    ASSERT_TRUE(Until([&] { return t_->open(); }));
    t_->Ready();
  }
  void Begin(bool disk = false) {
    Make(kXds, disk);
    Connect();
    EXPECT_EQ(Emitted(), "+cluster xds(1) +cluster fixed(1)");
    EXPECT_EQ(Next(), "Cluster node=me");
  }
  static std::string Text(const Update& u) {
    std::string out;
    auto add = [&](const std::string& s) { StrAppend(&out, out.empty() ? "" : " ", s); };
    for (const auto& c : u.clusters) add(StrCat("+cluster ", c.spec->name, "(", c.endpoints ? std::to_string(c.endpoints->endpoints.size()) : "keep", ")"));
    for (const auto& e : u.endpoints) add(StrCat("+endpoints ", e.cluster, "(", e.endpoints->endpoints.size(), ")"));
    for (const auto& r : u.routes) add("+routes " + r.name);
    for (const auto& l : u.listeners) add(StrCat("+listener ", l->name, ":", l->address.port()));
    for (const auto& n : u.removed_listeners) add("-listener " + n);
    for (const auto& n : u.removed_routes) add("-routes " + n);
    for (const auto& n : u.removed_clusters) add("-cluster " + n);
    return out;
  }
  std::string Emitted() {
    std::string out;
    for (const auto& e : emitted_) StrAppend(&out, out.empty() ? "" : "; ", e);
    emitted_.clear();
    return out;
  }
  std::string Next() {
    loop_.RunOnce();
    return t_->Next();
  }
  // All requests that are waiting.
  std::string All() {
    std::string out;
    for (std::string s = Next(); !s.empty(); s = Next()) StrAppend(&out, out.empty() ? "" : "; ", s);
    return out;
  }
  bool Until(const std::function<bool()>& f) { return test::RunUntil(loop_, f); }
  std::string Dump(const std::string& type) {
    std::string out;
    m_->ForEach(type, [&](const ResourceView& v) {
      StrAppend(&out, out.empty() ? "" : " ", v.name, "=", v.version, v.is_static ? "(static)" : "");
      if (v.wire.empty()) out += "(none)";
      if (!v.warming_wire.empty()) StrAppend(&out, "(warming ", v.warming_version, ")");
      if (!v.refused_reason.empty()) StrAppend(&out, "(refused ", v.refused_version, ": ", v.refused_reason, ")");
    });
    return out;
  }
  // A whole configuration: cluster c with endpoints e, listener l with routes r.
  void SendAll() {
    t_->Reply(Reply(kCds, "1").Put("c", "c1", Cluster("c", "e")).m);
    t_->Reply(Reply(kEds, "2").Put("e", "e1", Endpoints("e", {1, 2})).m);
    ASSERT_TRUE(Until([&] { return All().find("Listener") != std::string::npos; }));
    t_->Reply(Reply(kLds, "3").Put("l", "l1", Listener("l", 80, "r")).m);
    t_->Reply(Reply(kRds, "4").Put("r", "r1", Routes("r", "c")).m);
    All();
  }

  event::Loop loop_;
  buffer::Slab slab_;
  std::string dir_;
  FakeXdsTransport* t_ = nullptr;
  std::unique_ptr<ConfigManager> m_;
  std::vector<std::string> emitted_;
  std::shared_ptr<const Update> last_;
  std::vector<std::function<void()>> held_;
  bool hold_ = false, ready_ = false;
  uint16_t taken_port_ = 0;
};

TEST_F(ManagerTest, StaticOnly) {
  std::vector<std::pair<std::string, std::string>> failed = {{"x", "not called"}};
  Make("static_resources: {clusters: [{name: a}]}\n");
  EXPECT_EQ(Emitted(), "+cluster a(0)");
  EXPECT_TRUE(m_->ready());
  EXPECT_TRUE(ready_);
  EXPECT_EQ(Dump(kCds), "a=(static)");
  EXPECT_FALSE(m_->status().has_xds);
}

TEST_F(ManagerTest, WholeConversation) {
  Begin();
  EXPECT_FALSE(m_->ready());
  EXPECT_EQ(m_->WaitingFor(), "clusters from server0");
  t_->Reply(Reply(kCds, "n1").Put("c", "c1", Cluster("c", "e")).Put("d", "d1", Cluster("d")).m);
  EXPECT_EQ(Emitted(), "+cluster d(0)");
  EXPECT_EQ(m_->WaitingFor(), "endpoints e of cluster c");
  // Answered although c waits: servers send endpoints after the answer.
  EXPECT_EQ(All(), "Cluster nonce=n1; ClusterLoadAssignment +e");
  EXPECT_EQ(Dump(kCds), "c=(none)(warming c1) d=d1 fixed=(static) xds=(static)");
  t_->Reply(Reply(kEds, "n2").Put("e", "e1", Endpoints("e", {1, 2})).m);
  EXPECT_EQ(Emitted(), "+cluster c(2)");
  // Listeners are asked for when clusters are complete.
  EXPECT_EQ(All(), "ClusterLoadAssignment nonce=n2; Listener");
  t_->Reply(Reply(kLds, "n3").Put("l", "l1", Listener("l", 80, "r")).Put("k", "k1", Listener("k", 81, "")).m);
  EXPECT_EQ(Emitted(), "+listener k:81");
  EXPECT_EQ(All(), "Listener nonce=n3; RouteConfiguration +r");
  EXPECT_EQ(m_->WaitingFor(), "routes r of listener l");
  t_->Reply(Reply(kRds, "n4").Put("r", "r1", Routes("r", "c")).m);
  EXPECT_EQ(Emitted(), "+routes r +listener l:80");
  EXPECT_TRUE(m_->ready());
  EXPECT_TRUE(ready_);
  EXPECT_EQ(All(), "RouteConfiguration nonce=n4");

  // Changes later.
  t_->Reply(Reply(kEds, "n5").Put("e", "e2", Endpoints("e", {1, 2, 3})).m);
  EXPECT_EQ(Emitted(), "+endpoints c(3)");
  t_->Reply(Reply(kRds, "n6").Put("r", "r2", Routes("r", "d")).m);
  EXPECT_EQ(Emitted(), "+routes r");
  t_->Reply(Reply(kCds, "n7").Put("c", "c2", Cluster("c", "e", 2)).m);
  EXPECT_EQ(Emitted(), "+cluster c(3)") << "endpoints are there already";
  // Equal bytes change nothing.
  t_->Reply(Reply(kCds, "n8").Put("c", "c3", Cluster("c", "e", 2)).m);
  EXPECT_EQ(Emitted(), "");
  EXPECT_EQ(Dump(kCds), "c=c3 d=d1 fixed=(static) xds=(static)");
  All();
  // Removal: with the last user go endpoints and routes.
  t_->Reply(Reply(kLds, "n9").Remove("l").m);
  EXPECT_EQ(Emitted(), "-listener l -routes r");
  EXPECT_EQ(All(), "Listener nonce=n9; RouteConfiguration -r");
  t_->Reply(Reply(kCds, "n10").Remove("c").m);
  EXPECT_EQ(Emitted(), "-cluster c");
  EXPECT_EQ(All(), "Cluster nonce=n10; ClusterLoadAssignment -e");
  EXPECT_EQ(Dump(kEds), "");
  EXPECT_EQ(m_->status().counts[0].updates, 4u);
  EXPECT_EQ(m_->status().source, ConfigSourceKind::kController);
}

TEST_F(ManagerTest, AcknowledgedAfterTheWorkersHaveIt) {
  Begin();
  hold_ = true;
  t_->Reply(Reply(kCds, "n1").Put("d", "d1", Cluster("d")).m);
  EXPECT_EQ(Emitted(), "+cluster d(0)");
  EXPECT_EQ(All(), "");
  held_[0]();
  EXPECT_EQ(All(), "Cluster nonce=n1; Listener");
}

TEST_F(ManagerTest, BadResourcesAreRefusedAloneAndTheOldStays) {
  Begin();
  t_->Reply(Reply(kCds, "n1").Put("a", "1", Cluster("a")).Put("b", "1", Cluster("b", "", 0)).Put("fixed", "1", Cluster("fixed")).Put("n", "1", Cluster("other")).Put("x", "1", "\xff\xff").m);
  EXPECT_EQ(Emitted(), "+cluster a(0)");
  EXPECT_EQ(Next(),
            "Cluster nonce=n1 nack=3{b: connect_timeout: 0 s: expected more than 0 s, at most 100 years\n"
            "fixed: is the name of a cluster of the bootstrap file\nn: name: is \"other\" inside the resource\n"
            "x: malformed bytes: not an envoy.config.cluster.v3.Cluster}"
            " detail={b|connect_timeout: 0 s: expected more than 0 s, at most 100 years}"
            " detail={fixed|is the name of a cluster of the bootstrap file} detail={n|name: is \"other\" inside the resource}"
            " detail={x|malformed bytes: not an envoy.config.cluster.v3.Cluster}");
  All();
  t_->Reply(Reply(kCds, "n2").Put("a", "2", Cluster("a", "", 0)).m);
  EXPECT_EQ(Emitted(), "");
  std::string dump = Dump(kCds);
  EXPECT_NE(dump.find("a=1(refused 2: connect_timeout: 0 s: expected more than 0 s, at most 100 years)"), std::string::npos) << dump;
  EXPECT_NE(dump.find("b=(none)(refused 1: "), std::string::npos) << dump;
  t_->Reply(Reply(kCds, "n3").Put("a", "3", Cluster("a", "", 3)).Put("b", "2", Cluster("b")).m);
  EXPECT_EQ(Emitted(), "+cluster a(0) +cluster b(0)");
  EXPECT_EQ(Dump(kCds).find("a=3(ref"), std::string::npos);
  EXPECT_EQ(m_->status().counts[0].refused_updates, 2u);
}

TEST_F(ManagerTest, BadEndpointsAndRoutes) {
  Begin();
  SendAll();
  Emitted();
  envoy::config::endpoint::v3::ClusterLoadAssignment bad;
  bad.set_cluster_name("e");
  bad.add_endpoints()->add_lb_endpoints();
  t_->Reply(Reply(kEds, "5").Put("e", "e2", bad.SerializeAsString()).m);
  EXPECT_EQ(All(), "ClusterLoadAssignment nonce=5 nack=3{e: endpoints[0].lb_endpoints[0].endpoint: is missing}"
                   " detail={e|endpoints[0].lb_endpoints[0].endpoint: is missing}");
  envoy::config::route::v3::RouteConfiguration r;
  r.ParseFromString(Routes("r", "c"));
  r.mutable_virtual_hosts(0)->mutable_routes(0)->mutable_match()->mutable_safe_regex()->set_regex("(");
  t_->Reply(Reply(kRds, "6").Put("r", "r2", r.SerializeAsString()).m);
  std::string nack = All();
  EXPECT_NE(nack.find("RouteConfiguration nonce=6 nack=3{r: virtual_hosts[0].routes[0].match.safe_regex.regex: "), std::string::npos) << nack;
  EXPECT_EQ(Emitted(), "");
  EXPECT_EQ(Dump(kEds).substr(0, 16), "e=e1(refused e2:");
}

TEST_F(ManagerTest, EndpointsThatDoNotComeInTime) {
  Begin();
  t_->Reply(Reply(kCds, "n1").Put("c", "c1", Cluster("c", "e")).m);
  EXPECT_EQ(Emitted(), "");
  ASSERT_TRUE(Until([&] { return !emitted_.empty(); }));
  EXPECT_EQ(Emitted(), "+cluster c(0)");
  t_->Reply(Reply(kEds, "n2").Put("e", "e1", Endpoints("e", {7})).m);
  EXPECT_EQ(Emitted(), "+endpoints c(1)") << "late, but welcome";
}

TEST_F(ManagerTest, RefusedEndpointsDoNotHoldTheClusterForEver) {
  Begin();
  t_->Reply(Reply(kCds, "n1").Put("c", "c1", Cluster("c", "e")).m);
  All();
  t_->Reply(Reply(kEds, "n2").Put("e", "e1", "\xff").m);
  ASSERT_TRUE(Until([&] { return !emitted_.empty(); }));
  EXPECT_EQ(Emitted(), "+cluster c(0)");
}

TEST_F(ManagerTest, RoutesThatDoNotComeOrDoNotExist) {
  Begin();
  t_->Reply(Reply(kCds, "n1").m);
  All();
  t_->Reply(Reply(kLds, "n2").Put("l", "1", Listener("l", 80, "r")).Put("k", "1", Listener("k", 81, "s")).m);
  t_->Reply(Reply(kRds, "n3").Remove("s").m);
  EXPECT_EQ(Emitted(), "+listener k:81");
  ASSERT_TRUE(Until([&] { return !emitted_.empty(); }));
  EXPECT_EQ(Emitted(), "+listener l:80");
}

TEST_F(ManagerTest, WhatIsReplacedStaysUntilItsSuccessorIsWarm) {
  Begin();
  SendAll();
  Emitted();
  t_->Reply(Reply(kCds, "5").Put("c", "c2", Cluster("c", "e9")).m);
  EXPECT_EQ(Emitted(), "");
  EXPECT_EQ(Dump(kCds).substr(0, 20), "c=c1(warming c2) fix");
  t_->Reply(Reply(kEds, "6").Put("e", "e2", Endpoints("e", {5})).m);
  EXPECT_EQ(Emitted(), "+endpoints c(1)") << "of the one in effect";
  // Another change of mind before it is warm.
  t_->Reply(Reply(kCds, "7").Put("c", "c3", Cluster("c", "e10")).m);
  All();
  t_->Reply(Reply(kEds, "8").Put("e10", "1", Endpoints("e10", {1, 2, 3, 4})).m);
  EXPECT_EQ(Emitted(), "+cluster c(4)");
  EXPECT_EQ(Dump(kEds), "e10=1");
}

TEST_F(ManagerTest, SharedEndpointsAndRoutes) {
  Begin();
  t_->Reply(Reply(kCds, "1").Put("a", "1", Cluster("a", "e")).Put("b", "1", Cluster("b", "e")).m);
  t_->Reply(Reply(kEds, "2").Put("e", "1", Endpoints("e", {1})).m);
  EXPECT_EQ(Emitted(), "+cluster a(1) +cluster b(1)");
  t_->Reply(Reply(kCds, "3").Remove("a").m);
  EXPECT_EQ(Emitted(), "-cluster a");
  EXPECT_EQ(All().find("-e"), std::string::npos);
  t_->Reply(Reply(kEds, "4").Put("e", "2", Endpoints("e", {})).m);
  EXPECT_EQ(Emitted(), "+endpoints b(0)");
}

TEST_F(ManagerTest, TheUsageOfAClusterSurvivesItsChange) {
  Begin();
  t_->Reply(Reply(kCds, "1").Put("a", "1", Cluster("a")).m);
  auto usage = last_->clusters[0].spec->usage;
  t_->Reply(Reply(kCds, "2").Put("a", "2", Cluster("a", "", 9)).m);
  EXPECT_EQ(last_->clusters[0].spec->usage, usage);
  EXPECT_EQ(last_->clusters[0].spec->connect_timeout, 9 * kSecond);
}

TEST_F(ManagerTest, AddressThatIsTaken) {
  Begin();
  t_->Reply(Reply(kCds, "1").m);
  All();
  taken_port_ = 81;
  t_->Reply(Reply(kLds, "2").Put("l", "1", Listener("l", 80, "")).Put("k", "1", Listener("k", 81, "")).m);
  EXPECT_EQ(All(), "Listener nonce=2 nack=3{k: address: cannot listen: Address already in use}"
                   " detail={k|address: cannot listen: Address already in use}");
  EXPECT_EQ(Dump(kLds), "l=1 k=(none)(refused 1: address: cannot listen: Address already in use)");
  t_->Reply(Reply(kLds, "3").Put("l", "2", Listener("l", 81, "")).m);
  All();
  EXPECT_TRUE(Dump(kLds).starts_with("l=1(refused 2: address: cannot listen: Address already in use) k=")) << Dump(kLds);
  taken_port_ = 0;
  t_->Reply(Reply(kLds, "4").Put("l", "3", Listener("l", 81, "", "q")).m);
  EXPECT_EQ(All(), "Listener nonce=4");
  EXPECT_TRUE(Dump(kLds).starts_with("l=3 k=")) << Dump(kLds);
}

TEST_F(ManagerTest, StaticListenerThatCanNotBeBound) {
  taken_port_ = 80;
  std::vector<std::pair<std::string, std::string>> failed;
  std::vector<api::SourceError> errors;
  auto b = ReadBootstrap(R"(static_resources: {listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 80}},
    filter_chains: [{filters: [{name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
    stat_prefix: x, route_config: {}, http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]}]}]})",
                         "b.yaml", {}, CompileEnv(), &errors);
  ASSERT_NE(b, nullptr) << api::ToString(errors);
  ConfigManager m(loop_, slab_, std::move(b), {}, [](std::shared_ptr<const Update> u, ConfigManager::Applied done) {
    done({{u->listeners[0]->name, "in use"}});
  });
  m.OnStaticApplied([&](auto f) { failed = f; });
  m.Start();
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].first, "l");
  EXPECT_EQ(failed[0].second, "address: in use");
}

// ---- last good state ----

TEST_F(ManagerTest, StartsFromDiskAndIsReplacedByTheController) {
  Begin(true);
  SendAll();
  m_->SaveNow();
  ASSERT_EQ(m_->status().save_error, "");
  m_.reset();
  loop_.RunOnce();

  ready_ = false;
  Make(kXds, true);
  ASSERT_TRUE(Until([&] { return t_->open(); }));
  Emitted();
  t_->Close("connection refused");
  EXPECT_EQ(Emitted(), "+cluster c(2) +routes r +listener l:80");
  EXPECT_TRUE(m_->ready());
  EXPECT_EQ(m_->status().source, ConfigSourceKind::kDisk);
  EXPECT_GT(m_->status().disk_saved_micros, 0);
  // The controller is back: it hears what is held, sends what differs and removes the rest.
  Connect();
  EXPECT_EQ(All(), "Cluster node=me c=c1; ClusterLoadAssignment +e e=e1; Listener l=l1; RouteConfiguration +r r=r1");
  t_->Reply(Reply(kCds, "1").Put("new", "1", Cluster("new")).Remove("c").m);
  EXPECT_EQ(m_->status().source, ConfigSourceKind::kController);
  EXPECT_EQ(Emitted(), "+cluster new(0) -cluster c");
  t_->Reply(Reply(kLds, "2").Remove("l").m);
  EXPECT_EQ(Emitted(), "-listener l -routes r");
}

TEST_F(ManagerTest, SilentControllerDoesNotDelayTheStart) {
  Begin(true);
  SendAll();
  m_->SaveNow();
  Make(kXds, true);
  Connect();  // accepts, says nothing
  Emitted();
  ASSERT_TRUE(Until([&] { return !emitted_.empty(); }));
  EXPECT_EQ(Emitted(), "+cluster c(2) +routes r +listener l:80");
  // The stream began before it was known what is held: another one is opened.
  Connect();
  EXPECT_NE(All().find("Cluster node=me c=c1"), std::string::npos);
}

TEST_F(ManagerTest, StateOfTheWorldReplacesDiskToo) {
  Begin(true);
  SendAll();
  m_->SaveNow();
  std::string sotw = kXds;
  sotw.replace(sotw.find("DELTA_GRPC"), 10, "GRPC");
  Make(sotw.c_str(), true);
  ASSERT_TRUE(Until([&] { return t_->open(); }));
  Emitted();
  t_->Close();
  EXPECT_EQ(Emitted(), "+cluster c(2) +routes r +listener l:80");
  Connect();
  ds::DiscoveryResponse r;
  r.set_type_url(kCds);
  r.set_version_info("9");
  auto* any = r.add_resources();
  any->set_type_url(kCds);
  any->set_value(Cluster("z"));
  t_->Reply(r);
  EXPECT_EQ(Emitted(), "+cluster z(0) -cluster c");
}

TEST_F(ManagerTest, NothingIsSavedBeforeItIsWhole) {
  Begin(true);
  t_->Reply(Reply(kCds, "1").Put("d", "1", Cluster("d")).m);
  for (int i = 0; i < 5; ++i) Until([n = 0]() mutable { return ++n > 2; });
  EXPECT_NE(access(LastGoodPath(dir_).c_str(), F_OK), 0);
  All();
  t_->Reply(Reply(kLds, "2").m);
  ASSERT_TRUE(Until([&] { return access(LastGoodPath(dir_).c_str(), F_OK) == 0; }));
  struct stat st;
  ASSERT_EQ(stat(LastGoodPath(dir_).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(ManagerTest, DamagedFileIsNotUsed) {
  Begin(true);
  SendAll();
  m_->SaveNow();
  {
    std::fstream f(LastGoodPath(dir_), std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(60);
    f.put('!');
  }
  Make(kXds, true);
  ASSERT_TRUE(Until([&] { return t_->open(); }));
  Emitted();
  t_->Close();
  EXPECT_EQ(Emitted(), "");
  EXPECT_FALSE(m_->ready());
  EXPECT_EQ(m_->status().source, ConfigSourceKind::kNone);
  EXPECT_EQ(m_->WaitingFor(), "clusters from server0 (server0: UNAVAILABLE: gone)");
}

TEST_F(ManagerTest, FileOfAnotherNodeIsNotUsed) {
  Begin(true);
  SendAll();
  m_->SaveNow();
  std::string other = kXds;
  other.replace(other.find("id: me"), 6, "id: he");
  Make(other.c_str(), true);
  ASSERT_TRUE(Until([&] { return t_->open(); }));
  Emitted();
  t_->Close();
  EXPECT_EQ(Emitted(), "");
}

TEST_F(ManagerTest, BadResourceOnDiskIsLeftOut) {
  LastGood state;
  state.node_id = "me";
  state.saved_micros = 1;
  state.types = {{kCds, {{"good", "1", Cluster("good")}, {"bad", "1", Cluster("bad", "", 0)}, {"waits", "1", Cluster("waits", "none")}}},
                 {kEds, {{"unused", "1", Endpoints("unused", {1})}, {"broken", "1", "\xff"}}}};
  ASSERT_EQ(WriteLastGood(dir_, state), "");
  Make(kXds, true);
  ASSERT_TRUE(Until([&] { return t_->open(); }));
  Emitted();
  t_->Close();
  EXPECT_EQ(Emitted(), "+cluster good(0)");
  EXPECT_EQ(Dump(kEds), "none=(none)");
  EXPECT_FALSE(m_->ready());
  EXPECT_EQ(m_->WaitingFor(), "endpoints none of cluster waits");
}

TEST_F(ManagerTest, InitialFetchTimeoutMakesReady) {
  std::string text = kXds;
  for (const char* what : {"lds_config: {ads: {}", "cds_config: {ads: {}"}) {
    text.replace(text.find(what), strlen(what), std::string(what) + ", initial_fetch_timeout: 0.03s");
  }
  Make(text.c_str());
  ASSERT_TRUE(Until([&] { return ready_; }));
  EXPECT_EQ(m_->status().source, ConfigSourceKind::kNone);
}

TEST_F(ManagerTest, WorkersDoneAfterTheManagerIsGone) {
  Begin();
  hold_ = true;
  t_->Reply(Reply(kCds, "1").Put("d", "1", Cluster("d")).m);
  m_.reset();
  held_[0]();
}

TEST_F(ManagerTest, StaticClusterWithDynamicEndpoints) {
  std::string text = kXds;
  text.insert(text.find("dynamic_resources"), "  - {name: mixed, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}\n");
  Make(text.c_str());
  Connect();
  EXPECT_EQ(Emitted(), "+cluster xds(1) +cluster fixed(1)");
  EXPECT_EQ(All(), "Cluster node=me; ClusterLoadAssignment +mixed");
  t_->Reply(Reply(kEds, "1").Put("mixed", "1", Endpoints("mixed", {1, 2})).m);
  EXPECT_EQ(Emitted(), "+cluster mixed(2)");
}

TEST(LastGoodTest, RoundTripAndEveryDamage) {
  LastGood s;
  s.node_id = "n";
  s.saved_micros = 1234567;
  s.types = {{"t/a", {{"x", "1", std::string("\0\xff", 2)}, {"y", "2", ""}}}, {"t/b", {}}};
  std::string bytes = EncodeLastGood(s);
  LastGood out;
  ASSERT_EQ(DecodeLastGood(bytes, &out), "");
  EXPECT_EQ(out.node_id, "n");
  EXPECT_EQ(out.saved_micros, 1234567);
  ASSERT_EQ(out.types.size(), 2u);
  EXPECT_EQ(out.types[0].url, "t/a");
  ASSERT_EQ(out.types[0].resources.size(), 2u);
  EXPECT_EQ(out.types[0].resources[0].value, std::string("\0\xff", 2));
  EXPECT_EQ(out.types[0].resources[1].version, "2");
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit : {1, 128}) {
      std::string bad = bytes;
      bad[i] = static_cast<char>(bad[i] ^ bit);
      EXPECT_NE(DecodeLastGood(bad, &out), "") << i;
      EXPECT_TRUE(out.types.empty());
    }
    EXPECT_NE(DecodeLastGood(bytes.substr(0, i), &out), "") << i;
  }
  EXPECT_NE(DecodeLastGood(bytes + "x", &out), "");
}

TEST(LastGoodTest, Unwritable) {
  EXPECT_EQ(WriteLastGood("/proc/nothing", {}), "cannot make directory /proc/nothing: No such file or directory");
  LastGood out;
  EXPECT_EQ(ReadLastGood("/nonexistent", &out), "");
  EXPECT_TRUE(out.types.empty());
}

}  // namespace
}  // namespace weft::config
