#include "dataplane/upstream/conn_pool.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "dataplane/net/tls_info.h"
#include "dataplane/upstream/pooled_session.h"

namespace weft::upstream {
namespace {

// Dials that one event may start ahead of need.
constexpr int kMaxAhead = 3;

std::vector<std::string_view> AlpnOf(ConnPool::Protocol p) {
  switch (p) {
    case ConnPool::Protocol::kHttp1:
      return {"http/1.1"};
    case ConnPool::Protocol::kHttp2:
      return {"h2"};
    case ConnPool::Protocol::kAlpn:
      break;
  }
  return {"h2", "http/1.1"};
}

}  // namespace

void StreamRequest::Cancel() {
  if (pool_ == nullptr) return;
  Unlink();
  pool_->Withdraw();
  pool_ = nullptr;
}

ConnPool::ConnPool(HostContext& host, Protocol protocol, std::string sni)
    : host_(host),
      spec_(*host.spec),
      counters_(host.counters),
      protocol_(protocol),
      // One HTTP/2 session may serve all who wait, so a guess of HTTP/2 dials too little for a
      // moment; one of HTTP/1 would dial a connection for each.
      speaks_http2_(protocol != Protocol::kHttp1),
      sni_(std::move(sni)) {
  http1_.idle_timeout = spec_.idle_timeout;
  http1_.max_requests = spec_.max_requests_per_connection;
  http1_.max_duration = spec_.max_connection_duration;
  http1_.limits.max_bytes = spec_.max_response_head_bytes;
  http1_.limits.max_headers = spec_.max_response_headers;
  http1_.header_case = spec_.header_case;
  http1_.buffer_bytes = std::clamp<uint32_t>(spec_.buffer_limit, 16 * 1024, 64 * 1024);
  http2_ = spec_.http2 != nullptr ? *spec_.http2 : DefaultHttp2();
  http2_.max_head_bytes = spec_.max_response_head_bytes;
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
  for (size_t i = dials_.size(); i > 0; --i) ConnectionOver();
  dials_.clear();
  while (auto* c = idle_.front()) c->Close();
  while (auto* c = busy_.front()) c->Close();
  for (auto* list : {&open_, &full_, &ending_}) {
    while (PooledSession* s = list->front()) Drop(*s);
  }
}

void ConnPool::Withdraw() {
  --pending_count_;
  counters_->upstream_rq_pending_active.Dec();
  ClusterUsage::Give(spec_.usage->pending);
}

// Runs what may let go of the last reference to this pool. False when it is gone.
template <typename F>
bool ConnPool::AliveAfter(F f) {
  bool destroyed = false;
  bool* outer = std::exchange(destroyed_, &destroyed);
  f();
  if (destroyed) {
    if (outer != nullptr) *outer = true;
    return false;
  }
  destroyed_ = outer;
  return true;
}

// ---- who asks

MonoNanos ConnPool::IdleAge(const http::h1::ClientConnection& c) const {
  return std::max<MonoNanos>(host_.loop().Now() - c.idle_since, 1);
}

// The warmest idle connection, unless it may be closed before a request gets there; the others have
// been idle for longer.
http::h1::ClientConnection* ConnPool::Lendable() {
  http::h1::ClientConnection* c = idle_.front();
  if (c == nullptr || host_.idle_limit.limit() == 0) return c;
  host_.idle_limit.Survived(IdleAge(*idle_.back()));
  if (!host_.idle_limit.Near(IdleAge(*c))) return c;
  counters_->upstream_cx_near_idle_limit.Inc();
  return nullptr;
}

PooledSession* ConnPool::SessionWithRoom() {
  PooledSession* found = nullptr;
  bool avoided = false;
  open_.ForEach([&](PooledSession& s) {
    if (found != nullptr || !s.CanOpen()) return;
    MonoNanos age = s.IdleAge();
    if (age > 0) host_.idle_limit.Survived(age);
    if (age > 0 && host_.idle_limit.Near(age)) {
      avoided = true;
    } else {
      found = &s;
    }
  });
  if (found == nullptr && avoided) counters_->upstream_cx_near_idle_limit.Inc();
  return found;
}

void ConnPool::Acquire(StreamRequest* request, Want want) {
  http::h1::ClientConnection* idle = Lendable();
  PooledSession* session = idle == nullptr ? SessionWithRoom() : nullptr;
  if ((idle != nullptr || session != nullptr) && want == Want::kFresh) {
    if (ClusterUsage::Take(spec_.usage->pending, spec_.breakers.max_pending_requests)) {
      if (session != nullptr && !dials_.empty()) {  // one new session serves many
        Wait(request);
        return;
      }
      if (TakeConnection()) {
        Wait(request);
        StartDial();
        return;
      }
      ClusterUsage::Give(spec_.usage->pending);
    }
  }
  if (spec_.preconnect_ratio > 1 && !draining_) {
    for (int i = 0; i < kMaxAhead && NeedsDial(1) && TakeConnection(); ++i) StartDial();
  }
  if (idle != nullptr) {
    Serve(*idle, request);
    return;
  }
  if (session != nullptr) {
    Serve(*session, request);
    return;
  }
  if (!ClusterUsage::Take(spec_.usage->pending, spec_.breakers.max_pending_requests)) {
    counters_->upstream_rq_pending_overflow.Inc();
    request->OnStreamFailed(
        {ErrorCode::kOverflow, Side::kLocal, true, 0, "max_pending_requests is reached"});
    return;
  }
  bool dial = NeedsDial(1);
  if (dial && !TakeConnection() && !MakeRoomForDial()) {
    dial = false;
    counters_->upstream_cx_overflow.Inc();
    if (connections_ == 0) {
      // Other workers hold every connection; none will ever become free here.
      ClusterUsage::Give(spec_.usage->pending);
      request->OnStreamFailed(
          {ErrorCode::kOverflow, Side::kLocal, true, 0, "max_connections is reached"});
      return;
    }
  }
  Wait(request);
  if (dial) StartDial();
}

// The caller took one unit of usage->pending.
void ConnPool::Wait(StreamRequest* request) {
  request->pool_ = this;
  pending_.PushBack(request);
  ++pending_count_;
  counters_->upstream_rq_pending_total.Inc();
  counters_->upstream_rq_pending_active.Inc();
}

void ConnPool::Serve(http::h1::ClientConnection& c, StreamRequest* request) {
  c.ListLink<http::h1::ClientConnectionTag>::Unlink();
  --idle_count_;
  ++busy_count_;
  c.lent = true;
  c.lent_age = IdleAge(c);
  busy_.PushBack(&c);
  request->OnStreamReady(c);
}

void ConnPool::Serve(PooledSession& s, StreamRequest* request) {
  http::ClientStream* stream = s.Open();
  request->OnStreamReady(*stream);
  // This pool may be gone; sessions are freed later.
  s.StreamSent();
  s.Refile();
}

// Gives who waits the room that a session has. False when this pool is gone after it.
bool ConnPool::ServeWaiting(PooledSession& s) {
  while (pending_count_ > 0 && s.CanOpen()) {
    StreamRequest* r = pending_.PopFront();
    Withdraw();
    r->pool_ = nullptr;
    if (!AliveAfter([&] { Serve(s, r); })) return false;
  }
  return true;
}

// ---- dials

bool ConnPool::TakeConnection() {
  return ClusterUsage::Take(spec_.usage->connections, spec_.breakers.max_connections);
}

// Connections that are not lent any more, since the endpoint is about to close them, must not stand
// in the way of new ones.
bool ConnPool::MakeRoomForDial() {
  http::h1::ClientConnection* oldest = idle_.back();
  if (oldest != nullptr && host_.idle_limit.Near(IdleAge(*oldest))) {
    oldest->Close();
    return TakeConnection();
  }
  PooledSession* session = open_.back();
  if (session != nullptr && session->IdleAge() > 0 && host_.idle_limit.Near(session->IdleAge())) {
    Drop(*session);
    return TakeConnection();
  }
  return false;
}

// Whether streams that run, wait or are `anticipated` need more than there is and is on its way.
bool ConnPool::NeedsDial(size_t anticipated) const {
  size_t active = busy_count_, capacity = 0;
  if (idle_count_ > 0 && (host_.idle_limit.limit() == 0 || spec_.preconnect_ratio > 1)) {
    capacity += idle_count_;
  }
  auto count = [&](const IntrusiveList<PooledSession, PooledSessionTag>& list, bool room) {
    const_cast<IntrusiveList<PooledSession, PooledSessionTag>&>(list).ForEach(
        [&](PooledSession& s) {
          active += s.session().open_streams();
          if (room && !(s.IdleAge() > 0 && host_.idle_limit.Near(s.IdleAge()))) {
            capacity += s.Room();
          }
        });
  };
  count(open_, true);
  count(full_, false);
  count(ending_, false);
  capacity += dials_.size() * (speaks_http2_ ? http2_.max_concurrent_streams : 1);
  double wanted = static_cast<double>(pending_count_ + active + anticipated);
  return wanted * spec_.preconnect_ratio > static_cast<double>(capacity + active);
}

// The caller took one unit of usage->connections.
void ConnPool::StartDial() {
  ++connections_;
  ++dialed_;
  counters_->upstream_cx_total.Inc();
  counters_->upstream_cx_active.Inc();
  Dial::Handler* self = this;
  dials_.push_back(std::make_unique<Dial>(host_, AlpnOf(protocol_), sni_, self));
}

void ConnPool::DialForPending() {
  while (pending_count_ > 0 && NeedsDial(0) && TakeConnection()) StartDial();
}

std::unique_ptr<Dial> ConnPool::Forget(Dial& dial) {
  auto it = std::find_if(dials_.begin(), dials_.end(), [&](auto& d) { return d.get() == &dial; });
  std::unique_ptr<Dial> d = std::move(*it);
  dials_.erase(it);
  return d;
}

void ConnPool::OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport) {
  host_.loop().DeferDelete(Forget(dial));
  std::string_view alpn =
      transport->tls() == nullptr ? std::string_view() : transport->tls()->alpn();
  bool http2 = protocol_ == Protocol::kHttp2 || (protocol_ == Protocol::kAlpn && alpn == "h2");
  if (protocol_ == Protocol::kHttp2 && !alpn.empty() && alpn != "h2") {
    counters_->upstream_cx_connect_fail.Inc();
    transport.reset();
    ++dial_failures_;
    ConnectionOver();
    if (FailAll({ErrorCode::kConnectFailed, Side::kUpstream, true, 0,
                 "the endpoint did not agree to HTTP/2"})) {
      ServePending();
    }
    return;
  }
  speaks_http2_ = http2;
  if (http2) {
    counters_->upstream_cx_http2_total.Inc();
    auto* s = new PooledSession(*this, std::move(transport));
    open_.PushFront(s);
    if (draining_) s->session().Drain();
    if (ServeWaiting(*s)) DialForPending();
    return;
  }
  counters_->upstream_cx_http1_total.Inc();
  auto* c = new http::h1::ClientConnection(host_.http1, http1_, std::move(transport), this);
  c->idle_since = host_.loop().Now();
  idle_.PushFront(c);
  ++idle_count_;
  if (draining_ && pending_.empty()) {
    c->Close();
    return;
  }
  // By ALPN it may have turned out that one connection does not serve them all.
  if (protocol_ == Protocol::kAlpn && pending_count_ > 1) DialForPending();
  OnIdle(*c);
}

void ConnPool::OnDialFailed(Dial& dial, const Error& error) {
  host_.loop().DeferDelete(Forget(dial));
  ++dial_failures_;
  ConnectionOver();
  if (!pending_.empty()) counters_->upstream_rq_pending_failure_eject.Inc();
  // A dial of HTTP/1 was one request's; one of HTTP/2 all of theirs, unless another is on its way.
  bool others = !dials_.empty() || !open_.empty() || !full_.empty();
  bool alive = !speaks_http2_ ? FailOne(error) : others || FailAll(error);
  if (alive) ServePending();
}

// A connection or dial is over.
void ConnPool::ConnectionOver() {
  --connections_;
  counters_->upstream_cx_active.Dec();
  counters_->upstream_cx_destroy.Inc();
  ClusterUsage::Give(spec_.usage->connections);
}

// ---- who waits

// Tells the first who waits. False when this pool is gone after it.
bool ConnPool::FailOne(const Error& error) {
  StreamRequest* r = pending_.PopFront();
  if (r == nullptr) return true;
  Withdraw();
  r->pool_ = nullptr;
  return AliveAfter([&] { r->OnStreamFailed(error); });
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
  DialForPending();
  if (pending_count_ > 0 && connections_ == 0) {
    FailAll({ErrorCode::kOverflow, Side::kLocal, true, 0, "max_connections is reached"});
  }
}

// ---- HTTP/1 connections

void ConnPool::CountBytes(http::h1::ClientConnection& c) {
  counters_->upstream_cx_rx_bytes_total.Add(c.TakeReceived());
  counters_->upstream_cx_tx_bytes_total.Add(c.TakeSent());
}

void ConnPool::OnIdle(http::h1::ClientConnection& c) {
  CountBytes(c);
  if (c.lent) {
    c.lent = false;
    c.idle_since = host_.loop().Now();
    c.ListLink<http::h1::ClientConnectionTag>::Unlink();
    --busy_count_;
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
  using Cause = http::h1::ClientConnection::CloseCause;
  CountBytes(c);
  c.ListLink<http::h1::ClientConnectionTag>::Unlink();
  --(c.lent ? busy_count_ : idle_count_);
  const bool by_peer = c.close_cause() == Cause::kPeer;
  (by_peer ? counters_->upstream_cx_destroy_remote : counters_->upstream_cx_destroy_local).Inc();
  if (c.cut_short()) {
    counters_->upstream_cx_destroy_with_active_rq.Inc();
    (by_peer ? counters_->upstream_cx_destroy_remote_with_active_rq
             : counters_->upstream_cx_destroy_local_with_active_rq)
        .Inc();
  }
  if (c.close_cause() == Cause::kIdleTimeout) counters_->upstream_cx_idle_timeout.Inc();
  if (c.close_cause() == Cause::kMaxDuration) counters_->upstream_cx_max_duration_reached.Inc();
  if (c.close_cause() == Cause::kMaxRequests) counters_->upstream_cx_max_requests.Inc();
  if (by_peer && c.requests() > 0 && !draining_) {
    if (!c.lent) {
      host_.idle_limit.Observe(IdleAge(c), host_.loop().Now());
    } else if (c.cut_short() && c.requests() > 1 && c.bytes_received() == 0) {
      host_.idle_limit.Observe(c.lent_age, host_.loop().Now());
    }
  }
  counters_->upstream_cx_length_ms.Record(
      static_cast<uint64_t>((host_.loop().Now() - c.created()) / kMillisecond));
  ConnectionOver();
  host_.loop().DeferDelete(std::unique_ptr<http::h1::ClientConnection>(&c));
  ServePending();
}

// ---- HTTP/2 sessions

void ConnPool::OnRoom(PooledSession& s) {
  s.ListLink<PooledSessionTag>::Unlink();
  open_.PushFront(&s);
  ServeWaiting(s);
}

void ConnPool::FileFull(PooledSession& s) {
  s.ListLink<PooledSessionTag>::Unlink();
  (s.session().draining() || s.session().closed() ? ending_ : full_).PushBack(&s);
}

void ConnPool::OnDraining(PooledSession& s) {
  FileFull(s);
  DialForPending();
}

void ConnPool::OnSessionClosed(PooledSession& s, const Error& error) {
  s.ListLink<PooledSessionTag>::Unlink();
  const bool by_peer = error.side == Side::kUpstream && error.code == ErrorCode::kDisconnect;
  (by_peer ? counters_->upstream_cx_destroy_remote : counters_->upstream_cx_destroy_local).Inc();
  if (error.code == ErrorCode::kProtocol) counters_->upstream_cx_protocol_error.Inc();
  if (s.IdleAge() == 0) counters_->upstream_cx_destroy_with_active_rq.Inc();
  if (by_peer && s.requests() > 0 && !draining_) {
    if (s.IdleAge() > 0) {
      host_.idle_limit.Observe(s.IdleAge(), host_.loop().Now());
    } else if (s.lent_age() > 0 && s.requests() > 1 && !s.answered()) {
      host_.idle_limit.Observe(s.lent_age(), host_.loop().Now());
    }
  }
  counters_->upstream_cx_length_ms.Record(
      static_cast<uint64_t>((host_.loop().Now() - s.created()) / kMillisecond));
  ConnectionOver();
  s.Detach();
  host_.loop().DeferDelete(std::unique_ptr<PooledSession>(&s));
  ServePending();
}

// Ends a session that nobody uses, or whose users are gone, at once.
void ConnPool::Drop(PooledSession& s) {
  s.ListLink<PooledSessionTag>::Unlink();
  s.CountBytes();
  s.Detach();
  ConnectionOver();
  counters_->upstream_cx_destroy_local.Inc();
  host_.loop().DeferDelete(std::unique_ptr<PooledSession>(&s));
}

void ConnPool::Drain() {
  draining_ = true;
  if (!FailAll({ErrorCode::kDrain, Side::kLocal, true, 0, "the endpoint was removed"})) return;
  while (auto* c = idle_.front()) c->Close();
  busy_.ForEach([](http::h1::ClientConnection& c) { c.Drain(); });
  open_.ForEach([](PooledSession& s) { s.session().Drain(); });
  full_.ForEach([](PooledSession& s) { s.session().Drain(); });
}

}  // namespace weft::upstream
