#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/config/update.h"
#include "dataplane/event/loop.h"
#include "dataplane/runtime/worker.h"

namespace weft::runtime {

// What became of an update.
struct ApplyResult {
  // Listeners whose address can't be had, with the reason; the rest of the update is in effect.
  std::vector<std::pair<std::string, std::string>> refused_listeners;
};

// All workers. Opens listening sockets, so that a taken address is known before anything changes,
// and hands updates to every worker. Owner: app/. Thread: main. Destroyed when: the process ends;
// Stop() first.
class WorkerPool {
 public:
  WorkerPool(event::Loop& main, observe::Registry& registry, observe::AccessLogs& logs,
             int workers);
  ~WorkerPool();

  void Start();
  // `done` runs on main after the last worker swapped.
  void Apply(std::shared_ptr<const config::Update> update, std::function<void(ApplyResult)> done);
  // Stops accepting and lets requests finish; `done` on main when nothing is in flight.
  void Drain(std::function<void()> done);
  void Stop();
  // `done` on main with the sums over workers, for hosts that were used.
  void CollectHosts(std::function<void(std::vector<upstream::HostStatus>)> done);
  // What workers obey when the process is short of something. Its limits are set before Start().
  OverloadState& overload() { return peers_.overload; }
  // Every client is told to go (GOAWAY, connection: close) while accepting goes on.
  void AnnounceDrain();
  // Overload: clients wait in the kernel's queue while it is off.
  void SetAccepting(bool on);
  // Overload: cuts off requests that hold many bytes, the largest first; more of them the higher
  // `level` is.
  void ResetLargestStreams(uint16_t level);
  int size() const { return static_cast<int>(peers_.workers.size()); }
  // Connections that each worker has now.
  std::vector<uint32_t> Connections() const;
  // Bound addresses (port 0 resolved) by listener name.
  std::vector<std::pair<std::string, net::Address>> ListenAddresses() const;

 private:
  struct Bound {
    std::vector<net::Address> asked, bound;
  };
  // What one update does to sockets, while it is worked out.
  struct Change {
    StringMap<Bound> removed;  // listeners that go, by name
    std::vector<net::Address>
        released;  // addresses that no listener has any more once the workers have swapped
  };
  bool Open(const config::ListenerSpec& spec, Change* change, std::string* take_from,
            std::vector<std::vector<int>>* fds, std::string* error);
  bool OpenAddress(const config::ListenerSpec& spec, size_t a, const Change& change,
                   net::Address* address, std::vector<std::vector<int>>* fds, std::string* error);

  event::Loop& main_;
  WorkerPeers peers_;
  std::vector<std::unique_ptr<Worker>>& workers_ = peers_.workers;
  bool accepting_ = true;
  StringMap<Bound> listeners_;
  std::vector<net::Address> closing_;  // of earlier updates: workers may still have them open
  bool drained_ = false;               // no listener comes any more
};

}  // namespace weft::runtime
