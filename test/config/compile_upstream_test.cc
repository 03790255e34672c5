// How a cluster connects: every field of it, and what is refused.
#include "dataplane/config/compile_upstream.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>
#include <vector>

#include "api/cpp/envoy_types.h"
#include "api/cpp/yaml.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_cluster.h"

namespace weft::config {
namespace {

using upstream::UpstreamProtocol;

constexpr char kTyped[] =
    "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
    "{\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, ";

std::optional<CompiledCluster> Compile(const std::string& yaml, std::string* text = nullptr,
                                       const CompileEnv& env = {}) {
  api::LinkEnvoyTypes();
  envoy::config::cluster::v3::Cluster c;
  std::vector<api::SourceError> found;
  auto documents = api::ParseDocuments(StrCat("{name: a, ", yaml, "}"), "c.yaml", &found);
  if (documents.size() == 1) documents[0].ReadInto(&c, {}, &found);
  EXPECT_FALSE(api::HasError(found)) << api::ToString(found) << yaml;
  decide::Errors errors(&found);
  auto out = CompileCluster(c, "", env, &errors);
  if (text != nullptr) {
    *text = Summary(found);
  } else {
    EXPECT_TRUE(out.has_value()) << yaml << ": " << Summary(found);
  }
  return out;
}

UpstreamProtocol ProtocolOf(const std::string& yaml) { return Compile(yaml)->spec->protocol; }

TEST(CompileUpstreamTest, TheProtocol) {
  EXPECT_EQ(ProtocolOf("type: STATIC"), UpstreamProtocol::kHttp1);
  EXPECT_EQ(ProtocolOf("http2_protocol_options: {}"), UpstreamProtocol::kHttp2);
  EXPECT_EQ(ProtocolOf("http_protocol_options: {}"), UpstreamProtocol::kHttp1);
  EXPECT_EQ(ProtocolOf("protocol_selection: USE_DOWNSTREAM_PROTOCOL"),
            UpstreamProtocol::kDownstream);
  EXPECT_EQ(ProtocolOf("protocol_selection: USE_DOWNSTREAM_PROTOCOL, http2_protocol_options: {}"),
            UpstreamProtocol::kDownstream);
  EXPECT_EQ(ProtocolOf(StrCat(kTyped, "explicit_http_config: {http_protocol_options: {}}}}")),
            UpstreamProtocol::kHttp1);
  EXPECT_EQ(ProtocolOf(StrCat(kTyped, "explicit_http_config: {http2_protocol_options: {}}}}")),
            UpstreamProtocol::kHttp2);
  EXPECT_EQ(ProtocolOf(StrCat(kTyped, "use_downstream_protocol_config: {}}}")),
            UpstreamProtocol::kDownstream);
}

TEST(CompileUpstreamTest, Http2Options) {
  auto c = Compile(
      "http2_protocol_options: {hpack_table_size: 0, max_concurrent_streams: 5, "
      "initial_stream_window_size: 65535, initial_connection_window_size: 70000, "
      "allow_connect: true, override_stream_error_on_invalid_http_message: true, "
      "max_outbound_frames: 9, max_outbound_control_frames: 8, connection_keepalive: "
      "{interval: 3s, timeout: 2s, interval_jitter: {value: 50}}}");
  const http::h2::SessionOptions& o = *c->spec->http2;
  EXPECT_EQ(o.header_table_size, 0u);
  EXPECT_EQ(o.max_concurrent_streams, 5u);
  EXPECT_EQ(o.stream_window, 65535u);
  EXPECT_EQ(o.connection_window, 70000u);
  EXPECT_TRUE(o.allow_connect);
  EXPECT_TRUE(o.stream_error_on_invalid_message);
  EXPECT_EQ(o.max_outbound_frames, 9u);
  EXPECT_EQ(o.max_outbound_control_frames, 8u);
  EXPECT_EQ(o.keepalive_interval, 3 * kSecond);
  EXPECT_EQ(o.keepalive_timeout, 2 * kSecond);
  EXPECT_EQ(o.keepalive_jitter, 50u);
}

TEST(CompileUpstreamTest, LimitsOfConnections) {
  auto c = Compile("max_requests_per_connection: 3");
  EXPECT_EQ(c->spec->max_requests_per_connection, 3u);
  c = Compile(
      "common_http_protocol_options: {idle_timeout: 2s, max_connection_duration: 9s, "
      "max_requests_per_connection: 4}, preconnect_policy: {per_upstream_preconnect_ratio: 1.5}");
  EXPECT_EQ(c->spec->idle_timeout, 2 * kSecond);
  EXPECT_EQ(c->spec->max_connection_duration, 9 * kSecond);
  EXPECT_EQ(c->spec->max_requests_per_connection, 4u);
  EXPECT_EQ(c->spec->preconnect_ratio, 1.5);
}

TEST(CompileUpstreamTest, ServerNames) {
  auto c = Compile("upstream_http_protocol_options: {auto_sni: true}");
  EXPECT_TRUE(c->spec->auto_sni);
  EXPECT_EQ(c->spec->sni_header, "");
  c = Compile(StrCat(kTyped,
                     "explicit_http_config: {http_protocol_options: {}}, "
                     "upstream_http_protocol_options: {auto_sni: true, override_auto_sni_header: "
                     "X-Name}}}"));
  EXPECT_TRUE(c->spec->auto_sni);
  EXPECT_EQ(c->spec->sni_header, "x-name");
}

TEST(CompileUpstreamTest, WhereConnectionsComeFrom) {
  auto c = Compile(
      "upstream_bind_config: {source_address: {address: 127.0.0.2}, freebind: true, "
      "socket_options: [{level: 6, name: 18, int_value: 5000}, {level: 1, name: 2, buf_value: "
      "QUI=, state: STATE_BOUND, description: d}]}");
  const net::DialOptions& d = *c->spec->dialing;
  EXPECT_EQ(d.source.ToString(), "127.0.0.2:0");
  EXPECT_TRUE(d.freebind);
  ASSERT_EQ(d.socket_options.size(), 2u);
  EXPECT_EQ(d.socket_options[0].level, IPPROTO_TCP);
  EXPECT_EQ(d.socket_options[0].name, TCP_USER_TIMEOUT);
  int v = 0;
  memcpy(&v, d.socket_options[0].value.data(), sizeof(v));
  EXPECT_EQ(v, 5000);
  EXPECT_FALSE(d.socket_options[0].after_bind);
  EXPECT_EQ(d.socket_options[1].value, "AB");
  EXPECT_TRUE(d.socket_options[1].after_bind);
}

TEST(CompileUpstreamTest, TheProcessesBindAddressHoldsForClustersWithoutOne) {
  CompileEnv env;
  net::DialOptions bind;
  bind.source = *net::Address::FromIp("127.0.0.9", 0);
  env.upstream_bind = std::make_shared<const net::DialOptions>(bind);
  std::string text;
  auto c = Compile("upstream_connection_options: {tcp_keepalive: {}}", &text, env);
  EXPECT_EQ(c->spec->dialing->source.Ip(), "127.0.0.9");
  EXPECT_TRUE(c->spec->dialing->keep_alive.on);
  c = Compile("upstream_bind_config: {source_address: {address: \"::1\", port_value: 7}}", &text,
              env);
  EXPECT_EQ(c->spec->dialing->source.ToString(), "[::1]:7");
  EXPECT_FALSE(c->spec->dialing->keep_alive.on);
}

std::string OrderOf(const std::string& options) {
  auto c = Compile(StrCat(
      options,
      "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: "
      "{socket_address: {address: 10.0.0.1, port_value: 1}}, additional_addresses: ["
      "{address: {socket_address: {address: 10.0.0.2, port_value: 1}}},"
      "{address: {socket_address: {address: \"::1\", port_value: 1}}},"
      "{address: {socket_address: {address: 10.0.0.3, port_value: 1}}},"
      "{address: {socket_address: {address: \"::2\", port_value: 1}}}]}}]}]}"));
  std::string out;
  for (const auto& a : c->endpoints->endpoints.at(0).dial_order) StrAppend(&out, a.Ip(), " ");
  return out;
}

TEST(CompileUpstreamTest, AddressesOfAnEndpointTakeTurnsByFamily) {
  EXPECT_EQ(OrderOf(""), "10.0.0.1 ::1 10.0.0.2 ::2 10.0.0.3 ");
  const std::string config = "upstream_connection_options: {happy_eyeballs_config: ";
  EXPECT_EQ(OrderOf(config + "{first_address_family_version: V6}}, "),
            "::1 10.0.0.1 ::2 10.0.0.2 10.0.0.3 ");
  EXPECT_EQ(OrderOf(config + "{first_address_family_count: 2}}, "),
            "10.0.0.1 10.0.0.2 ::1 10.0.0.3 ::2 ");
}

TEST(CompileUpstreamTest, WhatIsRefused) {
  const std::string at =
      "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]";
  const std::pair<std::string, std::string> cases[] = {
      {"preconnect_policy: {per_upstream_preconnect_ratio: 4}",
       "preconnect_policy.per_upstream_preconnect_ratio: 4: expected 1 to 3"},
      {"preconnect_policy: {predictive_preconnect_ratio: 2}",
       "preconnect_policy.predictive_preconnect_ratio: not supported: expected 1, or use "
       "per_upstream_preconnect_ratio"},
      {"upstream_http_protocol_options: {auto_san_validation: true}",
       "upstream_http_protocol_options.auto_san_validation: needs auto_sni: it is the name that was "
       "sent that the certificate must be for; "
       "upstream_http_protocol_options.auto_san_validation: needs a transport_socket with TLS"},
      {"upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}",
       "upstream_http_protocol_options.auto_san_validation: needs a transport_socket with TLS"},
      {"upstream_http_protocol_options: {override_auto_sni_header: x}",
       "upstream_http_protocol_options.override_auto_sni_header: has a meaning with auto_sni only"},
      {"upstream_bind_config: {source_address: {address: here}}",
       "upstream_bind_config.source_address.address: \"here\": expected an IP address; names are "
       "not resolved here"},
      {"upstream_bind_config: {socket_options: [{level: 1, name: 2}]}",
       "upstream_bind_config.socket_options[0]: has no value: expected int_value or buf_value"},
      {"upstream_bind_config: {socket_options: [{level: 1, name: 2, int_value: 1, state: "
       "STATE_LISTENING}]}",
       "upstream_bind_config.socket_options[0].state: STATE_LISTENING has a meaning for listeners "
       "only"},
      {"upstream_connection_options: {happy_eyeballs_config: {first_address_family_count: 0}}",
       "upstream_connection_options.happy_eyeballs_config.first_address_family_count: 0: expected "
       "1 or more"},
      {"http2_protocol_options: {allow_metadata: true, custom_settings_parameters: [{}]}",
       "http2_protocol_options.allow_metadata: not supported; "
       "http2_protocol_options.custom_settings_parameters: not supported"},
      {StrCat(kTyped, "auto_config: {}}}"),
       at + ".auto_config: needs a transport_socket with TLS: the protocol is chosen by ALPN"},
      {StrCat("http_protocol_options: {}, ", kTyped, "use_downstream_protocol_config: {}}}"),
       "http_protocol_options: set together with typed_extension_protocol_options: leave one of "
       "them out"},
      {"load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: "
       "{socket_address: {address: 10.0.0.1, port_value: 1}}, additional_addresses: [{}]}}]}]}",
       "load_assignment.endpoints[0].lb_endpoints[0].endpoint.additional_addresses[0].address: is "
       "missing: expected socket_address (address and port_value) or pipe (path)"},
  };
  for (const auto& [yaml, want] : cases) {
    std::string text;
    EXPECT_FALSE(Compile(yaml, &text).has_value()) << yaml;
    EXPECT_EQ(text, want) << yaml;
  }
}

TEST(CompileTransportTest, ProxyHeaderInFrontOfPlainAndTls) {
  const std::string pp =
      "{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3."
      "ProxyProtocolUpstreamTransport";
  const std::string raw =
      "transport_socket: {typed_config: {\"@type\": "
      "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}";
  auto yaml = [&](const std::string& fields) {
    return StrCat("transport_socket: {typed_config: ", pp, fields, "}}");
  };
  auto good = Compile(yaml(StrCat(", config: {version: V2}, ", raw)));
  ASSERT_TRUE(good.has_value());
  EXPECT_NE(good->spec->security, nullptr);
  const std::string at = "transport_socket.typed_config";
  std::string text;
  Compile(yaml(""), &text);
  EXPECT_EQ(text, at + ".transport_socket: is missing: expected raw_buffer or TLS");
  Compile(yaml(StrCat(", config: {pass_through_tlvs: {}}, ", raw)), &text);
  EXPECT_EQ(text, at + ".config.pass_through_tlvs: not supported: type-length-value fields are not passed on");
  Compile(yaml(StrCat(", transport_socket: {typed_config: ", pp, ", ", raw, "}}")), &text);
  EXPECT_EQ(text, at + ".transport_socket: a PROXY header within another one");
}

}  // namespace
}  // namespace weft::config
