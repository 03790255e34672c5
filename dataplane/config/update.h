#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/net/address.h"
#include "dataplane/proxy/http_manager_spec.h"
#include "dataplane/upstream/cluster_spec.h"

namespace weft::decide {
class RouteTable;
}

namespace weft::config {

// One listener, compiled: immutable, shared by all workers.
struct ListenerSpec {
  std::string name;
  net::Address address;
  std::vector<net::Address> additional_addresses;
  std::string stat_prefix;  // empty: from the address, as Envoy does
  uint32_t buffer_limit = 1024 * 1024;
  uint32_t backlog = 4096;
  bool reuse_port = true;
  bool freebind = false;
  bool bind_to_port = true;
  // The only filter chain without a match so far; chains by match come with TLS and TCP.
  std::shared_ptr<const proxy::HttpManagerSpec> http;
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
