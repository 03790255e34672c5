#include "dataplane/http/h2/stream.h"

#include <algorithm>
#include <cassert>
#include <charconv>

namespace weft::http::h2 {
namespace {

// Limits how much one peer can make us keep in 1xx heads that nobody has read yet.
constexpr size_t kMaxInformational = 16;

bool HasUpper(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Fields that belong to one HTTP/1 connection, or that HTTP/2 says in pseudo fields (RFC 9113 section 8.2.2).
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

nghttp2_nv Pair(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// Appends what may go over HTTP/2. False when a field can't be written on any wire (NUL, CR, LF and the like).
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
    if (nghttp2_check_header_name(reinterpret_cast<const uint8_t*>(name.data()), name.size()) == 0 ||
        nghttp2_check_header_value(reinterpret_cast<const uint8_t*>(h.value.data()), h.value.size()) == 0) {
      return false;
    }
    out->push_back(Pair(name, h.value));
  }
  return true;
}

Error UpstreamError(uint32_t h2_error) {
  Error e{ErrorCode::kDisconnect, Side::kUpstream};
  if (h2_error == NGHTTP2_REFUSED_STREAM) e.unprocessed = true;
  if (h2_error == NGHTTP2_NO_ERROR) {
    e.code = ErrorCode::kProtocol;
    e.detail = "stream closed before its end";
  } else {
    e.detail = nghttp2_http2_strerror(h2_error);
  }
  return e;
}

}  // namespace

Stream::Stream(Session& session, http::ClientStreamEvents* events) : session_(&session), events_(events) {
  response_.protocol = Protocol::kHttp2;
  // Half of the window: while the pipe is not full the peer has room left, so quiet reads can't stall it.
  response_body_.Reset(this, std::max<size_t>(session.options_.stream_window / 2, 1));
}

Stream::~Stream() { response_body_.DetachProducer(); }

void Stream::SendRequest(const RequestHead& head, buffer::BodyPipe* body) {
  if (released_ || id_ != -1) return;
  Error refused{ErrorCode::kDisconnect, Side::kUpstream};
  refused.unprocessed = true;
  if (session_->closed_ || session_->draining_) {
    refused.detail = "connection is closing";
    Fail(refused);
    return;
  }
  std::vector<nghttp2_nv> nv;
  nv.reserve(head.headers.size() + 5);
  nv.push_back(Pair(":method", head.method));
  if (head.method != "CONNECT") {
    nv.push_back(Pair(":scheme", head.scheme));
    nv.push_back(Pair(":path", head.path));
  }
  if (!head.authority.empty()) nv.push_back(Pair(":authority", head.authority));
  bool ok = AppendFields(head.headers, arena_, &nv);
  for (size_t i = 0; i < nv.size() && ok; ++i) ok = nghttp2_check_header_value(nv[i].value, nv[i].valuelen) != 0;
  if (!ok) {
    Error e{ErrorCode::kInternal, Side::kLocal};
    e.unprocessed = true;
    e.detail = "request head holds bytes that no field may hold";
    Fail(e);
    return;
  }
  if (body != nullptr && head.content_length >= 0) {
    char* p = arena_.Allocate(20);
    char* end = std::to_chars(p, p + 20, head.content_length).ptr;
    nv.push_back(Pair("content-length", {p, static_cast<size_t>(end - p)}));
  }
  nghttp2_data_provider provider = Session::SourceOf(this);
  int32_t id = nghttp2_submit_request(session_->h2_.get(), nullptr, nv.data(), nv.size(),
                                      body == nullptr ? nullptr : &provider, this);
  if (id < 0) {
    refused.detail = nghttp2_strerror(id);
    Fail(refused);
    return;
  }
  id_ = id;
  h2_open_ = true;
  ++session_->open_streams_;
  request_body_ = body;
  if (body != nullptr) body->set_consumer(this);
  session_->Schedule();
}

void Stream::Release() {
  if (released_) return;
  released_ = true;
  events_ = nullptr;
  response_body_.set_consumer(nullptr);
  StopSending();
  if (h2_open_) Reset(NGHTTP2_CANCEL);
  DeleteIfDone();
}

void Stream::Reset(uint32_t h2_error) {
  nghttp2_submit_rst_stream(session_->h2_.get(), NGHTTP2_FLAG_NONE, id_, h2_error);
  session_->Schedule();
}

void Stream::StopSending() {
  if (request_body_ == nullptr) return;
  request_body_->set_consumer(nullptr);
  request_body_ = nullptr;
}

void Stream::DeleteIfDone() {
  if (!released_ || h2_open_ || deleting_) return;
  deleting_ = true;
  response_body_.DetachProducer();
  // What nobody will take any more must not eat up the connection's window.
  size_t rest = response_body_.total() - acked_;
  if (rest > 0 && !session_->closed_) {
    nghttp2_session_consume_connection(session_->h2_.get(), rest);
    session_->Schedule();
  }
  session_->Forget(this);
}

// ---- what nghttp2 tells ----

bool Stream::BeginHeaders() {
  if (receiving_ == Receiving::kBody) {
    receiving_ = Receiving::kTrailers;
    block_bytes_ = block_count_ = 0;
  }
  return receiving_ != Receiving::kTrailers || trailers_.empty();
}

bool Stream::AddHeader(std::string_view name, std::string_view value) {
  // Counted over all 1xx heads and the final one together, else a peer could send 1xx for ever.
  // 32 a field: the size that RFC 9113 section 6.5.2 gives it.
  block_bytes_ += static_cast<uint32_t>(name.size() + value.size() + 32);
  block_count_ += 1;
  const SessionOptions& limits = session_->options_;
  if (block_bytes_ > limits.max_head_bytes || block_count_ > limits.max_headers + 1) {
    Error e{ErrorCode::kHeadersTooLarge, Side::kUpstream};
    e.detail = block_bytes_ > limits.max_head_bytes ? "response head too large" : "too many response fields";
    Fail(e);
    return false;
  }
  if (receiving_ == Receiving::kTrailers) {
    trailers_.Add(arena_.Copy(name), arena_.Copy(value));
    return true;
  }
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), response_.status);
    return true;
  }
  response_.headers.Add(arena_.Copy(name), arena_.Copy(value));
  return true;
}

void Stream::EndHeaders(bool end_stream) {
  if (receiving_ == Receiving::kHead) {
    if (response_.status < 100 || response_.status > 599) {  // nghttp2 takes any three digits
      Error e{ErrorCode::kProtocol, Side::kUpstream};
      e.detail = "response status is not 100 to 599";
      Fail(e);
      return;
    }
    if (response_.status < 200) {
      if (informational_.size() < kMaxInformational) informational_.push_back(std::move(response_));
      response_ = ResponseHead();
      response_.protocol = Protocol::kHttp2;
      session_->MarkDirty(this);
      return;
    }
    receiving_ = Receiving::kBody;
    head_ready_ = true;
    response_.has_body = !end_stream;
    response_.content_length = end_stream ? 0 : kUnknownLength;
    if (auto length = response_.headers.Get(HeaderId::kContentLength)) {
      int64_t n = 0;
      auto [end, ec] = std::from_chars(length->data(), length->data() + length->size(), n);
      if (ec == std::errc() && end == length->data() + length->size() && n >= 0) {
        response_.content_length = n;
        response_.length_without_body = end_stream && n > 0;
      }
    }
    if (end_stream) {
      ended_ = true;
      no_body_ = true;
    }
    session_->MarkDirty(this);
    return;
  }
  // Trailers always end the stream; nghttp2 refuses others.
  if (end_stream) EndBody();
}

void Stream::AddData(buffer::Slice slice) {
  bytes_received_ += slice.size();
  if (released_) {
    // A reset is on its way: the bytes are dropped and go back to the connection's window.
    nghttp2_session_consume_connection(session_->h2_.get(), slice.size());
    return;
  }
  response_body_.Write(std::move(slice));
  body_news_ = true;
  session_->MarkDirty(this);
}

void Stream::EndBody() {
  if (ended_ || error_) return;
  ended_ = true;
  response_body_.End(trailers_.empty() ? nullptr : &trailers_);
  body_news_ = true;
  session_->MarkDirty(this);
}

void Stream::Closed(uint32_t h2_error) {
  h2_open_ = false;
  --session_->open_streams_;
  session_->slot_freed_ = true;
  StopSending();
  if (!ended_) Fail(UpstreamError(h2_error));
  DeleteIfDone();
  session_->Schedule();
}

ssize_t Stream::OfferData(size_t max, uint32_t* flags) {
  if (request_body_ == nullptr) return NGHTTP2_ERR_DEFERRED;  // a reset follows
  if (request_body_->failed()) {
    Reset(NGHTTP2_CANCEL);
    return NGHTTP2_ERR_DEFERRED;
  }
  size_t n = std::min(max, request_body_->available());
  bool last = request_body_->ended() && n == request_body_->available();
  if (session_->out_.size() >= session_->options_.max_buffered_output) {
    deferred_ = true;
    Wake();
    return NGHTTP2_ERR_DEFERRED;
  }
  if (n == 0 && !last) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (last) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    const HeaderMap* trailers = request_body_->trailers();
    std::vector<nghttp2_nv> nv;
    if (trailers != nullptr && AppendFields(*trailers, arena_, &nv) && !nv.empty() &&
        nghttp2_submit_trailer(session_->h2_.get(), id_, nv.data(), nv.size()) == 0) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
  }
  return static_cast<ssize_t>(n);
}

void Stream::TakeData(const uint8_t* frame_header, size_t len, buffer::SliceBuffer& out) {
  constexpr size_t kFrameHeader = 9;
  out.AppendCopy(session_->slab_, {reinterpret_cast<const char*>(frame_header), kFrameHeader});
  size_t took = request_body_->Pull(out, len);
  assert(took == len);
  bytes_sent_ += took;
}

void Stream::RequestWasSent() {
  request_done_ = true;
  StopSending();
}

// ---- towards the user ----

void Stream::Wake() {
  if (!static_cast<ListLink<Session::WakeTag>*>(this)->linked()) session_->wake_.PushBack(this);
  session_->Schedule();
}

void Stream::OnPipeSpace() { Wake(); }
void Stream::OnPipeReady() { Wake(); }

void Stream::AckConsumed() {
  uint64_t taken = response_body_.total() - response_body_.available();
  if (taken == acked_ || session_->closed_) return;
  size_t n = static_cast<size_t>(taken - acked_);
  acked_ = taken;
  if (h2_open_) {
    nghttp2_session_consume(session_->h2_.get(), id_, n);
  } else {
    nghttp2_session_consume_connection(session_->h2_.get(), n);
  }
}

void Stream::Fail(const Error& error) {
  if (error_ || ended_) return;
  error_ = error;
  session_->MarkDirty(this);
}

void Stream::Dispatch() {
  if (!informational_.empty() && !released_) {
    std::vector<ResponseHead> heads;
    heads.swap(informational_);
    for (const ResponseHead& head : heads) {
      if (released_) return;
      events_->OnInformational(head);
    }
  }
  if (released_) return;
  if (head_ready_ && !head_told_) {
    head_told_ = true;
    if (no_body_) {
      events_->OnResponse(response_, nullptr);
      Release();
      return;
    }
    events_->OnResponse(response_, &response_body_);
    if (released_) return;
  }
  if (body_news_) {
    body_news_ = false;
    response_body_.Notify();
    if (released_) return;
    AckConsumed();
  }
  if (error_) {
    http::ClientStreamEvents* events = events_;
    released_ = true;
    events_ = nullptr;
    StopSending();
    if (h2_open_) Reset(NGHTTP2_CANCEL);
    response_body_.Fail(error_);
    events->OnClientReset(error_);
    DeleteIfDone();
  }
}

}  // namespace weft::http::h2
