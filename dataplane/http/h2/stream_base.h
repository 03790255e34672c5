#pragma once

#include <nghttp2/nghttp2.h>

#include <string_view>
#include <vector>

#include "dataplane/base/arena.h"
#include "dataplane/buffer/body_pipe.h"
#include "dataplane/http/h2/session_core.h"
#include "dataplane/http/message.h"

namespace weft::http::h2 {

nghttp2_nv Pair(std::string_view name, std::string_view value);
// Appends what may go over HTTP/2 (RFC 9113 section 8.2.2), names in lower case. False when a field
// can't be written on any wire (NUL, CR, LF and the like).
bool AppendFields(const HeaderMap& headers, Arena& arena, std::vector<nghttp2_nv>* out);
void AppendLength(int64_t length, Arena& arena, std::vector<nghttp2_nv>* out);

// What streams of both roles share: a head and trailers that arrive field by field, the body pipe
// that is filled from DATA frames, and the one that is sent as such. Private to this folder. Owner:
// its session. Thread: the loop's. Destroyed when: nghttp2 and the user are both done with it, by
// Loop::DeferDelete.
class StreamBase : public ListLink<SessionCore::DirtyTag>,
                   public ListLink<SessionCore::WakeTag>,
                   public ListLink<SessionCore::AllTag>,
                   private buffer::BodyPipe::Producer,
                   private buffer::BodyPipe::Consumer {
 public:
  virtual ~StreamBase();

 protected:
  friend class SessionCore;
  enum class Receiving : uint8_t { kHead, kBody, kTrailers };

  explicit StreamBase(SessionCore& session);

  // ---- what the role adds ----
  // One field of the head, not of trailers. False ends the stream.
  virtual bool HeadField(std::string_view name, std::string_view value) = 0;
  // The fields of a head are complete. Sets receiving_ when no further head follows.
  virtual void HeadComplete(bool end_stream) = 0;
  // A head or trailers are beyond the limits. False ends the stream.
  virtual bool TooLarge(std::string_view detail) = 0;
  virtual void OnEndOfInput() {}
  // A frame with END_STREAM is made; it ends at offset `end` of all that the session sends.
  virtual void OnEndSent(uint64_t end) {}
  virtual void OnHeadSent() {}
  // The consumer of in_body_ took bytes from a full pipe.
  virtual void OnTaken() {}
  // A byte moved.
  virtual void Touch() {}
  // nghttp2 found the message malformed and resets the stream.
  virtual void OnMalformed() {}
  // RST_STREAM came before the stream had done its work.
  virtual bool Premature() const { return false; }
  // nghttp2 has closed the stream.
  virtual void OnClosed(uint32_t h2_error) = 0;
  // Tells the user what was noted. The stream may be released in there.
  virtual void Dispatch() = 0;
  // Frees it; the lists have forgotten it.
  virtual void Dispose() = 0;
  // What an error is worth when everything was exchanged already: nothing.
  virtual bool Complete() const = 0;
  // The body that is sent is other than its head announced, or can't be had.
  virtual void SendingFailed(const Error& error) = 0;
  // The connection ends.
  virtual Error Qualify(const Error& error) const { return error; }

  // ---- from nghttp2's callbacks ----
  bool BeginHeaders();
  bool AddHeader(std::string_view name, std::string_view value);
  void EndHeaders(bool end_stream);
  void AddData(buffer::Slice slice);
  void EndBody();
  void Closed(uint32_t h2_error);
  ssize_t OfferData(size_t max, uint32_t* flags);
  void TakeData(const uint8_t* frame_header, size_t len, buffer::SliceBuffer& out);
  static nghttp2_data_provider SourceOf(StreamBase* s);

  // ---- for the role ----
  void Wake();
  void AckConsumed();
  // Begins to take from `body`; `length` is what the head announces.
  void SendBody(buffer::BodyPipe* body, int64_t length);
  void StopSending();
  void Reset(uint32_t h2_error);
  void Fail(const Error& error);
  void MarkDirty() { session_->MarkDirty(this); }
  // The user has no further interest: drops what arrives, and itself when nghttp2 is done too.
  void Abandon();
  void DeleteIfDone();

  SessionCore* session_;
  buffer::BodyPipe* out_body_ = nullptr;
  buffer::BodyPipe in_body_;
  HeaderMap trailers_;
  Arena arena_;
  uint64_t bytes_sent_ = 0, bytes_received_ = 0, acked_ = 0;
  int64_t out_left_ = kUnknownLength;
  size_t taking_ = 0;  // bytes of the DATA frame that is being made
  Error error_;
  int32_t id_ = -1;
  uint32_t block_bytes_ = 0, block_count_ = 0;  // of the header block that is being received
  Receiving receiving_ = Receiving::kHead;
  bool head_sent_ = false;  // nghttp2 has made the HEADERS frame
  bool deferred_ = false;   // nghttp2 waits for nghttp2_session_resume_data
  bool hold_body_ = false;  // not a byte of the body yet: a tunnel that is not open
  bool body_news_ = false;
  bool grown_ = false;       // its window, in a session whose windows are narrow
  bool ended_ = false;       // END_STREAM arrived
  bool end_sent_ = false;    // END_STREAM left
  bool reset_sent_ = false;  // by us, or nghttp2 will
  bool peer_reset_ = false;
  bool h2_open_ = false;  // nghttp2 knows the stream
  bool abandoned_ = false;
  bool deleting_ = false;

 private:
  void OnPipeSpace() override;  // of in_body_: the consumer took bytes
  void OnPipeReady() override;  // of out_body_: there are bytes to send
  size_t PipeRoom() override;   // of out_body_
};

}  // namespace weft::http::h2
