#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dataplane/event/loop.h"

namespace weft::event {

// Signals as loop events. Owner: app/. Thread: the loop's. Destroying it restores the default
// action.
class Signals {
 public:
  explicit Signals(Loop& loop) : loop_(loop) {}
  ~Signals();
  void On(int signum, std::function<void(int)> f);

 private:
  struct Entry;
  Loop& loop_;
  std::vector<Entry*> entries_;  // freed in libuv's close callback
};

}  // namespace weft::event
