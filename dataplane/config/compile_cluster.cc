#include "dataplane/config/compile_cluster.h"

#include <sys/socket.h>

#include <algorithm>
#include <unordered_set>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_upstream.h"
#include "dataplane/decide/weighted_pick.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
namespace ep = envoy::config::endpoint::v3;
using envoy::config::cluster::v3::Cluster;
using upstream::ClusterSpec;
using upstream::EndpointSpec;

constexpr uint32_t kMaxPriority = 128;
constexpr uint32_t kDefaultOverprovisioning = 140;

void CompileBreakers(const Cluster& c, const std::string& path, ClusterSpec* spec, decide::Errors* errors) {
  bool seen = false;
  for (int i = 0; i < c.circuit_breakers().thresholds_size(); ++i) {
    const auto& t = c.circuit_breakers().thresholds(i);
    const std::string at = StrCat(path, ".circuit_breakers.thresholds[", i, "]");
    if (t.priority() != core::DEFAULT) {
      errors->Add(at + ".priority", t.priority() == core::HIGH ? "HIGH is not supported: expected DEFAULT"
                                                               : StrCat(static_cast<int>(t.priority()), ": expected DEFAULT"));
      continue;
    }
    RefuseIf(t.track_remaining(), at + ".track_remaining", "not supported", errors);
    if (std::exchange(seen, true)) continue;  // the first of a priority counts
    if (t.has_max_connections()) spec->breakers.max_connections = t.max_connections().value();
    if (t.has_max_pending_requests()) spec->breakers.max_pending_requests = t.max_pending_requests().value();
    if (t.has_max_requests()) spec->breakers.max_requests = t.max_requests().value();
    if (t.has_max_retries()) spec->breakers.max_retries = t.max_retries().value();
  }
}

void CompileHappyEyeballs(const Cluster& c, const std::string& path, EndpointPolicy* policy,
                          decide::Errors* errors) {
  using Options = envoy::config::cluster::v3::UpstreamConnectionOptions;
  const auto& o = c.upstream_connection_options().happy_eyeballs_config();
  const std::string at = JoinPath(path, "upstream_connection_options.happy_eyeballs_config");
  switch (o.first_address_family_version()) {
    case Options::DEFAULT:
      break;
    case Options::V4:
      policy->first_family = AF_INET;
      break;
    case Options::V6:
      policy->first_family = AF_INET6;
      break;
    default:
      errors->Add(at + ".first_address_family_version",
                  StrCat(static_cast<int>(o.first_address_family_version()), " is no version"));
  }
  if (o.has_first_address_family_count()) {
    policy->first_family_count = o.first_address_family_count().value();
    RefuseIf(policy->first_family_count == 0, at + ".first_address_family_count",
             "0: expected 1 or more", errors);
  }
}

// The order in which the addresses of one endpoint are tried (RFC 8305 section 4): some of the first
// family, then the other and the first in turn. Empty when there is but one.
std::vector<net::Address> DialOrder(const net::Address& first, const std::vector<net::Address>& more,
                                    const EndpointPolicy& policy) {
  if (more.empty()) return {};
  int family = policy.first_family != 0 ? policy.first_family : first.family();
  std::vector<net::Address> preferred, others;
  (first.family() == family ? preferred : others).push_back(first);
  for (const net::Address& a : more) (a.family() == family ? preferred : others).push_back(a);
  std::vector<net::Address> out;
  size_t i = 0, j = 0;
  while (i < preferred.size() && i < policy.first_family_count) out.push_back(preferred[i++]);
  while (i < preferred.size() || j < others.size()) {
    if (j < others.size()) out.push_back(others[j++]);
    if (i < preferred.size()) out.push_back(preferred[i++]);
  }
  return out;
}

void CompileEds(const Cluster& c, const std::string& path, CompiledCluster* out, decide::Errors* errors) {
  out->spec->discovery = upstream::DiscoveryType::kEds;
  const std::string at = path + ".eds_cluster_config";
  if (!c.has_eds_cluster_config()) {
    errors->Add(at, "is missing: a cluster of type EDS says where its endpoints come from");
    return;
  }
  if (!c.eds_cluster_config().has_eds_config()) {
    errors->Add(at + ".eds_config", "is missing: expected ads: {}");
  } else {
    CheckConfigSource(c.eds_cluster_config().eds_config(), at + ".eds_config", errors);
    out->eds_timeout = InitialFetchTimeout(c.eds_cluster_config().eds_config(), at + ".eds_config", errors);
  }
  out->spec->eds_service_name = c.eds_cluster_config().service_name();
  out->eds_name = out->spec->eds_service_name.empty() ? c.name() : out->spec->eds_service_name;
  RefuseIf(c.has_load_assignment(), path + ".load_assignment", "a cluster of type EDS gets its endpoints by discovery",
           errors);
}

void CompileDiscovery(const Cluster& c, const std::string& path, const CompileEnv& env, CompiledCluster* out,
                      decide::Errors* errors) {
  Cluster::DiscoveryType type = c.cluster_discovery_type_case() == Cluster::kType ? c.type() : Cluster::STATIC;
  if (type == Cluster::EDS) return CompileEds(c, path, out, errors);
  RefuseIf(c.has_eds_cluster_config(), path + ".eds_cluster_config", "set, but the type is not EDS", errors);
  switch (type) {
    case Cluster::STATIC:
      break;
    case Cluster::STRICT_DNS:
      out->spec->discovery = upstream::DiscoveryType::kStrictDns;
      break;
    case Cluster::LOGICAL_DNS:
      out->spec->discovery = upstream::DiscoveryType::kLogicalDns;
      break;
    default:
      errors->Add(path + ".type", Cluster::DiscoveryType_IsValid(type)
                                      ? StrCat(Cluster::DiscoveryType_Name(type),
                                               " is not supported: expected STATIC, EDS, STRICT_DNS or LOGICAL_DNS")
                                      : StrCat(static_cast<int>(type), " is no discovery type"));
      return;
  }
  // Names are not resolved yet, so DNS clusters are as good as static ones: CompileEndpoints takes IP literals only.
  if (!c.has_load_assignment() && type != Cluster::STATIC) {
    errors->Add(path + ".load_assignment", "is missing");
    return;
  }
  if (type == Cluster::LOGICAL_DNS) {
    int n = 0;
    for (const auto& group : c.load_assignment().endpoints()) n += group.lb_endpoints_size();
    RefuseIf(n != 1, path + ".load_assignment", "a cluster of type LOGICAL_DNS has exactly one endpoint", errors);
  }
  if (!c.has_load_assignment()) {  // allowed; there is just nobody to send to
    out->endpoints = std::make_shared<const upstream::EndpointSet>();
    return;
  }
  out->endpoints = CompileEndpoints(c.load_assignment(), out->policy, path + ".load_assignment", env, errors);
}

void CompileLbPolicy(const Cluster& c, const std::string& path, CompiledCluster* out, decide::Errors* errors) {
  switch (c.lb_policy()) {
    case Cluster::ROUND_ROBIN:
      out->spec->lb_policy = upstream::LbPolicy::kRoundRobin;
      break;
    case Cluster::RANDOM:
      out->spec->lb_policy = upstream::LbPolicy::kRandom;
      break;
    default:
      errors->Add(path + ".lb_policy",
                  Cluster::LbPolicy_IsValid(c.lb_policy())
                      ? StrCat(Cluster::LbPolicy_Name(c.lb_policy()), " is not supported: expected ROUND_ROBIN or RANDOM")
                      : StrCat(static_cast<int>(c.lb_policy()), " is no load-balancing policy"));
  }
  if (c.common_lb_config().has_healthy_panic_threshold()) {
    double percent = c.common_lb_config().healthy_panic_threshold().value();
    if (!(percent >= 0 && percent <= 100)) {
      errors->Add(path + ".common_lb_config.healthy_panic_threshold.value", StrCat(percent, ": expected 0 to 100"));
    }
    out->policy.panic_percent = percent;
  }
  RefuseIf(c.common_lb_config().has_locality_weighted_lb_config(),
           path + ".common_lb_config.locality_weighted_lb_config", "not supported", errors);
}

}  // namespace

std::optional<CompiledCluster> CompileCluster(const Cluster& c, const std::string& path, const CompileEnv& env,
                                              decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  CompiledCluster out;
  out.spec = std::make_shared<ClusterSpec>();
  ClusterSpec& spec = *out.spec;
  const std::string p = path;
  auto at = [&](std::string_view field) { return JoinPath(p, field); };

  CheckUnknownFields(c, path, env, &own);
  if (c.name().empty()) own.Add(at("name"), "is missing");
  spec.name = c.name();
  spec.alt_stat_name = c.alt_stat_name();
  if (c.has_connect_timeout()) spec.connect_timeout = CompileDuration(c.connect_timeout(), at("connect_timeout"), true, &own);
  if (c.has_per_connection_buffer_limit_bytes()) spec.buffer_limit = c.per_connection_buffer_limit_bytes().value();
  CompileLbPolicy(c, path, &out, &own);
  CompileHappyEyeballs(c, path, &out.policy, &own);
  CompileDiscovery(c, path, env, &out, &own);
  CompileBreakers(c, path, &spec, &own);
  CompileConnections(c, path, env, &spec, &own);
  if (!Cluster::DnsLookupFamily_IsValid(c.dns_lookup_family())) {
    own.Add(at("dns_lookup_family"), StrCat(static_cast<int>(c.dns_lookup_family()), " is no look-up family"));
  }
  for (api::SourceError& e : found) {
    if (path.empty() && e.path.starts_with('.')) e.path.erase(0, 1);
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message)) : errors->Add(std::move(e.path), std::move(e.message));
  }
  if (own.any()) return std::nullopt;
  return out;
}

std::vector<uint32_t> EffectiveWeights(const std::vector<EndpointSpec>& endpoints, double panic_percent,
                                       uint32_t overprovisioning) {
  struct Level {
    uint32_t hosts = 0, healthy = 0, degraded = 0;
    double healthy_load = 0, degraded_load = 0;  // out of 1
    bool panic = false;
    double weight[2] = {0, 0};  // of the endpoints that share healthy_load and degraded_load
  };
  auto is_healthy = [](const EndpointSpec& e) {
    return e.health == upstream::HealthStatus::kUnknown || e.health == upstream::HealthStatus::kHealthy;
  };
  auto is_degraded = [](const EndpointSpec& e) { return e.health == upstream::HealthStatus::kDegraded; };
  std::vector<Level> levels;
  for (const EndpointSpec& e : endpoints) {
    if (e.priority >= levels.size()) levels.resize(e.priority + 1);
    Level& l = levels[e.priority];
    ++l.hosts;
    l.healthy += is_healthy(e);
    l.degraded += is_degraded(e);
  }
  // Availability of a priority: the part that is healthy times the factor, at most all of it.
  auto availability = [&](const Level& l, uint32_t n) {
    return l.hosts == 0 ? 0.0 : std::min(1.0, n * (overprovisioning / 100.0) / l.hosts);
  };
  double total = 0;
  for (const Level& l : levels) total += availability(l, l.healthy) + availability(l, l.degraded);
  total = std::min(total, 1.0);
  bool all_panic = true;
  for (Level& l : levels) {
    if (l.hosts == 0) continue;
    // Panic only while the healthy ones can't carry everything.
    l.panic = total < 1.0 && 100.0 * l.healthy / l.hosts < panic_percent;
    if (!l.panic) all_panic = false;
  }
  if (total == 0) {
    for (Level& l : levels) l.healthy_load = l.panic && !endpoints.empty() ? static_cast<double>(l.hosts) / static_cast<double>(endpoints.size()) : 0;
  } else if (all_panic) {
    for (Level& l : levels) l.healthy_load = static_cast<double>(l.hosts) / static_cast<double>(endpoints.size());
  } else {
    double left = 1;
    for (Level& l : levels) {
      l.healthy_load = std::min(left, availability(l, l.healthy) / total);
      left -= l.healthy_load;
    }
    for (Level& l : levels) {
      l.degraded_load = std::min(left, availability(l, l.degraded) / total);
      left -= l.degraded_load;
    }
  }
  auto pool_of = [&](const EndpointSpec& e) {
    const Level& l = levels[e.priority];
    if (l.panic || is_healthy(e)) return 0;
    return is_degraded(e) ? 1 : -1;
  };
  for (const EndpointSpec& e : endpoints) {
    int pool = pool_of(e);
    if (pool >= 0) levels[e.priority].weight[pool] += e.weight;
  }
  std::vector<double> share(endpoints.size(), 0);
  size_t pools = 0;
  for (const Level& l : levels) pools += (l.healthy_load > 0 || (l.panic && l.degraded_load > 0)) + (!l.panic && l.degraded_load > 0);
  std::vector<uint32_t> out(endpoints.size(), 0);
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const EndpointSpec& e = endpoints[i];
    const Level& l = levels[e.priority];
    int pool = pool_of(e);
    if (pool < 0) continue;
    double load = pool == 1 ? l.degraded_load : l.healthy_load + (l.panic ? l.degraded_load : 0);
    if (load <= 0 || l.weight[pool] <= 0) continue;
    share[i] = load * e.weight / l.weight[pool];
    // The common case stays exact: everything goes to one pool by its own weights.
    if (pools == 1) out[i] = e.weight;
  }
  if (pools > 1) {
    for (size_t i = 0; i < endpoints.size(); ++i) {
      if (share[i] > 0) out[i] = std::max<uint32_t>(1, static_cast<uint32_t>(share[i] * 1e6 + 0.5));
    }
  }
  return out;
}

std::shared_ptr<const upstream::EndpointSet> CompileEndpoints(const ep::ClusterLoadAssignment& a,
                                                              const EndpointPolicy& policy, const std::string& path,
                                                              const CompileEnv& env, decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  auto out = std::make_shared<upstream::EndpointSet>();
  CheckUnknownFields(a, path, env, &own);
  if (a.cluster_name().empty()) own.Add(JoinPath(path, "cluster_name"), "is missing");
  uint32_t overprovisioning = kDefaultOverprovisioning;
  if (a.policy().has_overprovisioning_factor()) {
    overprovisioning = a.policy().overprovisioning_factor().value();
    if (overprovisioning < 100) {
      own.Add(JoinPath(path, "policy.overprovisioning_factor"), StrCat(overprovisioning, ": expected 100 or more (percent)"));
    }
  }
  std::unordered_set<std::string> seen;
  for (int i = 0; i < a.endpoints_size(); ++i) {
    const ep::LocalityLbEndpoints& group = a.endpoints(i);
    const std::string group_at = JoinPath(path, StrCat("endpoints[", i, "]"));
    if (group.priority() > kMaxPriority) {
      own.Add(group_at + ".priority", StrCat(group.priority(), ": expected 0 to ", kMaxPriority));
      continue;
    }
    // The group's own weight has a meaning with locality-weighted balancing only, which is refused at the cluster.
    RefuseIf(group.has_load_balancing_weight() && group.load_balancing_weight().value() == 0,
             group_at + ".load_balancing_weight", "0: expected 1 or more", &own);
    std::shared_ptr<const upstream::Locality> locality;
    if (group.has_locality()) {
      const core::Locality& l = group.locality();
      locality = std::make_shared<const upstream::Locality>(upstream::Locality{l.region(), l.zone(), l.sub_zone()});
    }
    uint64_t sum = 0;
    for (int j = 0; j < group.lb_endpoints_size(); ++j) {
      const ep::LbEndpoint& e = group.lb_endpoints(j);
      const std::string at = StrCat(group_at, ".lb_endpoints[", j, "]");
      EndpointSpec spec;
      if (e.has_load_balancing_weight()) {
        spec.weight = e.load_balancing_weight().value();
        if (spec.weight == 0) own.Add(at + ".load_balancing_weight", "0: expected 1 or more");
      }
      sum += spec.weight;
      if (!core::HealthStatus_IsValid(e.health_status())) {
        own.Add(at + ".health_status", StrCat(static_cast<int>(e.health_status()), " is no health status"));
      } else {
        spec.health = static_cast<upstream::HealthStatus>(e.health_status());
      }
      if (!e.has_endpoint()) {
        own.Add(at + ".endpoint", "is missing");
        continue;
      }
      auto address = CompileAddress(e.endpoint().address(), at + ".endpoint.address", 1, &own);
      if (!address) continue;
      spec.address = *address;
      std::vector<net::Address> more;
      for (int k = 0; k < e.endpoint().additional_addresses_size(); ++k) {
        auto another =
            CompileAddress(e.endpoint().additional_addresses(k).address(),
                           StrCat(at, ".endpoint.additional_addresses[", k, "].address"), 1, &own);
        if (another) more.push_back(*another);
      }
      spec.dial_order = DialOrder(*address, more, policy);
      spec.hostname = e.endpoint().hostname();
      spec.priority = group.priority();
      spec.locality = locality;
      // One address is one host: the first counts, as in Envoy.
      if (seen.insert(address->ToString()).second) out->endpoints.push_back(std::move(spec));
    }
    if (sum > UINT32_MAX) own.Add(group_at + ".lb_endpoints", StrCat("sum of load_balancing_weight is ", sum, ": at most 4294967295"));
  }
  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message)) : errors->Add(std::move(e.path), std::move(e.message));
  }
  if (own.any()) return nullptr;
  auto table = decide::PickTable::Build(EffectiveWeights(out->endpoints, policy.panic_percent, overprovisioning));
  if (table.round() > 0) out->pick = std::make_shared<const decide::PickTable>(std::move(table));
  out->version = HashOf(a.SerializeAsString());
  return out;
}

}  // namespace weft::config
