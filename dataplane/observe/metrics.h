#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/observe/counter_groups.h"
#include "dataplane/observe/metric.h"

namespace weft::observe {

struct Tag {
  std::string name, value;
};

// Whose series these are. Names of series are put together from these parts and never taken apart again, since names
// of clusters and listeners contain dots, pipes and colons.
struct ScopeId {
  enum class Kind : uint8_t {
    kProcess,       // <name>.          no tag; name is "server", "cluster_manager", "listener_manager", ...
    kCluster,       // cluster.<name>.  envoy_cluster_name
    kHttp,          // http.<name>.     envoy_http_conn_manager_prefix
    kListener,      // listener.<name>. envoy_listener_address
    kListenerHttp,  // listener.<name>.http.<sub_name>.
    kClusterHttp2,  // cluster.<name>.http2. envoy_cluster_name
  };
  Kind kind = Kind::kProcess;
  std::string name;
  std::string sub_name;

  static ScopeId Process(std::string_view name) { return {Kind::kProcess, std::string(name), {}}; }
  static ScopeId Cluster(std::string_view name) { return {Kind::kCluster, std::string(name), {}}; }
  static ScopeId Http(std::string_view stat_prefix) { return {Kind::kHttp, std::string(stat_prefix), {}}; }
  // The address as text, "127.0.0.1:80".
  static ScopeId Listener(std::string_view address) { return {Kind::kListener, std::string(address), {}}; }
  static ScopeId ListenerHttp(std::string_view address, std::string_view stat_prefix) {
    return {Kind::kListenerHttp, std::string(address), std::string(stat_prefix)};
  }

  static ScopeId ClusterHttp2(std::string_view name) { return {Kind::kClusterHttp2, std::string(name), {}}; }

  // "cluster.outbound|9080||reviews."; colons become underscores as in Envoy.
  std::string Prefix() const;
  // "cluster."
  std::string_view ExtractedPrefix() const;
  void AppendTags(std::vector<Tag>* out) const;

  auto operator<=>(const ScopeId&) const = default;
};

// A series that is not a field of a ready-made group.
struct MetricName {
  ScopeId scope;
  std::string name;           // behind the scope's prefix: "uptime", "rds.9080.update_success"
  std::string extracted = {};  // the same without the parts that became tags: "rds.update_success"; empty: `name`
  std::vector<Tag> tags = {};
};

class Registry;

// One thread's metrics. A look-up takes a mutex and is done once: the caller keeps the pointer, which is good until
// Drop of its scope.
// Owner: Registry. Thread: the one that it was made for; only the values are read by others.
class Shard {
 public:
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  ~Shard();

  ClusterCounters* Cluster(std::string_view name);
  HttpCounters* Http(std::string_view stat_prefix);
  ListenerCounters* Listener(std::string_view address);
  ListenerHttpCounters* ListenerHttp(std::string_view address, std::string_view stat_prefix);
  Http2Counters* DownstreamHttp2();
  Http2Counters* ClusterHttp2(std::string_view cluster);

  Counter* GetCounter(const MetricName& name);
  Gauge* GetGauge(const MetricName& name);
  Histogram* GetHistogram(const MetricName& name);

  // Frees everything in `scope` on this shard; pointers into it are dead. Its counts stay in the totals as long as
  // another shard has the scope, and go away with the last one.
  void Drop(const ScopeId& scope);

  size_t scope_count() const;

 private:
  friend class Registry;
  struct Dynamic {
    MetricName name;
    enum class Kind : uint8_t { kCounter, kGauge, kHistogram } kind;
    Counter counter;
    Gauge gauge;
    Histogram histogram;
  };
  struct Block {
    std::unique_ptr<ClusterCounters> cluster;
    std::unique_ptr<HttpCounters> http;
    std::unique_ptr<ListenerCounters> listener;
    std::unique_ptr<ListenerHttpCounters> listener_http;
    std::unique_ptr<Http2Counters> http2;
    std::vector<std::unique_ptr<Dynamic>> dynamic;
  };

  explicit Shard(Registry* registry) : registry_(registry) {}
  Block* GetBlock(const ScopeId& scope);
  template <typename Group>
  Group* GetGroup(const ScopeId& scope, std::unique_ptr<Group> Block::*member);
  Dynamic* GetDynamic(const MetricName& name, Dynamic::Kind kind);

  Registry* const registry_;
  mutable std::mutex mu_;  // guards the shape of blocks_, not the values in it
  std::map<ScopeId, std::unique_ptr<Block>> blocks_;
};

// What `/stats` and `/stats/prometheus` are asked for.
struct StatsQuery {
  std::string filter;      // regular expression (RE2) that has to match somewhere in the full name; empty: all
  bool used_only = false;  // only what was ever changed
};

// All series of the process: merges the shards when it is read.
// Owner: app/ (main). Thread: any may read; NewShard on main. Destroyed when: the process ends, after the workers.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Owned by the registry.
  Shard* NewShard();

  // "name: value" lines sorted by name, counters and gauges first, then histograms with their quantiles, as Envoy's
  // `/stats`. Intervals are not kept: the first number of each quantile's pair is nan. A bad filter is an error.
  absl::StatusOr<std::string> Text(const StatsQuery& query) const;
  // As Envoy's `/stats?format=json`.
  absl::StatusOr<std::string> Json(const StatsQuery& query) const;
  // Prometheus text format 0.0.4.
  absl::StatusOr<std::string> Prometheus(const StatsQuery& query) const;

  // Sum over the shards by full name; for tests and for the admin page's own use. Null when there is no such number.
  std::unique_ptr<int64_t> Value(std::string_view full_name) const;

 private:
  friend class Shard;
  struct Totals;
  struct Sample;
  struct ScopeRecord;

  void Hold(const ScopeId& scope);
  static void AddBlock(const Shard::Block& block, Totals* totals);
  std::vector<Sample> Collect() const;
  absl::StatusOr<std::vector<Sample>> Select(const StatsQuery& query) const;

  mutable std::mutex mu_;  // taken before a shard's
  std::map<ScopeId, ScopeRecord> scopes_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace weft::observe
