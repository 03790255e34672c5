#include <algorithm>
#include <map>
#include <optional>

#include "api/cpp/names.h"
#include "controlplane/translate/generators.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"

namespace weft::ctl {
namespace {

using envoy::config::cluster::v3::Cluster;
using envoy::config::endpoint::v3::ClusterLoadAssignment;

constexpr std::chrono::seconds kDefaultConnectTimeout{10};

void SetAddress(const std::string& address, uint32_t port, envoy::config::core::v3::Address* out) {
  auto* socket = out->mutable_socket_address();
  socket->set_address(address);
  socket->set_port_value(port);
}

// An outbound cluster exists for each port of each service, and for each subset on it.
struct Outbound {
  std::shared_ptr<const Service> service;
  const ServicePort* port = nullptr;
  TrafficPolicy policy;
  Labels labels;  // of the subset
};
std::optional<Outbound> FindOutbound(const std::string& name, Reader& reader, const MeshGraph& mesh) {
  const auto cluster = api::ParseClusterName(name);
  if (!cluster.has_value() || cluster->direction != api::ClusterName::Direction::kOutbound) return std::nullopt;
  Outbound out;
  out.service = reader.Get(mesh.service, cluster->host);
  if (out.service == nullptr) return std::nullopt;
  out.port = out.service->FindPort(cluster->port);
  if (out.port == nullptr) return std::nullopt;
  const auto& policy = reader.Get(mesh.policy, cluster->host);
  if (policy != nullptr) out.policy = policy->policy;
  if (!cluster->subset.empty()) {
    const Subset* subset = policy == nullptr ? nullptr : policy->FindSubset(cluster->subset);
    if (subset == nullptr) return std::nullopt;
    out.policy = subset->policy;
    out.labels = subset->labels;
  }
  return out;
}

void ApplyPolicy(const TrafficPolicy& policy, Cluster& cluster) {
  *cluster.mutable_connect_timeout() = ToDuration(policy.connect_timeout.value_or(kDefaultConnectTimeout));
  if (policy.max_connections || policy.max_pending_requests || policy.max_requests || policy.max_retries) {
    auto* thresholds = cluster.mutable_circuit_breakers()->add_thresholds();
    if (policy.max_connections) thresholds->mutable_max_connections()->set_value(*policy.max_connections);
    if (policy.max_pending_requests) thresholds->mutable_max_pending_requests()->set_value(*policy.max_pending_requests);
    if (policy.max_requests) thresholds->mutable_max_requests()->set_value(*policy.max_requests);
    if (policy.max_retries) thresholds->mutable_max_retries()->set_value(*policy.max_retries);
  }
  if (policy.max_requests_per_connection || policy.idle_timeout) {
    envoy::extensions::upstreams::http::v3::HttpProtocolOptions options;
    options.mutable_explicit_http_config()->mutable_http_protocol_options();
    auto* common = options.mutable_common_http_protocol_options();
    if (policy.max_requests_per_connection) {
      common->mutable_max_requests_per_connection()->set_value(*policy.max_requests_per_connection);
    }
    if (policy.idle_timeout) *common->mutable_idle_timeout() = ToDuration(*policy.idle_timeout);
    PackInto(options, &(*cluster.mutable_typed_extension_protocol_options())[std::string(api::kHttpProtocolOptionsKey)]);
  }
}

ResourcePtr GenerateInbound(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const ProxyKey& proxy = *request.proxy;
  for (uint32_t port : *reader.Get(mesh.inbound_ports, ProxyRequest(request))) {
    if (api::InboundCluster(static_cast<uint16_t>(port)) != request.id.name) continue;
    Cluster cluster;
    cluster.set_name(request.id.name);
    cluster.set_type(Cluster::STATIC);
    *cluster.mutable_connect_timeout() = ToDuration(kDefaultConnectTimeout);
    auto* assignment = cluster.mutable_load_assignment();
    assignment->set_cluster_name(request.id.name);
    SetAddress(proxy.app_address, port,
               assignment->add_endpoints()->add_lb_endpoints()->mutable_endpoint()->mutable_address());
    return MakeResource(request.id.name, cluster);
  }
  return nullptr;
}

envoy::config::core::v3::HealthStatus ToEnvoy(Health health) {
  switch (health) {
    case Health::kHealthy: return envoy::config::core::v3::UNKNOWN;
    case Health::kUnhealthy: return envoy::config::core::v3::UNHEALTHY;
    case Health::kDraining: return envoy::config::core::v3::DRAINING;
  }
  return envoy::config::core::v3::UNKNOWN;
}

}  // namespace

ResourcePtr GenerateCluster(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const std::string& name = request.id.name;
  if (name.starts_with("inbound|")) return GenerateInbound(request, reader, mesh);
  const auto outbound = FindOutbound(name, reader, mesh);
  if (!outbound.has_value()) return nullptr;
  Cluster cluster;
  cluster.set_name(name);
  cluster.set_type(Cluster::EDS);
  auto* source = cluster.mutable_eds_cluster_config()->mutable_eds_config();
  source->mutable_ads();
  source->set_resource_api_version(envoy::config::core::v3::V3);
  cluster.set_lb_policy(Cluster::ROUND_ROBIN);
  ApplyPolicy(outbound->policy, cluster);
  return MakeResource(name, cluster);
}

ResourcePtr GenerateEndpoints(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const auto outbound = FindOutbound(request.id.name, reader, mesh);
  if (!outbound.has_value()) return nullptr;
  // By locality, then by address: the order of objects does not show.
  std::map<Locality, std::vector<Endpoint>> endpoints;
  for (const Workload& workload : *reader.Get(mesh.instances, outbound->service->host)) {
    if (!Matches(outbound->labels, workload.labels)) continue;
    endpoints[workload.locality].push_back({.addresses = workload.addresses,
                                            .port = InstancePort(*outbound->port, workload),
                                            .labels = {},
                                            .weight = workload.weight,
                                            .locality = workload.locality,
                                            .health = workload.health});
  }
  ClusterLoadAssignment assignment;
  assignment.set_cluster_name(request.id.name);
  for (auto& [locality, list] : endpoints) {
    std::sort(list.begin(), list.end());
    auto* group = assignment.add_endpoints();
    // gRPC's clients refuse a group without a locality and skip one without a weight (gRFC A27);
    // Envoy counts the weight only with locality_weighted_lb_config.
    group->mutable_locality()->set_region(locality.region);
    group->mutable_locality()->set_zone(locality.zone);
    group->mutable_locality()->set_sub_zone(locality.sub_zone);
    uint64_t weight = 0;
    const Endpoint* last = nullptr;
    for (const Endpoint& endpoint : list) {
      // Two workloads at one address are one endpoint.
      if (last != nullptr && last->addresses == endpoint.addresses && last->port == endpoint.port) continue;
      last = &endpoint;
      auto* out = group->add_lb_endpoints();
      SetAddress(endpoint.addresses.front(), endpoint.port, out->mutable_endpoint()->mutable_address());
      out->mutable_load_balancing_weight()->set_value(endpoint.weight);
      out->set_health_status(ToEnvoy(endpoint.health));
      weight += endpoint.weight;
    }
    // The sum over the localities of a priority must fit 32 bits, too.
    group->mutable_load_balancing_weight()->set_value(
        static_cast<uint32_t>(std::min<uint64_t>(weight, 1u << 24)));
  }
  return MakeResource(request.id.name, assignment);
}

}  // namespace weft::ctl
