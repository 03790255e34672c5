#pragma once

#include <nghttp2/nghttp2.h>

#include <vector>

#include "dataplane/base/arena.h"
#include "dataplane/http/h2/session.h"

namespace weft::http::h2 {

// One request and its response on a session: the http::ClientStream of HTTP/2. Private to this folder.
// Owner: its Session. Thread: the loop's. Destroyed when: both sides are done with it, by Loop::DeferDelete.
class Stream final : public http::ClientStream,
                     public ListLink<Session::DirtyTag>,
                     public ListLink<Session::WakeTag>,
                     public ListLink<Session::AllTag>,
                     private buffer::BodyPipe::Producer,
                     private buffer::BodyPipe::Consumer {
 public:
  Stream(Session& session, http::ClientStreamEvents* events);
  ~Stream();

  void set_events(http::ClientStreamEvents* events) override { events_ = events; }
  void SendRequest(const RequestHead& head, buffer::BodyPipe* body) override;
  void Release() override;
  net::Transport& transport() override { return *session_->transport_; }
  bool reused() const override { return reused_; }
  uint64_t bytes_sent() const override { return bytes_sent_; }
  uint64_t bytes_received() const override { return bytes_received_; }

 private:
  friend class Session;
  friend struct Session::Callbacks;
  enum class Receiving : uint8_t { kHead, kBody, kTrailers };

  void OnPipeSpace() override;  // of the response body: the consumer took bytes
  void OnPipeReady() override;  // of the request body: there are bytes to send

  // From nghttp2's callbacks.
  bool BeginHeaders();
  bool AddHeader(std::string_view name, std::string_view value);
  void EndHeaders(bool end_stream);
  void AddData(buffer::Slice slice);
  void EndBody();
  void Closed(uint32_t h2_error);
  ssize_t OfferData(size_t max, uint32_t* flags);
  void TakeData(const uint8_t* frame_header, size_t len, buffer::SliceBuffer& out);
  // `head_end`: offset behind the head in all that the session sends.
  void HeadWasSent(uint64_t head_end) { head_end_ = head_end; }
  bool Unprocessed() const { return !head_sent_ || session_->bytes_sent_ < head_end_; }
  void RequestWasSent();

  // Tells the events what was noted. The stream may be released in there.
  void Dispatch();
  void Wake();
  void AckConsumed();
  void StopSending();
  void Reset(uint32_t h2_error);
  void Fail(const Error& error);
  void DeleteIfDone();

  Session* session_;
  http::ClientStreamEvents* events_;
  buffer::BodyPipe* request_body_ = nullptr;
  buffer::BodyPipe response_body_;
  ResponseHead response_;
  HeaderMap trailers_;
  std::vector<ResponseHead> informational_;
  Arena arena_;
  uint64_t bytes_sent_ = 0, bytes_received_ = 0, acked_ = 0;
  uint64_t head_end_ = 0;  // 0: not known yet
  Error error_;
  int32_t id_ = -1;
  uint32_t block_bytes_ = 0, block_count_ = 0;  // of the header block that is being received
  Receiving receiving_ = Receiving::kHead;
  bool head_sent_ = false;       // nghttp2 has made the HEADERS frame
  bool request_done_ = false;    // END_STREAM went out
  bool deferred_ = false;        // nghttp2 waits for nghttp2_session_resume_data
  bool head_ready_ = false;      // the final response head is complete
  bool head_told_ = false;
  bool body_news_ = false;
  bool ended_ = false;           // END_STREAM arrived
  bool h2_open_ = false;         // nghttp2 knows the stream
  bool released_ = false;
  bool reused_ = false;
  bool no_body_ = false;         // END_STREAM came with the head
  bool deleting_ = false;
};

}  // namespace weft::http::h2
