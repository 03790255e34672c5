#include "dataplane/http/h2/stream_base.h"

#include <algorithm>
#include <cassert>
#include <charconv>

namespace weft::http::h2 {
namespace {

bool HasUpper(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Fields that belong to one HTTP/1 connection, or that HTTP/2 says in pseudo fields (RFC 9113
// section 8.2.2).
bool ForbiddenOnHttp2(const Header& h) {
  switch (h.id) {
    case HeaderId::kHost:
    case HeaderId::kConnection:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kTransferEncoding:
    case HeaderId::kUpgrade:
    case HeaderId::kContentLength:  // written from the head's content_length
      return true;
    case HeaderId::kTe:
      return !EqualsIgnoreCase(h.value, "trailers");
    default:
      return h.name.empty() || h.name.front() == ':';
  }
}

}  // namespace

nghttp2_nv Pair(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

bool AppendFields(const HeaderMap& headers, Arena& arena, std::vector<nghttp2_nv>* out) {
  for (const Header& h : headers) {
    if (ForbiddenOnHttp2(h)) continue;
    std::string_view name = h.name;
    if (HasUpper(name)) {
      char* p = arena.Allocate(name.size());
      std::transform(name.begin(), name.end(), p,
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
      name = {p, name.size()};
    }
    if (nghttp2_check_header_name(reinterpret_cast<const uint8_t*>(name.data()), name.size()) ==
            0 ||
        nghttp2_check_header_value(reinterpret_cast<const uint8_t*>(h.value.data()),
                                   h.value.size()) == 0) {
      return false;
    }
    out->push_back(Pair(name, h.value));
  }
  return true;
}

void AppendLength(int64_t length, Arena& arena, std::vector<nghttp2_nv>* out) {
  char* p = arena.Allocate(20);
  char* end = std::to_chars(p, p + 20, length).ptr;
  out->push_back(Pair("content-length", {p, static_cast<size_t>(end - p)}));
}

StreamBase::StreamBase(SessionCore& session) : session_(&session) {
  // Half of the window: while the pipe is not full the peer has room left, so quiet reads can't
  // stall it.
  in_body_.Reset(this, std::max<size_t>(session.options_.stream_window / 2, 1));
}

StreamBase::~StreamBase() { in_body_.DetachProducer(); }

void StreamBase::Reset(uint32_t h2_error) {
  reset_sent_ = true;
  session_->SubmitReset(id_, h2_error);
}

void StreamBase::SendBody(buffer::BodyPipe* body, int64_t length) {
  out_body_ = body;
  out_left_ = length;
  body->set_consumer(this);
}

void StreamBase::StopSending() {
  if (out_body_ == nullptr) return;
  out_body_->set_consumer(nullptr);
  out_body_ = nullptr;
}

void StreamBase::Abandon() {
  abandoned_ = true;
  in_body_.set_consumer(nullptr);
  StopSending();
}

void StreamBase::DeleteIfDone() {
  if (!abandoned_ || h2_open_ || deleting_) return;
  deleting_ = true;
  in_body_.DetachProducer();
  // What nobody will take any more must not eat up the connection's window.
  size_t rest = in_body_.total() - acked_;
  session_->held_ -= rest;
  if (rest > 0 && !session_->closed_) {
    nghttp2_session_consume_connection(session_->h2_, rest);
    session_->Schedule();
  }
  session_->Forget(this);
}

// ---- what nghttp2 tells ----

bool StreamBase::BeginHeaders() {
  if (receiving_ == Receiving::kBody) {
    receiving_ = Receiving::kTrailers;
    block_bytes_ = block_count_ = 0;
  }
  return receiving_ != Receiving::kTrailers || trailers_.empty();
}

bool StreamBase::AddHeader(std::string_view name, std::string_view value) {
  // Counted over all 1xx heads and the final one together, else a peer could send 1xx for ever.
  // 32 a field: the size that RFC 9113 section 6.5.2 gives it.
  block_bytes_ += static_cast<uint32_t>(name.size() + value.size() + 32);
  block_count_ += 1;
  const SessionOptions& limits = session_->options_;
  if (block_bytes_ > limits.max_head_bytes) return TooLarge("head or trailers too large");
  if (block_count_ > limits.max_headers + 4) return TooLarge("too many fields");  // 4 pseudo fields
  if (receiving_ != Receiving::kTrailers) return HeadField(name, value);
  HeaderId id = IdentifyHeader(name);
  if (!ForbiddenInTrailers(id)) trailers_.Add(id, arena_.Copy(name), arena_.Copy(value));
  return true;
}

void StreamBase::EndHeaders(bool end_stream) {
  Touch();
  if (receiving_ == Receiving::kHead) {
    HeadComplete(end_stream);
    return;
  }
  // Trailers always end the stream; nghttp2 refuses others.
  session_->Count(&observe::Http2Counters::trailers);
  if (end_stream) EndBody();
}

void StreamBase::AddData(buffer::Slice slice) {
  bytes_received_ += slice.size();
  if (abandoned_) {
    // A reset is on its way: the bytes are dropped and go back to the connection's window.
    nghttp2_session_consume_connection(session_->h2_, slice.size());
    return;
  }
  Touch();
  session_->held_ += slice.size();
  in_body_.Write(std::move(slice));
  body_news_ = true;
  MarkDirty();
}

void StreamBase::EndBody() {
  if (ended_ || error_) return;
  ended_ = true;
  in_body_.End(trailers_.empty() ? nullptr : &trailers_);
  body_news_ = true;
  OnEndOfInput();
  MarkDirty();
}

void StreamBase::Closed(uint32_t h2_error) {
  h2_open_ = false;
  --session_->open_streams_;
  if (session_->counters_ != nullptr) session_->counters_->streams_active.Dec();
  session_->slot_freed_ = true;
  StopSending();
  OnClosed(h2_error);
  DeleteIfDone();
  session_->Schedule();
}

ssize_t StreamBase::OfferData(size_t max, uint32_t* flags) {
  if (out_body_ == nullptr) return NGHTTP2_ERR_DEFERRED;  // a reset follows
  if (out_body_->failed()) {
    SendingFailed(out_body_->error());
    return NGHTTP2_ERR_DEFERRED;
  }
  if (session_->out_.size() >= session_->options_.max_buffered_output) {
    deferred_ = true;
    Wake();
    return NGHTTP2_ERR_DEFERRED;
  }
  size_t n = std::min(max, out_body_->available());
  bool last = out_body_->ended() && n == out_body_->available();
  if (hold_body_ || (n == 0 && !last)) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  // Neither side of us may believe in a length that the bytes do not keep.
  if (out_left_ != kUnknownLength &&
      (static_cast<int64_t>(n) > out_left_ || (last && static_cast<int64_t>(n) != out_left_))) {
    SendingFailed({ErrorCode::kInternal, Side::kLocal, false, 0, "body does not match its length"});
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (last) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    const HeaderMap* trailers = out_body_->trailers();
    std::vector<nghttp2_nv> nv;
    if (trailers != nullptr && AppendFields(*trailers, arena_, &nv) && !nv.empty() &&
        nghttp2_submit_trailer(session_->h2_, id_, nv.data(), nv.size()) == 0) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
  }
  return static_cast<ssize_t>(n);
}

void StreamBase::TakeData(const uint8_t* frame_header, size_t len, buffer::SliceBuffer& out) {
  constexpr size_t kFrameHeader = 9;
  out.AppendCopy(session_->slab_, {reinterpret_cast<const char*>(frame_header), kFrameHeader});
  taking_ = len;  // nghttp2 has not yet taken it off the windows
  size_t took = out_body_->Pull(out, len);
  taking_ = 0;
  assert(took == len);
  bytes_sent_ += took;
  if (out_left_ != kUnknownLength) out_left_ -= static_cast<int64_t>(took);
  Touch();
}

// ---- towards the user ----

void StreamBase::Wake() {
  if (!static_cast<ListLink<SessionCore::WakeTag>*>(this)->linked()) {
    session_->wake_.PushBack(this);
  }
  session_->Schedule();
}

// What the windows of the peer take, and at least one byte: while a byte waits nghttp2 comes back for
// it when they open, and the producer goes on.
size_t StreamBase::PipeRoom() {
  if (!h2_open_) return SIZE_MAX;
  if (session_->blocked_) return 1;
  const int32_t connection = nghttp2_session_get_remote_window_size(session_->h2_);
  const int32_t stream = nghttp2_session_get_stream_remote_window_size(session_->h2_, id_);
  if (stream < 0) return SIZE_MAX;  // its head has not left yet
  const int64_t room = std::min(connection, stream) - static_cast<int64_t>(taking_);
  return static_cast<size_t>(std::max<int64_t>(room, 1));
}

void StreamBase::OnPipeSpace() { Wake(); }
void StreamBase::OnPipeReady() { Wake(); }

void StreamBase::AckConsumed() {
  if (in_body_.available() > 0) in_body_.TellWhenTaken();
  uint64_t taken = in_body_.taken();
  if (taken == acked_ || session_->closed_) return;
  size_t n = static_cast<size_t>(taken - acked_);
  acked_ = taken;
  session_->held_ -= n;
  if (h2_open_) {
    nghttp2_session_consume(session_->h2_, id_, n);
    if (session_->narrow_ && !grown_ && taken >= SessionCore::kKeepsUpBytes &&
        in_body_.available() == 0) {
      grown_ = session_->GrowWindow(id_);
    }
  } else {
    nghttp2_session_consume_connection(session_->h2_, n);
  }
}

void StreamBase::Fail(const Error& error) {
  if (error_ || Complete()) return;
  error_ = error;
  MarkDirty();
}

}  // namespace weft::http::h2
