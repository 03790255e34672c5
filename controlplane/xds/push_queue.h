#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace weft::ctl::xds {

// Something that pushes when told that there is news. How much news does not matter: it looks by
// itself.
class Pushable {
 public:
  virtual ~Pushable() = default;
  virtual void Push() = 0;

 private:
  friend class PushQueue;
  enum class Turn : unsigned char { kIdle, kQueued, kRunning, kRunningAgain };
  Turn turn_ = Turn::kIdle;  // under the queue's lock
};

// Who has to be looked at, each at most once: a proxy that is waiting when the next change comes
// gets both in one push, and no proxy is pushed to by two threads. First come, first served. Owner:
// Hub. Thread: Add from any; Push is called in the queue's threads. Destroyed when: the server
// stops.
class PushQueue {
 public:
  explicit PushQueue(size_t threads);
  ~PushQueue();
  PushQueue(const PushQueue&) = delete;
  PushQueue& operator=(const PushQueue&) = delete;

  // False: it was waiting already, the news are merged.
  bool Add(std::shared_ptr<Pushable> item);
  // Lets the current pushes end; what waits is dropped. Later Adds do nothing.
  void Stop();
  size_t size() const;

 private:
  void Run();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Pushable>> waiting_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace weft::ctl::xds
