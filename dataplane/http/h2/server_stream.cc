#include "dataplane/http/h2/server_stream.h"

#include <cassert>

namespace weft::http::h2 {
namespace {

constexpr uint8_t kMaxUnsentHints = 8;
constexpr MonoNanos kPremature = 1 * kSecond;

}  // namespace

ServerStream::ServerStream(ServerConnection& connection)
    : StreamBase(connection),
      idle_timer_(
          connection.loop_.timers(), [](void* self) { static_cast<ServerStream*>(self)->OnIdle(); },
          this),
      idle_timeout_(connection.settings_.stream_idle_timeout),
      start_(connection.loop_.Now()) {
  Touch();
}

void ServerStream::set_idle_timeout(MonoNanos timeout) {
  idle_timeout_ = timeout;
  if (timeout == 0) idle_timer_.Cancel();
  Touch();
}

void ServerStream::Touch() {
  if (idle_timeout_ > 0 && !abandoned_) idle_timer_.Arm(idle_timeout_);
}

bool ServerStream::Premature() const {
  return !end_sent_ && connection().loop_.Now() - start_ < kPremature;
}

// ---- the request

bool ServerStream::HeadField(std::string_view name, std::string_view value) {
  if (!problem_) builder_.Add(arena_.Copy(name), arena_.Copy(value), &head_);
  return true;
}

// The rest of the block has to be decoded all the same, but not for ever (HPACK makes much of
// little).
bool ServerStream::TooLarge(std::string_view detail) {
  ServerConnection& c = connection();
  const SessionOptions& limits = c.options_;
  if (block_bytes_ > 4 * limits.max_head_bytes + 64 * 1024 ||
      block_count_ > 4 * limits.max_headers + 1000) {
    c.Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "a header block without end", nullptr);
    return false;
  }
  const bool trailers = receiving_ == Receiving::kTrailers;
  if (trailers ? bad_trailers_ : static_cast<bool>(problem_)) return true;  // counted
  c.Count(&observe::Http2Counters::header_overflow);
  if (trailers) {
    bad_trailers_ = true;
  } else {
    problem_ = {431, detail};
  }
  return true;
}

void ServerStream::HeadComplete(bool end_stream) {
  ServerConnection& c = connection();
  c.in_head_ = false;
  receiving_ = Receiving::kBody;
  head_ready_ = true;
  if (!problem_) problem_ = builder_.Finish(end_stream, arena_, &head_);
  if (end_stream) EndBody();
  MarkDirty();
}

void ServerStream::OnEndOfInput() {
  end_ = connection().loop_.Now();
  if (bad_trailers_) {
    Fail({ErrorCode::kBadRequest, Side::kDownstream, false, 0, "trailers are too large"});
  }
}

// ---- the answer

void ServerStream::SendInformational(const ResponseHead& head) {
  // Who does not read is spared hints.
  if (response_started_ || !h2_open_ || unsent_hints_ >= kMaxUnsentHints) return;
  std::vector<nghttp2_nv> nv;
  char status[4];
  snprintf(status, sizeof(status), "%03d", head.status);
  nv.push_back(Pair(":status", {status, 3}));
  if (!AppendFields(head.headers, arena_, &nv)) return;
  if (nghttp2_submit_headers(connection().h2_, NGHTTP2_FLAG_NONE, id_, nullptr, nv.data(),
                             nv.size(), nullptr) == 0) {
    ++unsent_hints_;
    connection().Schedule();
  }
}

void ServerStream::SendResponse(const ResponseHead& head, buffer::BodyPipe* body) {
  assert(!response_started_);
  response_started_ = true;
  if (!h2_open_) return;  // the end of the stream is on its way to the events
  tunnel_ = head.tunnel;
  std::vector<nghttp2_nv> nv;
  nv.reserve(head.headers.size() + 2);
  char status[4];
  // 101 is HTTP/1's word (RFC 8441 section 5).
  snprintf(status, sizeof(status), "%03d", head.tunnel && head.status == 101 ? 200 : head.status);
  nv.push_back(Pair(":status", {status, 3}));
  if (!AppendFields(head.headers, arena_, &nv)) {
    SendingFailed({ErrorCode::kInternal, Side::kLocal, false, 0,
                   "response head holds bytes that no field may hold"});
    return;
  }
  const bool to_head = head_.method == "HEAD";
  const bool bodiless = head.status == 204 || head.status == 304;
  const bool has_body = body != nullptr && head.has_body && !to_head && !bodiless;
  if (!tunnel_) {
    if (has_body || (to_head && head.has_body)) {
      if (head.content_length >= 0) AppendLength(head.content_length, arena_, &nv);
    } else if (head.length_without_body) {
      AppendLength(head.content_length, arena_, &nv);
    } else if (!bodiless && !to_head) {
      AppendLength(0, arena_, &nv);
    }
  }
  nghttp2_data_provider provider = SourceOf(this);
  bool sends = has_body || (tunnel_ && body != nullptr);
  int rv = nghttp2_submit_response(connection().h2_, id_, nv.data(), nv.size(),
                                   sends ? &provider : nullptr);
  if (rv != 0) {
    SendingFailed({ErrorCode::kInternal, Side::kLocal, false, 0, nghttp2_strerror(rv)});
    return;
  }
  if (sends) SendBody(body, tunnel_ ? kUnknownLength : head.content_length);
  connection().Schedule();
}

void ServerStream::OnHeadSent() {
  if (unsent_hints_ > 0) --unsent_hints_;
  Touch();
}

void ServerStream::OnEndSent(uint64_t end) {
  end_offset_ = end;
  connection().finishing_.PushBack(this);
  // The answer is complete without the rest of the request (RFC 9113 section 8.1).
  if (!ended_ && !tunnel_) Reset(NGHTTP2_NO_ERROR);
}

void ServerStream::Finished() {
  if (abandoned_ || TunnelOpen()) return;
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  idle_timer_.Cancel();
  in_body_.set_consumer(nullptr);
  if (events != nullptr) events->OnStreamDone();
  Abandon();
  DeleteIfDone();
}

// The other side of a tunnel took the last bytes.
void ServerStream::OnTaken() {
  if (!tunnel_ || abandoned_ || !ended_) return;
  if (!in_body_.finished()) {
    in_body_.TellWhenTaken();
  } else if (end_offset_ != 0 && end_offset_ <= connection().sent_) {
    Finished();
  }
}

void ServerStream::SendingFailed(const Error& error) {
  Fail(error);
  if (h2_open_) Reset(NGHTTP2_INTERNAL_ERROR);
}

void ServerStream::Abort() {
  events_ = nullptr;
  if (abandoned_) return;
  idle_timer_.Cancel();
  Abandon();
  if (h2_open_) Reset(NGHTTP2_INTERNAL_ERROR);
  DeleteIfDone();
}

// ---- the end

void ServerStream::OnClosed(uint32_t h2_error) {
  if (head_sent_ && end_sent_) {
    // The answer may still be on its way to the kernel; Finished() follows, or the connection's
    // end.
    if (!tunnel_ || ended_) return;
  }
  Error e{ErrorCode::kDisconnect, Side::kDownstream};
  // A body of another length than its head says: nghttp2 has reset the stream.
  if (!peer_reset_ && !reset_sent_ && h2_error == NGHTTP2_PROTOCOL_ERROR) malformed_ = true;
  if (malformed_) e.code = ErrorCode::kBadRequest;
  e.detail = malformed_ ? "malformed HTTP message" : "stream reset by the peer";
  Fail(e);
}

// For a request it does not matter how its connection ended.
Error ServerStream::Qualify(const Error& error) const {
  Error e = error;
  e.code = ErrorCode::kDisconnect;
  return e;
}

void ServerStream::OnIdle() {
  if (abandoned_) return;
  int status = ended_ ? 504 : 408;
  bool started = response_started_;
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  StopSending();
  in_body_.set_consumer(nullptr);
  if (events != nullptr) {
    events->OnStreamReset(
        {ErrorCode::kStreamIdleTimeout, Side::kDownstream, false, 0, "stream_idle_timeout"});
  }
  if (abandoned_) return;
  if (started || !head_ready_) {
    Abort();
  } else {
    Answer(status);
  }
}

// A head alone, by the codec itself.
void ServerStream::Answer(int status) {
  ResponseHead head;
  head.status = status;
  response_started_ = false;
  SendResponse(head, nullptr);
}

void ServerStream::Refuse() {
  ServerConnection& c = connection();
  head_told_ = true;
  ErrorCode code = problem_.status == 431 ? ErrorCode::kHeadersTooLarge : ErrorCode::kBadRequest;
  c.handler_->OnBadRequest(*c.transport_, {code, Side::kDownstream, false, 0, problem_.detail},
                           problem_.status, Protocol::kHttp2);
  if (!abandoned_) Answer(problem_.status);
}

void ServerStream::Die(const Error& error) {
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  idle_timer_.Cancel();
  StopSending();
  in_body_.Fail(error);
  if (events != nullptr) events->OnStreamReset(error);
  Abandon();
  if (h2_open_) Reset(error.side == Side::kLocal ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
  DeleteIfDone();
}

void ServerStream::Dispose() {
  ServerConnection& c = connection();
  ListLink<ServerConnection::FinishingTag>::Unlink();
  idle_timer_.Cancel();
  c.StreamOver();
  c.loop_.DeferDelete(std::unique_ptr<ServerStream>(this));
}

// ---- towards the exchange

void ServerStream::Dispatch() {
  if (abandoned_) return;
  if (error_) {  // a stream that was reset in the turn that opened it never becomes a request
    if (malformed_ && !head_told_) {
      ServerConnection& c = connection();
      c.handler_->OnBadRequest(*c.transport_, error_, 0, Protocol::kHttp2);
      if (abandoned_) return;
    }
    Die(error_);
    return;
  }
  if (head_ready_ && !head_told_) {
    if (problem_) {
      Refuse();
      return;
    }
    head_told_ = true;
    ServerConnection& c = connection();
    ++c.requests_;
    if (c.settings_.max_requests != 0 && c.requests_ >= c.settings_.max_requests) c.DrainSoon();
    c.handler_->OnRequest(*this);
    if (abandoned_) return;
  }
  if (body_news_) {
    body_news_ = false;
    in_body_.Notify();
    if (abandoned_) return;
    AckConsumed();
    if (tunnel_) OnTaken();
  }
}

}  // namespace weft::http::h2
