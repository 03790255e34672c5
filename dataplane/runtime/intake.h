#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/base/rc.h"
#include "dataplane/config/update.h"
#include "dataplane/decide/filter_chain_match.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/net/client_hello.h"
#include "dataplane/net/tcp_transport.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/runtime/active_chain.h"

namespace weft::runtime {

class Worker;

// Of listener filters, with Envoy's names.
struct IntakeCounters final : RefCounted {
  IntakeCounters(observe::Shard& shard, const config::ListenerSpec& listener);
  observe::Counter *remote_close, *error;
  observe::Counter *tls_found, *tls_not_found, *client_hello_too_large, *sni_found, *sni_not_found,
      *alpn_found, *alpn_not_found;
  observe::Counter *http10_found, *http11_found, *http2_found, *http_not_found;
  observe::Counter *proxy_error, *proxy_missing_allowed, *proxy_missing_disallowed,
      *proxy_found[2], *proxy_disallowed[2], *proxy_failed[2];
};

// The fields of a connection that decide its chain. `destination`: the local address counts, which may
// cost a system call. Views are of the arguments.
decide::ConnectionFields FieldsOf(net::TcpTransport& transport, const Inspected* inspected,
                                  bool destination);

struct IntakeTag;

// A connection that listener filters look at before it has a chain. What they read stays for whoever
// comes next. It holds nothing but what was read; filters that can't change the choice any more are
// passed over, so that a server-first protocol does not wait for bytes that never come. Owner: the
// listener's list, then Loop::DeferDelete. Thread: the worker's.
class Intake final : public ListLink<IntakeTag>, private net::Transport::Handler {
 public:
  class Owner {
   public:
    // It is over, and out of its list. `transport` null: the connection is closed.
    virtual void OnIntakeDone(std::unique_ptr<net::TcpTransport> transport,
                              std::unique_ptr<Inspected> inspected) = 0;

   protected:
    ~Owner() = default;
  };

  Intake(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
         std::unique_ptr<net::TcpTransport> transport, std::unique_ptr<Inspected> inspected,
         Rc<IntakeCounters> counters, observe::ListenerCounters& listener, Owner* owner);
  ~Intake();

  void set_owner(Owner* owner) { owner_ = owner; }
  // Once, when the owner has it in its list. May be over before it returns.
  void Start();
  void Close();

 private:
  enum class Verdict : uint8_t { kNext, kMore, kClose };

  void OnReadable() override;
  void OnWritable() override {}
  void OnTimer();
  // Runs filters over `in`; what was not looked at yet is kept when they need more.
  void Run(std::string_view in, buffer::BlockRef block);
  Verdict RunFilter(const config::ListenerFilterSpec& filter, std::string_view in);
  Verdict RunProxyProtocol(const config::ListenerFilterSpec& filter, std::string_view in);
  Verdict RunTls(const config::ListenerFilterSpec& filter, std::string_view in);
  Verdict RunHttp(std::string_view in);
  void OriginalDestination();
  uint8_t Needs();
  void Over(bool keep, std::string_view rest, buffer::BlockRef block);

  Worker& worker_;
  const std::shared_ptr<const config::ListenerSpec> spec_;
  std::unique_ptr<net::TcpTransport> transport_;
  const Rc<IntakeCounters> counters_;
  observe::ListenerCounters& listener_;
  Owner* owner_;
  std::unique_ptr<Inspected> inspected_;
  std::unique_ptr<net::ClientHelloParser> hello_;
  std::string held_;      // read, and not enough yet
  size_t consumed_ = 0;   // of what is looked at: the PROXY header
  size_t next_ = 0;       // filter
  event::Timer timer_;
  bool waiting_ = false;
  bool ended_ = false;    // the peer sends no more
};

}  // namespace weft::runtime
