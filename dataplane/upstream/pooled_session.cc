#include "dataplane/upstream/pooled_session.h"

#include <algorithm>
#include <utility>

namespace weft::upstream {

PooledSession::PooledSession(ConnPool& pool, std::unique_ptr<net::Transport> transport)
    : pool_(&pool),
      created_(pool.host_.loop().Now()),
      idle_since_(created_),
      timer_(
          pool.host_.loop().timers(),
          [](void* self) { static_cast<PooledSession*>(self)->OnTimer(); }, this),
      session_(pool.host_.loop(), pool.host_.http1.slab, std::move(transport), pool.http2_, this) {
  ArmTimer();
}

size_t PooledSession::Room() const {
  if (pool_ == nullptr || !CanOpen()) return 0;
  size_t limit = session_.ready() ? pool_->http2_.max_concurrent_streams : kBeforeSettings;
  return limit > session_.open_streams() ? limit - session_.open_streams() : 1;
}

http::ClientStream* PooledSession::Open() {
  if (idle_since_ != 0) {
    lent_age_ = IdleAge();
    received_at_lend_ = session_.bytes_received();
    idle_since_ = 0;
    ArmTimer();
  }
  ++requests_;
  return session_.Open(nullptr);
}

void PooledSession::StreamSent() {
  if (pool_ == nullptr) return;
  uint32_t max = pool_->spec_.max_requests_per_connection;
  if (max == 0 || requests_ < max || session_.draining()) return;
  pool_->counters_->upstream_cx_max_requests.Inc();
  session_.Drain();
}

void PooledSession::Refile() {
  if (pool_ != nullptr && !session_.closed() && !CanOpen()) pool_->FileFull(*this);
}

MonoNanos PooledSession::IdleAge() const {
  return idle_since_ == 0 || pool_ == nullptr
             ? 0
             : std::max<MonoNanos>(pool_->host_.loop().Now() - idle_since_, 1);
}

void PooledSession::CountBytes() {
  pool_->counters_->upstream_cx_rx_bytes_total.Add(session_.bytes_received() - received_);
  pool_->counters_->upstream_cx_tx_bytes_total.Add(session_.bytes_sent() - sent_);
  received_ = session_.bytes_received();
  sent_ = session_.bytes_sent();
}

// A timer for two limits: without streams the nearer one counts, with streams only the duration.
void PooledSession::ArmTimer() {
  const ClusterSpec& spec = pool_->spec_;
  MonoNanos wait = 0;
  if (spec.max_connection_duration > 0) {
    wait = std::max<MonoNanos>(
        created_ + spec.max_connection_duration - pool_->host_.loop().Now(), 1);
  }
  if (idle_since_ != 0 && spec.idle_timeout > 0) {
    wait = wait == 0 ? spec.idle_timeout : std::min(wait, spec.idle_timeout);
  }
  if (wait > 0) {
    timer_.Arm(wait);
  } else {
    timer_.Cancel();
  }
}

void PooledSession::OnTimer() {
  if (pool_ == nullptr || session_.closed()) return;
  const ClusterSpec& spec = pool_->spec_;
  MonoNanos now = pool_->host_.loop().Now();
  if (spec.max_connection_duration > 0 && now - created_ >= spec.max_connection_duration) {
    pool_->counters_->upstream_cx_max_duration_reached.Inc();
  } else {
    pool_->counters_->upstream_cx_idle_timeout.Inc();
  }
  session_.Drain();
}

void PooledSession::Settle() {
  if (pool_ == nullptr || session_.closed()) return;
  CountBytes();
  answered_ = session_.bytes_received() > received_at_lend_;
  if (session_.open_streams() == 0 && idle_since_ == 0) {
    idle_since_ = pool_->host_.loop().Now();
    if (!session_.draining()) ArmTimer();
  }
  if (CanOpen()) pool_->OnRoom(*this);
}

void PooledSession::OnStreamClosed() { Settle(); }
void PooledSession::OnSessionReady() { Settle(); }

void PooledSession::OnSessionDraining() {
  timer_.Cancel();
  if (pool_ != nullptr) pool_->OnDraining(*this);
}

void PooledSession::OnSessionClosed(const Error& error) {
  timer_.Cancel();
  if (pool_ == nullptr) return;
  answered_ = session_.bytes_received() > received_at_lend_;
  CountBytes();
  pool_->OnSessionClosed(*this, error);
}

}  // namespace weft::upstream
