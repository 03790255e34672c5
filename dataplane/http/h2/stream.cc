#include "dataplane/http/h2/stream.h"

#include <algorithm>
#include <charconv>

namespace weft::http::h2 {
namespace {

// Limits how much one peer can make us keep in 1xx heads that nobody has read yet.
constexpr size_t kMaxInformational = 16;

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

Stream::Stream(Session& session, http::ClientStreamEvents* events, bool reused)
    : StreamBase(session), events_(events), reused_(reused) {
  response_.protocol = Protocol::kHttp2;
}

void Stream::SendRequest(const RequestHead& head, buffer::BodyPipe* body) {
  if (abandoned_ || id_ != -1) return;
  Error refused{ErrorCode::kDisconnect, Side::kUpstream};
  refused.unprocessed = true;
  if (client().closed() || client().draining()) {
    refused.detail = "connection is closing";
    Fail(refused);
    return;
  }
  connect_ = head.wants_tunnel();
  std::vector<nghttp2_nv> nv;
  nv.reserve(head.headers.size() + 6);
  if (!head.upgrade.empty()) {  // RFC 8441
    upgrade_ = arena_.Copy(head.upgrade);
    nv.push_back(Pair(":method", "CONNECT"));
    nv.push_back(Pair(":protocol", upgrade_));
  } else {
    nv.push_back(Pair(":method", head.method));
  }
  if (!head.is_connect()) {
    nv.push_back(Pair(":scheme", head.scheme));
    nv.push_back(Pair(":path", head.path));
  }
  if (!head.authority.empty()) nv.push_back(Pair(":authority", head.authority));
  if (head.expect_continue) nv.push_back(Pair("expect", "100-continue"));
  bool ok = AppendFields(head.headers, arena_, &nv);
  for (size_t i = 0; i < nv.size() && ok; ++i) {
    ok = nghttp2_check_header_value(nv[i].value, nv[i].valuelen) != 0;
  }
  if (!ok) {
    Error e{ErrorCode::kInternal, Side::kLocal};
    e.unprocessed = true;
    e.detail = "request head holds bytes that no field may hold";
    Fail(e);
    return;
  }
  if (body != nullptr && !connect_ && head.content_length >= 0) {
    AppendLength(head.content_length, arena_, &nv);
  }
  nghttp2_data_provider provider = SourceOf(this);
  int32_t id =
      nghttp2_submit_request(client().h2_, nullptr, nv.data(), nv.size(),
                             body == nullptr ? nullptr : &provider, static_cast<StreamBase*>(this));
  if (id < 0) {
    refused.detail = nghttp2_strerror(id);
    Fail(refused);
    return;
  }
  id_ = id;
  h2_open_ = true;
  client().StreamOpened();
  hold_body_ = connect_;
  if (body != nullptr) SendBody(body, connect_ ? kUnknownLength : head.content_length);
  client().Schedule();
}

void Stream::Release() {
  if (abandoned_) return;
  events_ = nullptr;
  Abandon();
  if (h2_open_) Reset(NGHTTP2_CANCEL);
  DeleteIfDone();
}

void Stream::Dispose() { client().loop_.DeferDelete(std::unique_ptr<Stream>(this)); }

// `head_end_` is the offset of the head in all that the session sends.
void Stream::OnHeadSent() {
  if (head_end_ == 0) head_end_ = client().sent_ + client().out_size();
}

bool Stream::Unprocessed() const { return !head_sent_ || client().sent_ < head_end_; }

Error Stream::Qualify(const Error& error) const {
  Error e = error;
  e.unprocessed = Unprocessed();
  return e;
}

bool Stream::TooLarge(std::string_view detail) {
  Error e{ErrorCode::kHeadersTooLarge, Side::kUpstream};
  e.detail = detail;
  Fail(e);
  return false;
}

bool Stream::HeadField(std::string_view name, std::string_view value) {
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), response_.status);
    return true;
  }
  response_.headers.Add(arena_.Copy(name), arena_.Copy(value));
  return true;
}

void Stream::HeadComplete(bool end_stream) {
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
    MarkDirty();
    return;
  }
  receiving_ = Receiving::kBody;
  head_ready_ = true;
  if (connect_ && response_.status < 300) {
    response_.tunnel = response_.has_body = true;
    response_.content_length = kUnknownLength;
    response_.headers.Remove(HeaderId::kContentLength);
    if (!upgrade_.empty()) {
      response_.status = 101;
      response_.upgrade = upgrade_;
    }
    hold_body_ = false;
    Wake();
    if (end_stream) EndBody();
    MarkDirty();
    return;
  }
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
  MarkDirty();
}

void Stream::OnClosed(uint32_t h2_error) {
  if (ended_) return;
  Error e = UpstreamError(h2_error);
  if (!peer_reset_ && !reset_sent_ && h2_error == NGHTTP2_PROTOCOL_ERROR) {
    // nghttp2 has reset the stream for what the upstream sent.
    e.code = ErrorCode::kProtocol;
    e.detail = "malformed HTTP message";
  }
  Fail(e);
}

void Stream::SendingFailed(const Error& error) {
  if (error.side == Side::kLocal && error.code == ErrorCode::kInternal) Fail(error);
  Reset(NGHTTP2_CANCEL);
}

void Stream::Dispatch() {
  if (!informational_.empty() && !abandoned_) {
    std::vector<ResponseHead> heads;
    heads.swap(informational_);
    for (const ResponseHead& head : heads) {
      if (abandoned_) return;
      events_->OnInformational(head);
    }
  }
  if (abandoned_) return;
  if (head_ready_ && !head_told_) {
    head_told_ = true;
    if (no_body_) {
      events_->OnResponse(response_, nullptr);
      Release();
      return;
    }
    events_->OnResponse(response_, &in_body_);
    if (abandoned_) return;
  }
  if (body_news_) {
    body_news_ = false;
    in_body_.Notify();
    if (abandoned_) return;
    AckConsumed();
  }
  if (error_) {
    http::ClientStreamEvents* events = events_;
    events_ = nullptr;
    abandoned_ = true;
    StopSending();
    if (h2_open_) Reset(NGHTTP2_CANCEL);
    in_body_.Fail(error_);
    events->OnClientReset(error_);
    DeleteIfDone();
  }
}

}  // namespace weft::http::h2
