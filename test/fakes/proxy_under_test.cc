#include "test/fakes/proxy_under_test.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "dataplane/decide/weighted_pick.h"

namespace weft::fakes {
namespace {

std::shared_ptr<const upstream::EndpointSet> EndpointSetOf(
    const std::vector<net::Address>& endpoints) {
  auto set = std::make_shared<upstream::EndpointSet>();
  std::vector<uint32_t> weights;
  for (const auto& a : endpoints) {
    set->endpoints.emplace_back().address = a;
    weights.push_back(1);
  }
  set->pick = std::make_shared<decide::PickTable>(decide::PickTable::Build(weights));
  return set;
}

}  // namespace

ProxyUnderTest::ProxyUnderTest(int workers) {
  pool_ = std::make_unique<runtime::WorkerPool>(main_, registry_, logs_, workers);
  pool_->Start();
}

ProxyUnderTest::~ProxyUnderTest() {
  pool_->Stop();
  pool_.reset();
}

void ProxyUnderTest::Apply(std::shared_ptr<const config::Update> update,
                           runtime::ApplyResult* result) {
  bool done = false;
  pool_->Apply(std::move(update), [&](runtime::ApplyResult r) {
    if (result != nullptr) *result = std::move(r);
    done = true;
  });
  while (!done) main_.RunOnce(true);
}

std::shared_ptr<const decide::RouteTable> ProxyUnderTest::Compile(const std::string& yaml) {
  std::vector<api::SourceError> errors;
  auto docs = api::ParseDocuments(yaml, "routes.yaml", &errors);
  envoy::config::route::v3::RouteConfiguration config;
  if (docs.size() == 1) docs[0].ReadInto(&config, {}, &errors);
  auto table = decide::RouteTable::Compile(config, &errors, route_options_);
  for (const auto& e : errors) fprintf(stderr, "%s\n", e.ToString().c_str());
  if (table == nullptr) abort();
  return table;
}

void ProxyUnderTest::Cluster(const std::string& name, const std::vector<net::Address>& endpoints,
                             const std::function<void(upstream::ClusterSpec&)>& change) {
  auto spec = std::make_shared<upstream::ClusterSpec>();
  spec->name = name;
  if (change) change(*spec);
  auto update = std::make_shared<config::Update>();
  update->clusters.push_back({spec, EndpointSetOf(endpoints)});
  Apply(update);
}

void ProxyUnderTest::Endpoints(const std::string& name,
                               const std::vector<net::Address>& endpoints) {
  auto update = std::make_shared<config::Update>();
  update->endpoints.push_back({name, EndpointSetOf(endpoints)});
  Apply(update);
}

void ProxyUnderTest::Listen(const std::string& routes_yaml,
                            const std::function<void(proxy::HttpManagerSpec&)>& change) {
  auto http = std::make_shared<proxy::HttpManagerSpec>();
  http->stat_prefix = "test";
  http->accept_http_10 = true;
  http->rds_name = "routes";
  if (change) change(*http);
  auto listener = std::make_shared<config::ListenerSpec>();
  listener->name = "listener";
  listener->address = *net::Address::FromIp("127.0.0.1", 0);
  auto chain = std::make_shared<config::FilterChainSpec>();
  chain->http = http;
  listener->chains = {chain};
  auto update = std::make_shared<config::Update>();
  update->routes.push_back({"routes", Compile(routes_yaml)});
  update->listeners.push_back(listener);
  Apply(update);
}

void ProxyUnderTest::Routes(const std::string& routes_yaml) {
  auto update = std::make_shared<config::Update>();
  update->routes.push_back({"routes", Compile(routes_yaml)});
  Apply(update);
}

std::string ProxyUnderTest::AllTo(const std::string& cluster, const std::string& extra) {
  return "name: routes\nvirtual_hosts:\n- name: all\n  domains: ['*']\n  routes:\n  - match: "
         "{prefix: /}\n    route: {cluster: " +
         cluster + (extra.empty() ? "" : ", " + extra) + "}\n";
}

net::Address ProxyUnderTest::address() const { return pool_->ListenAddresses().at(0).second; }

int64_t ProxyUnderTest::Stat(const std::string& name) const {
  auto v = registry_.Value(name);
  return v == nullptr ? -1 : *v;
}

bool ProxyUnderTest::WaitStat(const std::string& name, int64_t value) const {
  for (int i = 0; i < 500; ++i) {
    if (Stat(name) == value) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace weft::fakes
