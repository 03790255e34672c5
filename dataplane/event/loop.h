#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/intrusive_list.h"
#include "dataplane/event/timer_wheel.h"

struct uv_loop_s;

namespace weft::event {

// Work that an object asks to be run once before the loop sleeps (corked writes, flushes).
// Destroying it cancels it.
class TurnEndTask : public ListLink<> {
 public:
  virtual void RunAtTurnEnd() = 0;

 protected:
  ~TurnEndTask() = default;
};

// One event loop over libuv, the only folder that knows it.
// Owner: a Worker, or the main thread. Thread: created anywhere, then all calls but Post() and
// StopFromAnyThread() are made on the thread that runs it. Destroyed when: Run() has returned and
// everything registered is gone.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until Stop(). May be called again.
  void Run();
  void Stop();
  void StopFromAnyThread() {
    Post([this] { Stop(); });
  }
  // Runs what is ready now and returns; for tests.
  void RunOnce(bool may_sleep = false);

  // The only call that may cross threads: runs `f` on the loop's thread, in order of posting. What
  // a loop that is destroyed has not run yet is dropped.
  void Post(std::function<void()> f);

  // Monotonic time, read once a turn.
  MonoNanos Now() {
    if (now_ == 0) now_ = MonotonicNow();
    return now_;
  }

  TimerWheel& timers() { return timers_; }

  // Frees `p` before the loop sleeps next, when no callback of it can be on the stack.
  template <typename T>
  void DeferDelete(std::unique_ptr<T> p) {
    if (p == nullptr) return;
    deferred_.push_back({p.release(), [](void* q) { delete static_cast<T*>(q); }});
  }

  // Runs `task` once at the end of this turn; a task that is already scheduled stays where it is.
  void AtTurnEnd(TurnEndTask* task) {
    if (!task->linked()) turn_end_.PushBack(task);
  }

  bool OnLoopThread() const { return thread_ == std::this_thread::get_id(); }

  // For this folder's files only.
  uv_loop_s* uv() { return uv_.get(); }

 private:
  friend class FdWatcher;
  struct Handles;
  struct Deferred {
    void* object;
    void (*destroy)(void*);
  };
  void BeforeSleep();
  void FreeDeferred();
  void RunPosted();
  void RunTimers();
  void ScheduleTimer(MonoNanos due);

  struct UvLoopDeleter {
    void operator()(uv_loop_s* l) const;
  };
  std::unique_ptr<uv_loop_s, UvLoopDeleter> uv_;
  std::unique_ptr<Handles> handles_;
  MonoNanos now_ = 0;
  TimerWheel timers_;
  MonoNanos timer_due_ = 0;  // 0: the uv timer is not running
  std::vector<Deferred> deferred_;
  IntrusiveList<TurnEndTask> turn_end_;
  std::mutex post_mutex_;
  std::vector<std::function<void()>> posted_;
  std::thread::id thread_;
};

}  // namespace weft::event
