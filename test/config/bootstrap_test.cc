#include "dataplane/config/bootstrap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "dataplane/base/strings.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::config {
namespace {

constexpr char kGood[] = R"(node:
  id: sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local
  cluster: reviews.default
  metadata: {NAMESPACE: default}
admin:
  address: {socket_address: {address: 127.0.2.1, port_value: 15000}}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.2.1, port_value: 9080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: app}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    connect_timeout: 1s
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.1.1, port_value: 9080}}}
  - name: xds-grpc
    type: STATIC
    connect_timeout: 0.25s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options:
            connection_keepalive: {interval: 20s, timeout: 5s}
    load_assignment:
      cluster_name: xds-grpc
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 15010}}}
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 15011}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {cluster_name: xds-grpc}
      initial_metadata: [{key: X-Token, value: abc}]
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 3s}
  cds_config: {ads: {}, resource_api_version: V3}
)";

std::string Errors(std::string_view text, std::unique_ptr<Bootstrap>* out = nullptr, BootstrapOptions options = {}) {
  std::vector<api::SourceError> errors;
  auto b = ReadBootstrap(text, "b.yaml", options, CompileEnv(), &errors);
  EXPECT_EQ(b == nullptr, api::HasError(errors)) << api::ToString(errors);
  if (out != nullptr) *out = std::move(b);
  std::string all;
  for (const auto& e : errors) StrAppend(&all, all.empty() ? "" : "\n", e.ToString());
  return all;
}

// kGood with the first `from` replaced.
std::string With(std::string_view from, std::string_view to) {
  std::string s = kGood;
  size_t at = s.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) s.replace(at, from.size(), to);
  return s;
}

TEST(BootstrapTest, ReadsEverything) {
  std::unique_ptr<Bootstrap> b;
  BootstrapOptions o;
  o.version = "1.2.3";
  o.service_zone = "z1";
  ASSERT_EQ(Errors(kGood, &b, o), "");
  EXPECT_EQ(b->node_id, "sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local");
  EXPECT_EQ(b->node_cluster, "reviews.default");
  envoy::config::core::v3::Node node;
  ASSERT_TRUE(node.ParseFromString(b->node));
  EXPECT_EQ(node.user_agent_name(), "weft-proxy");
  EXPECT_EQ(node.user_agent_version(), "1.2.3");
  EXPECT_EQ(node.locality().zone(), "z1");
  EXPECT_EQ(node.metadata().fields().at("NAMESPACE").string_value(), "default");
  ASSERT_TRUE(b->admin.has_value());
  EXPECT_EQ(b->admin->ToString(), "127.0.2.1:15000");
  ASSERT_EQ(b->clusters.size(), 2u);
  EXPECT_EQ(b->clusters[0].compiled.spec->name, "app");
  EXPECT_EQ(b->clusters[0].compiled.endpoints->endpoints.size(), 1u);
  ASSERT_EQ(b->listeners.size(), 1u);
  EXPECT_EQ(b->listeners[0].compiled.spec->address.ToString(), "127.0.2.1:9080");
  EXPECT_NE(b->listeners[0].compiled.spec->chains[0]->http->routes, nullptr);
  ASSERT_TRUE(b->xds.has_value());
  const XdsSettings& x = *b->xds;
  EXPECT_TRUE(x.delta);
  EXPECT_TRUE(x.listeners);
  EXPECT_TRUE(x.clusters);
  EXPECT_EQ(x.listeners_timeout, 3 * kSecond);
  EXPECT_EQ(x.clusters_timeout, 15 * kSecond);
  ASSERT_EQ(x.servers.addresses.size(), 2u);
  EXPECT_EQ(x.servers.addresses[1].ToString(), "127.0.0.1:15011");
  EXPECT_EQ(x.servers.authority, "xds-grpc");
  EXPECT_EQ(x.servers.metadata, (GrpcStream::Metadata{{"x-token", "abc"}}));
  EXPECT_EQ(x.servers.grpc.connect_timeout, kSecond / 4);
  EXPECT_EQ(x.servers.grpc.keepalive_interval, 20 * kSecond);
  EXPECT_EQ(x.servers.grpc.keepalive_timeout, 5 * kSecond);
  envoy::config::bootstrap::v3::Bootstrap proto;
  EXPECT_TRUE(proto.ParseFromString(b->wire));
}

TEST(BootstrapTest, FlagsOverrideTheFile) {
  std::unique_ptr<Bootstrap> b;
  BootstrapOptions o;
  o.service_node = "n";
  o.service_cluster = "c";
  ASSERT_EQ(Errors(kGood, &b, o), "");
  EXPECT_EQ(b->node_id, "n");
  EXPECT_EQ(b->node_cluster, "c");
}

TEST(BootstrapTest, JsonAndOlderSpelling) {
  std::unique_ptr<Bootstrap> b;
  ASSERT_EQ(Errors(R"({"node": {"id": "a", "cluster": "b"},
    "static_resources": {"clusters": [{"name": "x", "type": "STRICT_DNS", "http2_protocol_options": {},
      "load_assignment": {"cluster_name": "x", "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
        {"pipe": {"path": "/run/xds.sock"}}}}]}]}}]},
    "dynamic_resources": {"ads_config": {"api_type": "GRPC", "transport_api_version": "V3",
      "grpc_services": [{"envoy_grpc": {"cluster_name": "x", "authority": "xds.local"}}]}}})", &b), "");
  EXPECT_FALSE(b->xds->delta);
  EXPECT_FALSE(b->xds->listeners);
  EXPECT_EQ(b->xds->servers.authority, "xds.local");
  EXPECT_EQ(b->xds->servers.addresses[0].ToString(), "/run/xds.sock");
  EXPECT_FALSE(b->admin.has_value());
}

TEST(BootstrapTest, UnknownFieldsCanBeIgnored) {
  std::unique_ptr<Bootstrap> b;
  BootstrapOptions o;
  o.ignore_unknown_fields = true;
  EXPECT_EQ(Errors(With("node:\n", "stats_sinks: []\nnode:\n"), &b, o),
            "b.yaml:1:1: warning: unknown field \"stats_sinks\"; known here: node, static_resources, dynamic_resources, cluster_manager, admin, overload_manager");
  EXPECT_NE(b, nullptr);
}

struct Case {
  const char* from;
  const char* to;
  const char* want;
};

// Each is the good file with one mistake.
const Case kCases[] = {
    {"node:\n", "nodes: {}\nnode:\n", "b.yaml:1:1: unknown field \"nodes\"; did you mean \"node\"?"},
    {"connect_timeout: 1s", "connect_timeout: 1", "b.yaml:30:22: static_resources.clusters[0].connect_timeout: expected a duration in seconds such as \"0.25s\", got 1; add the unit: 1s"},
    {"connect_timeout: 1s", "connect_timeout: 0s", "b.yaml:30:22: static_resources.clusters[0].connect_timeout: 0 s: expected more than 0 s, at most 100 years"},
    {"connect_timeout: 1s", "connect_timeout: -1s", "b.yaml:30:22: static_resources.clusters[0].connect_timeout: -1 s: expected more than 0 s, at most 100 years"},
    {"connect_timeout: 1s", "conect_timeout: 1s", "b.yaml:30:5: static_resources.clusters[0]: unknown field \"conect_timeout\"; did you mean \"connect_timeout\"?"},
    {"connect_timeout: 1s", "connect_timeout: 1s\n    lb_policy: LEAST_REQUEST", "b.yaml:31:16: static_resources.clusters[0].lb_policy: LEAST_REQUEST is not supported: expected ROUND_ROBIN or RANDOM"},
    {"connect_timeout: 1s", "connect_timeout: 1s\n    lb_policy: FASTEST", "b.yaml:31:16: static_resources.clusters[0].lb_policy: expected one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, LOAD_BALANCING_POLICY_CONFIG, got \"FASTEST\""},
    {"connect_timeout: 1s", "connect_timeout: 1s\n    type: ORIGINAL_DST", "b.yaml:31:11: static_resources.clusters[0].type: ORIGINAL_DST is not supported: expected STATIC, EDS, STRICT_DNS or LOGICAL_DNS"},
    {"address: 127.0.1.1, port_value: 9080", "address: app.local, port_value: 9080", "b.yaml:35:58: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \"app.local\": expected an IP address; names are not resolved here"},
    {"address: 127.0.1.1, port_value: 9080", "address: 127.0.1.1", "b.yaml:35:32: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: is missing"},
    {"address: 127.0.1.1, port_value: 9080", "address: 127.0.1.1, port_value: 90800", "b.yaml:35:81: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: 90800: expected 1 to 65535"},
    {"address: 127.0.1.1, port_value: 9080", "address: 127.0.1.1, port_value: 0", "b.yaml:35:81: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: 0: expected 1 to 65535"},
    {"address: 127.0.1.1, port_value: 9080", "address: 127.0.1.1, port_value: http", "b.yaml:35:81: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: expected a number, got \"http\""},
    {"address: 127.0.1.1, port_value: 9080", "address: 127.0.1.1, port_value: 1, protocol: UDP", "b.yaml:35:94: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.protocol: UDP is not supported: expected TCP"},
    {"- name: app", "- name: xds-grpc", "b.yaml:36:11: static_resources.clusters[1].name: \"xds-grpc\" is the name of another cluster too"},
    {"- name: app\n", "- alt_stat_name: app\n", "b.yaml:29:5: static_resources.clusters[0].name: is missing"},
    {"address: 127.0.2.1, port_value: 15000", "address: 0.0.0.0, port_value: 15000", "b.yaml:6:39: admin.address.socket_address.address: 0.0.0.0 can be reached from other hosts: expected a loopback address or a pipe"},
    {"api_type: DELTA_GRPC", "api_type: REST", "b.yaml:53:15: dynamic_resources.ads_config.api_type: REST is not supported: expected DELTA_GRPC or GRPC"},
    {"api_type: DELTA_GRPC", "api_type: AGGREGATED_GRPC", "b.yaml:53:15: dynamic_resources.ads_config.api_type: AGGREGATED_GRPC is not supported: expected DELTA_GRPC or GRPC"},
    {"    transport_api_version: V3\n", "", "b.yaml:52:3: dynamic_resources.ads_config.transport_api_version: is missing: expected V3"},
    {"transport_api_version: V3", "transport_api_version: V2", "b.yaml:54:28: dynamic_resources.ads_config.transport_api_version: V2 is not supported: expected V3"},
    {"cluster_name: xds-grpc}", "cluster_name: xds}", "b.yaml:56:34: dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: there is no cluster \"xds\" in static_resources.clusters"},
    {"cluster_name: xds-grpc}", "cluster_name: app}", "b.yaml:56:34: dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: cluster \"app\" does not speak HTTP/2, which gRPC needs: set explicit_http_config.http2_protocol_options in its typed_extension_protocol_options"},
    {"envoy_grpc: {cluster_name: xds-grpc}", "google_grpc: {target_uri: localhost}", "b.yaml:56:7: dynamic_resources.ads_config.grpc_services[0].google_grpc: not supported: expected envoy_grpc with a cluster of static_resources"},
    {"envoy_grpc: {cluster_name: xds-grpc}", "timeout: 1s\n      envoy_grpc: {cluster_name: xds-grpc}", "b.yaml:56:16: dynamic_resources.ads_config.grpc_services[0].timeout: has no meaning for a stream: set connect_timeout of the cluster"},
    {"lds_config: {ads: {},", "lds_config: {path_config_source: {path: /x},", "b.yaml:58:16: dynamic_resources.lds_config.path_config_source: not supported: expected ads: {}"},
    {"cds_config: {ads: {}, resource_api_version: V3}", "cds_config: {ads: {}, resource_api_version: V2}", "b.yaml:59:47: dynamic_resources.cds_config.resource_api_version: V2 is not supported: expected V3"},
    {"cds_config: {ads: {}, resource_api_version: V3}", "cds_config: {}", "b.yaml:59:3: dynamic_resources.cds_config: has no source: expected ads: {}"},
    {"  id: sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local\n", "", "b.yaml:1:1: node.id: is missing: a management server must know who asks (or give --service-node)"},
    {"  cluster: reviews.default\n", "", "b.yaml:1:1: node.cluster: is missing: a management server must know who asks (or give --service-cluster)"},
    {"stat_prefix: in", "stat_prefix: ''", "b.yaml:16:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix: is missing"},
    {"stat_prefix: in", "stat_prefix: in\n          codec_type: HTTP3", "b.yaml:17:23: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.codec_type: HTTP3 is not supported: expected AUTO, HTTP1 or HTTP2"},
    {"stat_prefix: in", "stat_prefix: in\n          tracing: {}", "b.yaml:17:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: unknown field \"tracing\""},
    {"domains: [\"*\"]", "domains: []", "b.yaml:21:15: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].domains: at least one domain is needed (\"*\" takes every host)"},
    {"prefix: /}", "safe_regex: {regex: \"(\"}}", "b.yaml:23:45: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].match.safe_regex.regex: \"(\" is not a regular expression (RE2): missing ): ("},
    {"timeout: 0.25s", "timeout: 0.25s\n    eds_cluster_config: {eds_config: {ads: {}}}", "b.yaml:39:5: static_resources.clusters[1].eds_cluster_config: set, but the type is not EDS"},
    {"http_connection_manager.v3.HttpConnectionManager\n", "redis_proxy.v3.RedisProxy\n", "b.yaml:15:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.@type: unknown type \"type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy\"; this program has no such message"},
    {"address: 127.0.2.1, port_value: 9080", "address: 127.0.2.1, port_value: 9080, address: 127.0.2.1", "b.yaml:10:70: static_resources.listeners[0].address.socket_address.address: key \"address\" is there twice; first at line 10"},
    {", timeout: 5s}", "}", "b.yaml:44:13: static_resources.clusters[1].typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http2_protocol_options.connection_keepalive.timeout: is missing"},
};

TEST(BootstrapTest, EachMistakeHasItsMessage) {
  for (const Case& c : kCases) {
    EXPECT_EQ(Errors(With(c.from, c.to)), c.want) << "with: " << c.to;
  }
}

TEST(BootstrapTest, AllMistakesAreListedAtOnce) {
  std::string text = kGood;
  for (auto [from, to] : {std::pair("connect_timeout: 1s", "connect_timeout: 0s"), std::pair("stat_prefix: in", "via: x"),
                          std::pair("api_type: DELTA_GRPC", "api_type: REST")}) {
    text.replace(text.find(from), strlen(from), to);
  }
  EXPECT_EQ(Errors(text), "b.yaml:30:22: static_resources.clusters[0].connect_timeout: 0 s: expected more than 0 s, at most 100 years\nb.yaml:14:9: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix: is missing\nb.yaml:53:15: dynamic_resources.ads_config.api_type: REST is not supported: expected DELTA_GRPC or GRPC");
}

TEST(BootstrapTest, TextsThatAreNoBootstrap) {
  EXPECT_EQ(Errors(""), "b.yaml: is empty: expected an Envoy v3 bootstrap (node, static_resources, ...)");
  EXPECT_EQ(Errors("---\n# nothing\n"), "b.yaml: is empty: expected an Envoy v3 bootstrap (node, static_resources, ...)");
  EXPECT_EQ(Errors("admin: {}\n---\nadmin: {}\n"), "b.yaml: holds 2 documents: expected one");
  EXPECT_EQ(Errors("- a\n- b\n"), "b.yaml:1:1: expected a mapping, got a list");
  EXPECT_EQ(Errors("admin: {address: ["), "b.yaml:2:1: did not find expected node content (while parsing a flow node that starts at line 2)");
  EXPECT_EQ(Errors("just text"), "b.yaml:1:1: expected a mapping, got \"just text\"");
}

TEST(BootstrapTest, Files) {
  std::vector<api::SourceError> errors;
  EXPECT_EQ(ReadBootstrapFile("/nonexistent/b.yaml", {}, {}, &errors), nullptr);
  EXPECT_EQ(api::ToString(errors), "/nonexistent/b.yaml: cannot be read: No such file or directory\n");
  errors.clear();
  EXPECT_EQ(ReadBootstrapFile("/", {}, {}, &errors), nullptr);
  EXPECT_EQ(api::ToString(errors), "/: cannot be read: Is a directory\n");
  errors.clear();
  std::string path = StrCat(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp", "/weft-bootstrap-", getpid(), ".yaml");
  std::ofstream(path) << kGood;
  EXPECT_NE(ReadBootstrapFile(path, {}, {}, &errors), nullptr);
  EXPECT_EQ(api::ToString(errors), "");
  unlink(path.c_str());
}

}  // namespace
}  // namespace weft::config
