#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/rc.h"
#include "dataplane/base/string_map.h"
#include "dataplane/decide/weighted_pick.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/upstream/cluster_spec.h"
#include "dataplane/upstream/host.h"

namespace weft::upstream {

// What clusters need of their worker.
struct ClusterContext {
  http::h1::ClientContext& http1;
  observe::Shard& shard;
};

// One cluster on one worker: hosts with their pools, and the balancer's cursor. Made at the first
// request to it. Owner: ClusterMap and attempts, by Rc. Thread: the worker's.
class Cluster final : public RefCounted {
 public:
  Cluster(ClusterContext& context, std::shared_ptr<const ClusterSpec> spec,
          std::shared_ptr<const EndpointSet> endpoints);

  const ClusterSpec& spec() const { return *spec_; }
  observe::ClusterCounters& counters() { return *counters_; }

  // The next host by weight; null when there is no usable one. `random` in case the policy needs
  // one.
  Host* Pick(uint64_t random);
  // Hosts whose address stays keep their connections; others drain, and who waits for one of them
  // chooses again.
  void SetEndpoints(std::shared_ptr<const EndpointSet> endpoints);
  // Another cluster has taken the name over.
  void Drain();
  const std::vector<Rc<Host>>& hosts() const { return hosts_; }

 private:
  ClusterContext& context_;
  const std::shared_ptr<const ClusterSpec> spec_;
  observe::ClusterCounters* counters_;
  std::shared_ptr<net::SecurityCounters> tls_counters_;  // null without TLS
  std::shared_ptr<const EndpointSet> endpoints_;
  std::vector<Rc<Host>> hosts_;  // in the order of endpoints_
  decide::PickTable::Cursor cursor_;
  bool started_ = false;  // the cursor is somewhere
};

// All clusters of one worker by name. A cluster costs its specification, shared by all workers, and
// an entry here until the first request. Owner: Worker. Thread: the worker's.
class ClusterMap {
 public:
  explicit ClusterMap(ClusterContext context) : context_(context) {}

  // Null when there is no such cluster.
  Cluster* Get(std::string_view name);
  // `endpoints` null keeps those that the cluster has.
  void Put(std::shared_ptr<const ClusterSpec> spec, std::shared_ptr<const EndpointSet> endpoints);
  void PutEndpoints(const std::string& name, std::shared_ptr<const EndpointSet> endpoints);
  void Remove(const std::string& name);
  // Calls f(Cluster&) for each cluster that was used.
  template <typename F>
  void ForEachLive(F f) {
    for (auto& [name, e] : entries_) {
      if (e.live) f(*e.live);
    }
  }
  size_t size() const { return entries_.size(); }
  buffer::Slab& slab() { return context_.http1.slab; }
  size_t live() const { return live_; }

 private:
  struct Entry {
    std::shared_ptr<const ClusterSpec> spec;
    std::shared_ptr<const EndpointSet> endpoints;
    Rc<Cluster> live;
  };
  ClusterContext context_;
  // The key is a view of the entry's spec's name.
  absl::flat_hash_map<std::string_view, Entry, StringHash, StringEq> entries_;
  size_t live_ = 0;
};

}  // namespace weft::upstream
