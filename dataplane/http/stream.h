#pragma once

#include <cstdint>

#include "dataplane/base/arena.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/error.h"
#include "dataplane/buffer/body_pipe.h"
#include "dataplane/http/message.h"
#include "dataplane/net/transport.h"

namespace weft::http {

// The pump's two ends. A codec (h1, h2) implements ServerStream for each request that it receives
// and ClientStream for each that it sends; proxy/Exchange joins the two. Heads are values, bodies
// are BodyPipes, errors are Error. All on one worker's thread.
//
// Tunnels (docs/adr/0015-tunnels.md). A request that wants_tunnel() is CONNECT, or an offer to
// change the protocol: HTTP/1's Upgrade, or extended CONNECT, which the h2 codecs translate (server:
// method "GET", upgrade = :protocol; client: the reverse). For such a request
// - request_body() is never null, while has_body is false and content_length 0; its pipe yields what
//   the peer sends after the head, and End() is the peer's half-close;
// - ClientStream::SendRequest gets that pipe and pulls nothing until the answer has `tunnel` set;
// - an answer without `tunnel` is an ordinary one: nothing of the pipe is ever sent. A server codec
//   does not read what came early as another request;
// - an answer with `tunnel` (status 101 for an offer, also where h2 writes 200; 2xx for CONNECT) has
//   a body of raw bytes. From OnResponse on the client codec pulls from the request's pipe, from
//   SendResponse on the server codec does from the response's; an ended pipe becomes FIN or
//   END_STREAM, a failed one a reset. The stream is done (OnStreamDone) when both have ended;
// - Release() or Abort() of an open tunnel cuts it off.

// What the owner of a ServerStream hears.
class ServerStreamEvents {
 public:
  // The peer went away, broke the framing of the body, or a timeout of the codec fired. The stream
  // is dead after the call; OnStreamDone follows when a response can still be finished, never after
  // this.
  virtual void OnStreamReset(const Error& error) = 0;
  // The whole response was handed to the kernel. The stream is dead after the call.
  virtual void OnStreamDone() = 0;

 protected:
  ~ServerStreamEvents() = default;
};

// One request being answered. Owner: the codec's connection.
class ServerStream {
 public:
  virtual void set_events(ServerStreamEvents* events) = 0;
  virtual RequestHead& request() = 0;
  // Null when the request has no body. Pulling from it makes the codec read on.
  virtual buffer::BodyPipe* request_body() = 0;
  virtual Arena& arena() = 0;
  virtual net::Transport& transport() = 0;
  // When the first byte of the request arrived (loop time).
  virtual MonoNanos start_time() const = 0;
  // When the last byte of the request arrived; 0: not yet.
  virtual MonoNanos request_end_time() const = 0;
  // In place of the connection's stream_idle_timeout; 0: none.
  virtual void set_idle_timeout(MonoNanos timeout) = 0;
  // Unique in the process, for logs.
  virtual uint64_t connection_id() const = 0;
  // Body bytes received and sent, without heads and framing, for logs.
  virtual uint64_t bytes_received() const = 0;
  virtual uint64_t bytes_sent() const = 0;
  // Bytes of the answer that wait for the kernel and that only this stream holds.
  virtual size_t unsent() const = 0;

  // 100, 102, 103. Not sent to HTTP/1.0 peers.
  virtual void SendInformational(const ResponseHead& head) = 0;
  // Once. `body` null: the head is the whole response. Else the codec becomes the pipe's consumer
  // and sends what it yields; a failed pipe cuts the response off so that the peer can tell.
  virtual void SendResponse(const ResponseHead& head, buffer::BodyPipe* body) = 0;
  // Cuts off without a (complete) response.
  virtual void Abort() = 0;
  // The connection must not be used for another request after this one.
  virtual void SetCloseAfter() = 0;

 protected:
  ~ServerStream() = default;
};

// Who takes requests from a server connection: one per HTTP connection manager and worker.
class ServerHandler {
 public:
  // Called once the head is complete and valid. The handler calls set_events before it returns; it
  // may answer at once.
  virtual void OnRequest(ServerStream& stream) = 0;
  // A message was refused before it became a request; the codec answers it by itself. `status` 0:
  // without an answer.
  virtual void OnBadRequest(net::Transport& transport, const Error& error, int status,
                            Protocol protocol) = 0;

 protected:
  ~ServerHandler() = default;
};

// What the sender of a request hears.
class ClientStreamEvents {
 public:
  virtual void OnInformational(const ResponseHead& head) = 0;
  // `body` null: the response is complete and the stream dead. The head stays valid until
  // OnClientStreamDone.
  virtual void OnResponse(ResponseHead& head, buffer::BodyPipe* body) = 0;
  // No complete response will come. `error.unprocessed` and whether a byte was received tell if it
  // may be sent again.
  virtual void OnClientReset(const Error& error) = 0;

 protected:
  ~ClientStreamEvents() = default;
};

// One request to an upstream.
class ClientStream {
 public:
  virtual void set_events(ClientStreamEvents* events) = 0;
  // Once. `body` null: the head is the whole request.
  virtual void SendRequest(const RequestHead& head, buffer::BodyPipe* body) = 0;
  // The sender has lost interest; no event comes any more. With the response body consumed this is
  // an orderly end.
  virtual void Release() = 0;
  virtual net::Transport& transport() = 0;
  // True when the connection carried a request before this one.
  virtual bool reused() const = 0;
  // Bytes of the request that the kernel took, bytes of the response received.
  virtual uint64_t bytes_sent() const = 0;
  virtual uint64_t bytes_received() const = 0;
  // Bytes of the request that wait for the kernel and that only this stream holds.
  virtual size_t unsent() const = 0;

 protected:
  ~ClientStream() = default;
};

}  // namespace weft::http
