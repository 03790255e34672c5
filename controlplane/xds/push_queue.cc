#include "controlplane/xds/push_queue.h"

#include <utility>

namespace weft::ctl::xds {

PushQueue::PushQueue(size_t threads) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

PushQueue::~PushQueue() { Stop(); }

bool PushQueue::Add(std::shared_ptr<Pushable> item) {
  std::lock_guard lock(mutex_);
  if (stopped_) return false;
  switch (item->turn_) {
    case Pushable::Turn::kIdle:
      item->turn_ = Pushable::Turn::kQueued;
      waiting_.push_back(std::move(item));
      wake_.notify_one();
      return true;
    case Pushable::Turn::kRunning: item->turn_ = Pushable::Turn::kRunningAgain; return true;
    case Pushable::Turn::kQueued:
    case Pushable::Turn::kRunningAgain: return false;
  }
  return false;
}

void PushQueue::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    waiting_.clear();
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

size_t PushQueue::size() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

void PushQueue::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    if (stopped_) return;
    std::shared_ptr<Pushable> item = std::move(waiting_.front());
    waiting_.pop_front();
    item->turn_ = Pushable::Turn::kRunning;
    lock.unlock();
    item->Push();
    lock.lock();
    if (item->turn_ == Pushable::Turn::kRunningAgain && !stopped_) {
      item->turn_ = Pushable::Turn::kQueued;
      waiting_.push_back(std::move(item));
    } else {
      item->turn_ = Pushable::Turn::kIdle;
    }
    if (item != nullptr) {
      // The last reference may destroy a connection, which must not happen under the lock.
      lock.unlock();
      item.reset();
      lock.lock();
    }
  }
}

}  // namespace weft::ctl::xds
