#include "dataplane/event/signals.h"

#include <uv.h>

namespace weft::event {

struct Signals::Entry {
  uv_signal_t handle;
  std::function<void(int)> f;
};

Signals::~Signals() {
  for (Entry* e : entries_) {
    uv_close(reinterpret_cast<uv_handle_t*>(&e->handle),
             [](uv_handle_t* h) { delete reinterpret_cast<Entry*>(h); });
  }
}

void Signals::On(int signum, std::function<void(int)> f) {
  Entry* e = new Entry;
  e->f = std::move(f);
  uv_signal_init(loop_.uv(), &e->handle);
  uv_signal_start(
      &e->handle, [](uv_signal_t* h, int s) { reinterpret_cast<Entry*>(h)->f(s); }, signum);
  entries_.push_back(e);
}

}  // namespace weft::event
