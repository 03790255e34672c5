#include "dataplane/upstream/idle_limit.h"

#include <algorithm>

namespace weft::upstream {

void IdleLimit::Observe(MonoNanos age, MonoNanos now) {
  age = std::max<MonoNanos>(age, 1);
  // An idle limit closes connections of one age. When many end together, it is the oldest that says
  // most: the others may be victims of a restart.
  if (count_ > 0 && now - last_ < kBurst) {
    MonoNanos& newest = seen_[(next_ + kKept - 1) % kKept];
    newest = std::max(newest, age);
  } else {
    seen_[next_] = age;
    next_ = static_cast<uint8_t>((next_ + 1) % kKept);
    count_ = static_cast<uint8_t>(std::min<size_t>(count_ + 1u, kKept));
  }
  last_ = now;
  Survived(age);
  Update();
}

// Drops what a connection of this age disproves. The factor of two leaves room for peers that look
// at their clock now and then only.
void IdleLimit::Forget(MonoNanos age) {
  MonoNanos kept[kKept];
  size_t n = 0;
  for (size_t i = 0; i < count_; ++i) {
    MonoNanos seen = seen_[(next_ + kKept - count_ + i) % kKept];
    if (age < 2 * seen) kept[n++] = seen;
  }
  std::copy(kept, kept + n, seen_);
  count_ = static_cast<uint8_t>(n);
  next_ = static_cast<uint8_t>(n % kKept);
  Update();
}

void IdleLimit::Update() {
  limit_ = 0;
  for (size_t i = 0; i < count_; ++i) {
    MonoNanos seen = seen_[(next_ + kKept - count_ + i) % kKept];
    if (limit_ == 0 || seen < limit_) limit_ = seen;
  }
}

}  // namespace weft::upstream
