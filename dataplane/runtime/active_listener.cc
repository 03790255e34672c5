#include "dataplane/runtime/active_listener.h"

#include <algorithm>

#include "dataplane/net/tcp_transport.h"
#include "dataplane/runtime/worker.h"

namespace weft::runtime {

ActiveListener::ActiveListener(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
                               std::vector<int> fds)
    : worker_(worker),
      spec_(std::move(spec)),
      counters_(worker.shard().Listener(spec_->stat_prefix.empty() ? spec_->address.ToString()
                                                                   : spec_->stat_prefix)),
      drain_timer_(
          worker.loop().timers(), [](void* self) { static_cast<ActiveListener*>(self)->CutOff(); },
          this) {
  const proxy::HttpManagerSpec& http = *spec_->http;
  manager_ =
      MakeRc<proxy::HttpManager>(worker.services(), spec_->http,
                                 http.rds_name.empty() ? nullptr : worker.Routes(http.rds_name));
  options_.limits.max_bytes = http.max_request_head_bytes;
  options_.limits.max_headers = http.max_request_headers;
  options_.idle_timeout = http.idle_timeout;
  // The request's timeout counts from its first byte, so it bounds the head too.
  options_.head_timeout = http.request_headers_timeout;
  if (http.request_timeout > 0 &&
      (options_.head_timeout == 0 || http.request_timeout < options_.head_timeout)) {
    options_.head_timeout = http.request_timeout;
  }
  options_.stream_idle_timeout = http.stream_idle_timeout;
  options_.delayed_close_timeout = http.delayed_close_timeout;
  options_.max_requests = http.max_requests_per_connection;
  options_.buffer_bytes = std::clamp<uint32_t>(spec_->buffer_limit, 16 * 1024, 64 * 1024);
  for (int fd : fds) {
    if (fd >= 0)
      sockets_.push_back(std::make_unique<net::Listener>(
          worker.loop(), fd, static_cast<net::Listener::Handler*>(this)));
  }
}

ActiveListener::~ActiveListener() {
  retired_ = false;  // the worker knows
  sockets_.clear();
  while (auto* c = connections_.front()) c->Close();
}

std::vector<int> ActiveListener::TakeSockets() {
  std::vector<int> fds;
  for (auto& s : sockets_) fds.push_back(s->Release());
  sockets_.clear();
  return fds;
}

void ActiveListener::OnAccept(int fd, const net::Address& peer) {
  counters_->downstream_cx_total.Inc();
  counters_->downstream_cx_active.Inc();
  observe::HttpCounters& h = manager_->counters();
  h.downstream_cx_total.Inc();
  h.downstream_cx_active.Inc();
  h.downstream_cx_http1_total.Inc();
  h.downstream_cx_http1_active.Inc();
  worker_.OnConnectionAccepted();
  // The local address is the listener's, unless that is one of several or a wildcard.
  bool known = !spec_->address.is_wildcard() && spec_->address.port() != 0 &&
               spec_->additional_addresses.empty();
  net::Address local = known ? spec_->address : net::Address();
  auto transport = std::make_unique<net::TcpTransport>(worker_.loop(), fd, peer, local);
  auto* c = new http::h1::ServerConnection(worker_.server_context(), options_, std::move(transport),
                                           manager_.get(), this);
  c->set_connection_id(worker_.NextConnectionId());
  connections_.PushBack(c);
}

void ActiveListener::OnClosed(http::ServerConnection& c) {
  c.ListLink<http::ServerConnectionTag>::Unlink();
  counters_->downstream_cx_active.Dec();
  counters_->downstream_cx_destroy.Inc();
  observe::HttpCounters& h = manager_->counters();
  h.downstream_cx_active.Dec();
  h.downstream_cx_http1_active.Dec();
  h.downstream_cx_destroy.Inc();
  uint64_t length = static_cast<uint64_t>((worker_.loop().Now() - c.created()) / kMillisecond);
  h.downstream_cx_length_ms.Record(length);
  counters_->downstream_cx_length_ms.Record(length);
  h.downstream_cx_rx_bytes_total.Add(c.total_received());
  h.downstream_cx_tx_bytes_total.Add(c.total_sent());
  worker_.loop().DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  worker_.OnConnectionGone();
  if (retired_ && connections_.empty()) worker_.OnListenerRetired(this);
}

void ActiveListener::Retire(IdleConnections idle) {
  // Who is in the queue has been told that it is connected.
  if (idle == IdleConnections::kCloseSoon) {
    for (auto& s : sockets_) s->AcceptPending();
  }
  sockets_.clear();
  retired_ = true;
  drain_timer_.Arm(spec_->http->drain_timeout);
  connections_.ForEach([idle](http::ServerConnection& c) {
    if (idle == IdleConnections::kCloseNow) {
      c.Drain();
    } else {
      c.DrainSoon();
    }
  });
}

void ActiveListener::CutOff() {
  connections_.ForEach([](http::ServerConnection& c) { c.Drain(); });
}

}  // namespace weft::runtime
