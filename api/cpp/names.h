// Names that are contracts: dashboards, patches and people depend on them. See docs and README.md of the folder above.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::api {

// Type URLs of xDS resources.
inline constexpr std::string_view kTypePrefix = "type.googleapis.com/";
inline constexpr std::string_view kListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener";
inline constexpr std::string_view kRouteType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
inline constexpr std::string_view kClusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline constexpr std::string_view kEndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

// Type URLs of extensions (typed_config).
inline constexpr std::string_view kHttpConnectionManagerType =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
inline constexpr std::string_view kRouterType = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
inline constexpr std::string_view kGrpcWebType = "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
inline constexpr std::string_view kHeaderMutationType =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
inline constexpr std::string_view kHeaderMutationPerRouteType =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
inline constexpr std::string_view kFileAccessLogType =
    "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
inline constexpr std::string_view kStdoutAccessLogType =
    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
inline constexpr std::string_view kStderrAccessLogType =
    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
inline constexpr std::string_view kHttpProtocolOptionsType =
    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
inline constexpr std::string_view kPreserveCaseType =
    "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
// Key of Cluster.typed_extension_protocol_options.
inline constexpr std::string_view kHttpProtocolOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
inline constexpr std::string_view kRawBufferType =
    "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
inline constexpr std::string_view kDownstreamTlsType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
inline constexpr std::string_view kUpstreamTlsType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
inline constexpr std::string_view kSpiffeValidatorType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

// "type.googleapis.com/a.b.C" -> "a.b.C"; unchanged without a '/'.
std::string_view MessageNameOf(std::string_view type_url);
// The short word that people use: "listener", "route", "cluster", "endpoint"; the message name for other types.
std::string_view ShortTypeName(std::string_view type_url);

// outbound|9080|v1|reviews.default.svc.cluster.local and inbound|9080||
struct ClusterName {
  enum class Direction { kInbound, kOutbound };
  Direction direction = Direction::kOutbound;
  uint16_t port = 0;
  std::string subset;
  std::string host;

  std::string ToString() const;
  bool operator==(const ClusterName&) const = default;
};
std::string OutboundCluster(uint16_t port, std::string_view subset, std::string_view host);
std::string InboundCluster(uint16_t port);
// Nothing unless all four parts are there and the port is 1 to 65535.
std::optional<ClusterName> ParseClusterName(std::string_view name);

// Route configurations: "9080" (all services on a port), "reviews.default.svc.cluster.local:9080" (one service), and
// the virtual hosts in them, which have the latter form. IPv6 hosts are put in brackets.
std::string HostPort(std::string_view host, uint16_t port);
struct HostAndPort {
  std::string host;
  uint16_t port = 0;
  bool operator==(const HostAndPort&) const = default;
};
std::optional<HostAndPort> ParseHostPort(std::string_view text);
// Virtual host of an inbound listener: inbound|http|9080
std::string InboundVirtualHost(uint16_t port);

// sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local
struct NodeId {
  std::string type;     // "sidecar", "router"
  std::string address;  // the proxy's own
  std::string name;     // of the workload instance; has no '.' when `ns` is empty
  std::string ns;
  std::string domain;

  std::string ToString() const;
  bool operator==(const NodeId&) const = default;
};
std::optional<NodeId> ParseNodeId(std::string_view id);

// spiffe://cluster.local/ns/default/sa/reviews
struct SpiffeIdentity {
  std::string trust_domain;
  std::string ns;
  std::string service_account;
  bool operator==(const SpiffeIdentity&) const = default;
};
std::string SpiffeId(std::string_view trust_domain, std::string_view ns, std::string_view service_account);
std::optional<SpiffeIdentity> ParseSpiffeId(std::string_view id);

// reviews + default + cluster.local -> reviews.default.svc.cluster.local
std::string ServiceHost(std::string_view name, std::string_view ns, std::string_view domain_suffix = "cluster.local");

// What a name of a service, workload, namespace or mesh may be: RFC 1123 label, 1 to 63 of [a-z0-9-], begins and ends
// with a letter or digit. Returns an empty string when it is fine, else what is wrong with it.
std::string CheckDnsLabel(std::string_view name);

}  // namespace weft::api
