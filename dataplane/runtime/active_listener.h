#pragma once

#include <memory>
#include <vector>

#include "dataplane/config/update.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/http/h1/server_connection.h"
#include "dataplane/net/listener.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/proxy/http_manager.h"

namespace weft::runtime {

class Worker;

// What becomes of the idle connections of a listener that retires. kCloseSoon: they may carry one
// more request within the drain time, since it may be on its way.
enum class IdleConnections : uint8_t { kCloseSoon, kCloseNow };

// One version of one listener on one worker: its sockets, its connection manager and its
// connections. A new version takes the sockets over; the old one retires with the connections that
// it has, which finish and close. Owner: Worker. Thread: the worker's.
class ActiveListener final : private net::Listener::Handler,
                             private http::ServerConnection::Owner {
 public:
  ActiveListener(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
                 std::vector<int> fds);
  ~ActiveListener();

  const config::ListenerSpec& spec() const { return *spec_; }
  // The listening descriptors, for the version that follows.
  std::vector<int> TakeSockets();
  // Stops accepting and drains; tells the worker when the last connection is gone.
  void Retire(IdleConnections idle);
  // The drain time is over: what is idle is closed; requests under way still finish.
  void CutOff();
  bool empty() { return connections_.empty(); }

 private:
  void OnAccept(int fd, const net::Address& peer) override;
  void OnClosed(http::ServerConnection& connection) override;

  Worker& worker_;
  const std::shared_ptr<const config::ListenerSpec> spec_;
  Rc<proxy::HttpManager> manager_;
  http::h1::ServerOptions options_;
  observe::ListenerCounters* counters_;
  std::vector<std::unique_ptr<net::Listener>> sockets_;
  IntrusiveList<http::ServerConnection, http::ServerConnectionTag> connections_;
  event::Timer drain_timer_;
  bool retired_ = false;
};

}  // namespace weft::runtime
