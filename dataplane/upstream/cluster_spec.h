#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/http/message.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/net/address.h"
#include "dataplane/net/dial_options.h"

namespace weft::decide {
class PickTable;
}
namespace weft::net {
class TransportSecurity;
}

namespace weft::upstream {

// Process-wide limits of one cluster at one priority (Envoy's circuit_breakers.thresholds).
struct CircuitBreakers {
  uint32_t max_connections = 1024;
  uint32_t max_pending_requests = 1024;
  uint32_t max_requests = 1024;
  uint32_t max_retries = 3;
};

// What all workers use of one cluster now, against CircuitBreakers: process-wide by meaning, hence
// the only atomic read-modify-writes of the request path. Shared by successive specs of one name.
struct ClusterUsage {
  std::atomic<uint32_t> connections{0}, pending{0}, requests{0}, retries{0};

  // Takes one unit when fewer than `max` are taken.
  static bool Take(std::atomic<uint32_t>& used, uint32_t max) {
    if (used.fetch_add(1, std::memory_order_relaxed) < max) return true;
    used.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  static void Give(std::atomic<uint32_t>& used) { used.fetch_sub(1, std::memory_order_relaxed); }
};

enum class UpstreamProtocol : uint8_t {
  kHttp1,
  kHttp2,
  kAuto,        // what ALPN agrees on
  kDownstream,  // what the request came by
};
enum class LbPolicy : uint8_t { kRoundRobin, kRandom };
enum class DiscoveryType : uint8_t { kStatic, kEds, kStrictDns, kLogicalDns };

// HTTP/2 of a cluster that says nothing about it. Less than Envoy's 16 MB a stream: each answer
// whose reader is slow may cost that much memory.
inline http::h2::SessionOptions DefaultHttp2() {
  http::h2::SessionOptions o;
  o.max_concurrent_streams = 1024;  // of ours; the peer's own limit counts too
  o.connection_window = 16u << 20;
  return o;
}

// What a cluster is, without its endpoints: immutable, compiled once on the main thread, shared by
// all workers.
struct ClusterSpec {
  std::string name;
  std::string alt_stat_name;  // empty: name
  DiscoveryType discovery = DiscoveryType::kStatic;
  std::string eds_service_name;  // empty: name
  MonoNanos connect_timeout = 5 * kSecond;
  LbPolicy lb_policy = LbPolicy::kRoundRobin;
  UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
  CircuitBreakers breakers;  // default priority
  // The compiler's caller replaces it by the usage of the spec that this one follows.
  std::shared_ptr<ClusterUsage> usage = std::make_shared<ClusterUsage>();
  uint32_t max_requests_per_connection = 0;  // 0: no limit
  MonoNanos idle_timeout = 3600 * kSecond;   // 0: none
  uint32_t max_response_head_bytes = 60 * 1024;
  uint32_t max_response_headers = 100;
  http::HeaderCase header_case = http::HeaderCase::kAsReceived;  // of HTTP/1 requests
  uint32_t buffer_limit = 1024 * 1024;  // per_connection_buffer_limit_bytes
  MonoNanos max_connection_duration = 0;     // 0: no limit
  // Connections in advance: capacity that is kept for each stream of an endpoint that runs or
  // waits (preconnect_policy.per_upstream_preconnect_ratio).
  double preconnect_ratio = 1;
  std::shared_ptr<const http::h2::SessionOptions> http2;  // null: DefaultHttp2()
  std::shared_ptr<const net::DialOptions> dialing;        // null: the defaults
  // Null: connections to endpoints are plain.
  std::shared_ptr<const net::TransportSecurity> security;
  // The TLS server name: the request's host, or the field `sni_header` when that is not empty; one
  // pool a name (upstream_http_protocol_options.auto_sni).
  bool auto_sni = false;
  std::string sni_header;
  // DNS clusters: host name and port of each endpoint are resolved by the main thread.
  const std::string& stat_name() const { return alt_stat_name.empty() ? name : alt_stat_name; }
};

enum class HealthStatus : uint8_t {
  kUnknown,
  kHealthy,
  kUnhealthy,
  kDraining,
  kTimeout,
  kDegraded
};

struct Locality {
  std::string region, zone, sub_zone;
};

struct EndpointSpec {
  net::Address address;  // names the endpoint
  // All addresses in the order of dialling (RFC 8305); empty: `address` alone.
  std::vector<net::Address> dial_order;
  std::string hostname;
  uint32_t weight = 1;
  uint32_t priority = 0;
  HealthStatus health = HealthStatus::kUnknown;
  std::shared_ptr<const Locality> locality;  // shared by those of one group; null: not known
  bool usable() const {
    return health == HealthStatus::kUnknown || health == HealthStatus::kHealthy ||
           health == HealthStatus::kDegraded;
  }
};

// The endpoints of one cluster at one moment: immutable, shared by all workers. `version` is the
// hash of its wire form.
struct EndpointSet {
  std::vector<EndpointSpec> endpoints;
  // Built once from the usable endpoints of the first priority that has one; indices into
  // `endpoints`. Null: none.
  std::shared_ptr<const decide::PickTable> pick;
  uint64_t version = 0;
};

}  // namespace weft::upstream
