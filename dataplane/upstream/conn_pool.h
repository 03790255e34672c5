#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/base/rc.h"
#include "dataplane/http/h1/client_connection.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/upstream/cluster_spec.h"
#include "dataplane/upstream/dial.h"

namespace weft::upstream {

class ConnPool;
class PooledSession;
struct PooledSessionTag;

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

// HTTP connections of one worker to one endpoint, of either version behind one Acquire. HTTP/1: one
// stream a connection, idle ones are lent last in, first out: the warm ones stay warm and the
// others age out. HTTP/2: many streams on few sessions; another session when all are full. A
// request that finds no room dials when what is on its way will not do, and waits; whichever
// connection has room first serves it. Connections that have been idle for so long that the
// endpoint may be closing them (HostContext::idle_limit) are not lent. Owner: Host. Thread: the
// worker's. Destroyed when: the host is; every stream is over then.
class ConnPool final : private http::h1::ClientConnection::Owner, private Dial::Handler {
 public:
  enum class Protocol : uint8_t { kHttp1, kHttp2, kAlpn };
  // `sni`: the TLS server name of all its connections; empty: the configured one.
  ConnPool(HostContext& host, Protocol protocol, std::string sni = {});
  ~ConnPool();

  // kFresh: on a connection that carried no request before, if one more is allowed. For a request
  // whose kept-alive connection turned out to be dead: the others may be too.
  enum class Want : uint8_t { kAny, kFresh };
  void Acquire(StreamRequest* request, Want want = Want::kAny);
  // Closes idle connections, and the others after their request; who waits is told to choose again
  // (kDrain). For endpoints that were removed.
  void Drain();

  size_t idle_count() const { return idle_count_; }  // HTTP/1
  // Dials included.
  size_t connection_count() const { return connections_; }
  bool unused() const { return connections_ == 0 && pending_count_ == 0; }
  // Over the pool's life.
  uint64_t dialed() const { return dialed_; }
  uint64_t dial_failures() const { return dial_failures_; }

 private:
  friend class StreamRequest;
  friend class PooledSession;
  void OnIdle(http::h1::ClientConnection& connection) override;
  void OnClosed(http::h1::ClientConnection& connection) override;
  void OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport) override;
  void OnDialFailed(Dial& dial, const Error& error) override;
  // Of PooledSession.
  void OnRoom(PooledSession& session);
  void OnDraining(PooledSession& session);
  void FileFull(PooledSession& session);
  void Drop(PooledSession& session);
  void OnSessionClosed(PooledSession& session, const Error& error);

  std::unique_ptr<Dial> Forget(Dial& dial);
  void StartDial();
  bool NeedsDial(size_t anticipated) const;
  void DialForPending();
  void ConnectionOver();
  void Wait(StreamRequest* request);
  void Withdraw();
  http::h1::ClientConnection* Lendable();
  PooledSession* SessionWithRoom();
  bool MakeRoomForDial();
  void Serve(http::h1::ClientConnection& connection, StreamRequest* request);
  void Serve(PooledSession& session, StreamRequest* request);
  template <typename F>
  bool AliveAfter(F f);
  bool ServeWaiting(PooledSession& session);
  bool FailOne(const Error& error);
  bool FailAll(const Error& error);
  void ServePending();
  void CountBytes(http::h1::ClientConnection& connection);
  bool TakeConnection();
  MonoNanos IdleAge(const http::h1::ClientConnection& connection) const;

  HostContext& host_;
  const ClusterSpec& spec_;
  observe::ClusterCounters* const counters_;
  const Protocol protocol_;
  bool speaks_http2_;  // what the endpoint was seen to speak; a guess until the first connection
  bool draining_ = false;
  const std::string sni_;
  http::h1::ClientOptions http1_;
  http::h2::SessionOptions http2_;
  IntrusiveList<StreamRequest> pending_;
  IntrusiveList<http::h1::ClientConnection, http::h1::ClientConnectionTag> idle_, busy_;
  // With room, without, and those that take no new stream.
  IntrusiveList<PooledSession, PooledSessionTag> open_, full_, ending_;
  std::vector<std::unique_ptr<Dial>> dials_;
  size_t pending_count_ = 0, idle_count_ = 0, busy_count_ = 0, connections_ = 0;
  uint64_t dialed_ = 0, dial_failures_ = 0;
  bool* destroyed_ =
      nullptr;  // set while who waits is told: it may let go of the last reference
};

}  // namespace weft::upstream
