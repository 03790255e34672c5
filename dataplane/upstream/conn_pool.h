#pragma once

#include <memory>
#include <vector>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/base/rc.h"
#include "dataplane/http/h1/client_connection.h"
#include "dataplane/net/connector.h"
#include "dataplane/observe/counter_groups.h"
#include "dataplane/upstream/cluster_spec.h"

namespace weft::upstream {

class ConnPool;

// One wish for a stream to a host. Embedded in the Attempt; destroying it (or Cancel) withdraws the
// wish.
class StreamRequest : public ListLink<> {
 public:
  // Exactly one of the two comes, possibly from inside Acquire.
  virtual void OnStreamReady(http::ClientStream& stream) = 0;
  virtual void OnStreamFailed(const Error& error) = 0;
  ~StreamRequest() { Cancel(); }
  void Cancel();

 private:
  friend class ConnPool;
  ConnPool* pool_ = nullptr;  // while pending
};

// HTTP/1 connections of one worker to one endpoint. Idle ones are lent last in, first out: the warm
// ones stay warm and the others age out. A request that finds none idle dials one and waits;
// whichever connection is free first serves it. Owner: Host. Thread: the worker's. Destroyed when:
// the host is; every stream is over then.
class ConnPool final : private http::h1::ClientConnection::Owner {
 public:
  ConnPool(http::h1::ClientContext& context, std::shared_ptr<const ClusterSpec> spec,
           observe::ClusterCounters* counters, const net::Address& address);
  ~ConnPool();

  // kFresh: on a connection that carried no request before, if one more is allowed. For a request
  // whose kept-alive connection turned out to be dead: the others may be too.
  enum class Want : uint8_t { kAny, kFresh };
  void Acquire(StreamRequest* request, Want want = Want::kAny);
  // Closes idle connections, and the others after their request; who waits is told to choose again
  // (kDrain). For endpoints that were removed.
  void Drain();

  size_t idle_count() const { return idle_count_; }
  size_t connection_count() const { return connections_; }
  // Over the pool's life.
  uint64_t dialed() const { return dialed_; }
  uint64_t dial_failures() const { return dial_failures_; }

 private:
  friend class StreamRequest;
  class Dial;
  void OnIdle(http::h1::ClientConnection& connection) override;
  void OnClosed(http::h1::ClientConnection& connection) override;
  void StartDial();
  void OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport);
  void OnDialFailed(Dial& dial, int error);
  void DialOver();
  void Wait(StreamRequest* request);
  void Withdraw();
  void Serve(http::h1::ClientConnection& connection, StreamRequest* request);
  bool FailOne(const Error& error);
  bool FailAll(const Error& error);
  void ServePending();
  void CountBytes(http::h1::ClientConnection& connection);

  http::h1::ClientContext& context_;
  const std::shared_ptr<const ClusterSpec> spec_;
  observe::ClusterCounters* const counters_;
  const net::Address address_;
  http::h1::ClientOptions options_;
  IntrusiveList<StreamRequest> pending_;
  IntrusiveList<http::h1::ClientConnection, http::h1::ClientConnectionTag> idle_, busy_;
  std::vector<std::unique_ptr<Dial>> dials_;
  size_t pending_count_ = 0, idle_count_ = 0, connections_ = 0;
  uint64_t dialed_ = 0, dial_failures_ = 0;
  bool draining_ = false;
  bool* destroyed_ =
      nullptr;  // set while who waits is told of a failure: it may let go of the last reference
};

}  // namespace weft::upstream
