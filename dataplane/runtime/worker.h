#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/base/overload_state.h"
#include "dataplane/base/string_map.h"
#include "dataplane/config/update.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/h1/client_connection.h"
#include "dataplane/http/h1/server_connection.h"
#include "dataplane/observe/access_log.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/proxy/http_manager.h"
#include "dataplane/proxy/route_slot.h"
#include "dataplane/runtime/worker_loads.h"
#include "dataplane/upstream/cluster.h"

namespace weft::runtime {

class ActiveListener;
class Worker;
enum class IdleConnections : uint8_t;

// A listener together with this worker's sockets for it; -1 where the socket that it has is kept.
struct ListenerPut {
  std::shared_ptr<const config::ListenerSpec> spec;
  std::vector<int> fds;   // one an address; empty: no socket
  std::string take_from;  // the listener whose sockets are kept, when it has another name
};

// What the workers of one process have in common, beside immutable specifications. Owner: WorkerPool.
struct WorkerPeers {
  explicit WorkerPeers(size_t n) : loads(n) {}
  WorkerLoads loads;
  OverloadState overload;
  std::vector<std::unique_ptr<Worker>> workers;  // constant once they run
};

// One thread of traffic: a loop, its sockets, its pools, its counters. Shares nothing with other
// workers but immutable specifications. Owner: WorkerPool. Thread: created and destroyed on main;
// Post-ed calls run on its own.
class Worker {
 public:
  Worker(int index, WorkerPeers& peers, observe::Registry& registry, observe::AccessLogs& logs);
  ~Worker();

  void Start();
  // All of these may be called from main; `done` runs on the worker's thread.
  void Apply(std::shared_ptr<const config::Update> update, std::vector<ListenerPut> listeners,
             std::function<void()> done);
  // Every client is told to go, and new ones after their first answer; accepting goes on.
  void AnnounceDrain();
  // Overload: clients wait in the kernel's queue while it is off.
  void SetAccepting(bool on);
  // Stops accepting, finishes what is under way; `drained` once no connection is left.
  void Drain(std::function<void()> drained);
  void Stop();  // ends the thread; open connections are cut
  // On the worker's thread: every host that was used.
  void CollectHosts(std::vector<upstream::HostStatus>* out);
  void Post(std::function<void()> f) { loop_.Post(std::move(f)); }

  // On the worker's thread.
  void OnConnectionGone();
  void OnListenerRetired(ActiveListener* listener);
  // The listener that stands for this address, by address and port, else for every address of the
  // port; null: none.
  ActiveListener* ListenerAt(const net::Address& address);
  event::Loop& loop() { return loop_; }
  buffer::Slab& slab() { return slab_; }
  http::h1::ServerContext& server_context() { return server_context_; }
  proxy::WorkerServices& services() { return services_; }
  observe::Shard& shard() { return shard_; }
  proxy::RouteSlot* Routes(const std::string& name);
  size_t connection_count() const { return connections_; }
  // Whether a connection that was just accepted may stay; counts it for the process if so.
  // `counters` of its listener say why not.
  bool Admit(observe::ListenerCounters& counters);
  // Gives a connection to the worker that should have it. False: that is this one.
  bool HandOver(int fd, const net::Address& peer, const config::ListenerSpec& listener);
  // Begins the life of an admitted connection on this worker; OnConnectionGone ends it.
  void OnConnectionAccepted() {
    ++connections_;
    peers_.loads.Add(static_cast<size_t>(index_));
  }
  // Unique in the process: a count and, in the low byte, the worker.
  uint64_t NextConnectionId() { return (++accepted_ << 8) | static_cast<uint8_t>(index_); }

 private:
  void Run();
  void ApplyOnThread(const config::Update& update, std::vector<ListenerPut>& listeners);
  void PutListener(ListenerPut& put);
  void Adopt(const std::string& listener, int fd, const net::Address& peer);
  void Retire(std::unique_ptr<ActiveListener> listener, IdleConnections idle);

  const int index_;
  WorkerPeers& peers_;
  bool stopped_ = false;  // what is posted after that finds nothing to work on
  event::Loop loop_;
  buffer::Slab slab_;
  observe::Shard& shard_;
  observe::WorkerLogs logs_;
  http::h1::ServerContext server_context_;
  http::h1::ClientContext client_context_;
  std::unique_ptr<upstream::ClusterMap> clusters_;
  proxy::WorkerServices services_;
  StringMap<std::unique_ptr<proxy::RouteSlot>> routes_;
  StringMap<std::unique_ptr<ActiveListener>> listeners_;
  std::vector<std::unique_ptr<ActiveListener>> retired_;
  std::function<void()> drained_;
  size_t connections_ = 0;
  uint64_t accepted_ = 0;
  bool announced_ = false;         // draining, but still accepting
  bool accepting_ = true;          // false: overload
  std::thread thread_;
};

}  // namespace weft::runtime
