#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/base/overload_state.h"
#include "dataplane/base/rc.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/stream.h"
#include "dataplane/observe/access_log.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/proxy/http_manager_spec.h"
#include "dataplane/proxy/random.h"
#include "dataplane/proxy/route_slot.h"
#include "dataplane/upstream/cluster.h"

namespace weft::proxy {

class Exchange;
struct ActiveExchangeTag;

// What exchanges need of their worker. Owner: Worker. Thread: the worker's.
class WorkerServices final : private event::TurnEndTask {
 public:
  WorkerServices(event::Loop& loop, upstream::ClusterMap& clusters, observe::Shard& shard,
                 observe::WorkerLogs& logs, uint64_t seed);
  ~WorkerServices();

  event::Loop& loop;
  upstream::ClusterMap& clusters;
  observe::Shard& shard;
  observe::WorkerLogs& logs;
  Random random;
  // Host name for %HOSTNAME% and via; node names for request headers come later.
  uint64_t next_stream_id = 1;
  // The process's; set before the worker starts.
  const OverloadState* overload = nullptr;
  IntrusiveList<Exchange, ActiveExchangeTag> active;  // requests under way

  // The Date header's value, made once a second.
  std::string_view Date();
  // Exchanges are reused: their vectors and arena keep their storage.
  Exchange* NewExchange();
  // Called by an exchange that is over; it is reused after the stack has unwound.
  void Recycle(Exchange* exchange);
  // Overload: cuts off the requests that hold the most bytes, largest first: at most `max` of those
  // with `min_bytes` or more. Returns how many.
  size_t ResetLargest(size_t max, size_t min_bytes);

 private:
  void RunAtTurnEnd() override;
  static constexpr size_t kMaxFree = 256;
  std::vector<std::unique_ptr<Exchange>> free_, finished_;
  int64_t date_second_ = 0;
  char date_[32];
  size_t date_size_ = 0;
};

// One HTTP connection manager on one worker: takes requests from server connections and makes an
// Exchange of each. Owner: the worker's listener and the exchanges under way, by Rc. Thread: the
// worker's.
class HttpManager final : public RefCounted, public http::ServerHandler {
 public:
  // `routes`: the slot of spec->rds_name, which outlives this; null when the spec has its own
  // table.
  HttpManager(WorkerServices& services, std::shared_ptr<const HttpManagerSpec> spec,
              const RouteSlot* routes);
  ~HttpManager();

  void OnRequest(http::ServerStream& stream) override;
  void OnBadRequest(net::Transport& transport, const Error& error, int status,
                    http::Protocol protocol) override;

  WorkerServices& services() { return services_; }
  const HttpManagerSpec& spec() const { return *spec_; }
  observe::HttpCounters& counters() { return *counters_; }
  const Rc<PinnedRoutes>& routes() const {
    return rds_ != nullptr ? rds_->current() : own_.current();
  }

 private:
  WorkerServices& services_;
  const std::shared_ptr<const HttpManagerSpec> spec_;
  const RouteSlot* rds_;
  RouteSlot own_;
  observe::HttpCounters* counters_;
};

}  // namespace weft::proxy
