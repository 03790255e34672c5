#include "dataplane/event/fd_watcher.h"

#include <uv.h>

namespace weft::event {

struct FdWatcher::Node {
  uv_poll_t poll;
  FdWatcher* owner = nullptr;  // null: closing
  bool stopped = false;        // by libuv, after an error condition
};

static int ToUv(uint8_t interest) {
  return ((interest & FdWatcher::kRead) ? UV_READABLE : 0) |
         ((interest & FdWatcher::kWrite) ? UV_WRITABLE : 0);
}

void FdWatcher::OnPoll(uv_poll_s* h, int status, int events) {
  Node* node = reinterpret_cast<Node*>(h);
  FdWatcher* self = node->owner;
  if (self == nullptr) return;
  if (status < 0) {
    // An error condition, for which libuv has stopped the watch. The owner learns what it is from
    // its next read or write; bytes that came before a reset are still to be read, so the watch
    // goes on while the owner wants it.
    node->stopped = true;
    self->handler_->OnFdReady(self->interest_);
    if (node->owner == nullptr || !node->stopped) return;
    uint8_t interest = node->owner->interest_;
    node->owner->interest_ = kNone;
    node->owner->SetInterest(interest);
    return;
  }
  uint8_t ready = ((events & (UV_READABLE | UV_DISCONNECT)) ? kRead : 0) |
                  ((events & UV_WRITABLE) ? kWrite : 0);
  self->handler_->OnFdReady(ready);
}

int FdWatcher::Start(Loop& loop, int fd, uint8_t interest, Handler* handler) {
  Stop();
  Node* n = new Node;
  int rc = uv_poll_init(loop.uv(), &n->poll, fd);
  if (rc != 0) {
    delete n;
    return rc;
  }
  n->owner = this;
  node_ = n;
  handler_ = handler;
  SetInterest(interest);
  return 0;
}

void FdWatcher::SetInterest(uint8_t interest) {
  if (node_ == nullptr || interest == interest_) return;
  interest_ = interest;
  node_->stopped = false;
  if (interest == kNone) {
    uv_poll_stop(&node_->poll);
  } else {
    uv_poll_start(&node_->poll, ToUv(interest), &FdWatcher::OnPoll);
  }
}

void FdWatcher::Stop() {
  if (node_ == nullptr) return;
  node_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&node_->poll),
           [](uv_handle_t* h) { delete reinterpret_cast<Node*>(h); });
  node_ = nullptr;
  interest_ = kNone;
}

}  // namespace weft::event
