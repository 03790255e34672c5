#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controlplane/xds/messages.h"
#include "controlplane/xds/proxy_session.h"
#include "controlplane/xds/push_queue.h"
#include "controlplane/xds/resource.h"
#include "controlplane/xds/stats.h"

namespace weft::ctl::xds {

// A discovery stream's transport, towards the client.
// Owner: shared by the transport and the Connection. Thread: any.
class Stream {
 public:
  virtual ~Stream() = default;
  // At most one at a time: after it, Connection::OnWritten says that the next may follow.
  virtual void Write(const Response& response) = 0;
  // Ends the stream. Nothing is written afterwards; Connection::OnClosed follows.
  virtual void Close(const absl::Status& status) = 0;
};

struct HubOptions {
  SessionOptions session;
  size_t push_threads = 2;
  size_t max_sessions = 20000;
  // A client that has not taken one response after this long does not read any more.
  std::chrono::milliseconds write_limit{60000};
  std::chrono::milliseconds tick{100};
};

struct ConnectionStatus {
  uint64_t id = 0;
  std::string node_id, cluster, client, peer;
  Protocol protocol = Protocol::kDelta;
  SystemTime since;
  bool writing = false;
  std::vector<TypeStatus> types;
};

class Hub;

// One connected proxy: its session, its stream, and the lock that serialises them. A client that
// does not read has one response in the transport and none here. Owner: shared by Hub and the
// transport. Thread: any. Destroyed when: OnClosed was called and no push is running.
class Connection : public Pushable, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Hub* hub, uint64_t id, Protocol protocol, const Node& node, std::string peer,
             std::unique_ptr<ProxyResources> resources, std::shared_ptr<Stream> stream);

  // By the transport.
  void OnRequest(const Request& request);
  void OnWritten();
  void OnClosed();

  // By Hub.
  void Push() override;
  void Tick(SteadyTime now);
  void Close(const absl::Status& status);

  uint64_t id() const { return id_; }
  const std::string& node_id() const { return node_id_; }
  ConnectionStatus Status();
  std::vector<SentResource> Sent();

 private:
  Hub* const hub_;
  const uint64_t id_;
  const std::string node_id_, cluster_, client_, peer_;
  const SystemTime since_ = std::chrono::system_clock::now();
  const std::unique_ptr<ProxyResources> resources_;

  std::mutex mutex_;
  std::shared_ptr<Stream> stream_;  // null after the end
  ProxySession session_;
  bool writing_ = false;
  SteadyTime write_started_;
};

// All connections, and who tells them what.
// Owner: app. Thread: any. Destroyed when: after Shutdown and when the transport has ended its
// streams.
class Hub {
 public:
  using Clock = std::function<SteadyTime()>;

  // `clock` null: the steady clock, and a thread of its own that ticks. With a clock, Tick is the
  // caller's.
  Hub(ResourceProvider* provider, const HubOptions& options, Clock clock = nullptr);
  ~Hub();

  // An error refuses the stream; the message is for the client.
  absl::StatusOr<std::shared_ptr<Connection>> Open(Protocol protocol, const Node& node,
                                                   std::string peer,
                                                   std::shared_ptr<Stream> stream);
  // There is a newer state. Does not block.
  void OnNewState();
  void Tick();
  // Closes all streams and ends the threads. Later Opens are refused.
  void Shutdown();

  // By node id.
  std::vector<ConnectionStatus> Status() const;
  // Of all connections of that node.
  std::vector<SentResource> Sent(const std::string& node_id) const;
  size_t sessions() const;
  size_t queued() const { return queue_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  friend class Connection;
  std::vector<std::shared_ptr<Connection>> All() const;
  void Remove(uint64_t id);
  void RunTicks();
  SteadyTime Now() const { return clock_ ? clock_() : std::chrono::steady_clock::now(); }

  ResourceProvider* const provider_;
  const HubOptions options_;
  const Clock clock_;
  Counters counters_;
  PushQueue queue_;
  mutable std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::thread ticks_;
};

}  // namespace weft::ctl::xds
