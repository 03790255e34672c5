#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "dataplane/decide/route_table.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/runtime/worker_pool.h"

namespace weft::fakes {

// The real workers in this process, configured by specs directly: what lies between a fake
// downstream and a fake upstream. One listener on a free port of 127.0.0.1, route configuration as
// YAML.
class ProxyUnderTest {
 public:
  explicit ProxyUnderTest(int workers = 1);
  ~ProxyUnderTest();

  // Blocks until every worker has it. Clusters by name and address; `routes_yaml` is a
  // RouteConfiguration.
  void Cluster(const std::string& name, const std::vector<net::Address>& endpoints,
               const std::function<void(upstream::ClusterSpec&)>& change = {});
  void Endpoints(const std::string& name, const std::vector<net::Address>& endpoints);
  void Listen(const std::string& routes_yaml,
              const std::function<void(proxy::HttpManagerSpec&)>& change = {});
  void Routes(const std::string& routes_yaml);
  // "all to cluster c".
  static std::string AllTo(const std::string& cluster, const std::string& extra_route_fields = "");

  // For route configurations that configure filters.
  decide::CompileOptions& route_options() { return route_options_; }

  net::Address address() const;
  observe::Registry& registry() { return registry_; }
  // Sum over workers; -1 when the series does not exist.
  int64_t Stat(const std::string& name) const;
  bool WaitStat(const std::string& name, int64_t value) const;
  runtime::WorkerPool& pool() { return *pool_; }
  void Apply(std::shared_ptr<const config::Update> update, runtime::ApplyResult* result = nullptr);

 private:
  std::shared_ptr<const decide::RouteTable> Compile(const std::string& yaml);
  decide::CompileOptions route_options_;
  observe::Registry registry_;
  observe::AccessLogs logs_;
  event::Loop main_;
  std::unique_ptr<runtime::WorkerPool> pool_;
};

}  // namespace weft::fakes
