#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/intrusive_list.h"
#include "dataplane/base/rc.h"
#include "dataplane/base/substitution/response_flags.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/net/transport.h"
#include "dataplane/proxy/http_manager.h"
#include "dataplane/proxy/tcp_proxy_spec.h"
#include "dataplane/upstream/cluster.h"

namespace weft::proxy {

// `tcp.<stat prefix>.` with Envoy's names (envoy docs: tcp_proxy, statistics).
struct TcpCounters {
  TcpCounters(observe::Shard& shard, const std::string& stat_prefix);
  observe::Counter *downstream_cx_total, *downstream_cx_no_route, *downstream_cx_rx_bytes_total,
      *downstream_cx_tx_bytes_total, *downstream_flow_control_paused_reading_total,
      *downstream_flow_control_resumed_reading_total, *idle_timeout,
      *max_downstream_connection_duration;
  observe::Gauge* downstream_cx_active;
};

// One TCP proxy on one worker: what its sessions share. Owner: the worker's listener and the sessions,
// by Rc. Thread: the worker's.
class TcpProxy final : public RefCounted {
 public:
  TcpProxy(WorkerServices& services, buffer::Slab& slab, std::shared_ptr<const TcpProxySpec> spec);

  WorkerServices& services() { return services_; }
  buffer::Slab& slab() { return slab_; }
  const TcpProxySpec& spec() const { return *spec_; }
  const TcpCounters& counters() const { return counters_; }
  // One of the clusters, by weight.
  const std::string& PickCluster();

 private:
  WorkerServices& services_;
  buffer::Slab& slab_;
  const std::shared_ptr<const TcpProxySpec> spec_;
  const TcpCounters counters_;
};

// What a session knows of its downstream connection beyond the transport.
struct TcpSessionInfo {
  uint64_t connection_id = 0;
  std::string requested_server_name;  // by TLS inspection, or of the handshake
  net::Address direct_peer;           // invalid: the transport's peer is the real one
  // The transport has a watch already (TLS, listener filters); else it gets one once there is
  // somebody to read for.
  bool watched = false;
};

struct TcpSessionTag;

// One downstream connection tied to one upstream connection. Bytes go from one kernel to the other by
// way of one block, which is held only while the receiver does not take them all, and then is no larger
// than it has to be; ends of streams are passed on one direction at a time. Owner: the listener's list; after OnTcpClosed the owner frees it by
// Loop::DeferDelete. Thread: the worker's.
class TcpSession final : public ListLink<TcpSessionTag>, private upstream::TcpDial::Handler {
 public:
  class Owner {
   public:
    // Nothing more comes of this session.
    virtual void OnTcpClosed(TcpSession& session) = 0;

   protected:
    ~Owner() = default;
  };

  TcpSession(Rc<TcpProxy> proxy, std::unique_ptr<net::Transport> downstream, TcpSessionInfo info,
             Owner* owner);
  ~TcpSession();

  // Once, when the owner has it in its list. May close before it returns.
  void Start();
  // Cuts off.
  void Close();
  MonoNanos created() const { return start_; }

 private:
  // One of the two connections.
  struct End final : net::Transport::Handler {
    void OnReadable() override { session->OnReadable(*this); }
    void OnWritable() override { session->OnWritable(*this); }
    bool pending() const { return begin < end; }

    TcpSession* session = nullptr;
    End* other = nullptr;
    net::Transport* transport = nullptr;  // null: not connected
    buffer::BlockRef block;               // what waits for this end's kernel
    uint32_t begin = 0, end = 0;
    buffer::ReadPace pace;                // of what goes to this end
    uint64_t received = 0, sent = 0;
    bool ended = false;        // its peer sends no more
    bool broken = false;       // reset, or otherwise of no use
    bool shut = false;         // we send it no more
    bool reading_off = false;  // until the other end took what it has
  };

  // upstream::TcpDial::Handler.
  void OnTcpConnected(std::unique_ptr<upstream::TcpConnection> connection) override;
  void OnTcpFailed(const Error& error) override;

  void Connect();
  upstream::Host* PickHost();
  void OnReadable(End& from);
  void OnWritable(End& to);
  void OnEnded(End& from);
  void OnBroken(End& end);
  void ReadFrom(End& end);
  void Sent(End& end, size_t bytes);
  void Shrink(End& end);
  bool MaybeDone();
  void ArmIdle();
  void Fail(uint64_t flags);
  void Log();
  void ArmLog();

  // A read of a block that was filled is followed by another one, at most so often: other connections
  // want their turn.
  static constexpr int kMaxReads = 8;

  const Rc<TcpProxy> proxy_;
  const std::unique_ptr<net::Transport> downstream_;
  const TcpSessionInfo info_;
  Owner* const owner_;
  End down_, up_;
  Rc<upstream::Cluster> cluster_;
  Rc<upstream::Host> host_;
  std::unique_ptr<upstream::TcpDial> dial_;
  std::unique_ptr<upstream::TcpConnection> upstream_;
  std::vector<upstream::Host*> tried_;  // compared, never followed
  event::Timer idle_timer_, duration_timer_, log_timer_;
  const MonoNanos start_;
  const int64_t start_wall_micros_;
  uint64_t flags_ = 0;
  std::string_view details_;
  std::string failure_;  // of the last dial, for the log
  std::string cluster_name_;
  uint32_t attempts_ = 0;
  bool closed_ = false;
};

}  // namespace weft::proxy
