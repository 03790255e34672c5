#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/http/h1/incoming.h"
#include "dataplane/http/h1/serializer.h"
#include "dataplane/http/stream.h"

namespace weft::http::h1 {

struct ClientOptions {
  HeadLimits limits;
  MonoNanos idle_timeout = 3600 * kSecond;  // without a request; 0: none
  uint32_t max_requests = 0;                // on one connection; 0: no limit
  MonoNanos max_duration = 0;               // since it was made, then it ends when idle; 0: none
  uint32_t buffer_bytes = 64 * 1024;
  HeaderCase header_case = HeaderCase::kAsReceived;  // of requests
};

struct ClientMessage;

// What the HTTP/1 client connections of one worker share. Owner: Worker. Thread: the worker's.
struct ClientContext {
  ClientContext(event::Loop& l, buffer::Slab& s);
  ~ClientContext();
  event::Loop& loop;
  buffer::Slab& slab;
  std::vector<std::unique_ptr<ClientMessage>> free_messages;
};

struct ClientConnectionTag;

// One upstream HTTP/1 connection: one request at a time, never pipelined. Between requests it keeps
// reading, so that a close by the peer is seen at once and no idle connection holds a buffer.
// Owner: the connection pool; after OnClosed the owner frees it by Loop::DeferDelete. Thread: the
// worker's.
class ClientConnection final : public ListLink<ClientConnectionTag>,
                               public ClientStream,
                               private net::Transport::Handler,
                               private buffer::BodyPipe::Producer,
                               private buffer::BodyPipe::Consumer,
                               private event::TurnEndTask {
 public:
  class Owner {
   public:
    // The exchange is over and the connection can carry another request.
    virtual void OnIdle(ClientConnection& connection) = 0;
    virtual void OnClosed(ClientConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  ClientConnection(ClientContext& context, const ClientOptions& options,
                   std::unique_ptr<net::Transport> transport, Owner* owner);
  ~ClientConnection();

  bool idle() const { return state_ == State::kIdle; }
  uint64_t requests() const { return requests_; }
  // Bytes since the last call, for the owner's counters.
  uint64_t TakeReceived() { return std::exchange(total_received_, 0); }
  uint64_t TakeSent() { return std::exchange(total_sent_, 0); }
  // When it was made (loop time).
  MonoNanos created() const { return created_; }
  // Once closed: a request was under way.
  bool cut_short() const { return cut_short_; }
  // Why it closed.
  enum class CloseCause : uint8_t { kLocal, kPeer, kIdleTimeout, kMaxDuration, kMaxRequests };
  CloseCause close_cause() const { return close_cause_; }
  // For the owner: the connection is lent to a request; since when it is idle, and for how long it
  // had been when it was lent.
  bool lent = false;
  MonoNanos idle_since = 0, lent_age = 0;
  // Closes when the request under way is over; now when there is none.
  void Drain();
  void Close();

  // ClientStream.
  void set_events(ClientStreamEvents* events) override { events_ = events; }
  void SendRequest(const RequestHead& head, buffer::BodyPipe* body) override;
  void Release() override;
  net::Transport& transport() override { return *transport_; }
  bool reused() const override { return requests_ > 1; }
  uint64_t bytes_sent() const override;
  size_t unsent() const override;
  uint64_t bytes_received() const override;

 private:
  enum class State : uint8_t {
    kIdle,
    kHead,
    kBody,  // or an open tunnel that the peer has not ended
    kDone,  // the response is whole
    kClosed
  };

  void OnReadable() override;
  void OnWritable() override;
  void OnPipeSpace() override;
  void OnPipeReady() override;
  size_t PipeRoom() override { return write_blocked_ ? 0 : SIZE_MAX; }
  void RunAtTurnEnd() override;

  bool MakeReadSpace();
  void Process();
  bool ProcessHead();
  bool ProcessInformational();
  bool ProcessBody();
  void OpenTunnel();
  void MaybeEnd();
  void Flush();
  void Reset(const Error& error);
  void OnEof(int error);
  void ArmIdleTimer();
  void OnIdleTimer();
  bool TooOld() const;

  ClientContext& context_;
  const ClientOptions& options_;
  std::unique_ptr<net::Transport> transport_;
  Owner* owner_;
  ClientStreamEvents* events_ = nullptr;
  std::unique_ptr<ClientMessage> m_;
  ReadBuffer in_;
  event::Timer idle_timer_;
  const MonoNanos created_;
  uint64_t requests_ = 0, total_received_ = 0, total_sent_ = 0;
  State state_ = State::kIdle;
  CloseCause close_cause_ = CloseCause::kLocal;
  bool close_after_ = false;
  bool processing_ = false;
  bool reading_off_ = false;
  bool write_blocked_ = false;  // the kernel takes no more; OnWritable will come
  bool cut_short_ = false;
};

}  // namespace weft::http::h1
