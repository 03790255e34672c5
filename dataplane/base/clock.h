#pragma once

#include <cstdint>

namespace weft {

// Monotonic time in nanoseconds since an arbitrary start. Comparable within one boot only.
using MonoNanos = int64_t;

inline constexpr MonoNanos kMillisecond = 1'000'000;
inline constexpr MonoNanos kSecond = 1'000 * kMillisecond;

// Reads CLOCK_MONOTONIC (no system call on Linux: vDSO). On a loop thread prefer event::Loop::Now(), which reads it
// once a turn.
MonoNanos MonotonicNow();

// Microseconds since the Unix epoch, for logs and dates only: wall time may jump.
int64_t WallMicros();

}  // namespace weft
