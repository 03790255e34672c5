#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/substitution/stream_fields.h"
#include "dataplane/decide/header_mutation.h"
#include "dataplane/decide/retry.h"
#include "dataplane/decide/route_match.h"
#include "dataplane/decide/upgrade.h"
#include "google/protobuf/any.pb.h"

namespace weft::decide {

// Per-route configuration of one filter: compiled when CompileOptions had a compiler for it, the wire form otherwise.
struct FilterConfig {
  std::string filter_name;
  google::protobuf::Any raw;
  std::shared_ptr<const void> compiled;
};

// What a virtual host, a route or a weighted cluster changes in a message.
struct Modifications {
  std::vector<HeaderMutation> request_mutations, response_mutations;
  std::vector<FilterConfig> filter_configs;
};

struct WeightedCluster {
  std::string cluster;
  uint64_t upper = 0;  // weights of the clusters up to and including this one
  std::string host_rewrite_literal;
  Modifications modifications;
};

struct Redirect {
  std::string scheme;  // empty: the request's
  std::string host;    // empty: the request's
  uint32_t port = 0;   // 0: the host's
  std::string path;    // replaces the path; may hold a query
  std::string prefix_rewrite;
  int status = 301;
  bool strip_query = false;
};

struct DirectResponse {
  int status = 200;
  std::string body;
};

// Limits of a route that only some have (envoy docs: RouteAction.max_stream_duration and
// max_grpc_timeout). Durations of 0 mean: no limit.
struct DurationLimits {
  bool has_max_stream_duration = false;  // the message is there; then RouteAction.timeout does not count
  std::optional<MonoNanos> max_stream_duration;
  std::optional<MonoNanos> grpc_timeout_header_max;
  MonoNanos grpc_timeout_header_offset = 0;
  std::optional<MonoNanos> max_grpc_timeout;
  MonoNanos grpc_timeout_offset = 0;
};

// What is done with a request that matches: exactly one kind.
struct RouteAction {
  enum class Kind : uint8_t { kCluster, kClusterHeader, kWeightedClusters, kRedirect, kDirectResponse };
  Kind kind = Kind::kCluster;
  std::string cluster;                     // kCluster: name; kClusterHeader: the header that has the name
  std::vector<WeightedCluster> weighted;   // kWeightedClusters
  uint64_t total_weight = 0;
  std::string weight_header;               // its value is the random number, when it is one
  std::unique_ptr<const Redirect> redirect;
  std::unique_ptr<const DirectResponse> direct_response;

  int cluster_not_found_status = 503;
  MonoNanos timeout = 15 * kSecond;        // 0: none
  std::optional<MonoNanos> idle_timeout;   // in place of the manager's stream_idle_timeout; 0: none
  std::string prefix_rewrite;
  std::string host_rewrite_literal;
  std::shared_ptr<const RetryPolicy> retry;  // may be null
  std::unique_ptr<const DurationLimits> duration;  // null: there are none
  UpgradeRules upgrades;
};

// One route, compiled. Part of a RouteTable; a pointer to it is good as long as the table is.
struct Route {
  std::string name;
  RouteMatcher match;
  RouteAction action;
  Modifications modifications;
};

}  // namespace weft::decide
