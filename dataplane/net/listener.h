#pragma once

#include <memory>
#include <string>

#include "dataplane/event/fd_watcher.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/net/address.h"

namespace weft::net {

struct ListenOptions {
  bool reuse_port = true;  // one socket a worker, the kernel spreads connections
  bool freebind = false;
  int backlog = 4096;
};

// Opens a bound, listening, non-blocking socket. On failure -1 and a message that names the
// address, the reason and what to do.
int OpenListenSocket(const Address& address, const ListenOptions& options, std::string* error);

// Accepts from one listening descriptor on one loop. Owns the descriptor.
// When the process is out of descriptors it pauses for a moment instead of spinning on a ready
// socket. Owner: Worker. Thread: the worker's. Destroyed when: the listener goes away; accepted
// connections live on.
class Listener final : private event::FdWatcher::Handler {
 public:
  class Handler {
   public:
    // Takes `fd` (non-blocking, close-on-exec). May destroy the listener.
    virtual void OnAccept(int fd, const Address& peer) = 0;

   protected:
    ~Handler() = default;
  };

  Listener(event::Loop& loop, int fd, Handler* handler);
  ~Listener();
  const Address& local_address() const { return local_; }
  int fd() const { return fd_; }
  // Accepting can be held and resumed (overload, drain).
  void SetAccepting(bool on);
  // Accepts what waits in the queue now: closing a listening socket resets those.
  void AcceptPending();
  // Gives the descriptor away, still listening, and accepts no more.
  int Release();

 private:
  void OnFdReady(uint8_t ready) override;
  void Accept(int max);
  static constexpr int kMaxAcceptsPerTurn = 64;
  static constexpr int kMaxPending = 4096;
  static constexpr MonoNanos kPauseWithoutDescriptors = 100 * kMillisecond;

  event::FdWatcher watcher_;
  event::Timer resume_;
  Handler* handler_;
  int fd_;
  bool* destroyed_ = nullptr;  // set while a callback is on the stack
  Address local_;
};

}  // namespace weft::net
