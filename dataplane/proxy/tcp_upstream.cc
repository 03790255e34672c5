#include "dataplane/proxy/tcp_upstream.h"

#include <cassert>
#include <cerrno>
#include <utility>

namespace weft::proxy {
namespace {

// How long the last bytes may take whose sender is gone.
constexpr MonoNanos kLastBytesTimeout = 5 * kSecond;

}  // namespace

TcpUpstream::TcpUpstream(event::Loop& loop, buffer::Slab& slab, upstream::StreamRequest* request)
    : loop_(loop),
      slab_(slab),
      request_(request),
      last_bytes_timer_(
          loop.timers(), [](void* self) { static_cast<TcpUpstream*>(self)->Close(); }, this) {
  head_.status = 200;
  head_.tunnel = head_.has_body = true;
  head_.content_length = http::kUnknownLength;
}

TcpUpstream* TcpUpstream::Dial(event::Loop& loop, buffer::Slab& slab, upstream::Host& host,
                               std::unique_ptr<const net::ProxiedFor> proxied_for,
                               upstream::StreamRequest* request) {
  auto* made = new TcpUpstream(loop, slab, request);
  made->dial_ = host.DialTcp(made, std::move(proxied_for));
  return made;
}

void TcpUpstream::Cancel() {
  request_ = nullptr;
  Close();
}

void TcpUpstream::OnTcpFailed(const Error& error) {
  if (over_) return;
  upstream::StreamRequest* request = std::exchange(request_, nullptr);
  Close();
  request->OnStreamFailed(error);
}

void TcpUpstream::OnTcpConnected(std::unique_ptr<upstream::TcpConnection> connection) {
  if (over_) return;
  loop_.DeferDelete(std::move(dial_));
  connection_ = std::move(connection);
  transport().set_handler(this);
  std::exchange(request_, nullptr)->OnStreamReady(*this);
  if (!over_ && !released_) Open();
}

void TcpUpstream::SendRequest(const http::RequestHead& head, buffer::BodyPipe* body) {
  assert(head.is_connect() && body != nullptr);
  body_ = body;
}

void TcpUpstream::Open() {
  open_ = true;
  in_.Reset(this);
  events_->OnResponse(head_, &in_);
  if (over_ || released_) return;
  body_->set_consumer(this);
  OnPipeReady();  // the client may have sent something already
}

// ---- from the upstream

void TcpUpstream::OnReadable() {
  if (over_) return;
  if (!open_ || in_ended_ || released_ || in_.full()) {
    pace_.OnPause();
    reading_off_ = true;
    transport().SetReading(false);
    return;
  }
  buffer::BlockRef block = slab_.GetSized(pace_.Next(slab_));
  iovec space = {block->data(), block->capacity()};
  const ssize_t n = transport().Read(&space, 1);
  if (n == -EAGAIN) return;
  if (n < 0) {
    connection_->set_closed_by_peer();
    Broken(static_cast<int>(-n));
    return;
  }
  if (n == 0) {
    connection_->set_closed_by_peer();
    in_ended_ = true;
    reading_off_ = true;
    transport().SetReading(false);  // the end of a stream stays readable
    in_.End();
    in_.Notify();
    return;
  }
  const size_t size = static_cast<size_t>(n);
  pace_.OnRead(size, size == block->capacity());
  received_ += size;
  connection_->CountReceived(size);
  if (size < buffer::BodyPipe::kCopyBelow) {
    in_.WriteCopy(slab_, {block->data(), size});
  } else {
    in_.Write(buffer::Slice(block, block->data(), size));
  }
  block.reset();
  in_.Notify();
}

void TcpUpstream::OnPipeSpace() {
  if (over_ || released_ || in_ended_ || !reading_off_) return;
  reading_off_ = false;
  transport().SetReading(true);
}

// ---- to the upstream

void TcpUpstream::OnPipeReady() {
  if (over_ || body_ == nullptr || body_->failed()) return;  // who failed it releases this stream
  if (write_blocked_) return;  // OnWritable goes on
  if (body_->available() > 0) {
    body_->Pull(out_);
  } else {
    body_->RoomAgain();
  }
  if (body_->finished()) {
    out_ended_ = true;
    body_ = nullptr;
  }
  Flush();
}

void TcpUpstream::Flush() {
  size_t written = 0;
  const int rc = net::Flush(transport(), out_, &written);
  sent_ += written;
  connection_->CountSent(written);
  write_blocked_ = rc == -EAGAIN;
  if (write_blocked_) {
    out_.Shrink(slab_);  // for as long as the peer likes
    return;
  }
  if (rc != 0) {
    connection_->set_closed_by_peer();
    Broken(-rc);
    return;
  }
  if (out_ended_ && !std::exchange(shut_, true)) transport().ShutdownWrite();
  if (released_) Close();
}

void TcpUpstream::OnWritable() {
  if (over_) return;
  Flush();
  if (!over_ && out_.empty() && body_ != nullptr) OnPipeReady();
}

// ---- the end

void TcpUpstream::Broken(int error) {
  http::ClientStreamEvents* events = std::exchange(events_, nullptr);
  Error e{ErrorCode::kDisconnect, Side::kUpstream, false, error, "upstream connection was reset"};
  e.connection_lost = true;
  if (open_) in_.Fail(e);
  Close();
  if (events != nullptr) events->OnClientReset(e);
}

void TcpUpstream::Release() {
  events_ = nullptr;
  if (over_) return;
  released_ = true;
  in_.DetachProducer();
  if (body_ != nullptr && body_->ended()) {  // the client is gone, but not its last bytes
    body_->Pull(out_);
    out_ended_ = true;
  }
  body_ = nullptr;
  if (out_ended_ && !out_.empty()) {
    last_bytes_timer_.Arm(kLastBytesTimeout);
    Flush();
    return;
  }
  // Cut off in the middle: the upstream shall not take it for a whole.
  if (!out_ended_ || !in_ended_) transport().SetResetOnClose();
  Close();
}

void TcpUpstream::Close() {
  if (std::exchange(over_, true)) return;
  last_bytes_timer_.Cancel();
  in_.DetachProducer();
  body_ = nullptr;
  loop_.DeferDelete(std::unique_ptr<TcpUpstream>(this));
}

}  // namespace weft::proxy
