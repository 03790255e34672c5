#include "dataplane/proxy/tcp_proxy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/base/substitution/stream_fields.h"

namespace weft::proxy {

TcpCounters::TcpCounters(observe::Shard& shard, const std::string& stat_prefix) {
  auto name = [&](const char* what) {
    return observe::MetricName{observe::ScopeId::Process("tcp"), stat_prefix + "." + what, what,
                               {{"envoy_tcp_prefix", stat_prefix}}};
  };
  auto counter = [&](const char* what) { return shard.GetCounter(name(what)); };
  downstream_cx_total = counter("downstream_cx_total");
  downstream_cx_no_route = counter("downstream_cx_no_route");
  downstream_cx_rx_bytes_total = counter("downstream_cx_rx_bytes_total");
  downstream_cx_tx_bytes_total = counter("downstream_cx_tx_bytes_total");
  downstream_flow_control_paused_reading_total =
      counter("downstream_flow_control_paused_reading_total");
  downstream_flow_control_resumed_reading_total =
      counter("downstream_flow_control_resumed_reading_total");
  idle_timeout = counter("idle_timeout");
  max_downstream_connection_duration = counter("max_downstream_connection_duration");
  downstream_cx_active = shard.GetGauge(name("downstream_cx_active"));
}

TcpProxy::TcpProxy(WorkerServices& services, buffer::Slab& slab,
                   std::shared_ptr<const TcpProxySpec> spec)
    : services_(services),
      slab_(slab),
      spec_(std::move(spec)),
      counters_(services.shard, spec_->stat_prefix) {}

const std::string& TcpProxy::PickCluster() {
  const auto& clusters = spec_->clusters;
  if (clusters.size() == 1) return clusters[0].name;
  uint64_t at = services_.random.Next() % clusters.back().up_to;
  auto it = std::find_if(clusters.begin(), clusters.end(),
                         [at](const TcpProxySpec::WeightedCluster& c) { return at < c.up_to; });
  return it->name;
}

TcpSession::TcpSession(Rc<TcpProxy> proxy, std::unique_ptr<net::Transport> downstream,
                       TcpSessionInfo info, Owner* owner)
    : proxy_(std::move(proxy)),
      downstream_(std::move(downstream)),
      info_(std::move(info)),
      owner_(owner),
      idle_timer_(
          proxy_->services().loop.timers(),
          [](void* self) {
            auto* s = static_cast<TcpSession*>(self);
            s->proxy_->counters().idle_timeout->Inc();
            s->details_ = "tcp_session_idle_timeout";
            s->Close();
          },
          this),
      duration_timer_(
          proxy_->services().loop.timers(),
          [](void* self) {
            auto* s = static_cast<TcpSession*>(self);
            s->proxy_->counters().max_downstream_connection_duration->Inc();
            s->flags_ |= Bit(ResponseFlag::kDurationTimeout);
            s->Close();
          },
          this),
      log_timer_(
          proxy_->services().loop.timers(),
          [](void* self) {
            static_cast<TcpSession*>(self)->Log();
            static_cast<TcpSession*>(self)->ArmLog();
          },
          this),
      start_(proxy_->services().loop.Now()),
      start_wall_micros_(WallMicros()) {
  down_.session = up_.session = this;
  down_.other = &up_;
  up_.other = &down_;
  down_.transport = downstream_.get();
}

TcpSession::~TcpSession() = default;

void TcpSession::Start() {
  const TcpProxySpec& spec = proxy_->spec();
  proxy_->counters().downstream_cx_total->Inc();
  proxy_->counters().downstream_cx_active->Inc();
  if (spec.max_downstream_connection_duration > 0) {
    duration_timer_.Arm(spec.max_downstream_connection_duration);
  }
  if (info_.watched) down_.transport->set_handler(&down_);
  ArmLog();
  cluster_name_ = proxy_->PickCluster();
  cluster_ = Rc<upstream::Cluster>(proxy_->services().clusters.Get(cluster_name_));
  if (!cluster_) {
    proxy_->counters().downstream_cx_no_route->Inc();
    Fail(Bit(ResponseFlag::kNoClusterFound));
    return;
  }
  Connect();
}

// The next host by the cluster's policy, rather one that was not tried yet.
upstream::Host* TcpSession::PickHost() {
  upstream::Host* host = nullptr;
  for (size_t i = 0; i <= cluster_->hosts().size(); ++i) {
    host = cluster_->Pick(proxy_->services().random.Next());
    if (host == nullptr || std::find(tried_.begin(), tried_.end(), host) == tried_.end()) break;
  }
  return host;
}

void TcpSession::Connect() {
  upstream::Host* host = PickHost();
  if (host == nullptr) {
    cluster_->counters().upstream_cx_none_healthy.Inc();
    Fail(Bit(ResponseFlag::kNoHealthyUpstream));
    return;
  }
  ++attempts_;
  host_ = Rc<upstream::Host>(host);
  if (proxy_->spec().max_connect_attempts > 1) tried_.push_back(host);
  std::unique_ptr<net::ProxiedFor> proxied_for;
  if (cluster_->spec().security != nullptr) {
    proxied_for = std::make_unique<net::ProxiedFor>(
        net::ProxiedFor{downstream_->peer_address(), downstream_->local_address()});
  }
  dial_ = host->DialTcp(this, std::move(proxied_for));
}

void TcpSession::OnTcpFailed(const Error& error) {
  if (closed_) return;
  proxy_->services().loop.DeferDelete(std::move(dial_));
  failure_ = error.detail;
  if (error.code == ErrorCode::kOverflow) {
    Fail(Bit(ResponseFlag::kUpstreamOverflow));
    return;
  }
  flags_ |= Bit(ResponseFlag::kUpstreamConnectionFailure);
  if (attempts_ >= proxy_->spec().max_connect_attempts) {
    Fail(Bit(ResponseFlag::kUpstreamRetryLimitExceeded));
    return;
  }
  Connect();
}

void TcpSession::OnTcpConnected(std::unique_ptr<upstream::TcpConnection> connection) {
  if (closed_) return;
  proxy_->services().loop.DeferDelete(std::move(dial_));
  upstream_ = std::move(connection);
  up_.transport = &upstream_->transport();
  flags_ &= ~Bit(ResponseFlag::kUpstreamConnectionFailure);  // of an earlier attempt
  up_.transport->set_handler(&up_);
  if (!info_.watched) down_.transport->set_handler(&down_);
  if (down_.reading_off) ReadFrom(down_);
  ArmIdle();
  if (proxy_->spec().flush_access_log_on_connected) Log();
}

void TcpSession::ReadFrom(End& end) {
  if (!end.reading_off || end.ended || end.broken) return;
  end.reading_off = false;
  if (&end == &down_) {
    proxy_->counters().downstream_flow_control_resumed_reading_total->Inc();
  }
  end.transport->SetReading(true);
}

void TcpSession::Sent(End& end, size_t bytes) {
  end.sent += bytes;
  if (&end == &down_) {
    proxy_->counters().downstream_cx_tx_bytes_total->Add(bytes);
  } else {
    upstream_->CountSent(bytes);
  }
}

void TcpSession::OnReadable(End& from) {
  if (closed_) return;
  End& to = *from.other;
  if (to.transport == nullptr || to.pending() || from.ended || to.broken) {
    // Only now, since the other end had the time until the next event to take what it was given.
    from.transport->SetReading(false);
    from.reading_off = true;
    if (&from == &down_) {
      proxy_->counters().downstream_flow_control_paused_reading_total->Inc();
    }
    return;
  }
  for (int i = 0; i < kMaxReads; ++i) {
    const uint32_t wanted = to.pace.Next(proxy_->slab());
    if (!to.block || to.block->capacity() < wanted) to.block = proxy_->slab().GetSized(wanted);
    iovec space = {to.block->data(), to.block->capacity()};
    const ssize_t n = from.transport->Read(&space, 1);
    if (n == -EAGAIN) break;
    if (n <= 0) {
      to.block.reset();
      n == 0 ? OnEnded(from) : OnBroken(from);
      return;
    }
    const size_t size = static_cast<size_t>(n);
    const bool filled = size == to.block->capacity();
    to.pace.OnRead(size, filled);
    from.received += size;
    if (&from == &down_) {
      proxy_->counters().downstream_cx_rx_bytes_total->Add(size);
    } else {
      upstream_->CountReceived(size);
    }
    space.iov_len = size;
    ssize_t written = to.transport->Write(&space, 1);
    if (written < 0 && written != -EAGAIN) {
      to.block.reset();
      OnBroken(to);
      return;
    }
    if (written < 0) written = 0;
    Sent(to, static_cast<size_t>(written));
    if (static_cast<size_t>(written) < size) {
      to.begin = static_cast<uint32_t>(written);
      to.end = static_cast<uint32_t>(size);
      to.pace.OnPause();
      Shrink(to);
      to.transport->WantWrite();
      ArmIdle();
      return;
    }
    if (!filled) break;  // that was all there is, most likely
  }
  to.block.reset();
  ArmIdle();
}

void TcpSession::OnWritable(End& to) {
  if (closed_ || !to.pending()) return;
  iovec rest = {to.block->data() + to.begin, to.end - to.begin};
  ssize_t written = to.transport->Write(&rest, 1);
  if (written < 0 && written != -EAGAIN) {
    OnBroken(to);
    return;
  }
  if (written > 0) {
    Sent(to, static_cast<size_t>(written));
    to.begin += static_cast<uint32_t>(written);
    ArmIdle();
  }
  if (to.pending()) {
    Shrink(to);
    to.transport->WantWrite();
    return;
  }
  to.begin = to.end = 0;
  to.block.reset();
  End& from = *to.other;
  if (from.broken) {
    to.transport->SetResetOnClose();
    Close();
  } else if (from.ended) {
    OnEnded(from);
  } else {
    ReadFrom(from);
  }
}

// What waits may wait for long: it moves to a block of its size where that is worth it.
void TcpSession::Shrink(End& end) {
  const uint32_t size = end.end - end.begin;
  if (!buffer::Slab::WorthMoving(size, end.block->capacity())) return;
  buffer::BlockRef smaller = proxy_->slab().GetSized(size);
  memcpy(smaller->data(), end.block->data() + end.begin, size);
  end.block = std::move(smaller);
  end.begin = 0;
  end.end = size;
}

// The peer of `from` has ended its direction: so do we, on the other side, once everything is there.
void TcpSession::OnEnded(End& from) {
  End& to = *from.other;
  if (!from.ended && &from == &up_) upstream_->set_closed_by_peer();
  const bool first = !std::exchange(from.ended, true);
  if (MaybeDone()) return;
  if (first && !from.reading_off) {  // the end of a stream stays readable
    from.reading_off = true;
    from.transport->SetReading(false);
  }
  if (to.pending() || to.shut) return;
  to.shut = true;
  to.transport->ShutdownWrite();
  ArmIdle();
}

bool TcpSession::MaybeDone() {
  if (!down_.ended || !up_.ended || down_.pending() || up_.pending()) return false;
  Close();
  return true;
}

// A connection was reset. The other one gets what is on its way to it, then the same.
void TcpSession::OnBroken(End& end) {
  if (&end == &up_ && upstream_ != nullptr) upstream_->set_closed_by_peer();
  End& other = *end.other;
  end.broken = true;
  end.begin = end.end = 0;
  end.block.reset();
  if (other.transport == nullptr || other.broken || !other.pending()) {
    if (other.transport != nullptr) other.transport->SetResetOnClose();
    Close();
    return;
  }
  end.reading_off = true;
  end.transport->SetReading(false);
  // OnWritable of the other end goes on; what it sends has nowhere to go.
}

void TcpSession::ArmIdle() {
  if (proxy_->spec().idle_timeout > 0) idle_timer_.Arm(proxy_->spec().idle_timeout);
}

void TcpSession::ArmLog() {
  if (proxy_->spec().access_log_flush_interval > 0) {
    log_timer_.Arm(proxy_->spec().access_log_flush_interval);
  }
}

void TcpSession::Fail(uint64_t flags) {
  flags_ |= flags;
  Close();
}

void TcpSession::Close() {
  if (closed_) return;
  closed_ = true;
  idle_timer_.Cancel();
  duration_timer_.Cancel();
  log_timer_.Cancel();
  proxy_->services().loop.DeferDelete(std::move(dial_));
  proxy_->counters().downstream_cx_active->Dec();
  Log();
  owner_->OnTcpClosed(*this);
}

void TcpSession::Log() {
  if (proxy_->spec().access_logs.empty()) return;
  StreamFields f;
  f.start_wall_micros = start_wall_micros_;
  f.duration_nanos = proxy_->services().loop.Now() - start_;
  f.response_flags = flags_;
  f.bytes_received = down_.received;
  f.bytes_sent = down_.sent;
  f.connection_termination_details = details_;
  f.connection_id = info_.connection_id;
  f.requested_server_name = info_.requested_server_name;
  f.upstream_cluster = cluster_ ? std::string_view(cluster_->spec().stat_name()) : cluster_name_;
  f.upstream_attempts = attempts_;
  f.upstream_transport_failure_reason = failure_;
  const std::string remote = downstream_->peer_address().ToString();
  const std::string local = downstream_->local_address().ToString();
  const std::string direct = info_.direct_peer.valid() ? info_.direct_peer.ToString() : "";
  std::string upstream_local;
  f.downstream_remote_address = remote;
  f.downstream_local_address = local;
  f.downstream_direct_remote_address = direct;
  if (host_) f.upstream_host = host_->address_text();
  if (upstream_ != nullptr) {
    upstream_local = upstream_->transport().local_address().ToString();
    f.upstream_local_address = upstream_local;
  }
  for (const auto& log : proxy_->spec().access_logs) proxy_->services().logs.Log(*log, f);
}

}  // namespace weft::proxy
