#include "dataplane/upstream/tcp_dial.h"

#include <utility>

#include "dataplane/upstream/host.h"

namespace weft::upstream {

TcpConnection::TcpConnection(Rc<Host> host, std::unique_ptr<net::Transport> transport)
    : host_(std::move(host)),
      transport_(std::move(transport)),
      created_(host_->context().loop().Now()) {}

TcpConnection::~TcpConnection() {
  HostContext& h = host_->context();
  host_->TcpOver();
  (closed_by_peer_ ? h.counters->upstream_cx_destroy_remote : h.counters->upstream_cx_destroy_local)
      .Inc();
  h.counters->upstream_cx_length_ms.Record(
      static_cast<uint64_t>((h.loop().Now() - created_) / kMillisecond));
}

void TcpConnection::CountReceived(uint64_t bytes) {
  host_->context().counters->upstream_cx_rx_bytes_total.Add(bytes);
}

void TcpConnection::CountSent(uint64_t bytes) {
  host_->context().counters->upstream_cx_tx_bytes_total.Add(bytes);
}

TcpDial::TcpDial(Rc<Host> host, Handler* handler,
                 std::unique_ptr<const net::ProxiedFor> proxied_for)
    : host_(std::move(host)),
      handler_(handler),
      overflow_(
          host_->context().loop().timers(),
          [](void* self) {
            static_cast<TcpDial*>(self)->handler_->OnTcpFailed(
                {ErrorCode::kOverflow, Side::kLocal, true, 0, "max_connections is reached"});
          },
          this) {
  holds_ = host_->BeginTcp();
  if (holds_) {
    Dial::Handler* self = this;
    dial_ = std::make_unique<Dial>(host_->context(), std::vector<std::string_view>{},
                                   std::string_view(), self, std::move(proxied_for));
  } else {
    overflow_.Arm(0);  // told from the loop, never from inside DialTcp
  }
}

TcpDial::~TcpDial() {
  if (holds_) host_->TcpOver();
}

void TcpDial::OnDialed(Dial&, std::unique_ptr<net::Transport> transport) {
  host_->context().loop().DeferDelete(std::move(dial_));
  holds_ = false;
  handler_->OnTcpConnected(std::make_unique<TcpConnection>(host_, std::move(transport)));
}

void TcpDial::OnDialFailed(Dial&, const Error& error) {
  host_->context().loop().DeferDelete(std::move(dial_));
  holds_ = false;
  host_->TcpFailed();
  handler_->OnTcpFailed(error);
}

}  // namespace weft::upstream
