#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/config/grpc_framing.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/h2/session.h"
#include "dataplane/net/connector.h"

namespace weft::config {

struct GrpcOptions {
  MonoNanos connect_timeout = 5 * kSecond;  // until the peer's HTTP/2 SETTINGS are there
  size_t max_message_bytes = 64u << 20;
  // Both windows are wide, so that a configuration of many megabytes is not paced by round trips. What is on its way
  // is bounded by them, what is kept by one message of the limit above.
  uint32_t stream_window = 4u << 20;
  uint32_t connection_window = 8u << 20;
  MonoNanos keepalive_interval = 30 * kSecond;  // 0: none
  MonoNanos keepalive_timeout = 10 * kSecond;
  // Messages that wait to be sent; a stream above it is ended, as its peer does not read.
  size_t max_pending_bytes = 16u << 20;
};

class GrpcStream;

// One HTTP/2 connection to a gRPC server, dialled at construction. There is no reconnecting in here: when it is closed
// the owner decides.
// Owner: the caller. Thread: the loop's. Destroyed when: the owner likes, from inside an event only by DeferDelete;
// streams end with UNAVAILABLE without an event.
class GrpcConnection final : private net::Connector::Handler, private http::h2::Session::Handler {
 public:
  class Handler {
   public:
    // Connected, and the peer speaks HTTP/2: streams can be opened.
    virtual void OnGrpcReady() = 0;
    // Not connected, or not any more; streams were told before.
    virtual void OnGrpcClosed(const GrpcStatus& status) = 0;

   protected:
    ~Handler() = default;
  };

  GrpcConnection(event::Loop& loop, buffer::Slab& slab, const net::Address& address, const GrpcOptions& options,
                 Handler* handler);
  ~GrpcConnection();

  bool ready() const { return ready_ && !closed_; }
  bool closed() const { return closed_; }
  const net::Address& address() const { return address_; }

 private:
  friend class GrpcStream;
  void OnConnected(std::unique_ptr<net::Transport> transport) override;
  void OnConnectFailed(int error) override;
  void OnSessionReady() override;
  void OnSessionDraining() override;
  void OnSessionClosed(const Error& error) override;
  void Close(GrpcStatus status);

  event::Loop& loop_;
  buffer::Slab& slab_;
  const net::Address address_;
  const GrpcOptions options_;
  Handler* handler_;
  net::Connector connector_;
  event::Timer timeout_;
  std::unique_ptr<http::h2::Session> session_;
  std::vector<GrpcStream*> streams_;
  bool ready_ = false;
  bool closed_ = false;
};

// One bidirectional call.
// Owner: the caller. Thread: the loop's. Destroyed when: the owner likes (from inside one of its events only by
// DeferDelete): the call is cancelled.
class GrpcStream final : private http::ClientStreamEvents,
                         private buffer::BodyPipe::Consumer,
                         private buffer::BodyPipe::Producer {
 public:
  class Handler {
   public:
    virtual void OnGrpcMessage(std::string message) = 0;
    // The call is over; no event comes after it.
    virtual void OnGrpcEnd(const GrpcStatus& status) = 0;

   protected:
    ~Handler() = default;
  };
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  // `path`: "/package.Service/Method". An unusable connection ends the call at the end of the turn.
  GrpcStream(GrpcConnection& connection, std::string path, std::string authority, const Metadata& metadata,
             Handler* handler);
  ~GrpcStream();

  // False when the call is over or too much waits to be sent already (the call is ended then).
  bool Send(std::string_view message);
  // Half-close: no message follows.
  void SendEnd();
  bool ended() const { return ended_; }

 private:
  friend class GrpcConnection;
  void OnInformational(const http::ResponseHead&) override {}
  void OnResponse(http::ResponseHead& head, buffer::BodyPipe* body) override;
  void OnClientReset(const Error& error) override;
  void OnPipeReady() override;
  void OnPipeSpace() override {}
  void OnLateFailure();

  // Tells the end once, gives the HTTP/2 stream back.
  void End(GrpcStatus status);
  GrpcStatus StatusOf(const http::HeaderMap* trailers) const;

  GrpcConnection* connection_;  // null once the call is over
  Handler* handler_;
  http::ClientStream* stream_ = nullptr;
  buffer::BodyPipe request_;
  buffer::BodyPipe* response_ = nullptr;
  GrpcDecoder decoder_;
  event::Timer late_failure_;
  GrpcStatus late_status_;
  int http_status_ = 0;
  bool ended_ = false;
};

}  // namespace weft::config
