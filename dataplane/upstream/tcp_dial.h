#pragma once

#include <memory>

#include "dataplane/base/rc.h"
#include "dataplane/upstream/dial.h"

namespace weft::upstream {

class Host;

// One upstream connection outside of HTTP (tcp_proxy): counted against max_connections and in the
// cluster's metrics for as long as this lives. Owner: whoever dialled. Thread: the worker's.
class TcpConnection final {
 public:
  TcpConnection(Rc<Host> host, std::unique_ptr<net::Transport> transport);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  net::Transport& transport() { return *transport_; }
  Host& host() { return *host_; }
  void CountReceived(uint64_t bytes);
  void CountSent(uint64_t bytes);
  // The peer ended it, for the counters; else we did.
  void set_closed_by_peer() { closed_by_peer_ = true; }

 private:
  const Rc<Host> host_;
  std::unique_ptr<net::Transport> transport_;
  const MonoNanos created_;
  bool closed_by_peer_ = false;
};

// A dial of Host::DialTcp: TCP, and TLS when the cluster has it, within connect_timeout. Exactly one
// of the two callbacks comes, never from inside DialTcp; it may destroy this. Destroying it cancels.
// Owner: who asked for it. Thread: the worker's.
class TcpDial final : private Dial::Handler {
 public:
  class Handler {
   public:
    virtual void OnTcpConnected(std::unique_ptr<TcpConnection> connection) = 0;
    // kConnectFailed, kConnectTimeout, or kOverflow: max_connections is reached. error.detail is
    // valid during the call.
    virtual void OnTcpFailed(const Error& error) = 0;

   protected:
    ~Handler() = default;
  };
  TcpDial(Rc<Host> host, Handler* handler,
          std::unique_ptr<const net::ProxiedFor> proxied_for = nullptr);
  ~TcpDial();

 private:
  void OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport) override;
  void OnDialFailed(Dial& dial, const Error& error) override;

  Rc<Host> host_;
  Handler* const handler_;
  std::unique_ptr<Dial> dial_;  // null: max_connections is reached, or it is over
  event::Timer overflow_;
  bool holds_ = false;  // one unit of max_connections
};

}  // namespace weft::upstream
