#include "dataplane/runtime/worker.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "dataplane/runtime/active_listener.h"

namespace weft::runtime {

Worker::Worker(int index, WorkerPeers& peers, observe::Registry& registry,
               observe::AccessLogs& logs)
    : index_(index),
      peers_(peers),
      shard_(*registry.NewShard()),
      logs_(&logs),
      server_context_(loop_, slab_),
      client_context_(loop_, slab_),
      clusters_(std::make_unique<upstream::ClusterMap>(
          upstream::ClusterContext{client_context_, shard_})),
      services_(loop_, *clusters_, shard_, logs_,
                (uint64_t{std::random_device()()} << 32) | std::random_device()()) {
  services_.overload = &peers.overload;
}

Worker::~Worker() { Stop(); }

void Worker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Worker::Run() {
  std::string name = "worker-" + std::to_string(index_);
  pthread_setname_np(pthread_self(), name.c_str());
  loop_.Run();
  // Tear down here, on the thread that all of it belongs to.
  stopped_ = true;
  listeners_.clear();
  retired_.clear();
  loop_.RunOnce();
  clusters_.reset();
  loop_.RunOnce();
}

void Worker::Stop() {
  if (!thread_.joinable()) return;
  loop_.StopFromAnyThread();
  thread_.join();
}

proxy::RouteSlot* Worker::Routes(const std::string& name) {
  auto& slot = routes_[name];
  if (slot == nullptr) slot = std::make_unique<proxy::RouteSlot>();
  return slot.get();
}

void Worker::Apply(std::shared_ptr<const config::Update> update, std::vector<ListenerPut> listeners,
                   std::function<void()> done) {
  loop_.Post([this, update = std::move(update), listeners = std::move(listeners),
              done = std::move(done)]() mutable {
    if (!stopped_) ApplyOnThread(*update, listeners);
    if (done) done();
  });
}

void Worker::ApplyOnThread(const config::Update& update, std::vector<ListenerPut>& listeners) {
  for (const auto& c : update.clusters) clusters_->Put(c.spec, c.endpoints);
  for (const auto& e : update.endpoints) clusters_->PutEndpoints(e.cluster, e.endpoints);
  for (const auto& r : update.routes) Routes(r.name)->Set(r.table);
  for (ListenerPut& l : listeners) PutListener(l);
  for (const std::string& name : update.removed_listeners) {
    auto it = listeners_.find(name);
    if (it == listeners_.end()) continue;
    Retire(std::move(it->second), IdleConnections::kCloseSoon);
    listeners_.erase(it);
  }
  for (const std::string& name : update.removed_routes) Routes(name)->Set(nullptr);
  for (const std::string& name : update.removed_clusters) clusters_->Remove(name);
  std::erase_if(retired_, [](auto& l) { return l->empty(); });
}

void Worker::CollectHosts(std::vector<upstream::HostStatus>* out) {
  if (stopped_) return;
  clusters_->ForEachLive([&](upstream::Cluster& c) {
    for (const auto& h : c.hosts()) {
      out->push_back({c.spec().name, h->address_text(), h->stats(), h->connection_count(),
                      h->dialed(), h->dial_failures()});
    }
  });
}

void Worker::PutListener(ListenerPut& put) {
  std::vector<int> fds = std::move(put.fds);
  std::vector<std::unique_ptr<ActiveListener>> old;
  for (const std::string& name : {put.spec->name, put.take_from}) {
    auto it = listeners_.find(name);
    if (it == listeners_.end()) continue;
    bool source = name == (put.take_from.empty() ? put.spec->name : put.take_from);
    if (source && !fds.empty() &&
        std::all_of(fds.begin(), fds.end(), [](int fd) { return fd < 0; })) {
      fds = it->second->TakeSockets();
    }
    old.push_back(std::move(it->second));
    listeners_.erase(it);
  }
  auto& now = listeners_[put.spec->name];
  now = std::make_unique<ActiveListener>(*this, put.spec, std::move(fds));
  for (auto& l : old) {
    if (l->spec().name == put.spec->name) now->TakeChains(*l);
  }
  if (announced_) now->AnnounceDrain();
  if (!accepting_) now->SetAccepting(false);
  for (auto& l : old) Retire(std::move(l), IdleConnections::kCloseSoon);
}

void Worker::Retire(std::unique_ptr<ActiveListener> listener, IdleConnections idle) {
  ActiveListener* l = listener.get();
  retired_.push_back(std::move(listener));
  l->Retire(idle);
}

ActiveListener* Worker::ListenerAt(const net::Address& address) {
  ActiveListener* wildcard = nullptr;
  for (auto& [name, l] : listeners_) {
    const config::ListenerSpec& spec = l->spec();
    const auto& more = spec.additional_addresses;
    if (spec.address == address || std::find(more.begin(), more.end(), address) != more.end()) {
      return l.get();
    }
    if (spec.address.is_wildcard() && spec.address.port() == address.port()) wildcard = l.get();
  }
  return wildcard;
}

void Worker::OnListenerRetired(ActiveListener* listener) {
  auto it =
      std::find_if(retired_.begin(), retired_.end(), [&](auto& l) { return l.get() == listener; });
  if (it == retired_.end()) return;  // removed by the caller's sweep
  loop_.DeferDelete(std::move(*it));
  retired_.erase(it);
}

bool Worker::Admit(observe::ListenerCounters& counters) {
  OverloadState& o = peers_.overload;
  if (o.Applies(OverloadAction::kRejectIncomingConnections, services_.random.Next())) {
    counters.downstream_cx_overload_reject.Inc();
    return false;
  }
  if (!o.TakeConnection()) {
    counters.downstream_global_cx_overflow.Inc();
    return false;
  }
  return true;
}

bool Worker::HandOver(int fd, const net::Address& peer, const config::ListenerSpec& listener) {
  // While draining, listeners go away on all workers: a connection stays with the one that has it.
  if (peers_.workers.size() == 1 || announced_) return false;
  size_t to = peers_.loads.Choose(static_cast<size_t>(index_), listener.exact_balance);
  if (to == static_cast<size_t>(index_)) return false;
  peers_.loads.Add(to);  // at once, so that a burst is spread
  Worker* worker = peers_.workers[to].get();
  worker->Post([worker, fd, peer, name = listener.name] { worker->Adopt(name, fd, peer); });
  return true;
}

void Worker::Adopt(const std::string& listener, int fd, const net::Address& peer) {
  peers_.loads.Remove(static_cast<size_t>(index_));  // counted again when it begins
  auto it = listeners_.find(listener);
  if (stopped_ || it == listeners_.end()) {  // the listener was removed meanwhile
    close(fd);
    peers_.overload.GiveConnection();
    return;
  }
  it->second->Adopt(fd, peer);
}

void Worker::AnnounceDrain() {
  loop_.Post([this] {
    announced_ = true;
    if (stopped_) return;
    for (auto& [name, l] : listeners_) l->AnnounceDrain();
  });
}

void Worker::SetAccepting(bool on) {
  loop_.Post([this, on] {
    accepting_ = on;
    if (stopped_) return;
    for (auto& [name, l] : listeners_) l->SetAccepting(on);
  });
}

void Worker::OnConnectionGone() {
  --connections_;
  peers_.loads.Remove(static_cast<size_t>(index_));
  peers_.overload.GiveConnection();
  if (connections_ == 0 && drained_) std::exchange(drained_, nullptr)();
}

void Worker::Drain(std::function<void()> drained) {
  loop_.Post([this, drained = std::move(drained)]() mutable {
    if (stopped_) return drained();
    // Listeners that were retired before may give their idle connections a while; now they don't.
    for (size_t i = 0; i < retired_.size();) {
      ActiveListener* l = retired_[i].get();
      l->CutOff();
      if (i < retired_.size() && retired_[i].get() == l) ++i;  // else it was empty and is gone
    }
    // Those that retire only now spare who has just connected.
    std::vector<std::unique_ptr<ActiveListener>> all;
    for (auto& [name, l] : listeners_) all.push_back(std::move(l));
    listeners_.clear();
    for (auto& l : all) Retire(std::move(l), IdleConnections::kCloseNow);
    if (connections_ == 0) {
      drained();
    } else {
      drained_ = std::move(drained);
    }
  });
}

}  // namespace weft::runtime
