#include "dataplane/runtime/active_chain.h"

#include <algorithm>
#include <utility>

#include "dataplane/net/tls_info.h"
#include "dataplane/runtime/worker.h"
#include "dataplane/tls/counters.h"

namespace weft::runtime {
namespace {

http::h1::ServerOptions Http1Options(const proxy::HttpManagerSpec& http, uint32_t buffer_limit) {
  http::h1::ServerOptions o;
  o.limits.max_bytes = http.max_request_head_bytes;
  o.limits.max_headers = http.max_request_headers;
  o.limits.http10 = http.accept_http_10 ? http::h1::Http10::kNeedHost : http::h1::Http10::kRefuse;
  o.limits.http10_host = http.default_host_for_http_10;
  o.header_case = http.header_case;
  o.idle_timeout = http.idle_timeout;
  // The request's timeout counts from its first byte, so it bounds the head too.
  o.head_timeout = http.request_headers_timeout;
  if (http.request_timeout > 0 &&
      (o.head_timeout == 0 || http.request_timeout < o.head_timeout)) {
    o.head_timeout = http.request_timeout;
  }
  o.stream_idle_timeout = http.stream_idle_timeout;
  o.delayed_close_timeout = http.delayed_close_timeout;
  o.max_requests = http.max_requests_per_connection;
  o.buffer_bytes = std::clamp<uint32_t>(buffer_limit, 16 * 1024, 64 * 1024);
  o.detect_http2 = http.codec == proxy::Codec::kAuto;
  return o;
}

http::h2::ServerOptions Http2Options(const proxy::HttpManagerSpec& http,
                                     const http::h1::ServerOptions& h1) {
  http::h2::ServerOptions o;
  o.session = http.http2;
  o.session.max_head_bytes = http.max_request_head_bytes;
  o.session.max_headers = http.max_request_headers;
  o.idle_timeout = h1.idle_timeout;
  o.head_timeout = h1.head_timeout;
  o.stream_idle_timeout = h1.stream_idle_timeout;
  o.drain_timeout = http.drain_timeout;
  o.delayed_close_timeout = h1.delayed_close_timeout;
  o.max_requests = h1.max_requests;
  return o;
}

}  // namespace

// A handshake under way. Owner: the chain's list, then Loop::DeferDelete.
class ActiveChain::Pending final : public ListLink<PendingTag>, private net::Handshake::Handler {
 public:
  Pending(ActiveChain& chain, std::unique_ptr<Inspected> inspected)
      : chain_(chain),
        inspected_(std::move(inspected)),
        timer_(
            chain.worker_.loop().timers(), [](void* self) { static_cast<Pending*>(self)->OnTimer(); },
            this) {}

  void Begin(std::unique_ptr<net::Transport> transport) {
    if (chain_.spec_->transport_socket_connect_timeout > 0) {
      timer_.Arm(chain_.spec_->transport_socket_connect_timeout);
    }
    net::HandshakeOptions options;
    options.counters = chain_.tls_counters_.get();
    handshake_ = chain_.spec_->security->Begin(chain_.worker_.loop(), chain_.worker_.slab(),
                                               std::move(transport), options, this);
  }

 private:
  void OnSecured(std::unique_ptr<net::Transport> transport) override {
    ActiveChain& chain = chain_;
    std::unique_ptr<Inspected> inspected = std::move(inspected_);
    chain.HandshakeOver(*this);
    chain.StartSecured(std::move(transport), std::move(inspected));
  }
  void OnHandshakeFailed(std::string_view) override {
    ActiveChain& chain = chain_;
    chain.HandshakeOver(*this);
    chain.ConnectionOver();
  }
  void OnTimer() {
    chain_.handshake_timeouts_->Inc();
    handshake_.reset();  // closes
    ActiveChain& chain = chain_;
    chain.HandshakeOver(*this);
    chain.ConnectionOver();
  }

  ActiveChain& chain_;
  std::unique_ptr<Inspected> inspected_;
  std::unique_ptr<net::Handshake> handshake_;
  event::Timer timer_;
};

ActiveChain::ActiveChain(Worker& worker, const config::ListenerSpec& listener,
                         std::shared_ptr<const config::FilterChainSpec> spec,
                         observe::ListenerCounters* counters, Owner* owner)
    : worker_(worker),
      spec_(std::move(spec)),
      counters_(counters),
      owner_(owner),
      h2_context_{worker.loop(), worker.slab()},
      drain_timer_(
          worker.loop().timers(), [](void* self) { static_cast<ActiveChain*>(self)->OnDrainTimer(); },
          this) {
  if (spec_->security != nullptr) {
    const observe::ScopeId scope = observe::ScopeId::Listener(
        listener.stat_prefix.empty() ? listener.address.ToString() : listener.stat_prefix);
    handshake_timeouts_ =
        worker.shard().GetCounter({scope, "downstream_cx_transport_socket_connect_timeout"});
    tls_counters_ = tls::MakeCounters(worker.shard(), scope);
  }
  if (spec_->http != nullptr) {
    const proxy::HttpManagerSpec& http = *spec_->http;
    manager_ =
        MakeRc<proxy::HttpManager>(worker.services(), spec_->http,
                                   http.rds_name.empty() ? nullptr : worker.Routes(http.rds_name));
    h1_options_ = Http1Options(http, listener.buffer_limit);
    h2_options_ = Http2Options(http, h1_options_);
  } else {
    tcp_ = MakeRc<proxy::TcpProxy>(worker.services(), worker.slab(), spec_->tcp);
  }
}

ActiveChain::~ActiveChain() {
  closing_ = true;  // the owner knows
  while (Pending* p = handshakes_.front()) {
    HandshakeOver(*p);
    ConnectionOver();
  }
  while (auto* c = connections_.front()) c->Close();
  while (auto* s = sessions_.front()) s->Close();
}

void ActiveChain::Start(std::unique_ptr<net::Transport> transport,
                        std::unique_ptr<Inspected> inspected) {
  counters_->downstream_cx_total.Inc();
  counters_->downstream_cx_active.Inc();
  if (spec_->security == nullptr) {
    StartSecured(std::move(transport), std::move(inspected));
    return;
  }
  auto* pending = new Pending(*this, std::move(inspected));
  handshakes_.PushBack(pending);
  pending->Begin(std::move(transport));
}

void ActiveChain::HandshakeOver(Pending& pending) {
  pending.ListLink<PendingTag>::Unlink();
  worker_.loop().DeferDelete(std::unique_ptr<Pending>(&pending));
}

void ActiveChain::StartSecured(std::unique_ptr<net::Transport> transport,
                               std::unique_ptr<Inspected> inspected) {
  if (tcp_) {
    StartTcp(std::move(transport), std::move(inspected));
  } else {
    StartHttp(std::move(transport));
  }
}

void ActiveChain::StartTcp(std::unique_ptr<net::Transport> transport,
                           std::unique_ptr<Inspected> inspected) {
  proxy::TcpSessionInfo info;
  info.connection_id = worker_.NextConnectionId();
  info.watched =
      spec_->security != nullptr || (inspected != nullptr && inspected->watched);
  if (inspected != nullptr) {
    info.requested_server_name = std::move(inspected->server_name);
    info.direct_peer = inspected->direct_peer;
  }
  if (transport->tls() != nullptr) info.requested_server_name = transport->tls()->sni();
  auto* s = new proxy::TcpSession(tcp_, std::move(transport), std::move(info), this);
  sessions_.PushBack(s);
  s->Start();
}

void ActiveChain::OnTcpClosed(proxy::TcpSession& s) {
  s.ListLink<proxy::TcpSessionTag>::Unlink();
  counters_->downstream_cx_length_ms.Record(
      static_cast<uint64_t>((worker_.loop().Now() - s.created()) / kMillisecond));
  worker_.loop().DeferDelete(std::unique_ptr<proxy::TcpSession>(&s));
  ConnectionOver();
}

void ActiveChain::StartHttp(std::unique_ptr<net::Transport> transport) {
  observe::HttpCounters& h = manager_->counters();
  h.downstream_cx_total.Inc();
  h.downstream_cx_active.Inc();
  uint64_t id = worker_.NextConnectionId();
  const proxy::Codec codec = manager_->spec().codec;
  const net::TlsInfo* tls = transport->tls();
  if (spec_->security != nullptr) {
    h.downstream_cx_ssl_total.Inc();
    h.downstream_cx_ssl_active.Inc();
  }
  if (codec == proxy::Codec::kHttp2 ||
      (codec == proxy::Codec::kAuto && tls != nullptr && tls->alpn() == "h2")) {
    StartHttp2(std::move(transport), {}, id);
    return;
  }
  auto* c = new http::h1::ServerConnection(worker_.server_context(), h1_options_,
                                           std::move(transport), manager_.get(), this);
  if (c->protocol_known()) OnHttp1(*c);
  Add(c, id);
}

void ActiveChain::Add(http::ServerConnection* c, uint64_t id) {
  c->set_connection_id(id);
  connections_.PushBack(c);
  if (draining_) c->DrainSoon();
}

void ActiveChain::StartHttp2(std::unique_ptr<net::Transport> transport, buffer::Slice bytes,
                             uint64_t id) {
  observe::HttpCounters& h = manager_->counters();
  h.downstream_cx_http2_total.Inc();
  h.downstream_cx_http2_active.Inc();
  auto* c = new http::h2::ServerConnection(h2_context_, h2_options_,
                                           *worker_.shard().DownstreamHttp2(),
                                           std::move(transport), manager_.get(), this);
  Add(c, id);
  c->Start(std::move(bytes));
}

void ActiveChain::OnHttp1(http::ServerConnection&) {
  manager_->counters().downstream_cx_http1_total.Inc();
  manager_->counters().downstream_cx_http1_active.Inc();
}

void ActiveChain::OnHttp2Preface(http::ServerConnection& c,
                                 std::unique_ptr<net::Transport> transport, buffer::Slice bytes) {
  c.ListLink<http::ServerConnectionTag>::Unlink();
  worker_.loop().DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  StartHttp2(std::move(transport), std::move(bytes), c.id());
}

void ActiveChain::OnClosed(http::ServerConnection& c) {
  c.ListLink<http::ServerConnectionTag>::Unlink();
  observe::HttpCounters& h = manager_->counters();
  h.downstream_cx_active.Dec();
  if (c.protocol_known()) {
    (c.protocol() == http::Protocol::kHttp2 ? h.downstream_cx_http2_active
                                            : h.downstream_cx_http1_active)
        .Dec();
  }
  if (spec_->security != nullptr) h.downstream_cx_ssl_active.Dec();
  h.downstream_cx_destroy.Inc();
  uint64_t length = static_cast<uint64_t>((worker_.loop().Now() - c.created()) / kMillisecond);
  h.downstream_cx_length_ms.Record(length);
  counters_->downstream_cx_length_ms.Record(length);
  h.downstream_cx_rx_bytes_total.Add(c.total_received());
  h.downstream_cx_tx_bytes_total.Add(c.total_sent());
  worker_.loop().DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  ConnectionOver();
}

void ActiveChain::ConnectionOver() {
  counters_->downstream_cx_active.Dec();
  counters_->downstream_cx_destroy.Inc();
  worker_.OnConnectionGone();
  if (draining_ && !closing_ && empty()) owner_->OnChainEmpty(*this);
}

void ActiveChain::Drain(IdleConnections idle) {
  draining_ = true;
  const bool now = idle == IdleConnections::kCloseNow;
  MonoNanos wait = spec_->http != nullptr ? spec_->http->drain_timeout : kTcpDrainTime;
  if (now && spec_->http != nullptr) wait = std::min(wait, kFresh);
  drain_timer_.Arm(wait);
  const MonoNanos fresh_since = worker_.loop().Now() - kFresh;
  connections_.ForEach([&](http::ServerConnection& c) {
    if (now && (c.requests() > 0 || c.created() < fresh_since)) {
      c.Drain();
    } else {
      c.DrainSoon();
    }
  });
}

void ActiveChain::CutOff() {
  connections_.ForEach([](http::ServerConnection& c) { c.Drain(); });
}

void ActiveChain::OnDrainTimer() {
  CutOff();
  sessions_.ForEach([](proxy::TcpSession& s) { s.Close(); });
}

}  // namespace weft::runtime
