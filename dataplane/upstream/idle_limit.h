#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/clock.h"

namespace weft::upstream {

// How long one endpoint leaves a connection idle before it closes it, learned from the closes that
// were seen. A request that is sent at that moment is lost, so the pool does not lend connections
// that are near the limit; it keeps them, and their end is what corrects the value. A value that
// idle connections outlive by far was no limit (a restart closes everything at any age) and is
// forgotten. docs/adr/0013-connection-pools.md has the measurement. Owner: HostContext. Thread: the
// worker's.
class IdleLimit {
 public:
  // The peer closed a connection that had been idle for `age`, or that died on the first bytes of a
  // request after that.
  void Observe(MonoNanos age, MonoNanos now);
  // A connection is idle for `age` and still open.
  void Survived(MonoNanos age) {
    if (limit_ != 0 && age >= 2 * limit_) Forget(age);
  }
  // How long a connection to this endpoint takes: news need at least that to cross.
  void NoteRoundTrip(MonoNanos time) {
    if (round_trip_ == 0 || time < round_trip_) round_trip_ = time;
  }

  // 0: not learned.
  MonoNanos limit() const { return limit_; }
  // Whether a connection that has been idle for `age` may be closed before a request gets there.
  bool Near(MonoNanos age) const { return limit_ != 0 && age + Margin() >= limit_; }
  MonoNanos Margin() const {
    MonoNanos quarter = limit_ / 4;
    return (quarter < kMaxMargin ? quarter : kMaxMargin) + 2 * round_trip_ + kMinMargin;
  }

 private:
  static constexpr size_t kKept = 8;
  // Closes this near to each other have one cause.
  static constexpr MonoNanos kBurst = 100 * kMillisecond;
  static constexpr MonoNanos kMinMargin = 10 * kMillisecond, kMaxMargin = 5 * kSecond;

  void Forget(MonoNanos age);
  void Update();

  MonoNanos seen_[kKept] = {};  // the last observations, newest at `next_` - 1
  MonoNanos limit_ = 0, round_trip_ = 0, last_ = 0;
  uint8_t next_ = 0, count_ = 0;
};

}  // namespace weft::upstream
