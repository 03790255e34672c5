#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/config/update.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/http/h1/server_connection.h"
#include "dataplane/http/h2/server_connection.h"
#include "dataplane/http/server_connection.h"
#include "dataplane/net/address.h"
#include "dataplane/net/security.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/proxy/http_manager.h"
#include "dataplane/proxy/tcp_proxy.h"

namespace weft::runtime {

class ActiveChain;
class Worker;

// What becomes of the idle connections of a chain that goes. kCloseSoon: they may carry one more
// request within the drain time, since it may be on its way.
enum class IdleConnections : uint8_t { kCloseSoon, kCloseNow };

// What listener filters found out about a connection before it had a chain.
struct Inspected {
  std::string server_name;  // lower case
  std::string transport_protocol;
  std::vector<std::string> application_protocols;
  net::Address direct_peer;  // invalid: the transport's peer is the real one
  bool watched = false;      // the loop watches the transport already
};

// One filter chain of one listener on one worker: handshakes under way and connections. It moves on
// to the listener's next version when nothing of it changed, so that its connections notice nothing.
// Owner: ActiveListener. Thread: the worker's. Destroyed when: the listener's last version that has it
// is gone and its connections are over.
class ActiveChain final : private http::ServerConnection::Owner,
                          private proxy::TcpSession::Owner {
 public:
  class Owner {
   public:
    // A draining chain has no connection any more. May destroy it later, not inside.
    virtual void OnChainEmpty(ActiveChain& chain) = 0;

   protected:
    ~Owner() = default;
  };

  ActiveChain(Worker& worker, const config::ListenerSpec& listener,
              std::shared_ptr<const config::FilterChainSpec> spec,
              observe::ListenerCounters* counters, Owner* owner);
  ~ActiveChain();

  const config::FilterChainSpec& spec() const { return *spec_; }
  void set_owner(Owner* owner) { owner_ = owner; }
  // Takes a connection, which the worker has counted. `inspected` null: no listener filter ran.
  void Start(std::unique_ptr<net::Transport> transport, std::unique_ptr<Inspected> inspected);
  // Connections finish and close; tells the owner when the last is gone.
  void Drain(IdleConnections idle);
  // The drain time is over: what is idle is closed; requests under way still finish.
  void CutOff();
  bool empty() { return connections_.empty() && sessions_.empty() && handshakes_.empty(); }

 private:
  struct PendingTag;
  class Pending;

  void StartSecured(std::unique_ptr<net::Transport> transport,
                    std::unique_ptr<Inspected> inspected);
  void StartHttp(std::unique_ptr<net::Transport> transport);
  void StartTcp(std::unique_ptr<net::Transport> transport, std::unique_ptr<Inspected> inspected);
  void HandshakeOver(Pending& pending);
  void ConnectionOver();
  void Add(http::ServerConnection* connection, uint64_t id);
  void OnClosed(http::ServerConnection& connection) override;
  void OnHttp1(http::ServerConnection& connection) override;
  void OnHttp2Preface(http::ServerConnection& connection,
                      std::unique_ptr<net::Transport> transport, buffer::Slice bytes) override;
  void StartHttp2(std::unique_ptr<net::Transport> transport, buffer::Slice bytes, uint64_t id);
  void OnTcpClosed(proxy::TcpSession& session) override;
  void OnDrainTimer();

  // A TCP session can't be told to end. One whose chain is gone may go on for so long, which is the
  // drain time that Envoy gives it.
  static constexpr MonoNanos kTcpDrainTime = 600 * kSecond;
  // The first request of a connection that is younger is on its way, whatever becomes of idle ones.
  static constexpr MonoNanos kFresh = 500 * kMillisecond;

  Worker& worker_;
  const std::shared_ptr<const config::FilterChainSpec> spec_;
  observe::ListenerCounters* counters_;
  observe::Counter* handshake_timeouts_ = nullptr;  // of a chain with TLS
  std::unique_ptr<net::SecurityCounters> tls_counters_;
  Owner* owner_;
  Rc<proxy::HttpManager> manager_;  // one of the two
  Rc<proxy::TcpProxy> tcp_;
  http::h1::ServerOptions h1_options_;
  http::h2::ServerOptions h2_options_;
  http::h2::ServerContext h2_context_;
  IntrusiveList<Pending, PendingTag> handshakes_;
  IntrusiveList<http::ServerConnection, http::ServerConnectionTag> connections_;
  IntrusiveList<proxy::TcpSession, proxy::TcpSessionTag> sessions_;
  event::Timer drain_timer_;
  bool draining_ = false, closing_ = false;
};

}  // namespace weft::runtime
