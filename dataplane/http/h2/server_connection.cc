#include "dataplane/http/h2/server_connection.h"

#include <nghttp2/nghttp2.h>

#include <cassert>
#include <cerrno>

#include "dataplane/http/h2/server_stream.h"

namespace weft::http::h2 {

ServerConnection::ServerConnection(ServerContext& context, const ServerOptions& options,
                                   observe::Http2Counters& counters,
                                   std::unique_ptr<net::Transport> transport,
                                   ServerHandler* handler, Owner* owner)
    : http::ServerConnection(context.loop.Now()),
      SessionCore(Role::kServer, context.loop, context.slab, std::move(transport), options.session,
                  &counters),
      settings_(options),
      handler_(handler),
      owner_(owner),
      timer_(
          context.loop.timers(),
          [](void* self) { static_cast<ServerConnection*>(self)->OnTimer(); }, this),
      head_timer_(
          context.loop.timers(),
          [](void* self) { static_cast<ServerConnection*>(self)->OnHeadTimer(); }, this),
      idle_since_(context.loop.Now()) {}

ServerConnection::~ServerConnection() { assert(over_); }

void ServerConnection::Start(buffer::Slice bytes) {
  if (settings_.idle_timeout > 0) timer_.Arm(settings_.idle_timeout);
  if (settings_.head_timeout > 0) head_timer_.Arm(settings_.head_timeout);
  Begin(std::move(bytes));
}

// ---- what nghttp2 tells

StreamBase* ServerConnection::NewRequest(int32_t id) {
  in_head_ = true;
  ++streams_under_way_;
  return new ServerStream(*this);
}

// Behind the notice, since nghttp2 would send it first.
void ServerConnection::OnGoAwaySent() {
  if (drain_ == Draining::kNotice) SubmitPing();
}

// Told when nghttp2 has returned: GOAWAY's last id must count what is in this read.
void ServerConnection::OnPingAnswer() { ping_answered_ = true; }

void ServerConnection::OnNews() {
  if (!ping_answered_) return;
  ping_answered_ = false;
  if (drain_ == Draining::kNotice) Drain();
}

void ServerConnection::OnInput() {
  if (terminating() && !cut_off_armed_) {
    cut_off_armed_ = true;
    timer_.Arm(settings_.delayed_close_timeout > 0 ? settings_.delayed_close_timeout : kSecond);
  }
  if (settings_.head_timeout == 0) return;
  const bool waits = in_head_ || !settings_seen_;
  if (!waits) {
    head_timer_.Cancel();
  } else if (!head_timer_.armed()) {
    head_timer_.Arm(settings_.head_timeout);
  }
}

void ServerConnection::OnSent() {
  while (!closed_) {
    ServerStream* s = finishing_.front();
    if (s == nullptr || s->end_offset_ > sent_) return;
    static_cast<ListLink<FinishingTag>*>(s)->Unlink();
    s->Finished();
  }
}

// ---- the end

void ServerConnection::DrainSoon() {
  if (closed_ || terminating() || drain_ != Draining::kNo) return;
  drain_ = Draining::kNotice;
  // RFC 9113 section 6.8: what the peer has sent by the time it reads this is still answered.
  nghttp2_submit_shutdown_notice(h2_);
  Schedule();
  timer_.Arm(settings_.drain_timeout);
}

void ServerConnection::Drain() {
  if (closed_ || terminating() || drain_ == Draining::kFinal) return;
  drain_ = Draining::kFinal;
  draining_ = true;
  SubmitGoAway();
}

void ServerConnection::Close() {
  if (over_) return;
  if (closed_) {  // lingering
    Finish();
    return;
  }
  SessionCore::Close({ErrorCode::kDisconnect, Side::kLocal, false, 0, "connection closed"});
}

bool ServerConnection::MayClose(bool over) const {
  if (terminating() || (over && open_streams_ > 0)) return over;  // nghttp2 gave up as well
  if (streams_under_way_ > 0) return false;
  if (drain_ == Draining::kFinal) return open_streams_ == 0;
  return over && drain_ != Draining::kNotice;  // nghttp2 would be content after the notice
}

// A stream that an exchange had, or that was never a request, is gone.
void ServerConnection::StreamOver() {
  assert(streams_under_way_ > 0);
  if (--streams_under_way_ > 0) return;
  idle_since_ = loop_.Now();
  if (!closed_ && drain_ != Draining::kNotice && settings_.idle_timeout > 0) {
    timer_.Arm(settings_.idle_timeout);
  }
  if (!closed_) Schedule();  // perhaps to close
}

void ServerConnection::OnTimer() {
  if (closed_) {
    Close();
    return;
  }
  if (terminating()) {  // GOAWAY can't leave
    SessionCore::Close({ErrorCode::kProtocol, Side::kDownstream, false, 0, fault_});
    return;
  }
  if (drain_ == Draining::kNotice) {
    Drain();
    return;
  }
  if (streams_under_way_ > 0 || settings_.idle_timeout == 0) return;
  MonoNanos left = idle_since_ + settings_.idle_timeout - loop_.Now();
  if (left > 0) {
    timer_.Arm(left);
  } else if (drain_ == Draining::kFinal) {
    Close();  // GOAWAY can't leave
  } else {
    Drain();
    timer_.Arm(settings_.delayed_close_timeout > 0 ? settings_.delayed_close_timeout : kSecond);
    idle_since_ = loop_.Now() - settings_.idle_timeout;
  }
}

void ServerConnection::OnHeadTimer() {
  if (closed_ || (!in_head_ && settings_seen_)) return;
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "the request head did not arrive in time", nullptr);
  timer_.Arm(settings_.delayed_close_timeout > 0 ? settings_.delayed_close_timeout : kSecond);
}

// GOAWAY's way to the peer ends where its unread bytes begin: closing now would reset the
// connection and could destroy what it was told.
void ServerConnection::OnOver(const Error& error) {
  head_timer_.Cancel();
  bool gone = error.code == ErrorCode::kDisconnect || error.code == ErrorCode::kIdleTimeout;
  if (gone || settings_.delayed_close_timeout == 0) {
    Finish();
    return;
  }
  lingering_ = true;
  transport_->ShutdownWrite();
  timer_.Arm(settings_.delayed_close_timeout);
}

void ServerConnection::OnReadableWhenOver() {
  if (over_) return;
  char sink[4096];
  iovec iov = {sink, sizeof(sink)};
  ssize_t n = transport_->Read(&iov, 1);
  if (n == 0 || (n < 0 && n != -EAGAIN)) Finish();
}

void ServerConnection::Finish() {
  if (over_) return;
  over_ = true;
  lingering_ = false;
  timer_.Cancel();
  transport_->SetReading(false);
  owner_->OnClosed(*this);
}

}  // namespace weft::http::h2
