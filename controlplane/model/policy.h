#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/model/object.h"
#include "controlplane/model/service.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"

namespace weft::ctl {

// What a VirtualService says to sidecars: its hosts in full, and its http rules as written.
struct RouteRules {
  ObjectKey object;
  std::vector<std::string> hosts;  // "reviews.default.svc.cluster.local", "*.example.com"
  // Shares the object's spec.
  std::shared_ptr<const istio::networking::v1alpha3::VirtualService> spec;
  uint64_t content_hash = 0;  // of the object

  bool operator==(const RouteRules& o) const { return content_hash == o.content_hash && object == o.object; }
};

// Settings of the connections to a cluster; what is unset is Envoy's default.
struct TrafficPolicy {
  std::optional<uint32_t> max_connections;
  std::optional<uint32_t> max_pending_requests;
  std::optional<uint32_t> max_requests;
  std::optional<uint32_t> max_requests_per_connection;
  std::optional<uint32_t> max_retries;
  std::optional<std::chrono::milliseconds> connect_timeout;
  std::optional<std::chrono::milliseconds> idle_timeout;

  bool operator==(const TrafficPolicy&) const = default;
};

struct Subset {
  std::string name;
  Labels labels;
  TrafficPolicy policy;  // the rule's, overridden by the subset's own

  bool operator==(const Subset&) const = default;
};

// What a DestinationRule says about a host.
struct DestinationPolicy {
  ObjectKey object;
  std::string host;
  TrafficPolicy policy;
  std::vector<Subset> subsets;

  const Subset* FindSubset(std::string_view name) const;
  bool operator==(const DestinationPolicy&) const = default;
};

}  // namespace weft::ctl
