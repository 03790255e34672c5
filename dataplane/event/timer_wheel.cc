#include "dataplane/event/timer_wheel.h"

#include <bit>

namespace weft::event {

void Timer::Arm(MonoNanos delay) {
  deadline_ = wheel_->now_() + (delay > 0 ? delay : 0);
  armed_ = true;
  if (linked()) {
    if (wheel_->TickOf(deadline_) >= slot_tick_) return;  // found early, it moves on by itself
    wheel_->Remove(this);
  }
  wheel_->Add(this);
}

void Timer::Cancel() {
  armed_ = false;
  if (linked()) wheel_->Remove(this);
}

void TimerWheel::Add(Timer* t) {
  if (armed_ == 0 && !running_) {
    // Nothing is waiting: skip the time that has passed instead of walking through it.
    uint64_t now_tick = static_cast<uint64_t>(now_() / kTick);
    if (now_tick > tick_) tick_ = now_tick;
  }
  ++armed_;
  Insert(t);
  if (running_) return;
  MonoNanos due = static_cast<MonoNanos>(t->slot_tick_) * kTick;
  if (asked_ == 0 || due < asked_) {
    asked_ = due;
    wake_(due);
  }
}

void TimerWheel::Insert(Timer* t) {
  uint64_t tick = TickOf(t->deadline_);
  if (tick <= tick_) tick = tick_ + 1;
  int level = 0;
  while (level < kLevels - 1 && (tick >> (kBits * level)) - (tick_ >> (kBits * level)) >= kSlots)
    ++level;
  uint64_t unit = tick >> (kBits * level);
  uint64_t here = tick_ >> (kBits * level);
  if (unit - here >= kSlots)
    unit = here + kSlots - 1;  // beyond the top level's reach: looked at again there
  int slot = static_cast<int>(unit & (kSlots - 1));
  t->level_ = static_cast<uint8_t>(level);
  t->slot_ = static_cast<uint8_t>(slot);
  t->slot_tick_ = unit << (kBits * level);
  slots_[level][slot].PushBack(t);
  used_[level] |= uint64_t{1} << slot;
}

void TimerWheel::Remove(Timer* t) {
  t->Unlink();
  --armed_;
  if (slots_[t->level_][t->slot_].empty()) used_[t->level_] &= ~(uint64_t{1} << t->slot_);
}

MonoNanos TimerWheel::NextWake() const {
  if (armed_ == 0) return 0;
  uint64_t best = UINT64_MAX;
  for (int level = 0; level < kLevels; ++level) {
    if (used_[level] == 0) continue;
    uint64_t here = tick_ >> (kBits * level);
    int from = static_cast<int>((here + 1) & (kSlots - 1));
    uint64_t ahead = std::countr_zero(std::rotr(used_[level], from)) + 1;
    uint64_t tick = (here + ahead) << (kBits * level);
    if (tick < best) best = tick;
  }
  return static_cast<MonoNanos>(best) * kTick;
}

MonoNanos TimerWheel::Run() {
  running_ = true;
  uint64_t now_tick = static_cast<uint64_t>(now_() / kTick);
  while (armed_ > 0) {
    uint64_t next = static_cast<uint64_t>(NextWake() / kTick);
    if (next > now_tick) break;
    tick_ = next;
    for (int level = kLevels - 1; level >= 0; --level) {
      uint64_t unit = tick_ >> (kBits * level);
      if (level > 0 && (unit << (kBits * level)) != tick_) continue;
      int slot = static_cast<int>(unit & (kSlots - 1));
      if ((used_[level] & (uint64_t{1} << slot)) == 0) continue;
      used_[level] &= ~(uint64_t{1} << slot);
      IntrusiveList<Timer> due;
      due.Splice(slots_[level][slot]);
      while (Timer* t = due.PopFront()) {
        if (TickOf(t->deadline_) > tick_) {
          Insert(t);  // pushed away since, or cascading down a level
          continue;
        }
        --armed_;
        t->armed_ = false;
        t->cb_(t->arg_);
      }
    }
  }
  if (armed_ == 0 || now_tick > tick_) tick_ = now_tick > tick_ ? now_tick : tick_;
  running_ = false;
  asked_ = NextWake();
  return asked_;
}

}  // namespace weft::event
