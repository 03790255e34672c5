#pragma once

// The whole HTTP/1 pump in one thread: a real Worker with its listener, connection manager, exchanges, pools and
// client connections, and on the same loop the downstream peers and the origin. Since every step runs on the worker's
// thread, what that thread allocates is what a request costs.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bench/micro/counting_allocator.h"
#include "dataplane/net/listener.h"
#include "dataplane/observe/access_log.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/runtime/worker.h"
#include "envoy/config/route/v3/route.pb.h"

namespace weft::bench {

struct PumpOptions {
  int connections = 1;
  // What the downstream peers send and the origin answers, byte for byte. The end of either is found by its own
  // framing (Content-Length or chunks).
  std::string request, response;
  // Empty: every path goes to the origin.
  envoy::config::route::v3::RouteConfiguration routes;
  std::function<void(proxy::HttpManagerSpec&)> change;
  std::string access_log;  // a path; empty: none
};

// Owner: a bench or a test. Thread: the one that made it.
class Pump {
 public:
  struct Result {
    uint64_t requests = 0;
    uint64_t wrong = 0;  // answers that were not 200, cut short, or failed connections
    AllocationCounts allocations;  // of the worker's thread
    std::string first_wrong;
  };

  // The name of the cluster that routes can point at.
  static constexpr char kCluster[] = "outbound|9080|v1|reviews.default.svc.cluster.local";

  explicit Pump(PumpOptions options);
  ~Pump();

  // Sends `requests` in all, one at a time on each connection, and waits for the answers.
  Result Run(uint64_t requests);
  uint16_t port() const { return port_; }

 private:
  class Peer;
  class OriginConnection;
  class Origin;
  void OnWorker(std::function<void()> f);  // runs it there and waits
  void PeerIdle(Peer* peer);
  void CountWrong(std::string_view what);

  const PumpOptions options_;
  observe::Registry registry_;
  observe::AccessLogs logs_;
  runtime::WorkerPeers shared_{1};
  std::unique_ptr<runtime::Worker> worker_;
  std::unique_ptr<Origin> origin_;
  std::vector<std::unique_ptr<Peer>> peers_;
  uint16_t port_ = 0;

  // The run under way; the worker's.
  uint64_t to_send_ = 0, answered_ = 0, asked_ = 0;
  AllocationCounts start_;
  Result result_;
  std::mutex mu_;
  std::condition_variable cv_;
  bool done_ = false;
};

// A request and an answer as a sidecar of the sample application sees them.
std::string TypicalRequest();
std::string TypicalResponse(size_t body_bytes);
std::string ChunkedResponse(size_t body_bytes);
std::string PostRequest(size_t body_bytes);
std::string ChunkedPostRequest(size_t body_bytes);

}  // namespace weft::bench
