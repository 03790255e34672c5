#include "dataplane/event/loop.h"

#include <uv.h>

#include <cassert>
#include <cstdio>
#include <cstdlib>

namespace weft::event {

struct Loop::Handles {
  uv_async_t async;
  uv_prepare_t prepare;
  uv_timer_t timer;
};

void Loop::UvLoopDeleter::operator()(uv_loop_s* l) const {
  if (uv_loop_close(l) != 0) {
    std::fprintf(stderr, "event loop destroyed while handles are open\n");
    std::abort();
  }
  delete l;
}

Loop::Loop()
    : uv_(new uv_loop_t),
      handles_(new Handles),
      timers_([this] { return Now(); }, [this](MonoNanos due) { ScheduleTimer(due); }) {
  if (uv_loop_init(uv_.get()) != 0) {
    std::fprintf(stderr, "cannot create an event loop: out of descriptors?\n");
    std::abort();
  }
  uv_->data = this;
  uv_async_init(uv_.get(), &handles_->async,
                [](uv_async_t* h) { static_cast<Loop*>(h->loop->data)->RunPosted(); });
  uv_prepare_init(uv_.get(), &handles_->prepare);
  uv_prepare_start(&handles_->prepare,
                   [](uv_prepare_t* h) { static_cast<Loop*>(h->loop->data)->BeforeSleep(); });
  uv_timer_init(uv_.get(), &handles_->timer);
  thread_ = std::this_thread::get_id();
}

Loop::~Loop() {
  {
    // What was posted and not run is dropped: most of what it would touch is gone by now.
    std::vector<std::function<void()>> dropped;
    std::lock_guard<std::mutex> lock(post_mutex_);
    dropped.swap(posted_);
  }
  BeforeSleep();
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->async), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->prepare), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->timer), nullptr);
  uv_run(uv_.get(), UV_RUN_DEFAULT);
  while (!turn_end_.empty() || !deferred_.empty()) {
    turn_end_.PopFront();
    FreeDeferred();
  }
}

void Loop::Run() {
  thread_ = std::this_thread::get_id();
  now_ = 0;
  uv_run(uv_.get(), UV_RUN_DEFAULT);
}

void Loop::Stop() { uv_stop(uv_.get()); }

void Loop::RunOnce(bool may_sleep) {
  thread_ = std::this_thread::get_id();
  now_ = 0;
  uv_run(uv_.get(), may_sleep ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

void Loop::Post(std::function<void()> f) {
  bool first;
  {
    std::lock_guard<std::mutex> lock(post_mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(f));
  }
  if (first) uv_async_send(&handles_->async);
}

void Loop::RunPosted() {
  std::vector<std::function<void()>> work;
  {
    std::lock_guard<std::mutex> lock(post_mutex_);
    work.swap(posted_);
  }
  for (auto& f : work) f();
}

void Loop::BeforeSleep() {
  // A task may schedule another one, and so may a destructor; the rounds are bounded so that a pair
  // of tasks can't starve the sockets.
  for (int round = 0; round < 16 && (!turn_end_.empty() || !deferred_.empty()); ++round) {
    IntrusiveList<TurnEndTask> tasks;
    tasks.Splice(turn_end_);
    while (TurnEndTask* t = tasks.PopFront()) t->RunAtTurnEnd();
    if (!turn_end_.empty())
      continue;  // objects are freed when no task is left that could touch them
    FreeDeferred();
  }
  // What is left must not wait for the next event: the loop only looks at its sockets and comes
  // back.
  if (!turn_end_.empty() || !deferred_.empty()) uv_async_send(&handles_->async);
  now_ = 0;
}

void Loop::FreeDeferred() {
  std::vector<Deferred> batch;
  batch.swap(deferred_);
  for (const Deferred& d : batch) d.destroy(d.object);
  batch.clear();
  if (deferred_.empty()) deferred_.swap(batch);  // keeps the capacity
}

void Loop::RunTimers() {
  timer_due_ = 0;
  MonoNanos next = timers_.Run();
  if (next != 0) ScheduleTimer(next);
}

void Loop::ScheduleTimer(MonoNanos due) {
  if (timer_due_ != 0 && timer_due_ <= due) return;
  timer_due_ = due;
  MonoNanos wait = due - Now();
  uint64_t ms = wait <= 0 ? 0 : static_cast<uint64_t>((wait + kMillisecond - 1) / kMillisecond);
  uv_update_time(uv_.get());
  uv_timer_start(
      &handles_->timer,
      [](uv_timer_t* h) {
        Loop* loop = static_cast<Loop*>(h->loop->data);
        loop->now_ = 0;
        loop->RunTimers();
      },
      ms, 0);
}

}  // namespace weft::event
