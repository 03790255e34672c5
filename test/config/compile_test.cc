#include <gtest/gtest.h>

#include "api/cpp/envoy_types.h"
#include "api/cpp/yaml.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_cluster.h"
#include "dataplane/config/compile_listener.h"
#include "dataplane/decide/weighted_pick.h"
#include "dataplane/proxy/filter.h"

namespace weft::config {
namespace {

using EnvoyCluster = envoy::config::cluster::v3::Cluster;
using EnvoyListener = envoy::config::listener::v3::Listener;

template <typename Message>
Message Read(const std::string& yaml) {
  api::LinkEnvoyTypes();
  std::vector<api::SourceError> errors;
  auto documents = api::ParseDocuments(yaml, "t.yaml", &errors);
  Message m;
  if (documents.size() == 1) documents[0].ReadInto(&m, {}, &errors);
  EXPECT_FALSE(api::HasError(errors)) << api::ToString(errors) << yaml;
  return m;
}

std::string Text(const std::vector<api::SourceError>& errors) {
  std::string out;
  for (const auto& e : errors) {
    StrAppend(&out, out.empty() ? "" : "; ", e.warning ? "warning: " : "", e.path, e.path.empty() ? "" : ": ", e.message);
  }
  return out;
}

std::optional<CompiledCluster> ClusterOf(const std::string& yaml, std::string* text = nullptr) {
  CompileEnv env;
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  auto out = CompileCluster(Read<EnvoyCluster>(yaml), "", env, &errors);
  EXPECT_EQ(out.has_value(), !api::HasError(found));
  if (text != nullptr) {
    *text = Text(found);
  } else {
    EXPECT_EQ(Text(found), "");
  }
  return out;
}

std::optional<CompiledListener> ListenerOf(const EnvoyListener& proto, std::string* text = nullptr) {
  CompileEnv env;
  env.cluster_exists = [](std::string_view name) { return name != "missing"; };
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  auto out = CompileListener(proto, "", env, &errors);
  EXPECT_EQ(out.has_value(), !api::HasError(found));
  if (text != nullptr) {
    *text = Text(found);
  } else {
    EXPECT_EQ(Text(found), "");
  }
  return out;
}

// A listener whose connection manager has `manager` besides what it must have (flow style), and `more` of its own.
std::string ListenerYaml(const std::string& manager, const std::string& more = "",
                         const std::string& routes = "rds: {route_config_name: r, config_source: {ads: {}}}",
                         const std::string& filters =
                             R"([{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}])") {
  return StrCat(R"({name: l, address: {socket_address: {address: 127.0.0.1, port_value: 80}}, )", more,
                R"( filter_chains: [{filters: [{name: h, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
  stat_prefix: s, )", routes, ", http_filters: ", filters, ", ", manager, "}}]}]}");
}

// ---- clusters ----

TEST(CompileClusterTest, DefaultsAreEnvoys) {
  auto c = ClusterOf("{name: a}");
  ASSERT_TRUE(c.has_value());
  const upstream::ClusterSpec& s = *c->spec;
  EXPECT_EQ(s.connect_timeout, 5 * kSecond);
  EXPECT_EQ(s.breakers.max_connections, 1024u);
  EXPECT_EQ(s.breakers.max_pending_requests, 1024u);
  EXPECT_EQ(s.breakers.max_requests, 1024u);
  EXPECT_EQ(s.breakers.max_retries, 3u);
  EXPECT_EQ(s.idle_timeout, 3600 * kSecond);
  EXPECT_EQ(s.max_requests_per_connection, 0u);
  EXPECT_EQ(s.max_response_head_bytes, 60u * 1024);
  EXPECT_EQ(s.buffer_limit, 1024u * 1024);
  EXPECT_EQ(s.protocol, upstream::UpstreamProtocol::kHttp1);
  EXPECT_EQ(s.lb_policy, upstream::LbPolicy::kRoundRobin);
  EXPECT_EQ(s.dialing, nullptr);
  EXPECT_EQ(s.stat_name(), "a");
  EXPECT_EQ(c->policy.panic_percent, 50);
  ASSERT_NE(c->endpoints, nullptr);
  EXPECT_EQ(c->endpoints->pick, nullptr);
}

TEST(CompileClusterTest, EverythingThatIsSupported) {
  auto c = ClusterOf(R"({name: a, alt_stat_name: b, type: STATIC, connect_timeout: 0.3s, lb_policy: RANDOM,
    per_connection_buffer_limit_bytes: 4096, dns_lookup_family: V4_ONLY, metadata: {filter_metadata: {x: {y: 1}}},
    circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4}, {max_connections: 9}]},
    common_lb_config: {healthy_panic_threshold: {value: 20}}, upstream_connection_options: {tcp_keepalive: {keepalive_time: 5}},
    transport_socket: {name: envoy.transport_sockets.raw_buffer},
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
      common_http_protocol_options: {idle_timeout: 0s, max_requests_per_connection: 7, max_response_headers_kb: 96},
      explicit_http_config: {http_protocol_options: {enable_trailers: true}}}},
    load_assignment: {cluster_name: a, policy: {overprovisioning_factor: 150}, endpoints: [
      {locality: {region: r, zone: z, sub_zone: s}, lb_endpoints: [
        {endpoint: {hostname: h, address: {socket_address: {address: "::1", port_value: 1}}}, load_balancing_weight: 3, health_status: DRAINING},
        {endpoint: {address: {pipe: {path: "@x"}}}},
        {endpoint: {address: {pipe: {path: "@x"}}}}]}]}})");
  ASSERT_TRUE(c.has_value());
  const upstream::ClusterSpec& s = *c->spec;
  EXPECT_EQ(s.stat_name(), "b");
  EXPECT_EQ(s.connect_timeout, 300 * kMillisecond);
  EXPECT_EQ(s.lb_policy, upstream::LbPolicy::kRandom);
  EXPECT_EQ(s.buffer_limit, 4096u);
  EXPECT_EQ(s.breakers.max_connections, 1u) << "the first threshold of a priority counts";
  EXPECT_EQ(s.breakers.max_retries, 4u);
  EXPECT_EQ(s.idle_timeout, 0);
  EXPECT_EQ(s.max_requests_per_connection, 7u);
  EXPECT_EQ(s.max_response_head_bytes, 96u * 1024);
  ASSERT_NE(s.dialing, nullptr);
  EXPECT_TRUE(s.dialing->keep_alive.on);
  EXPECT_EQ(s.dialing->keep_alive.time_s, 5u);
  EXPECT_EQ(s.dialing->keep_alive.probes, 0u);
  EXPECT_EQ(c->policy.panic_percent, 20);
  ASSERT_EQ(c->endpoints->endpoints.size(), 2u) << "one address is one host";
  const auto& e = c->endpoints->endpoints[0];
  EXPECT_EQ(e.address.ToString(), "[::1]:1");
  EXPECT_EQ(e.hostname, "h");
  EXPECT_EQ(e.weight, 3u);
  EXPECT_EQ(e.health, upstream::HealthStatus::kDraining);
  ASSERT_NE(e.locality, nullptr);
  EXPECT_EQ(e.locality->region + e.locality->zone + e.locality->sub_zone, "rzs");
  EXPECT_NE(c->endpoints->version, 0u);
}

TEST(CompileClusterTest, Eds) {
  auto c = ClusterOf("{name: a, type: EDS, eds_cluster_config: {eds_config: {ads: {}, initial_fetch_timeout: 2s}}}");
  ASSERT_TRUE(c.has_value());
  EXPECT_EQ(c->eds_name, "a");
  EXPECT_EQ(c->eds_timeout, 2 * kSecond);
  EXPECT_EQ(c->endpoints, nullptr);
  EXPECT_EQ(c->spec->discovery, upstream::DiscoveryType::kEds);
  c = ClusterOf("{name: a, type: EDS, eds_cluster_config: {service_name: b, eds_config: {self: {}}}}");
  EXPECT_EQ(c->eds_name, "b");
  EXPECT_EQ(c->eds_timeout, 15 * kSecond);
}

struct Case {
  const char* yaml;  // besides the name
  const char* want;  // "...*": how it begins
};

bool Is(const std::string& text, std::string_view want) {
  return want.ends_with('*') ? text.starts_with(want.substr(0, want.size() - 1)) : text == want;
}

const char* const kOptions =
    R"(typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, )";

const Case kClusterCases[] = {
    {"name: ''", "name: is missing"},
    {"connect_timeout: 0s", "connect_timeout: 0 s: expected more than 0 s, at most 100 years"},
    {"connect_timeout: -0.5s", "connect_timeout: -0.5 s: expected more than 0 s, at most 100 years"},
    {"connect_timeout: 9000000000s", "connect_timeout: 9e+09 s: expected more than 0 s, at most 100 years"},
    {"lb_policy: RING_HASH", "lb_policy: RING_HASH is not supported: expected ROUND_ROBIN or RANDOM"},
    {"lb_policy: CLUSTER_PROVIDED", "lb_policy: CLUSTER_PROVIDED is not supported: expected ROUND_ROBIN or RANDOM"},
    {"type: ORIGINAL_DST", "type: ORIGINAL_DST is not supported: expected STATIC, EDS, STRICT_DNS or LOGICAL_DNS"},
    {"type: EDS", "eds_cluster_config: is missing: a cluster of type EDS says where its endpoints come from"},
    {"type: EDS, eds_cluster_config: {}", "eds_cluster_config.eds_config: is missing: expected ads: {}"},
    {"type: EDS, eds_cluster_config: {eds_config: {}}", "eds_cluster_config.eds_config: has no source: expected ads: {}"},
    {"type: EDS, eds_cluster_config: {eds_config: {path_config_source: {path: /x}}}", "eds_cluster_config.eds_config.path_config_source: not supported: expected ads: {}"},
    {"type: EDS, eds_cluster_config: {eds_config: {api_config_source: {api_type: GRPC}}}", "eds_cluster_config.eds_config.api_config_source: a stream for one resource type is not supported: expected ads: {}"},
    {"type: EDS, eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V2}}", "eds_cluster_config.eds_config.resource_api_version: V2 is not supported: expected V3"},
    {"type: EDS, eds_cluster_config: {eds_config: {ads: {}, initial_fetch_timeout: -1s}}", "eds_cluster_config.eds_config.initial_fetch_timeout: -1 s: expected 0 s or more, at most 100 years"},
    {"type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, load_assignment: {cluster_name: a}", "load_assignment: a cluster of type EDS gets its endpoints by discovery"},
    {"eds_cluster_config: {eds_config: {ads: {}}}", "eds_cluster_config: set, but the type is not EDS"},
    {"type: STRICT_DNS", "load_assignment: is missing"},
    {"type: LOGICAL_DNS, load_assignment: {cluster_name: a}", "load_assignment: a cluster of type LOGICAL_DNS has exactly one endpoint"},
    {"circuit_breakers: {thresholds: [{priority: HIGH}]}", "circuit_breakers.thresholds[0].priority: HIGH is not supported: expected DEFAULT"},
    {"circuit_breakers: {thresholds: [{track_remaining: true}]}", "circuit_breakers.thresholds[0].track_remaining: not supported"},
    {"common_lb_config: {healthy_panic_threshold: {value: 101}}", "common_lb_config.healthy_panic_threshold.value: 101: expected 0 to 100"},
    {"common_lb_config: {locality_weighted_lb_config: {}}", "common_lb_config.locality_weighted_lb_config: not supported"},
    {"transport_socket: {name: tls}", "transport_socket.typed_config: is missing"},
    {"transport_socket: {name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}", "transport_socket.typed_config: transport socket envoy.extensions.filters.http.router.v3.Router is not supported here: expected envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext or envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
    {"upstream_connection_options: {tcp_keepalive: {keepalive_time: 0}}", "upstream_connection_options.tcp_keepalive.keepalive_time: 0: expected 1 to 32767"},
    {"upstream_connection_options: {tcp_keepalive: {keepalive_probes: 128, keepalive_interval: 32768}}", "upstream_connection_options.tcp_keepalive.keepalive_probes: 128: expected 1 to 127; upstream_connection_options.tcp_keepalive.keepalive_interval: 32768: expected 1 to 32767"},
    {"http2_protocol_options: {max_concurrent_streams: 0}", "http2_protocol_options.max_concurrent_streams: 0: expected 1 to 2147483647"},
    {"http2_protocol_options: {initial_stream_window_size: 100}", "http2_protocol_options.initial_stream_window_size: 100: expected 65535 to 2147483647"},
    {"http2_protocol_options: {initial_connection_window_size: 100}", "http2_protocol_options.initial_connection_window_size: 100: expected 65535 to 2147483647"},
    {"http2_protocol_options: {connection_keepalive: {interval: 0s, timeout: 0s}}", "http2_protocol_options.connection_keepalive.interval: 0 s: expected more than 0 s, at most 100 years; http2_protocol_options.connection_keepalive.timeout: 0 s: expected more than 0 s, at most 100 years"},
    {"load_assignment: {}", "load_assignment.cluster_name: is missing"},
    {"load_assignment: {cluster_name: a, policy: {overprovisioning_factor: 99}}", "load_assignment.policy.overprovisioning_factor: 99: expected 100 or more (percent)"},
    {"load_assignment: {cluster_name: a, endpoints: [{priority: 129}]}", "load_assignment.endpoints[0].priority: 129: expected 0 to 128"},
    {"load_assignment: {cluster_name: a, endpoints: [{load_balancing_weight: 0}]}", "load_assignment.endpoints[0].load_balancing_weight: 0: expected 1 or more"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint: is missing"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address: is missing: expected socket_address (address and port_value) or pipe (path)"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{load_balancing_weight: 0, endpoint: {address: {pipe: {path: /a}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight: 0: expected 1 or more"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: ''}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path: is missing"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /a, mode: 7}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.mode: not supported: set permissions on the directory"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: h, port_value: 1}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \"h\": expected an IP address; names are not resolved here"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 1.1.1.1, named_port: p, ipv4_compat: true}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.ipv4_compat: not supported: use an IPv4 address; load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.named_port: not supported: expected port_value, a number"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {port_value: 70000}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: 70000: expected 1 to 65535; load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: is missing"},
    {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{load_balancing_weight: 4294967295, endpoint: {address: {pipe: {path: /a}}}}, {load_balancing_weight: 1, endpoint: {address: {pipe: {path: /b}}}}]}]}", "load_assignment.endpoints[0].lb_endpoints: sum of load_balancing_weight is 4294967296: at most 4294967295"},
};

TEST(CompileClusterTest, EachRefusalNamesItsField) {
  for (const Case& c : kClusterCases) {
    std::string text;
    ClusterOf(StrCat("{", std::string_view(c.yaml).starts_with("name:") ? "" : "name: a, ", c.yaml, "}"), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

const Case kProtocolCases[] = {
    {"common_http_protocol_options: {}", "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]: has no protocol: expected explicit_http_config, use_downstream_protocol_config or auto_config"},
    {"explicit_http_config: {}", "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config: is missing: expected http_protocol_options or http2_protocol_options"},
    {"explicit_http_config: {http_protocol_options: {allow_absolute_url: true, accept_http_10: true, default_host_for_http_10: x, header_key_format: {proper_case_words: {}}, override_stream_error_on_invalid_http_message: true}}", "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http_protocol_options.allow_absolute_url: has a meaning for listeners only; typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http_protocol_options.accept_http_10: has a meaning for listeners only; typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http_protocol_options.default_host_for_http_10: has a meaning for listeners only; typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http_protocol_options.override_stream_error_on_invalid_http_message: not supported: a connection with an invalid message is closed"},
    {"explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {max_headers_count: 5, max_connection_duration: 1s, max_stream_duration: 1s, headers_with_underscores_action: REJECT_REQUEST, max_response_headers_kb: 9000}", "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].common_http_protocol_options.max_response_headers_kb: 9000: expected 1 to 8192; typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].common_http_protocol_options.max_stream_duration: not supported for clusters; typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].common_http_protocol_options.headers_with_underscores_action: has a meaning for listeners only"},
};

TEST(CompileClusterTest, ProtocolOptions) {
  for (const Case& c : kProtocolCases) {
    std::string text;
    ClusterOf(StrCat("{name: a, ", kOptions, c.yaml, "}}}"), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
  std::string text;
  ClusterOf(R"({name: a, typed_extension_protocol_options: {other: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}})", &text);
  EXPECT_EQ(text, "typed_extension_protocol_options[\"other\"]: not supported: expected the key envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
  ClusterOf(StrCat("{name: a, http2_protocol_options: {}, ", kOptions, "explicit_http_config: {http_protocol_options: {}}}}}"), &text);
  EXPECT_EQ(text, "http2_protocol_options: set together with typed_extension_protocol_options: leave one of them out");
}

TEST(CompileClusterTest, UnknownFieldsOfNewerServers) {
  EnvoyCluster c;
  c.set_name("a");
  // Field 100 of Cluster and 9 of its circuit breakers, which our protos lack.
  c.ParseFromString(c.SerializeAsString() + std::string("\xa0\x06\x01\x52\x02\x48\x01", 7));
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  CompileEnv env;
  EXPECT_FALSE(CompileCluster(c, "", env, &errors).has_value());
  EXPECT_EQ(Text(found), "field 100 of envoy.config.cluster.v3.Cluster is not supported; circuit_breakers: field 9 of envoy.config.cluster.v3.CircuitBreakers is not supported");
  found.clear();
  env.refuse_unknown_fields = false;
  EXPECT_TRUE(CompileCluster(c, "", env, &errors).has_value());
  EXPECT_EQ(Text(found), "warning: field 100 of envoy.config.cluster.v3.Cluster is not supported: ignored; warning: circuit_breakers: field 9 of envoy.config.cluster.v3.CircuitBreakers is not supported: ignored");
}

// ---- weights ----

using Endpoints = std::vector<upstream::EndpointSpec>;
Endpoints Make(std::vector<std::tuple<uint32_t, uint32_t, upstream::HealthStatus>> list) {
  Endpoints out;
  for (auto [weight, priority, health] : list) {
    upstream::EndpointSpec e;
    e.weight = weight;
    e.priority = priority;
    e.health = health;
    out.push_back(e);
  }
  return out;
}
constexpr auto kHealthy = upstream::HealthStatus::kHealthy;
constexpr auto kUnhealthy = upstream::HealthStatus::kUnhealthy;
constexpr auto kDegraded = upstream::HealthStatus::kDegraded;

std::vector<int> Percent(const std::vector<uint32_t>& weights) {
  double sum = 0;
  for (uint32_t w : weights) sum += w;
  std::vector<int> out;
  for (uint32_t w : weights) out.push_back(sum == 0 ? 0 : static_cast<int>(w * 100.0 / sum + 0.5));
  return out;
}

TEST(EffectiveWeightsTest, OnePriorityKeepsItsWeights) {
  EXPECT_EQ(EffectiveWeights(Make({{3, 0, kHealthy}, {1, 0, kHealthy}}), 50, 140), (std::vector<uint32_t>{3, 1}));
  // One of four is ill: the others take over.
  EXPECT_EQ(EffectiveWeights(Make({{3, 0, kHealthy}, {1, 0, kUnhealthy}, {2, 0, kHealthy}, {2, 0, kHealthy}}), 50, 140),
            (std::vector<uint32_t>{3, 0, 2, 2}));
  EXPECT_TRUE(EffectiveWeights({}, 50, 140).empty());
}

TEST(EffectiveWeightsTest, Panic) {
  auto one_of_four = Make({{1, 0, kHealthy}, {1, 0, kUnhealthy}, {2, 0, kUnhealthy}, {2, 0, kUnhealthy}});
  EXPECT_EQ(EffectiveWeights(one_of_four, 50, 140), (std::vector<uint32_t>{1, 1, 2, 2}));
  EXPECT_EQ(EffectiveWeights(one_of_four, 0, 140), (std::vector<uint32_t>{1, 0, 0, 0}));
  auto none = Make({{1, 0, kUnhealthy}, {2, 0, kUnhealthy}});
  EXPECT_EQ(EffectiveWeights(none, 50, 140), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(EffectiveWeights(none, 0, 140), (std::vector<uint32_t>{0, 0}));
}

// The table of Envoy's documentation: healthy part of priority 0 against what it gets, with one healthy priority 1.
TEST(EffectiveWeightsTest, PrioritiesSpillOver) {
  for (auto [healthy_of_100, want] : {std::pair(100, 100), std::pair(72, 100), std::pair(71, 99), std::pair(50, 70),
                                      std::pair(25, 35), std::pair(0, 0)}) {
    std::vector<std::tuple<uint32_t, uint32_t, upstream::HealthStatus>> list;
    for (int i = 0; i < 100; ++i) list.emplace_back(1, 0, i < healthy_of_100 ? kHealthy : kUnhealthy);
    for (int i = 0; i < 10; ++i) list.emplace_back(1, 1, kHealthy);
    auto weights = EffectiveWeights(Make(list), 50, 140);
    double first = 0, sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      sum += weights[i];
      if (i < 100) first += weights[i];
    }
    EXPECT_NEAR(first / sum * 100, want, 0.5) << healthy_of_100;
  }
}

TEST(EffectiveWeightsTest, DegradedOnesTakeWhatIsLeft) {
  // 2 of 4 healthy carry 70 %, the degraded ones the rest.
  auto w = EffectiveWeights(Make({{1, 0, kHealthy}, {1, 0, kHealthy}, {1, 0, kDegraded}, {1, 0, kUnhealthy}}), 50, 140);
  EXPECT_EQ(Percent(w), (std::vector<int>{35, 35, 30, 0}));
}

TEST(EffectiveWeightsTest, SetsHaveATableOfTheirWeights) {
  auto c = ClusterOf(R"({name: a, load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [
    {endpoint: {address: {pipe: {path: /a}}}, load_balancing_weight: 3}, {endpoint: {address: {pipe: {path: /b}}}}]}]}})");
  ASSERT_NE(c->endpoints->pick, nullptr);
  EXPECT_EQ(c->endpoints->pick->round(), 4u);
}

// ---- listeners ----

TEST(CompileListenerTest, DefaultsAreEnvoys) {
  auto l = ListenerOf(Read<EnvoyListener>(ListenerYaml("")));
  ASSERT_TRUE(l.has_value());
  EXPECT_EQ(l->rds.size(), 1u);
  EXPECT_EQ(l->rds.at("r"), 15 * kSecond);
  EXPECT_EQ(l->spec->address.ToString(), "127.0.0.1:80");
  EXPECT_EQ(l->spec->buffer_limit, 1024u * 1024);
  EXPECT_TRUE(l->spec->reuse_port);
  EXPECT_TRUE(l->spec->bind_to_port);
  const proxy::HttpManagerSpec& h = *l->spec->chains[0]->http;
  EXPECT_EQ(h.stat_prefix, "s");
  EXPECT_EQ(h.rds_name, "r");
  EXPECT_EQ(h.routes, nullptr);
  EXPECT_EQ(h.max_request_head_bytes, 60u * 1024);
  EXPECT_EQ(h.max_request_headers, 100u);
  EXPECT_EQ(h.idle_timeout, 3600 * kSecond);
  EXPECT_EQ(h.stream_idle_timeout, 300 * kSecond);
  EXPECT_EQ(h.request_timeout, 0);
  EXPECT_EQ(h.request_headers_timeout, 0);
  EXPECT_EQ(h.drain_timeout, 5 * kSecond);
  EXPECT_EQ(h.delayed_close_timeout, kSecond);
  EXPECT_TRUE(h.generate_request_id);
  EXPECT_FALSE(h.use_remote_address);
  EXPECT_FALSE(h.normalize_path);
  EXPECT_EQ(h.server_header, proxy::ServerHeader::kOverwrite);
  EXPECT_TRUE(h.filters.empty());
}

TEST(CompileListenerTest, EverythingThatIsSupported) {
  auto l = ListenerOf(Read<EnvoyListener>(ListenerYaml(
      R"(codec_type: HTTP2, server_name: me, server_header_transformation: APPEND_IF_ABSENT, max_request_headers_kb: 96,
      stream_idle_timeout: 0s, request_timeout: 1s, request_headers_timeout: 2s, drain_timeout: 3s, delayed_close_timeout: 4s,
      use_remote_address: true, skip_xff_append: true, via: v, generate_request_id: false,
      preserve_external_request_id: true, upgrade_configs: [{upgrade_type: websocket, enabled: false}], normalize_path: true,
      merge_slashes: true, http_protocol_options: {allow_absolute_url: true, enable_trailers: true},
      http2_protocol_options: {hpack_table_size: 0, max_concurrent_streams: 5, initial_stream_window_size: 65536, initial_connection_window_size: 65537,
        allow_connect: true, max_outbound_frames: 10, max_outbound_control_frames: 11, max_consecutive_inbound_frames_with_empty_payload: 0,
        max_inbound_priority_frames_per_stream: 13, max_inbound_window_update_frames_per_data_frame_sent: 14,
        override_stream_error_on_invalid_http_message: true, connection_keepalive: {interval: 1s, timeout: 2s, interval_jitter: {value: 3}}},
      common_http_protocol_options: {idle_timeout: 5s, max_headers_count: 6, max_stream_duration: 7s, max_requests_per_connection: 8},
      access_log: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog,
        log_format: {text_format_source: {inline_string: "%RESPONSE_CODE%\n"}}}},
        {name: g, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /tmp/x.log}}])",
      R"(stat_prefix: p, per_connection_buffer_limit_bytes: 9, enable_reuse_port: false, tcp_backlog_size: 3, bind_to_port: false,
      traffic_direction: INBOUND, listener_filters_timeout: 1s, metadata: {},)",
      R"(route_config: {name: x, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c},
        typed_per_filter_config: {mutate: {"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute,
          mutations: {request_mutations: [{remove: x-a}]}}}}]}]})",
      R"([{name: mutate, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation,
          mutations: {response_mutations: [{append: {header: {key: x-b, value: c}}}]}}},
        {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}])")));
  ASSERT_TRUE(l.has_value());
  EXPECT_TRUE(l->rds.empty());
  EXPECT_EQ(l->spec->stat_prefix, "p");
  EXPECT_EQ(l->spec->buffer_limit, 9u);
  EXPECT_FALSE(l->spec->reuse_port);
  EXPECT_FALSE(l->spec->bind_to_port);
  EXPECT_EQ(l->spec->backlog, 3u);
  const proxy::HttpManagerSpec& h = *l->spec->chains[0]->http;
  ASSERT_NE(h.routes, nullptr);
  EXPECT_EQ(h.server_name, "me");
  EXPECT_EQ(h.server_header, proxy::ServerHeader::kAppendIfAbsent);
  EXPECT_EQ(h.max_request_head_bytes, 96u * 1024);
  EXPECT_EQ(h.stream_idle_timeout, 0);
  EXPECT_EQ(h.request_timeout, kSecond);
  EXPECT_EQ(h.request_headers_timeout, 2 * kSecond);
  EXPECT_EQ(h.drain_timeout, 3 * kSecond);
  EXPECT_EQ(h.delayed_close_timeout, 4 * kSecond);
  EXPECT_TRUE(h.use_remote_address);
  EXPECT_TRUE(h.skip_xff_append);
  EXPECT_EQ(h.via, "v");
  EXPECT_FALSE(h.generate_request_id);
  EXPECT_TRUE(h.preserve_external_request_id);
  EXPECT_TRUE(h.normalize_path);
  EXPECT_TRUE(h.merge_slashes);
  EXPECT_EQ(h.idle_timeout, 5 * kSecond);
  EXPECT_EQ(h.max_request_headers, 6u);
  EXPECT_EQ(h.max_stream_duration, 7 * kSecond);
  EXPECT_EQ(h.max_requests_per_connection, 8u);
  EXPECT_EQ(h.codec, proxy::Codec::kHttp2);
  EXPECT_EQ(h.http2.header_table_size, 0u);
  EXPECT_EQ(h.http2.max_concurrent_streams, 5u);
  EXPECT_EQ(h.http2.stream_window, 65536u);
  EXPECT_EQ(h.http2.connection_window, 65537u);
  EXPECT_TRUE(h.http2.allow_connect);
  EXPECT_EQ(h.http2.max_outbound_frames, 10u);
  EXPECT_EQ(h.http2.max_outbound_control_frames, 11u);
  EXPECT_EQ(h.http2.max_consecutive_empty_frames, 0u);
  EXPECT_EQ(h.http2.max_priority_frames_per_stream, 13u);
  EXPECT_EQ(h.http2.max_window_updates_per_data_frame_sent, 14u);
  EXPECT_TRUE(h.http2.stream_error_on_invalid_message);
  EXPECT_EQ(h.http2.keepalive_interval, kSecond);
  EXPECT_EQ(h.http2.keepalive_timeout, 2 * kSecond);
  EXPECT_EQ(h.http2.keepalive_jitter, 3u);
  EXPECT_TRUE(h.suppress_envoy_headers);
  ASSERT_EQ(h.filters.size(), 1u);
  EXPECT_EQ(h.filters[0]->name(), "mutate");
  ASSERT_EQ(h.access_logs.size(), 2u);
  EXPECT_EQ(h.access_logs[0]->path(), "/dev/stdout");
  EXPECT_EQ(h.access_logs[1]->path(), "/tmp/x.log");
}

const Case kManagerCases[] = {
    {"codec_type: HTTP3", "filter_chains[0].filters[0].typed_config.codec_type: HTTP3 is not supported: expected AUTO, HTTP1 or HTTP2"},
    {"max_request_headers_kb: 0", "filter_chains[0].filters[0].typed_config.max_request_headers_kb: 0: expected 1 to 8192"},
    {"max_request_headers_kb: 8193", "filter_chains[0].filters[0].typed_config.max_request_headers_kb: 8193: expected 1 to 8192"},
    {"stream_idle_timeout: -1s", "filter_chains[0].filters[0].typed_config.stream_idle_timeout: -1 s: expected 0 s or more, at most 100 years"},
    {"drain_timeout: -1s", "filter_chains[0].filters[0].typed_config.drain_timeout: -1 s: expected 0 s or more, at most 100 years"},
    {"xff_num_trusted_hops: 2", "filter_chains[0].filters[0].typed_config.xff_num_trusted_hops: not supported: expected 0"},
    {"http2_protocol_options: {allow_metadata: true}", "filter_chains[0].filters[0].typed_config.http2_protocol_options.allow_metadata: not supported"},
    {"http2_protocol_options: {max_concurrent_streams: 0}", "filter_chains[0].filters[0].typed_config.http2_protocol_options.max_concurrent_streams: 0: expected 1 to 2147483647"},
    {"http2_protocol_options: {initial_stream_window_size: 1000}", "filter_chains[0].filters[0].typed_config.http2_protocol_options.initial_stream_window_size: 1000: expected 65535 to 2147483647"},
    {"http2_protocol_options: {connection_keepalive: {interval: 1s}}", "filter_chains[0].filters[0].typed_config.http2_protocol_options.connection_keepalive.timeout: is missing"},
    {"http2_protocol_options: {use_oghttp2_codec: true}", "filter_chains[0].filters[0].typed_config.http2_protocol_options.use_oghttp2_codec: not supported"},
    {"http_protocol_options: {allow_absolute_url: false}", "filter_chains[0].filters[0].typed_config.http_protocol_options.allow_absolute_url: false is not supported: absolute targets are always read"},
    {"common_http_protocol_options: {max_headers_count: 0}", "filter_chains[0].filters[0].typed_config.common_http_protocol_options.max_headers_count: 0: expected 1 or more"},
    {"common_http_protocol_options: {max_connection_duration: 1s, max_response_headers_kb: 5, headers_with_underscores_action: DROP_HEADER}", "filter_chains[0].filters[0].typed_config.common_http_protocol_options.max_connection_duration: not supported; filter_chains[0].filters[0].typed_config.common_http_protocol_options.max_response_headers_kb: has a meaning for clusters only; filter_chains[0].filters[0].typed_config.common_http_protocol_options.headers_with_underscores_action: not supported: expected ALLOW"},
    {"access_log: [{name: a}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config: is missing"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.path: is missing"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x, log_format: {}}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format: has no format: expected text_format_source or text_format"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x, log_format: {omit_empty_values: true, text_format: a}}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format.omit_empty_values: not supported: absent values are written as -"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x, log_format: {text_format: \"%NOPE%\"}}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format: format: %NOPE% at byte 0: unknown command; *"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x, log_format: {text_format_source: {filename: /nonexistent}}}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format.text_format_source.filename: cannot read /nonexistent: No such file or directory"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x, log_format: {text_format_source: {environment_variable: WEFT_NOT_SET}}}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format.text_format_source.environment_variable: WEFT_NOT_SET is not set"},
    {"access_log: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]", "filter_chains[0].filters[0].typed_config.access_log[0].typed_config: access log envoy.extensions.filters.http.router.v3.Router is not supported: expected FileAccessLog, StdoutAccessLog or StderrAccessLog"},
};

TEST(CompileListenerTest, EachManagerRefusalNamesItsField) {
  for (const Case& c : kManagerCases) {
    std::string text;
    ListenerOf(Read<EnvoyListener>(ListenerYaml(c.yaml)), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

const Case kListenerCases[] = {
    {"listener_filters: [{name: envoy.filters.listener.tls_inspector}]", "listener_filters[0].typed_config: is missing"},
    {"listener_filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]", "listener_filters[0].typed_config: listener filter envoy.extensions.filters.http.router.v3.Router is not supported: expected TlsInspector, HttpInspector, ProxyProtocol or OriginalDst"},
    {"listener_filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector, enable_ja3_fingerprinting: true, max_client_hello_size: 100}}]", "listener_filters[0].typed_config.enable_ja3_fingerprinting: not supported; listener_filters[0].typed_config.max_client_hello_size: 100: expected 256 to 65536"},
    {"listener_filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol, rules: [{tlv_type: 1}], pass_through_tlvs: {}, disallowed_versions: [V1, V2]}}]", "listener_filters[0].typed_config.rules: not supported: type-length-value fields are skipped; listener_filters[0].typed_config.pass_through_tlvs: not supported: type-length-value fields are not passed on; listener_filters[0].typed_config.disallowed_versions: leaves no version: leave the filter out"},
    {"listener_filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}, {typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}]", "listener_filters[1]: a second envoy.extensions.filters.listener.http_inspector.v3.HttpInspector: expected one"},
    {"additional_addresses: [{address: {}}]", "additional_addresses[0].address: is missing: expected socket_address (address and port_value) or pipe (path)"},
    {"listener_filters_timeout: -1s", "listener_filters_timeout: -1 s: expected 0 s or more, at most 100 years"},
    {"tcp_backlog_size: 0", "tcp_backlog_size: 0: expected 1 to 2147483647"},
    {"access_log: [{name: a}]", "access_log: not supported: set access_log of the HTTP connection manager or TCP proxy"},
    {"default_filter_chain: {filter_chain_match: {destination_port: 5}}", "default_filter_chain.filter_chain_match: has no meaning: the default chain takes what no other chain matches; default_filter_chain.filters: is empty: expected an HTTP connection manager or a TCP proxy"},
};

TEST(CompileListenerTest, EachListenerRefusalNamesItsField) {
  for (const Case& c : kListenerCases) {
    std::string text;
    ListenerOf(Read<EnvoyListener>(ListenerYaml("", std::string(c.yaml) + ",")), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

const Case kWholeCases[] = {
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy}}]}]}", "filter_chains[0].filters[0].typed_config.stat_prefix: is missing; filter_chains[0].filters[0].typed_config: has no cluster: expected cluster or weighted_clusters"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, weighted_clusters: {clusters: [{weight: 0}, {name: b, weight: 1, metadata_match: {}}]}}}]}]}", "filter_chains[0].filters[0].typed_config.weighted_clusters.clusters[0].name: is missing; filter_chains[0].filters[0].typed_config.weighted_clusters.clusters[0].weight: 0: expected 1 or more; filter_chains[0].filters[0].typed_config.weighted_clusters.clusters[1].metadata_match: not supported"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: c, metadata_match: {}, downstream_idle_timeout: 1s, upstream_idle_timeout: 1s, max_downstream_connection_duration: 0s, max_connect_attempts: 0, access_log_flush_interval: 1s, access_log_options: {}}}]}]}", "filter_chains[0].filters[0].typed_config.metadata_match: not supported; filter_chains[0].filters[0].typed_config.downstream_idle_timeout: not supported: use idle_timeout; filter_chains[0].filters[0].typed_config.upstream_idle_timeout: not supported: use idle_timeout; filter_chains[0].filters[0].typed_config.max_downstream_connection_duration: 0 s: expected more than 0 s, at most 100 years; filter_chains[0].filters[0].typed_config.max_connect_attempts: 0: expected 1 or more; filter_chains[0].filters[0].typed_config.access_log_options: comes with access_log_flush_interval or flush_access_log_on_connected: expected one of the two spellings"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filter_chain_match: {server_names: [a]}, filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: c}}]}, {filter_chain_match: {server_names: [A]}, filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: c}}]}]}", "filter_chains[1].filter_chain_match: matches the same connections as filter_chains[0]: each connection must have one most specific chain"},
    {"{name: l}", "address: is missing: expected socket_address (address and port_value) or pipe (path); filter_chains: is empty: expected at least one chain"},
    {"{name: l, address: {socket_address: {address: 0.0.0.0, port_value: 0}}, filter_chains: [{}]}", "filter_chains[0].filters: is empty: expected an HTTP connection manager or a TCP proxy"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filter_chain_match: {destination_port: 5}, filters: [{name: x}]}]}", "filter_chains[0].filters[0].typed_config: is missing"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{transport_socket: {name: tls}, transport_socket_connect_timeout: -1s, filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}]}", "filter_chains[0].transport_socket.typed_config: is missing; filter_chains[0].transport_socket_connect_timeout: -1 s: expected 0 s or more, at most 100 years; filter_chains[0].filters[0].typed_config: network filter envoy.extensions.filters.http.router.v3.Router is not supported: expected envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager or envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
    {"{name: l, address: {pipe: {path: /a}}, filter_chains: [{filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager}}, {name: second}]}]}", "filter_chains[0].filters[0].typed_config.stat_prefix: is missing; filter_chains[0].filters[0].typed_config: has no routes: expected route_config or rds; filter_chains[0].filters[0].typed_config.http_filters: the last filter must be the router (envoy.extensions.filters.http.router.v3.Router); filter_chains[0].filters[1].typed_config: is missing"},
};

TEST(CompileListenerTest, WholeListeners) {
  for (const Case& c : kWholeCases) {
    std::string text;
    ListenerOf(Read<EnvoyListener>(c.yaml), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

// What is compiled of chains and of the TCP proxy, and what a chain's version depends on.
TEST(CompileListenerTest, ChainsAndTcp) {
  const char* const kText = R"({name: l, address: {socket_address: {address: 0.0.0.0, port_value: 15001}}, use_original_dst: true,
    additional_addresses: [{address: {socket_address: {address: "::1", port_value: 15001}}}], freebind: true,
    listener_filters_timeout: 5s, continue_on_listener_filters_timeout: true,
    listener_filters: [{typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector, max_client_hello_size: 1000}}],
    filter_chains: [
      {name: a, filter_chain_match: {server_names: [a.test]}, transport_socket_connect_timeout: 3s, filters: [{typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, idle_timeout: 0s,
        weighted_clusters: {clusters: [{name: x, weight: 3}, {name: z, weight: 1}]}, max_connect_attempts: 2,
        access_log_options: {access_log_flush_interval: 2s, flush_access_log_on_connected: true}}}]},
      {filter_chain_match: {server_names: [b.test]}, filters: [{typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: x}}]}],
    default_filter_chain: {filters: [{typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: d, cluster: x}}]}})";
  std::string text;
  auto l = ListenerOf(Read<EnvoyListener>(kText), &text);
  ASSERT_TRUE(l.has_value()) << text;
  const ListenerSpec& s = *l->spec;
  EXPECT_TRUE(s.freebind);
  ASSERT_EQ(s.additional_addresses.size(), 1u);
  ASSERT_EQ(s.listener_filters.size(), 2u);  // use_original_dst brings the filter that finds the address
  EXPECT_EQ(s.listener_filters[0].kind, ListenerFilterSpec::Kind::kOriginalDst);
  EXPECT_EQ(s.listener_filters[1].max_client_hello_bytes, 1000u);
  EXPECT_EQ(s.listener_filters_timeout, 5 * kSecond);
  EXPECT_TRUE(s.continue_on_listener_filters_timeout);
  ASSERT_EQ(s.chains.size(), 2u);
  ASSERT_NE(s.match, nullptr);
  ASSERT_NE(s.default_chain, nullptr);
  EXPECT_EQ(s.chains[0]->name, "a");
  EXPECT_EQ(s.chains[0]->transport_socket_connect_timeout, 3 * kSecond);
  EXPECT_EQ(s.chains[1]->transport_socket_connect_timeout, 15 * kSecond);
  const proxy::TcpProxySpec& tcp = *s.chains[0]->tcp;
  EXPECT_EQ(tcp.idle_timeout, 0);
  EXPECT_EQ(tcp.max_connect_attempts, 2u);
  EXPECT_EQ(tcp.access_log_flush_interval, 2 * kSecond);
  EXPECT_TRUE(tcp.flush_access_log_on_connected);
  ASSERT_EQ(tcp.clusters.size(), 2u);
  EXPECT_EQ(tcp.clusters[1].name, "z");
  EXPECT_EQ(tcp.clusters[1].up_to, 4u);
  EXPECT_EQ(s.chains[1]->tcp->idle_timeout, 3600 * kSecond);

  // Another chain changes: this one is what it was. Its listener changes: it is another one.
  EnvoyListener changed = Read<EnvoyListener>(kText);
  changed.mutable_filter_chains(1)->set_name("b");
  auto other = ListenerOf(changed);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->spec->chains[0]->version, s.chains[0]->version);
  EXPECT_NE(other->spec->chains[1]->version, s.chains[1]->version);
  EXPECT_EQ(other->spec->default_chain->version, s.default_chain->version);
  changed.set_stat_prefix("new");
  other = ListenerOf(changed);
  ASSERT_TRUE(other.has_value());
  EXPECT_NE(other->spec->chains[0]->version, s.chains[0]->version);
}

const Case kRouteCases[] = {
    {"rds: {config_source: {ads: {}}}", "filter_chains[0].filters[0].typed_config.rds.route_config_name: is missing"},
    {"rds: {route_config_name: r}", "filter_chains[0].filters[0].typed_config.rds.config_source: is missing: expected ads: {}"},
    {"rds: {route_config_name: r, config_source: {path_config_source: {path: /x}}}", "filter_chains[0].filters[0].typed_config.rds.config_source.path_config_source: not supported: expected ads: {}"},
    {"route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: missing}}]}]}", "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster: there is no cluster \"missing\" (validate_clusters is set)"},
    {"route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, direct_response: {status: 1000}}]}]}", "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].direct_response.status: 1000: expected 200 to 599"},
    {"route_config: {virtual_hosts: [{name: v, domains: [\"*\"], typed_per_filter_config: {router: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}]}", "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].typed_per_filter_config[\"router\"]: envoy.extensions.filters.http.router.v3.Router is not supported on a route: expected envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"},
};

TEST(CompileListenerTest, Routes) {
  for (const Case& c : kRouteCases) {
    std::string text;
    ListenerOf(Read<EnvoyListener>(ListenerYaml("", "", c.yaml)), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

const Case kFilterCases[] = {
    {"[]", "filter_chains[0].filters[0].typed_config.http_filters: the last filter must be the router (envoy.extensions.filters.http.router.v3.Router)"},
    {"[{name: router}]", "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: is missing; filter_chains[0].filters[0].typed_config.http_filters: the last filter must be the router (envoy.extensions.filters.http.router.v3.Router)"},
    {"[{name: a, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]", "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: filter envoy.extensions.access_loggers.stream.v3.StdoutAccessLog is not supported; filter_chains[0].filters[0].typed_config.http_filters: the last filter must be the router (envoy.extensions.filters.http.router.v3.Router)"},
    {"[{name: a, is_optional: true, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}, {name: router, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]", "warning: filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: filter envoy.extensions.access_loggers.stream.v3.StdoutAccessLog is not supported: left out, as it is optional"},
    {"[{name: r, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, dynamic_stats: false}}, {name: r, disabled: true, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]", "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.dynamic_stats: false is not supported; filter_chains[0].filters[0].typed_config.http_filters[1].name: \"r\" is the name of another filter too; filter_chains[0].filters[0].typed_config.http_filters[1].disabled: not supported: leave the filter out; filter_chains[0].filters[0].typed_config.http_filters[1]: comes after the router, which ends the chain"},
    {"[{name: m, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: {request_mutations: [{remove: ':path'}]}}}, {typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]", "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.mutations.request_mutations[0].remove: \":path\": pseudo headers and host can't be changed here (see host_rewrite_literal and prefix_rewrite); filter_chains[0].filters[0].typed_config.http_filters[1].name: is missing"},
};

TEST(CompileListenerTest, Filters) {
  for (const Case& c : kFilterCases) {
    std::string text;
    ListenerOf(Read<EnvoyListener>(ListenerYaml("", "", "rds: {route_config_name: r, config_source: {ads: {}}}", c.yaml)), &text);
    EXPECT_TRUE(Is(text, c.want)) << c.yaml << "\ngot:  " << text << "\nwant: " << c.want;
  }
}

TEST(CompileListenerTest, MalformedAny) {
  EnvoyListener l = Read<EnvoyListener>(ListenerYaml(""));
  l.mutable_filter_chains(0)->mutable_filters(0)->mutable_typed_config()->set_value("\xff\xff");
  std::string text;
  ListenerOf(l, &text);
  EXPECT_EQ(text, "filter_chains[0].filters[0].typed_config: malformed bytes: no valid envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager");
}

TEST(CompileListenerTest, LogThatCanNotBeOpened) {
  CompileEnv env;
  env.open_log = [](const std::string& path) { return "cannot open " + path; };
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  auto proto = Read<EnvoyListener>(ListenerYaml(
      R"(access_log: [{typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /nope/x}}])"));
  EXPECT_FALSE(CompileListener(proto, "", env, &errors).has_value());
  EXPECT_EQ(Text(found), "filter_chains[0].filters[0].typed_config.access_log[0].typed_config.path: cannot open /nope/x");
}

}  // namespace
}  // namespace weft::config
