#include "controlplane/model/convert.h"

#include "controlplane/model/hosts.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/service_entry.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "istio/networking/v1alpha3/workload_entry.pb.h"

namespace weft::ctl {
namespace {

namespace istio = ::istio::networking::v1alpha3;

std::chrono::milliseconds Milliseconds(const google::protobuf::Duration& d) {
  return std::chrono::milliseconds(d.seconds() * 1000 + d.nanos() / 1000000);
}

// "region/zone/sub_zone", of which later parts may be missing.
Locality ParseLocality(std::string_view text) {
  Locality out;
  std::string* const parts[] = {&out.region, &out.zone, &out.sub_zone};
  for (std::string* part : parts) {
    const size_t slash = text.find('/');
    *part = text.substr(0, slash);
    if (slash == std::string_view::npos) break;
    text.remove_prefix(slash + 1);
  }
  return out;
}

Workload FromEntry(const istio::WorkloadEntry& entry, std::string ns, std::string name) {
  Workload out;
  out.ns = std::move(ns);
  out.name = std::move(name);
  out.addresses = {entry.address()};
  out.ports.insert(entry.ports().begin(), entry.ports().end());
  out.labels.insert(entry.labels().begin(), entry.labels().end());
  out.weight = entry.weight() == 0 ? 1 : entry.weight();
  out.locality = ParseLocality(entry.locality());
  out.network = entry.network();
  out.service_account = entry.service_account();
  return out;
}

// Settings that `from` has replace those in `policy`.
void Override(TrafficPolicy& policy, const istio::TrafficPolicy& from) {
  auto set = [](std::optional<uint32_t>& field, int32_t value) {
    if (value > 0) field = static_cast<uint32_t>(value);
  };
  const istio::ConnectionPoolSettings& pool = from.connection_pool();
  set(policy.max_connections, pool.tcp().max_connections());
  if (pool.tcp().has_connect_timeout()) policy.connect_timeout = Milliseconds(pool.tcp().connect_timeout());
  set(policy.max_pending_requests, pool.http().http1_max_pending_requests());
  set(policy.max_requests, pool.http().http2_max_requests());
  set(policy.max_requests_per_connection, pool.http().max_requests_per_connection());
  set(policy.max_retries, pool.http().max_retries());
  if (pool.http().has_idle_timeout()) policy.idle_timeout = Milliseconds(pool.http().idle_timeout());
}

}  // namespace

const Subset* DestinationPolicy::FindSubset(std::string_view name) const {
  for (const Subset& subset : subsets) {
    if (subset.name == name) return &subset;
  }
  return nullptr;
}

std::vector<Service> ServicesOf(const Object& service_entry, std::string_view domain_suffix) {
  const auto& spec = service_entry.SpecAs<istio::ServiceEntry>();
  Service base;
  base.object = service_entry.key;
  base.ns = service_entry.key.ns;
  base.location = spec.location() == istio::ServiceEntry::MESH_INTERNAL ? Location::kMeshInternal
                                                                        : Location::kMeshExternal;
  for (const istio::ServicePort& port : spec.ports()) {
    base.ports.push_back({.number = port.number(),
                          .name = port.name(),
                          .protocol = Protocol::kHttp,
                          .target_port = port.target_port() == 0 ? port.number() : port.target_port()});
  }
  for (const istio::WorkloadEntry& entry : spec.endpoints()) {
    base.inline_workloads.push_back(FromEntry(entry, base.ns, ""));
  }
  base.selector.insert(spec.workload_selector().labels().begin(), spec.workload_selector().labels().end());

  std::vector<Service> out;
  for (const std::string& host : spec.hosts()) {
    out.push_back(base);
    out.back().host = FullHost(host, base.ns, domain_suffix);
  }
  return out;
}

Workload WorkloadOf(const Object& workload_entry) {
  return FromEntry(workload_entry.SpecAs<istio::WorkloadEntry>(), workload_entry.key.ns, workload_entry.key.name);
}

RouteRules RouteRulesOf(const Object& virtual_service, std::string_view domain_suffix) {
  RouteRules out;
  out.object = virtual_service.key;
  out.spec = std::static_pointer_cast<const istio::VirtualService>(virtual_service.spec);
  out.content_hash = virtual_service.content_hash;
  for (const std::string& host : out.spec->hosts()) {
    out.hosts.push_back(FullHost(host, virtual_service.key.ns, domain_suffix));
  }
  return out;
}

DestinationPolicy DestinationPolicyOf(const Object& destination_rule, std::string_view domain_suffix) {
  const auto& spec = destination_rule.SpecAs<istio::DestinationRule>();
  DestinationPolicy out;
  out.object = destination_rule.key;
  out.host = FullHost(spec.host(), destination_rule.key.ns, domain_suffix);
  Override(out.policy, spec.traffic_policy());
  for (const istio::Subset& subset : spec.subsets()) {
    out.subsets.push_back({.name = subset.name(), .labels = {}, .policy = out.policy});
    out.subsets.back().labels.insert(subset.labels().begin(), subset.labels().end());
    Override(out.subsets.back().policy, subset.traffic_policy());
  }
  return out;
}

std::vector<Reference> ReferencesOf(const Object& virtual_service, std::string_view domain_suffix) {
  const auto& spec = virtual_service.SpecAs<istio::VirtualService>();
  std::vector<Reference> out;
  for (int i = 0; i < spec.http_size(); ++i) {
    for (int j = 0; j < spec.http(i).route_size(); ++j) {
      const istio::Destination& destination = spec.http(i).route(j).destination();
      out.push_back({"spec.http[" + std::to_string(i) + "].route[" + std::to_string(j) + "].destination",
                     FullHost(destination.host(), virtual_service.key.ns, domain_suffix), destination.subset(),
                     destination.port().number()});
    }
  }
  return out;
}

}  // namespace weft::ctl
