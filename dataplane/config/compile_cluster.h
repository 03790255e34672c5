#pragma once

#include <memory>
#include <optional>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/upstream/cluster_spec.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"

namespace weft::config {

// What a cluster says about how its endpoints are used; endpoints that come apart (EDS) are compiled with it.
struct EndpointPolicy {
  double panic_percent = 50;
  // In which order the addresses of one endpoint are dialled: AF_INET or AF_INET6 first; 0: the
  // family of its first address.
  int first_family = 0;
  uint32_t first_family_count = 1;
};

struct CompiledCluster {
  std::shared_ptr<upstream::ClusterSpec> spec;  // the caller sets `usage`, then shares it
  // Null for EDS.
  std::shared_ptr<const upstream::EndpointSet> endpoints;
  EndpointPolicy policy;
  std::string eds_name;  // the resource to subscribe to; empty: none
  MonoNanos eds_timeout = 0;
};

// Compiles envoy.config.cluster.v3.Cluster with Envoy's meaning and defaults. Nothing, and an error with the field's
// path, when a field is out of range or set to what is not supported.
std::optional<CompiledCluster> CompileCluster(const envoy::config::cluster::v3::Cluster& cluster, const std::string& path,
                                              const CompileEnv& env, decide::Errors* errors);

// Compiles the endpoints of one cluster. Null when there was an error. An empty set is fine.
std::shared_ptr<const upstream::EndpointSet> CompileEndpoints(
    const envoy::config::endpoint::v3::ClusterLoadAssignment& assignment, const EndpointPolicy& policy,
    const std::string& path, const CompileEnv& env, decide::Errors* errors);

// The weight that each endpoint gets out of all: priorities share the load by their health times the overprovisioning
// factor, endpoints of one priority by weight; a priority that is too ill uses all its endpoints ("panic").
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
std::vector<uint32_t> EffectiveWeights(const std::vector<upstream::EndpointSpec>& endpoints, double panic_percent,
                                       uint32_t overprovisioning);

}  // namespace weft::config
