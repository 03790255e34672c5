#pragma once

#include <memory>

#include "dataplane/event/fd_watcher.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/net/dial_options.h"
#include "dataplane/net/transport.h"

namespace weft::net {

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
  void Start(const Address& to, MonoNanos timeout, const DialOptions& options = {});
  const Address& to() const { return to_; }
  // The failure was one of bind(2) or setsockopt(2), before anything was sent.
  bool bind_failed() const { return bind_failed_; }

 private:
  void OnFdReady(uint8_t ready) override;
  void OnTimer();
  void Fail(int error);
  int Open(const DialOptions& options);

  event::Loop& loop_;
  Handler* handler_;
  event::FdWatcher watcher_;
  event::Timer timer_;
  Address to_;
  int fd_ = -1;
  int error_ = 0;  // of a dial that failed at once
  bool bind_failed_ = false;
};

}  // namespace weft::net
