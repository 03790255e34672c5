#include "dataplane/http/h2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "dataplane/http/h2/stream.h"

namespace weft::http::h2 {

Session::Session(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<net::Transport> transport,
                 const SessionOptions& options, Handler* handler, observe::Http2Counters* counters)
    : SessionCore(Role::kClient, loop, slab, std::move(transport), options, counters),
      handler_(handler) {
  Begin();
}

Session::~Session() = default;

uint32_t Session::MaxStreams() const {
  uint32_t limit = options_.max_concurrent_streams;
  if (!settings_seen_) return limit;
  return std::min(
      limit, nghttp2_session_get_remote_settings(h2_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

bool Session::CanOpen() const {
  if (draining() || closed_ || nghttp2_session_check_request_allowed(h2_) == 0) return false;
  return open_streams_ < MaxStreams();
}

bool Session::CanConnectProtocol() const {
  return settings_seen_ &&
         nghttp2_session_get_remote_settings(h2_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

http::ClientStream* Session::Open(http::ClientStreamEvents* events) {
  if (!CanOpen()) return nullptr;
  auto* s = new Stream(*this, events, opened_++ > 0);
  streams_.PushBack(s);
  return s;
}

void Session::Drain() {
  if (draining() || closed_) return;
  draining_ = true;
  SubmitGoAway();
}

void Session::OnNews() {
  if (settings_seen_ && !ready_told_) {
    ready_told_ = true;
    handler_->OnSessionReady();
  }
  draining_ |= peer_goaway_;
  if (draining_ && !draining_told_) {
    draining_told_ = true;
    handler_->OnSessionDraining();
  }
  if (slot_freed_) {
    slot_freed_ = false;
    handler_->OnStreamClosed();
  }
}

void Session::OnOver(const Error& error) {
  transport_->SetReading(false);
  handler_->OnSessionClosed(error);
}

}  // namespace weft::http::h2
