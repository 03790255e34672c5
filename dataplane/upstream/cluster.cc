#include "dataplane/upstream/cluster.h"

#include <algorithm>

#include "dataplane/tls/counters.h"

namespace weft::upstream {

// What an idle cluster costs, beside its name and its wire form: once a process, the last one once
// an endpoint. bench/macro/run --row memory has the sum.
static_assert(sizeof(ClusterSpec) <= 320 && sizeof(ClusterUsage) <= 16);
static_assert(sizeof(EndpointSet) <= 48 && sizeof(EndpointSpec) <= 208);

Cluster::Cluster(ClusterContext& context, std::shared_ptr<const ClusterSpec> spec,
                 std::shared_ptr<const EndpointSet> endpoints)
    : context_(context),
      spec_(std::move(spec)),
      counters_(context.shard.Cluster(spec_->stat_name())) {
  if (spec_->security != nullptr) {
    tls_counters_ = tls::MakeCounters(context.shard, observe::ScopeId::Cluster(spec_->stat_name()));
  }
  SetEndpoints(std::move(endpoints));
}

Host* Cluster::Pick(uint64_t random) {
  if (endpoints_ == nullptr || endpoints_->pick == nullptr) return nullptr;
  const decide::PickTable& table = *endpoints_->pick;
  // Workers begin at places of their own, else all of them would send their first request to the
  // same host.
  if ((spec_->lb_policy == LbPolicy::kRandom || !started_) && table.round() > 0) {
    cursor_.next = static_cast<uint32_t>(random % table.round());
    started_ = true;
  }
  uint32_t index = table.Pick(&cursor_);
  return index == decide::PickTable::kNone ? nullptr : hosts_[index].get();
}

void Cluster::SetEndpoints(std::shared_ptr<const EndpointSet> endpoints) {
  std::vector<Rc<Host>> old;
  old.swap(hosts_);
  endpoints_ = std::move(endpoints);
  if (endpoints_ != nullptr) {
    hosts_.reserve(endpoints_->endpoints.size());
    StringMap<size_t> by_address;
    for (size_t i = 0; i < old.size(); ++i) by_address[old[i]->address_text()] = i;
    for (const EndpointSpec& e : endpoints_->endpoints) {
      auto it = old.empty() ? by_address.end() : by_address.find(e.address.ToString());
      if (it != by_address.end() && old[it->second]) {
        old[it->second]->set_endpoint(e);
        hosts_.push_back(std::move(old[it->second]));
      } else {
        hosts_.push_back(MakeRc<Host>(context_.http1, e, spec_, counters_));
        hosts_.back()->context().tls_counters = tls_counters_;
      }
    }
  }
  for (Rc<Host>& h : old) {
    if (h) h->Drain();
  }
}

void Cluster::Drain() {
  for (const Rc<Host>& h : hosts_) h->Drain();
}

Cluster* ClusterMap::Get(std::string_view name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  Entry& e = it->second;
  if (!e.live) {
    e.live = MakeRc<Cluster>(context_, e.spec, e.endpoints);
    ++live_;
  }
  return e.live.get();
}

void ClusterMap::Put(std::shared_ptr<const ClusterSpec> spec,
                     std::shared_ptr<const EndpointSet> endpoints) {
  Rc<Cluster> old;
  if (auto it = entries_.find(spec->name); it != entries_.end()) {
    old = std::move(it->second.live);
    if (endpoints == nullptr) endpoints = std::move(it->second.endpoints);
    entries_.erase(it);  // its key is the old specification's
  }
  const std::string_view name = spec->name;
  entries_.emplace(name, Entry{std::move(spec), std::move(endpoints), {}});
  if (old) {
    // Connections follow the specification that they were made under: requests under way keep the
    // old cluster, those that wait for a connection go to the new one.
    --live_;
    old->Drain();
  }
}

void ClusterMap::PutEndpoints(const std::string& name,
                              std::shared_ptr<const EndpointSet> endpoints) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return;
  it->second.endpoints = endpoints;
  if (it->second.live) it->second.live->SetEndpoints(std::move(endpoints));
}

void ClusterMap::Remove(const std::string& name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return;
  if (it->second.live) --live_;
  entries_.erase(it);
}

}  // namespace weft::upstream
