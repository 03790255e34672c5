#pragma once

#include <memory>

#include "dataplane/event/fd_watcher.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/net/transport.h"

namespace weft::net {

// TCP keep-alive of a connection; 0 leaves the kernel's setting
// (envoy.config.core.v3.TcpKeepalive).
struct KeepAlive {
  bool on = false;
  uint32_t probes = 0, time_s = 0, interval_s = 0;
};

// Dials one address. Exactly one of the two callbacks comes, never from inside Start(). Destroying
// it cancels. Owner: whoever needs the connection. Thread: the loop's.
class Connector final : private event::FdWatcher::Handler {
 public:
  class Handler {
   public:
    virtual void OnConnected(std::unique_ptr<Transport> transport) = 0;
    // `error`: a positive errno; ETIMEDOUT when `timeout` ran out.
    virtual void OnConnectFailed(int error) = 0;

   protected:
    ~Handler() = default;
  };

  Connector(event::Loop& loop, Handler* handler);
  ~Connector();
  // timeout 0: the kernel's.
  void Start(const Address& to, MonoNanos timeout, const KeepAlive& keep_alive = {});

 private:
  void OnFdReady(uint8_t ready) override;
  void OnTimer();
  void Fail(int error);

  event::Loop& loop_;
  Handler* handler_;
  event::FdWatcher watcher_;
  event::Timer timer_;
  Address to_;
  int fd_ = -1;
  int error_ = 0;  // of a dial that failed at once
};

}  // namespace weft::net
