#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "api/cpp/yaml.h"
#include "dataplane/decide/route.h"
#include "dataplane/decide/route_index.h"
#include "dataplane/decide/trace.h"
#include "dataplane/decide/virtual_hosts.h"
#include "envoy/config/route/v3/route.pb.h"

namespace weft::decide {

// One virtual host, compiled. Part of a RouteTable.
struct VirtualHost {
  std::string name;
  std::vector<std::string> domains;
  std::vector<Route> routes;
  Modifications modifications;
  RouteIndex index, folded_index;  // routes whose case counts, and whose doesn't; empty when there are few routes
};

// What Match found. `vhost` is null when no domain matches, `route` when no route does. Pointers and views are good as
// long as the table; `cluster` of a cluster_header route is a view of the request's header.
struct RouteMatch {
  const VirtualHost* vhost = nullptr;
  const Route* route = nullptr;
  std::string_view cluster;                   // empty for redirect and direct response
  const WeightedCluster* weighted = nullptr;  // the one that was picked, if any
};

struct CompileOptions {
  // Compiles typed_per_filter_config; an error goes to `errors` with `path`. Without it, FilterConfig::raw is kept.
  std::function<std::shared_ptr<const void>(const std::string& filter_name, const google::protobuf::Any& config,
                                            const std::string& path, Errors* errors)>
      filter_config;
  // Reads DataSource.filename (deciders do no I/O themselves). Without it, a filename is an error.
  std::function<absl::StatusOr<std::string>(const std::string& filename)> read_file;
  // For validate_clusters. Without it, clusters are not checked, as with route configurations from RDS.
  std::function<bool(std::string_view cluster)> cluster_exists;
};

// A route configuration (envoy.config.route.v3.RouteConfiguration), compiled.
// Owner: shared by all workers and by the exchanges that began with it. Thread: immutable, any.
class RouteTable {
 public:
  // Null when there was an error; errors carry the field's path ("virtual_hosts[1].routes[0].match.safe_regex.regex").
  // Warnings don't prevent the table.
  static std::shared_ptr<const RouteTable> Compile(const envoy::config::route::v3::RouteConfiguration& config,
                                                   std::vector<api::SourceError>* errors,
                                                   const CompileOptions& options = {});

  // Pure: equal arguments, equal answer. `random` decides runtime_fraction (each route draws its own number from it) and
  // weighted clusters. Allocates nothing, unless `trace` is given; `trace` never changes the answer.
  RouteMatch Match(const RequestView& request, uint64_t random, Trace* trace) const;

  const std::string& name() const { return name_; }
  const std::vector<VirtualHost>& virtual_hosts() const { return virtual_hosts_; }
  const Modifications& modifications() const { return modifications_; }

  // Calls f(const std::vector<HeaderMutation>&) for each level that changes the request's (the response's) headers, in
  // the order to apply them: weighted cluster, route, virtual host, table; the other way round with
  // most_specific_header_mutations_wins.
  template <typename F>
  void ForEachRequestMutations(const RouteMatch& match, F&& f) const {
    ForEachLevel(match, most_specific_wins_, [&](const Modifications& m) { f(m.request_mutations); });
  }
  template <typename F>
  void ForEachResponseMutations(const RouteMatch& match, F&& f) const {
    ForEachLevel(match, most_specific_wins_, [&](const Modifications& m) { f(m.response_mutations); });
  }
  // The most specific configuration of a filter for this request; null when there is none.
  const FilterConfig* FindFilterConfig(const RouteMatch& match, std::string_view filter_name) const;
  // All of them, most general first, for filters that merge the levels.
  template <typename F>
  void ForEachFilterConfig(const RouteMatch& match, std::string_view filter_name, F&& f) const {
    ForEachLevel(match, true, [&](const Modifications& m) {
      for (const FilterConfig& c : m.filter_configs) {
        if (c.filter_name == filter_name) f(c);
      }
    });
  }

 private:
  friend class RouteCompiler;
  RouteTable() = default;

  template <typename F>
  void ForEachLevel(const RouteMatch& match, bool general_first, F&& f) const {
    const Modifications* levels[] = {match.weighted == nullptr ? nullptr : &match.weighted->modifications,
                                     match.route == nullptr ? nullptr : &match.route->modifications,
                                     match.vhost == nullptr ? nullptr : &match.vhost->modifications, &modifications_};
    for (int i = 0; i < 4; ++i) {
      const Modifications* level = levels[general_first ? 3 - i : i];
      if (level != nullptr) f(*level);
    }
  }

  const Route* FindRoute(const VirtualHost& vhost, const RequestView& request, const SplitPath& path,
                         uint64_t random) const;
  const Route* FindRouteTraced(const VirtualHost& vhost, const RequestView& request, const SplitPath& path,
                               uint64_t random, Trace* trace) const;
  static void PickCluster(const RequestView& request, uint64_t random, RouteMatch* match);

  std::string name_;
  std::vector<VirtualHost> virtual_hosts_;
  VirtualHostIndex hosts_;
  Modifications modifications_;
  bool ignore_port_ = false;
  bool most_specific_wins_ = false;
};

}  // namespace weft::decide
