#pragma once

#include "dataplane/http/h2/request_head.h"
#include "dataplane/http/h2/server_connection.h"
#include "dataplane/http/h2/stream_base.h"

namespace weft::http::h2 {

// One request being answered: the http::ServerStream of HTTP/2. Private to this folder. Owner: its
// ServerConnection. Thread: the worker's. Destroyed when: nghttp2 has closed the stream and the
// exchange is done with it, by Loop::DeferDelete.
class ServerStream final : public http::ServerStream,
                           public StreamBase,
                           public ListLink<ServerConnection::FinishingTag> {
 public:
  explicit ServerStream(ServerConnection& connection);

  void set_events(ServerStreamEvents* events) override { events_ = events; }
  RequestHead& request() override { return head_; }
  buffer::BodyPipe* request_body() override {
    return head_.has_body || head_.wants_tunnel() ? &in_body_ : nullptr;
  }
  Arena& arena() override { return arena_; }
  net::Transport& transport() override { return *connection().transport_; }
  MonoNanos start_time() const override { return start_; }
  MonoNanos request_end_time() const override { return end_; }
  void set_idle_timeout(MonoNanos timeout) override;
  uint64_t connection_id() const override { return connection().id(); }
  uint64_t bytes_received() const override { return bytes_received_; }
  uint64_t bytes_sent() const override { return bytes_sent_; }
  size_t unsent() const override { return 0; }  // what waits is in the pipe, or the session's
  void SendInformational(const ResponseHead& head) override;
  void SendResponse(const ResponseHead& head, buffer::BodyPipe* body) override;
  void Abort() override;
  void SetCloseAfter() override { connection().DrainSoon(); }

 private:
  friend class ServerConnection;

  ServerConnection& connection() const { return static_cast<ServerConnection&>(*session_); }
  bool HeadField(std::string_view name, std::string_view value) override;
  void HeadComplete(bool end_stream) override;
  bool TooLarge(std::string_view detail) override;
  void OnEndOfInput() override;
  void OnHeadSent() override;
  void OnEndSent(uint64_t end) override;
  void OnTaken() override;
  void Touch() override;
  void OnMalformed() override { malformed_ = true; }
  bool Premature() const override;
  void OnClosed(uint32_t h2_error) override;
  void Dispatch() override;
  void Dispose() override;
  bool Complete() const override { return false; }
  void SendingFailed(const Error& error) override;
  Error Qualify(const Error& error) const override;

  void OnIdle();
  void Refuse();
  void Die(const Error& error);
  // The answer is with the kernel.
  void Finished();
  // A tunnel is over when both directions are.
  bool TunnelOpen() const { return tunnel_ && !(ended_ && in_body_.finished()); }
  void Answer(int status);

  RequestHead head_;
  RequestHeadBuilder builder_;
  HeadProblem problem_;
  ServerStreamEvents* events_ = nullptr;
  event::Timer idle_timer_;
  MonoNanos idle_timeout_;
  MonoNanos start_, end_ = 0;
  uint64_t end_offset_ = 0;  // of the answer in all that the connection sends
  uint8_t unsent_hints_ = 0;
  bool head_ready_ = false;  // the request head is complete
  bool head_told_ = false;
  bool malformed_ = false;
  bool bad_trailers_ = false;
  bool response_started_ = false;
  bool tunnel_ = false;
};

}  // namespace weft::http::h2
