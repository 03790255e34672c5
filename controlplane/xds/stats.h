#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace weft::ctl::xds {

// Counts of the xDS server. Owner: Hub. Thread: any. Plain atomics: a push costs microseconds, a
// count nanoseconds.
struct Counters {
  using Count = std::atomic<uint64_t>;
  Count sessions_opened{0}, sessions_closed{0}, sessions_rejected{0};
  Count requests{0}, acks{0}, nacks{0}, stale_nonces{0}, bad_requests{0};
  Count pushes{0}, pushed_resources{0}, removed_resources{0}, pushed_bytes{0};
  Count merged_states{0};  // a proxy was still waiting for its turn when the next state came
  Count hold_timeouts{
      0};  // a route or a removal went out though what it waited for was not acknowledged
  Count answer_timeouts{0};  // a proxy that did not answer in time
  Count stalled_closed{0};   // streams ended because the client did not read

  // From the change of the state until the proxy's ACK. Buckets in milliseconds; the last is
  // everything above.
  static constexpr std::array<uint32_t, 14> kBucketsMs = {1,   2,   5,    10,   20,   50,    100,
                                                          200, 500, 1000, 2000, 5000, 10000, 30000};
  std::array<Count, kBucketsMs.size() + 1> convergence{};
  Count convergence_sum_us{0};

  void AddConvergence(uint64_t us) {
    size_t i = 0;
    while (i < kBucketsMs.size() && us > uint64_t{kBucketsMs[i]} * 1000) ++i;
    convergence[i].fetch_add(1, std::memory_order_relaxed);
    convergence_sum_us.fetch_add(us, std::memory_order_relaxed);
  }
};

inline void Bump(Counters::Count& count, uint64_t by = 1) {
  count.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace weft::ctl::xds
