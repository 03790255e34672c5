#pragma once

#include <atomic>
#include <cstdint>

namespace weft {

// What the process does about being short of something. Names: envoy.overload_actions.*.
enum class OverloadAction : uint8_t {
  kStopAcceptingRequests,      // answered 503
  kDisableHttpKeepalive,       // connection: close, GOAWAY
  kStopAcceptingConnections,   // clients wait in the kernel's queue
  kRejectIncomingConnections,  // accepted and closed
  kResetHighMemoryStream,      // the streams that hold the most bytes
  kShrinkHeap,                 // free memory goes back to the system
  kCount,
};

// How strongly each action is on: written by the overload manager on main, read by every worker; the
// request path pays one relaxed load. Also counts what is limited process-wide by meaning. Owner: the
// server. Thread: any.
class OverloadState {
 public:
  static constexpr uint16_t kSaturated = 0xffff;

  // 0: off; kSaturated: on; between: for that share of the cases.
  void Set(OverloadAction a, uint16_t level) {
    levels_[static_cast<int>(a)].store(level, std::memory_order_relaxed);
  }
  uint16_t level(OverloadAction a) const {
    return levels_[static_cast<int>(a)].load(std::memory_order_relaxed);
  }
  bool Saturated(OverloadAction a) const { return level(a) == kSaturated; }
  // Whether it is on for this case. `random` is uniform over 64 bits.
  bool Applies(OverloadAction a, uint64_t random) const {
    uint16_t l = level(a);
    return l != 0 && (l == kSaturated || (random & 0xffff) < l);
  }

  // Before workers start. 0: no limit.
  void set_max_connections(uint64_t max) { max_connections_ = max; }
  uint64_t max_connections() const { return max_connections_; }
  // Counts one downstream connection; false, and not counted, when there are too many. Without a
  // limit nothing is counted: workers then share no line of memory.
  bool TakeConnection() {
    if (max_connections_ == 0) return true;
    if (connections_.fetch_add(1, std::memory_order_relaxed) < max_connections_) return true;
    GiveConnection();
    return false;
  }
  void GiveConnection() {
    if (max_connections_ != 0) connections_.fetch_sub(1, std::memory_order_relaxed);
  }
  uint64_t connections() const { return connections_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint16_t> levels_[static_cast<int>(OverloadAction::kCount)] = {};
  uint64_t max_connections_ = 0;
  std::atomic<uint64_t> connections_{0};
};

}  // namespace weft
