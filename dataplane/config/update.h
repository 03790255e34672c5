#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/net/address.h"
#include "dataplane/proxy/http_manager_spec.h"
#include "dataplane/proxy/tcp_proxy_spec.h"
#include "dataplane/upstream/cluster_spec.h"

namespace weft::decide {
class FilterChainMatch;
class RouteTable;
}
namespace weft::net {
class TransportSecurity;
}

namespace weft::config {

// One filter chain, compiled: immutable, shared by all workers. Ends in HTTP or in TCP, never both.
struct FilterChainSpec {
  std::string name;  // may be empty
  // Null: plain.
  std::shared_ptr<const net::TransportSecurity> security;
  MonoNanos transport_socket_connect_timeout = 15 * kSecond;  // of the handshake; 0: none
  std::shared_ptr<const proxy::HttpManagerSpec> http;
  std::shared_ptr<const proxy::TcpProxySpec> tcp;
  // Hash of the chain's wire form and of what it takes from its listener: a chain whose version stays
  // keeps its connections when the listener changes around it.
  uint64_t version = 0;
};

// What looks at a connection before it has a chain.
struct ListenerFilterSpec {
  enum class Kind : uint8_t { kProxyProtocol, kOriginalDst, kTlsInspector, kHttpInspector };
  Kind kind = Kind::kTlsInspector;
  // kTlsInspector.
  uint32_t max_client_hello_bytes = 64 * 1024;
  bool close_on_client_hello_error = false;
  // kProxyProtocol.
  bool allow_without_proxy_protocol = false;
  bool allow_v1 = true, allow_v2 = true;
  std::string stat_prefix;
};

// One listener, compiled: immutable, shared by all workers.
struct ListenerSpec {
  std::string name;
  net::Address address;
  std::vector<net::Address> additional_addresses;
  std::string stat_prefix;  // empty: from the address, as Envoy does
  uint32_t buffer_limit = 1024 * 1024;
  uint32_t backlog = 4096;
  bool reuse_port = true;
  bool exact_balance = false;  // workers are never more than one connection apart
  bool freebind = false;
  bool bind_to_port = true;
  // Connections go on to the listener that has the address that they were redirected from.
  bool use_original_dst = false;
  // In the order of the configuration.
  std::vector<ListenerFilterSpec> listener_filters;
  MonoNanos listener_filters_timeout = 15 * kSecond;  // 0: none
  bool continue_on_listener_filters_timeout = false;
  std::vector<std::shared_ptr<const FilterChainSpec>> chains;
  std::shared_ptr<const FilterChainSpec> default_chain;  // when none of `chains` matches; may be null
  // Which of `chains` takes a connection. Null: the first one takes all, or there is a default chain
  // only.
  std::shared_ptr<const decide::FilterChainMatch> match;
  uint64_t version = 0;  // hash of the wire form
};

// What changes on the workers, in the order to apply it: clusters and endpoints, then routes, then listeners, then
// removals (make before break). Built on the main thread, shared by all workers, applied between two events.
struct Update {
  struct ClusterPut {
    std::shared_ptr<const upstream::ClusterSpec> spec;
    // Null keeps the endpoints that the cluster has.
    std::shared_ptr<const upstream::EndpointSet> endpoints;
  };
  struct EndpointsPut {
    std::string cluster;
    std::shared_ptr<const upstream::EndpointSet> endpoints;
  };
  struct RoutesPut {
    std::string name;
    std::shared_ptr<const decide::RouteTable> table;
  };
  std::vector<ClusterPut> clusters;
  std::vector<EndpointsPut> endpoints;
  std::vector<RoutesPut> routes;
  std::vector<std::shared_ptr<const ListenerSpec>> listeners;
  std::vector<std::string> removed_listeners, removed_routes, removed_clusters;

  bool empty() const {
    return clusters.empty() && endpoints.empty() && routes.empty() && listeners.empty() && removed_listeners.empty() &&
           removed_routes.empty() && removed_clusters.empty();
  }
};

}  // namespace weft::config
