#include "dataplane/config/compile_cluster.h"

#include <algorithm>
#include <unordered_set>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_http1.h"
#include "dataplane/decide/weighted_pick.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
namespace ep = envoy::config::endpoint::v3;
using envoy::config::cluster::v3::Cluster;
using envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
using upstream::ClusterSpec;
using upstream::EndpointSpec;

constexpr uint32_t kMaxPriority = 128;
constexpr uint32_t kDefaultOverprovisioning = 140;

Http2Settings CompileHttp2(const core::Http2ProtocolOptions& o, const std::string& path, decide::Errors* errors) {
  Http2Settings out;
  auto ranged = [&](const google::protobuf::UInt32Value& v, const char* field, uint32_t min, uint32_t max) {
    if (v.value() < min || v.value() > max) {
      errors->Add(StrCat(path, ".", field), StrCat(v.value(), ": expected ", min, " to ", max));
    }
    return v.value();
  };
  constexpr uint32_t kMaxInt = 0x7fffffff;
  if (o.has_hpack_table_size()) out.hpack_table_size = o.hpack_table_size().value();
  if (o.has_max_concurrent_streams()) {
    out.max_concurrent_streams = ranged(o.max_concurrent_streams(), "max_concurrent_streams", 1, kMaxInt);
  }
  if (o.has_initial_stream_window_size()) {
    out.stream_window = ranged(o.initial_stream_window_size(), "initial_stream_window_size", 65535, kMaxInt);
  }
  if (o.has_initial_connection_window_size()) {
    out.connection_window = ranged(o.initial_connection_window_size(), "initial_connection_window_size", 65535, kMaxInt);
  }
  RefuseIf(o.allow_connect(), path + ".allow_connect", "not supported", errors);
  RefuseIf(o.override_stream_error_on_invalid_http_message().value(),
           path + ".override_stream_error_on_invalid_http_message", "not supported", errors);
  if (o.has_connection_keepalive()) {
    const std::string at = path + ".connection_keepalive";
    const core::KeepaliveSettings& k = o.connection_keepalive();
    if (k.has_interval()) out.keepalive_interval = CompileDuration(k.interval(), at + ".interval", true, errors);
    if (k.has_timeout()) {
      out.keepalive_timeout = CompileDuration(k.timeout(), at + ".timeout", true, errors);
    } else {
      errors->Add(at + ".timeout", "is missing");
    }
  }
  return out;
}

void CompileCommonHttp(const core::HttpProtocolOptions& o, const std::string& path, ClusterSpec* spec,
                       decide::Errors* errors) {
  if (o.has_idle_timeout()) spec->idle_timeout = CompileDuration(o.idle_timeout(), path + ".idle_timeout", false, errors);
  if (o.has_max_requests_per_connection()) spec->max_requests_per_connection = o.max_requests_per_connection().value();
  if (o.has_max_response_headers_kb()) {
    uint32_t kb = o.max_response_headers_kb().value();
    if (kb < 1 || kb > 8192) errors->Add(path + ".max_response_headers_kb", StrCat(kb, ": expected 1 to 8192"));
    spec->max_response_head_bytes = kb * 1024;
  }
  if (o.has_max_headers_count()) {
    spec->max_response_headers = o.max_headers_count().value();
    RefuseIf(spec->max_response_headers == 0, path + ".max_headers_count", "0: expected 1 or more", errors);
  }
  RefuseIf(o.has_max_connection_duration(), path + ".max_connection_duration", "not supported", errors);
  RefuseIf(o.has_max_stream_duration(), path + ".max_stream_duration", "not supported for clusters", errors);
  RefuseIf(o.headers_with_underscores_action() != core::HttpProtocolOptions::ALLOW,
           path + ".headers_with_underscores_action", "has a meaning for listeners only", errors);
}

void CompileProtocol(const Cluster& c, const std::string& path, const CompileEnv& env, CompiledCluster* out,
                     decide::Errors* errors) {
  const std::string options = path + ".typed_extension_protocol_options";
  for (const auto& [key, any] : c.typed_extension_protocol_options()) {
    const std::string at = StrCat(options, "[\"", key, "\"]");
    if (key != api::kHttpProtocolOptionsKey) {
      errors->Add(at, StrCat("not supported: expected the key ", api::kHttpProtocolOptionsKey));
      continue;
    }
    HttpProtocolOptions http;
    if (!UnpackAny(any, &http, at, env, errors)) continue;
    if (http.has_common_http_protocol_options()) {
      CompileCommonHttp(http.common_http_protocol_options(), at + ".common_http_protocol_options", out->spec.get(), errors);
    }
    const std::string explicit_at = at + ".explicit_http_config";
    switch (http.explicit_http_config().protocol_config_case()) {
      case HttpProtocolOptions::ExplicitHttpConfig::kHttpProtocolOptions:
        CompileUpstreamHttp1(http.explicit_http_config().http_protocol_options(),
                             explicit_at + ".http_protocol_options", env, out->spec.get(), errors);
        break;
      case HttpProtocolOptions::ExplicitHttpConfig::kHttp2ProtocolOptions:
        out->http2 = CompileHttp2(http.explicit_http_config().http2_protocol_options(),
                                  explicit_at + ".http2_protocol_options", errors);
        break;
      case HttpProtocolOptions::ExplicitHttpConfig::PROTOCOL_CONFIG_NOT_SET:
        errors->Add(explicit_at, "is missing: expected http_protocol_options or http2_protocol_options");
        break;
    }
  }
  if (c.has_http2_protocol_options()) {
    if (c.typed_extension_protocol_options().contains(std::string(api::kHttpProtocolOptionsKey))) {
      errors->Add(path + ".http2_protocol_options", "set together with typed_extension_protocol_options: leave one of them out");
    } else {
      out->http2 = CompileHttp2(c.http2_protocol_options(), path + ".http2_protocol_options", errors);
    }
  }
  if (!out->http2) return;
  out->spec->protocol = upstream::UpstreamProtocol::kHttp2;
  if (!env.http2_cluster || !env.http2_cluster(c.name())) {
    errors->Add(c.has_http2_protocol_options() ? path + ".http2_protocol_options"
                                               : StrCat(options, "[\"", api::kHttpProtocolOptionsKey,
                                                        "\"].explicit_http_config.http2_protocol_options"),
                "HTTP/2 to endpoints is supported for the cluster of ads_config only");
  }
}

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
  net::DialOptions dialing;
  const std::string p = path;
  auto at = [&](std::string_view field) { return JoinPath(p, field); };

  CheckUnknownFields(c, path, env, &own);
  if (c.name().empty()) own.Add(at("name"), "is missing");
  spec.name = c.name();
  spec.alt_stat_name = c.alt_stat_name();
  if (c.has_connect_timeout()) spec.connect_timeout = CompileDuration(c.connect_timeout(), at("connect_timeout"), true, &own);
  if (c.has_per_connection_buffer_limit_bytes()) spec.buffer_limit = c.per_connection_buffer_limit_bytes().value();
  CompileLbPolicy(c, path, &out, &own);
  CompileDiscovery(c, path, env, &out, &own);
  CompileBreakers(c, path, &spec, &own);
  CompileProtocol(c, path, env, &out, &own);
  if (!Cluster::DnsLookupFamily_IsValid(c.dns_lookup_family())) {
    own.Add(at("dns_lookup_family"), StrCat(static_cast<int>(c.dns_lookup_family()), " is no look-up family"));
  }
  if (c.has_transport_socket()) CheckTransportSocket(c.transport_socket(), at("transport_socket"), &own);
  if (c.upstream_connection_options().has_tcp_keepalive()) {
    const core::TcpKeepalive& k = c.upstream_connection_options().tcp_keepalive();
    const std::string keepalive = at("upstream_connection_options.tcp_keepalive");
    dialing.keep_alive.on = true;
    auto number = [&](bool set, uint32_t value, const char* name, uint32_t max) {
      if (set && (value < 1 || value > max)) {
        own.Add(StrCat(keepalive, ".", name), StrCat(value, ": expected 1 to ", max));
      }
      return set ? value : 0;
    };
    // The kernel's own bounds (tcp(7)).
    dialing.keep_alive.probes =
        number(k.has_keepalive_probes(), k.keepalive_probes().value(), "keepalive_probes", 127);
    dialing.keep_alive.time_s =
        number(k.has_keepalive_time(), k.keepalive_time().value(), "keepalive_time", 32767);
    dialing.keep_alive.interval_s =
        number(k.has_keepalive_interval(), k.keepalive_interval().value(), "keepalive_interval", 32767);
  }
  if (dialing.keep_alive.on) spec.dialing = std::make_shared<const net::DialOptions>(dialing);
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
      spec.hostname = e.endpoint().hostname();
      spec.priority = group.priority();
      spec.region = group.locality().region();
      spec.zone = group.locality().zone();
      spec.sub_zone = group.locality().sub_zone();
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
