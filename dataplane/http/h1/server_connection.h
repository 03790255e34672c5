#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/http/h1/incoming.h"
#include "dataplane/http/h1/serializer.h"
#include "dataplane/http/server_connection.h"
#include "dataplane/http/stream.h"

namespace weft::http::h1 {

struct ServerOptions {
  HeadLimits limits;
  MonoNanos idle_timeout = 3600 * kSecond;        // no request under way; 0: none
  MonoNanos head_timeout = 60 * kSecond;          // first byte to end of head; 0: none
  MonoNanos stream_idle_timeout = 300 * kSecond;  // no byte moved either way; 0: none
  MonoNanos delayed_close_timeout =
      1 * kSecond;            // how long a refused peer may read its answer before the close
  uint32_t max_requests = 0;  // on one connection; 0: no limit
  uint32_t buffer_bytes = 64 * 1024;  // of a body under way, each direction
  // A connection that begins with the HTTP/2 preface is handed over (Owner::OnHttp2Preface).
  bool detect_http2 = false;
  HeaderCase header_case = HeaderCase::kAsReceived;  // of responses
};

struct ServerMessage;

// What the HTTP/1 connections of one worker share. Owner: Worker. Thread: the worker's.
struct ServerContext {
  ServerContext(event::Loop& l, buffer::Slab& s);
  ~ServerContext();
  event::Loop& loop;
  buffer::Slab& slab;
  std::vector<std::unique_ptr<ServerMessage>>
      free_messages;  // state of a request under way, reused
};

// One downstream HTTP/1 connection: reads requests, one at a time and in order, and writes their
// answers. It is its own ServerStream, since HTTP/1 has one message under way. An idle connection
// holds no buffer and no message state. Owner: the listener's connection list; after OnClosed the
// owner frees it by Loop::DeferDelete. Thread: the worker's.
class ServerConnection final : public http::ServerConnection,
                               public ServerStream,
                               private net::Transport::Handler,
                               private buffer::BodyPipe::Producer,
                               private buffer::BodyPipe::Consumer,
                               private event::TurnEndTask {
 public:
  ServerConnection(ServerContext& context, const ServerOptions& options,
                   std::unique_ptr<net::Transport> transport, ServerHandler* handler, Owner* owner);
  ~ServerConnection() override;

  Protocol protocol() const override { return Protocol::kHttp11; }
  void DrainSoon() override { close_after_ = true; }
  void Drain() override;
  void Close() override;
  bool idle() const override { return state_ == State::kIdle; }
  uint64_t requests() const override { return requests_; }
  uint64_t total_received() const override { return total_received_; }
  uint64_t total_sent() const override { return total_sent_; }

  // ServerStream.
  void set_events(ServerStreamEvents* events) override { events_ = events; }
  RequestHead& request() override;
  buffer::BodyPipe* request_body() override;
  Arena& arena() override;
  net::Transport& transport() override { return *transport_; }
  MonoNanos start_time() const override;
  MonoNanos request_end_time() const override;
  void set_idle_timeout(MonoNanos timeout) override;
  uint64_t connection_id() const override { return id(); }
  uint64_t bytes_received() const override;
  uint64_t bytes_sent() const override;
  size_t unsent() const override;
  void SendInformational(const ResponseHead& head) override;
  void SendResponse(const ResponseHead& head, buffer::BodyPipe* body) override;
  void Abort() override;
  void SetCloseAfter() override { close_after_ = true; }

 private:
  enum class State : uint8_t {
    kIdle,
    kHead,
    kBody,      // or an open tunnel that the peer has not ended
    kComplete,  // the request is whole
    kLingering,
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
  bool HandOverHttp2(std::string_view in);
  bool ProcessBody();
  void RequestComplete();
  void OpenTunnel();
  void BodyError(const ParseError& error);
  void Refuse(const ParseError& error, ErrorCode code = ErrorCode::kBadRequest);
  void AnswerOrCutOff(const ParseError& error);
  void AnswerAndClose(const ParseError& error);
  void OnEof();
  void OnIoError(int error);
  void Flush();
  void ResponseWritten();
  void EndMessage();
  void Linger();
  void ResetStream(const Error& error);
  void ArmTimer();
  void OnTimer();
  void Touch();

  ServerContext& context_;
  const ServerOptions& options_;
  std::unique_ptr<net::Transport> transport_;
  ServerHandler* handler_;
  Owner* owner_;
  ServerStreamEvents* events_ = nullptr;
  std::unique_ptr<ServerMessage> m_;  // null when idle
  ReadBuffer in_;                     // holds nothing when idle
  event::Timer timer_;
  uint64_t requests_ = 0, total_received_ = 0, total_sent_ = 0;
  State state_ = State::kIdle;
  bool close_after_ = false;
  bool processing_ = false;
  bool reading_off_ = false;
  bool write_blocked_ = false;  // the kernel takes no more; OnWritable will come
};

}  // namespace weft::http::h1
