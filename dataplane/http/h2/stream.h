#pragma once

#include <memory>
#include <vector>

#include "dataplane/http/h2/session.h"
#include "dataplane/http/h2/stream_base.h"

namespace weft::http::h2 {

// One request and its response on a client session: the http::ClientStream of HTTP/2. Private to
// this folder. Owner: its Session. Thread: the loop's. Destroyed when: both sides are done with it,
// by Loop::DeferDelete.
class Stream final : public http::ClientStream, public StreamBase {
 public:
  Stream(Session& session, http::ClientStreamEvents* events, bool reused);

  void set_events(http::ClientStreamEvents* events) override { events_ = events; }
  void SendRequest(const RequestHead& head, buffer::BodyPipe* body) override;
  void Release() override;
  net::Transport& transport() override { return *client().transport_; }
  bool reused() const override { return reused_; }
  uint64_t bytes_sent() const override { return bytes_sent_; }
  size_t unsent() const override { return 0; }  // what waits is in the pipe, or the session's
  uint64_t bytes_received() const override { return bytes_received_; }

 private:
  Session& client() const { return static_cast<Session&>(*session_); }
  bool Unprocessed() const;

  bool HeadField(std::string_view name, std::string_view value) override;
  void HeadComplete(bool end_stream) override;
  bool TooLarge(std::string_view detail) override;
  void OnHeadSent() override;
  void OnClosed(uint32_t h2_error) override;
  void Dispatch() override;
  void Dispose() override;
  bool Complete() const override { return ended_; }
  void SendingFailed(const Error& error) override;
  Error Qualify(const Error& error) const override;

  http::ClientStreamEvents* events_;
  ResponseHead response_;
  std::vector<ResponseHead> informational_;
  std::string_view upgrade_;  // what an extended CONNECT asked for
  uint64_t head_end_ = 0;     // 0: not known yet
  bool connect_ = false;      // the request asked for a tunnel
  bool head_ready_ = false;   // the final response head is complete
  bool head_told_ = false;
  bool reused_;
  bool no_body_ = false;  // END_STREAM came with the head
};

}  // namespace weft::http::h2
