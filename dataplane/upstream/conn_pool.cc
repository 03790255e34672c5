#include "dataplane/upstream/conn_pool.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weft::upstream {

class ConnPool::Dial final : private net::Connector::Handler {
 public:
  explicit Dial(ConnPool& pool)
      : pool_(pool), started_(pool.context_.loop.Now()), connector_(pool.context_.loop, this) {
    const ClusterSpec& s = *pool.spec_;
    connector_.Start(
        pool.address_, s.connect_timeout,
        {s.tcp_keepalive, s.keepalive_probes, s.keepalive_time_s, s.keepalive_interval_s});
  }
  MonoNanos started() const { return started_; }

 private:
  void OnConnected(std::unique_ptr<net::Transport> transport) override {
    pool_.OnDialed(*this, std::move(transport));
  }
  void OnConnectFailed(int error) override { pool_.OnDialFailed(*this, error); }
  ConnPool& pool_;
  const MonoNanos started_;
  net::Connector connector_;
};

void StreamRequest::Cancel() {
  if (pool_ == nullptr) return;
  Unlink();
  pool_->Withdraw();
  pool_ = nullptr;
}

ConnPool::ConnPool(http::h1::ClientContext& context, std::shared_ptr<const ClusterSpec> spec,
                   observe::ClusterCounters* counters, const net::Address& address)
    : context_(context), spec_(std::move(spec)), counters_(counters), address_(address) {
  options_.idle_timeout = spec_->idle_timeout;
  options_.max_requests = spec_->max_requests_per_connection;
  options_.limits.max_bytes = spec_->max_response_head_bytes;
  options_.buffer_bytes = std::clamp<uint32_t>(spec_->buffer_limit, 16 * 1024, 64 * 1024);
}

ConnPool::~ConnPool() {
  draining_ = true;
  if (destroyed_ != nullptr) *destroyed_ = true;
  while (StreamRequest* r = pending_.PopFront()) {
    Withdraw();
    r->pool_ = nullptr;
  }
  // Dials that are over are not among them, so none is on the stack: they end now, before their
  // socket's event comes.
  for (size_t i = dials_.size(); i > 0; --i) DialOver();
  dials_.clear();
  while (auto* c = idle_.front()) c->Close();
  while (auto* c = busy_.front()) c->Close();
}

void ConnPool::Withdraw() {
  --pending_count_;
  counters_->upstream_rq_pending_active.Dec();
  ClusterUsage::Give(spec_->usage->pending);
}

void ConnPool::Acquire(StreamRequest* request, Want want) {
  http::h1::ClientConnection* idle = idle_.front();
  if (idle != nullptr && want == Want::kFresh) {
    if (ClusterUsage::Take(spec_->usage->pending, spec_->breakers.max_pending_requests)) {
      if (ClusterUsage::Take(spec_->usage->connections, spec_->breakers.max_connections)) {
        Wait(request);
        StartDial();
        return;
      }
      ClusterUsage::Give(spec_->usage->pending);
    }
  }
  if (idle != nullptr) {
    Serve(*idle, request);
    return;
  }
  if (!ClusterUsage::Take(spec_->usage->pending, spec_->breakers.max_pending_requests)) {
    counters_->upstream_rq_pending_overflow.Inc();
    request->OnStreamFailed(
        {ErrorCode::kOverflow, Side::kLocal, true, 0, "max_pending_requests is reached"});
    return;
  }
  bool dialed = false;
  if (ClusterUsage::Take(spec_->usage->connections, spec_->breakers.max_connections)) {
    dialed = true;
  } else {
    counters_->upstream_cx_overflow.Inc();
    if (connections_ == 0) {
      // Other workers hold every connection; none will ever become free here.
      ClusterUsage::Give(spec_->usage->pending);
      request->OnStreamFailed(
          {ErrorCode::kOverflow, Side::kLocal, true, 0, "max_connections is reached"});
      return;
    }
  }
  Wait(request);
  if (dialed) StartDial();
}

// The caller took one unit of usage->pending.
void ConnPool::Wait(StreamRequest* request) {
  request->pool_ = this;
  pending_.PushBack(request);
  ++pending_count_;
  counters_->upstream_rq_pending_total.Inc();
  counters_->upstream_rq_pending_active.Inc();
}

// The caller took one unit of usage->connections.
void ConnPool::StartDial() {
  ++connections_;
  ++dialed_;
  counters_->upstream_cx_total.Inc();
  counters_->upstream_cx_active.Inc();
  counters_->upstream_cx_http1_total.Inc();
  dials_.push_back(std::make_unique<Dial>(*this));
}

void ConnPool::OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport) {
  counters_->upstream_cx_connect_ms.Record(
      static_cast<uint64_t>((context_.loop.Now() - dial.started()) / kMillisecond));
  auto it = std::find_if(dials_.begin(), dials_.end(), [&](auto& d) { return d.get() == &dial; });
  context_.loop.DeferDelete(std::move(*it));
  dials_.erase(it);
  auto* c = new http::h1::ClientConnection(context_, options_, std::move(transport), this);
  idle_.PushFront(c);
  ++idle_count_;
  if (draining_ && pending_.empty()) {
    c->Close();
    return;
  }
  OnIdle(*c);
}

void ConnPool::OnDialFailed(Dial& dial, int error) {
  ++dial_failures_;
  counters_->upstream_cx_connect_fail.Inc();
  if (error == ETIMEDOUT) counters_->upstream_cx_connect_timeout.Inc();
  DialOver();
  auto it = std::find_if(dials_.begin(), dials_.end(), [&](auto& d) { return d.get() == &dial; });
  context_.loop.DeferDelete(std::move(*it));
  dials_.erase(it);
  if (!pending_.empty()) counters_->upstream_rq_pending_failure_eject.Inc();
  if (FailOne(error == ETIMEDOUT ? Error{ErrorCode::kConnectTimeout, Side::kUpstream, true, error,
                                         "connection timeout"}
                                 : Error{ErrorCode::kConnectFailed, Side::kUpstream, true, error,
                                         "connection failure"})) {
    ServePending();
  }
}

// A dial that became no connection.
void ConnPool::DialOver() {
  --connections_;
  counters_->upstream_cx_active.Dec();
  counters_->upstream_cx_destroy.Inc();
  ClusterUsage::Give(spec_->usage->connections);
}

// Tells the first who waits. False when this pool is gone after it.
bool ConnPool::FailOne(const Error& error) {
  StreamRequest* r = pending_.PopFront();
  if (r == nullptr) return true;
  Withdraw();
  r->pool_ = nullptr;
  bool destroyed = false;
  bool* outer = std::exchange(destroyed_, &destroyed);
  r->OnStreamFailed(error);
  if (destroyed) {
    if (outer != nullptr) *outer = true;
    return false;
  }
  destroyed_ = outer;
  return true;
}

// Tells everyone who waits now, not those who come back meanwhile. False when this pool is gone
// after it.
bool ConnPool::FailAll(const Error& error) {
  for (size_t n = pending_count_; n > 0; --n) {
    if (!FailOne(error)) return false;
  }
  return true;
}

// A connection or a dial is over. Who waited for it gets a dial; when none is allowed and no
// connection is left here that could become free (other workers hold them all), nobody may be left
// to wait.
void ConnPool::ServePending() {
  while (pending_count_ > dials_.size() &&
         ClusterUsage::Take(spec_->usage->connections, spec_->breakers.max_connections)) {
    StartDial();
  }
  if (pending_count_ > 0 && connections_ == 0) {
    FailAll({ErrorCode::kOverflow, Side::kLocal, true, 0, "max_connections is reached"});
  }
}

void ConnPool::Serve(http::h1::ClientConnection& c, StreamRequest* request) {
  c.ListLink<http::h1::ClientConnectionTag>::Unlink();
  --idle_count_;
  c.lent = true;
  busy_.PushBack(&c);
  request->OnStreamReady(c);
}

void ConnPool::CountBytes(http::h1::ClientConnection& c) {
  counters_->upstream_cx_rx_bytes_total.Add(c.TakeReceived());
  counters_->upstream_cx_tx_bytes_total.Add(c.TakeSent());
}

void ConnPool::OnIdle(http::h1::ClientConnection& c) {
  CountBytes(c);
  if (c.lent) {
    c.lent = false;
    c.ListLink<http::h1::ClientConnectionTag>::Unlink();
    idle_.PushFront(&c);
    ++idle_count_;
  }
  if (StreamRequest* r = pending_.PopFront()) {
    Withdraw();
    r->pool_ = nullptr;
    Serve(c, r);
    return;
  }
  if (draining_) c.Close();
}

void ConnPool::OnClosed(http::h1::ClientConnection& c) {
  CountBytes(c);
  c.ListLink<http::h1::ClientConnectionTag>::Unlink();
  if (!c.lent) --idle_count_;
  if (c.cut_short()) counters_->upstream_cx_destroy_with_active_rq.Inc();
  --connections_;
  counters_->upstream_cx_active.Dec();
  counters_->upstream_cx_destroy.Inc();
  counters_->upstream_cx_length_ms.Record(
      static_cast<uint64_t>((context_.loop.Now() - c.created()) / kMillisecond));
  ClusterUsage::Give(spec_->usage->connections);
  context_.loop.DeferDelete(std::unique_ptr<http::h1::ClientConnection>(&c));
  ServePending();
}

void ConnPool::Drain() {
  draining_ = true;
  if (!FailAll({ErrorCode::kDrain, Side::kLocal, true, 0, "the endpoint was removed"})) return;
  while (auto* c = idle_.front()) c->Close();
  busy_.ForEach([](http::h1::ClientConnection& c) { c.Drain(); });
}

}  // namespace weft::upstream
