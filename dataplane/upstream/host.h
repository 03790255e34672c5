#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/upstream/conn_pool.h"
#include "dataplane/upstream/tcp_dial.h"

namespace weft::upstream {

// What one worker did with one endpoint, as `/clusters` sums it up over workers. Plain numbers: one
// thread.
struct HostStats {
  uint64_t rq_total = 0, rq_success = 0, rq_error = 0, rq_timeout = 0;
  uint64_t rq_active = 0;
};

// One host of one cluster, as `/clusters` shows it.
struct HostStatus {
  std::string cluster, address;
  HostStats requests;
  uint64_t cx_active = 0, cx_total = 0, cx_connect_fail = 0;
};

// What a request needs of its connection beyond the cluster's configuration.
struct StreamWish {
  ConnPool::Want want = ConnPool::Want::kAny;
  bool http2 = false;    // the request came by HTTP/2; counts for UpstreamProtocol::kDownstream
  std::string_view sni;  // counts for ClusterSpec::auto_sni
};

// One endpoint as a worker sees it: its address and its connections. An attempt holds a reference,
// so a removed endpoint lives until its last request is over. Owner: Cluster, attempts and TCP
// connections, by Rc. Thread: the worker's.
class Host final : public RefCounted {
 public:
  Host(http::h1::ClientContext& http1, const EndpointSpec& endpoint,
       std::shared_ptr<const ClusterSpec> spec, observe::ClusterCounters* counters);
  ~Host();

  const EndpointSpec& endpoint() const { return context_.endpoint; }
  void set_endpoint(const EndpointSpec& e) { context_.endpoint = e; }
  const std::string& address_text() const { return address_text_; }
  HostStats& stats() { return stats_; }
  HostContext& context() { return context_; }

  void Acquire(StreamRequest* request, const StreamWish& wish = {}) {
    PoolFor(wish).Acquire(request, wish.want);
  }
  // The pool of the cluster's protocol, or the one that the request needs.
  ConnPool& PoolFor(const StreamWish& wish) { return plain_ ? pool_ : SpecialPool(wish); }
  // `proxied_for`: for a transport socket that tells the endpoint (PROXY protocol); null: nobody's.
  std::unique_ptr<TcpDial> DialTcp(TcpDial::Handler* handler,
                                   std::unique_ptr<const net::ProxiedFor> proxied_for = nullptr) {
    return std::make_unique<TcpDial>(Rc<Host>(this), handler, std::move(proxied_for));
  }
  // Connections end when they are idle; who waits for one is told to choose again.
  void Drain();

  // Of all pools, and TCP's.
  size_t connection_count() const;
  uint64_t dialed() const;
  uint64_t dial_failures() const;

 private:
  friend class TcpDial;
  friend class TcpConnection;
  static constexpr size_t kSweepAbove = 32;
  struct Special {
    std::string sni;
    bool http2;
    std::unique_ptr<ConnPool> pool;
  };
  ConnPool& SpecialPool(const StreamWish& wish);
  bool BeginTcp();
  void TcpOver();
  void TcpFailed() {
    ++tcp_failures_;
    TcpOver();
  }

  HostContext context_;
  HostStats stats_;
  const std::string address_text_;
  const bool plain_;  // one pool is enough
  bool draining_ = false;
  ConnPool pool_;
  std::vector<Special> special_;
  size_t tcp_active_ = 0;
  uint64_t tcp_dialed_ = 0, tcp_failures_ = 0;
};

}  // namespace weft::upstream
