#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/error.h"
#include "dataplane/http/h1/client_connection.h"
#include "dataplane/net/connector.h"
#include "dataplane/net/security.h"
#include "dataplane/observe/counter_groups.h"
#include "dataplane/upstream/cluster_spec.h"
#include "dataplane/upstream/idle_limit.h"

namespace weft::upstream {

// What the dials and pools of one endpoint share. Owner: Host. Thread: the worker's.
struct HostContext {
  http::h1::ClientContext& http1;  // and the worker's loop and slab
  const std::shared_ptr<const ClusterSpec> spec;
  observe::ClusterCounters* const counters;
  EndpointSpec endpoint;
  IdleLimit idle_limit;
  std::string last_failure;  // of a handshake; errors refer to it while they are told
  // The cluster's, when it has TLS; handshakes may outlive the cluster.
  std::shared_ptr<net::SecurityCounters> tls_counters = nullptr;

  event::Loop& loop() { return http1.loop; }
};

// One connection in the making: the endpoint's addresses in turn (RFC 8305: the next one after
// 250 ms, the first that answers wins), then the TLS handshake when the cluster has one; all of it
// within connect_timeout, with one timer. Exactly one of the two callbacks comes, never from inside
// the constructor. Destroying it cancels, but from inside a callback only by Loop::DeferDelete.
// Owner: ConnPool, TcpDial. Thread: the worker's.
class Dial final : private net::Handshake::Handler {
 public:
  class Handler {
   public:
    virtual void OnDialed(Dial& dial, std::unique_ptr<net::Transport> transport) = 0;
    // error.detail is valid during the call.
    virtual void OnDialFailed(Dial& dial, const Error& error) = 0;

   protected:
    ~Handler() = default;
  };
  // `alpn`: what to offer over TLS; static strings. `sni`: empty: the configured one.
  // `proxied_for`: for a transport socket that tells the endpoint; null: nobody's.
  Dial(HostContext& host, std::vector<std::string_view> alpn, std::string_view sni,
       Handler* handler, std::unique_ptr<const net::ProxiedFor> proxied_for = nullptr);
  ~Dial();

 private:
  static constexpr MonoNanos kStagger = 250 * kMillisecond;  // RFC 8305 section 5
  class Attempt;

  void OnSecured(std::unique_ptr<net::Transport> transport) override;
  void OnHandshakeFailed(std::string_view detail) override;
  void OnConnected(std::unique_ptr<net::Transport> transport);
  void OnConnectFailed(Attempt& attempt, int error);
  void Next();
  void ArmTimer();
  void OnTimer();
  void Fail(const Error& error);
  void Done(std::unique_ptr<net::Transport> transport);
  size_t addresses() const;

  HostContext& host_;
  Handler* const handler_;
  const std::vector<std::string_view> alpn_;
  const std::string sni_;
  const std::unique_ptr<const net::ProxiedFor> proxied_for_;
  const MonoNanos started_, deadline_;  // deadline_ 0: none
  std::vector<std::unique_ptr<Attempt>> attempts_;
  size_t next_ = 0;  // address
  std::unique_ptr<net::Handshake> handshake_;
  event::Timer timer_;
};

}  // namespace weft::upstream
