#pragma once

#include <cstdint>

#include "dataplane/event/loop.h"

struct uv_poll_s;

namespace weft::event {

// Watches one descriptor. Level-triggered: OnFdReady comes again each turn until the descriptor is
// read dry or the interest is taken away. Changing the interest costs system calls: leave reading
// on, ask for writing only after a write would block. Owner: a transport or listener, which owns
// the descriptor too and closes it after this object. Thread: the loop's. Destroyed when: the owner
// likes, also inside its own callback.
class FdWatcher {
 public:
  enum Interest : uint8_t { kNone = 0, kRead = 1, kWrite = 2 };
  class Handler {
   public:
    // `ready`: kRead, kWrite or both, of what was asked for. Errors and hang-ups come as all that
    // was asked for: the next read or write tells.
    virtual void OnFdReady(uint8_t ready) = 0;

   protected:
    ~Handler() = default;
  };

  FdWatcher() = default;
  ~FdWatcher() { Stop(); }
  FdWatcher(const FdWatcher&) = delete;
  FdWatcher& operator=(const FdWatcher&) = delete;

  // Begins to watch `fd` (made non-blocking). 0, or a negative errno.
  int Start(Loop& loop, int fd, uint8_t interest, Handler* handler);
  void SetInterest(uint8_t interest);
  uint8_t interest() const { return interest_; }
  // Stops for good; the descriptor may be closed right after.
  void Stop();
  bool started() const { return node_ != nullptr; }

 private:
  struct Node;  // holds libuv's handle, whose memory must live until its close callback
  static void OnPoll(uv_poll_s* h, int status, int events);
  Node* node_ = nullptr;
  Handler* handler_ = nullptr;
  uint8_t interest_ = kNone;
};

}  // namespace weft::event
