#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/base/clock.h"
#include "dataplane/base/intrusive_list.h"

namespace weft::event {

class Timer;

// Coarse hierarchical timer wheel: ticks of 4 ms, four levels of 64 slots (67 s exact, then hours
// by cascading). Arming and cancelling are O(1) and never reach the kernel. A timer fires at its
// tick or up to one tick late, never early. Owner: Loop. Thread: the loop's.
class TimerWheel {
 public:
  static constexpr MonoNanos kTick = 4 * kMillisecond;

  // `wake` is called when the wheel must be run at a time that is earlier than any asked for
  // before.
  TimerWheel(std::function<MonoNanos()> now, std::function<void(MonoNanos due)> wake)
      : now_(std::move(now)), wake_(std::move(wake)) {}

  // Fires everything that is due; returns the time when it must run next, 0 when no timer is armed.
  MonoNanos Run();
  size_t armed() const { return armed_; }

 private:
  friend class Timer;
  static constexpr int kBits = 6, kSlots = 1 << kBits, kLevels = 5;

  void Add(Timer* t);
  void Insert(Timer* t);
  void Remove(Timer* t);
  MonoNanos NextWake() const;
  uint64_t TickOf(MonoNanos t) const { return static_cast<uint64_t>((t + kTick - 1) / kTick); }

  std::function<MonoNanos()> now_;
  std::function<void(MonoNanos)> wake_;
  uint64_t tick_ = 0;  // all timers with a tick up to here have fired
  MonoNanos asked_ = 0;
  size_t armed_ = 0;
  bool running_ = false;
  uint64_t used_[kLevels] = {};  // a bit a slot: may hold timers
  IntrusiveList<Timer> slots_[kLevels][kSlots];
};

// One timeout. Embedded in its owner; destroying it cancels it. Thread: the loop's.
class Timer : public ListLink<> {
 public:
  using Callback = void (*)(void*);
  Timer(TimerWheel& wheel, Callback cb, void* arg) : wheel_(&wheel), cb_(cb), arg_(arg) {}
  ~Timer() { Cancel(); }

  // (Re)arms. Pushing a deadline further away only stores it: a keep-alive connection pays no list
  // operation a request.
  void Arm(MonoNanos delay);
  void Cancel();
  bool armed() const { return armed_; }
  MonoNanos deadline() const { return deadline_; }

 private:
  friend class TimerWheel;
  TimerWheel* wheel_;
  Callback cb_;
  void* arg_;
  MonoNanos deadline_ = 0;
  uint64_t slot_tick_ = 0;  // where it is linked
  uint8_t level_ = 0, slot_ = 0;
  bool armed_ = false;
};

}  // namespace weft::event
