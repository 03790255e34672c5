#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weft::runtime {

// How many downstream connections each worker has. The kernel spreads connections by a hash of their
// addresses, which leaves few long-lived ones (HTTP/2 peers) in heaps; a connection that was just
// accepted may go to another worker before its first read. Changes once a connection, never once a
// request. Owner: WorkerPool. Thread: any.
class WorkerLoads {
 public:
  explicit WorkerLoads(size_t workers) : slots_(new Slot[workers]), size_(workers) {}

  void Add(size_t worker) { slots_[worker].connections.fetch_add(1, std::memory_order_relaxed); }
  void Remove(size_t worker) { slots_[worker].connections.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t connections(size_t worker) const {
    return slots_[worker].connections.load(std::memory_order_relaxed);
  }

  // Who should have the connection that `self` just accepted and has not counted yet. Handing over
  // costs a wake-up, so small differences stay: two connections, and an eighth of a large number.
  // `exact`: never more than one connection apart.
  size_t Choose(size_t self, bool exact) const {
    size_t least = self;
    uint32_t own = connections(self), min = own;
    for (size_t i = 0; i < size_; ++i) {
      uint32_t n = connections(i);
      if (n < min) {
        min = n;
        least = i;
      }
    }
    return own >= (exact ? min + 1 : min + 2 + min / 8) ? least : self;
  }

 private:
  struct alignas(64) Slot {
    std::atomic<uint32_t> connections{0};
  };
  std::unique_ptr<Slot[]> slots_;
  const size_t size_;
};

}  // namespace weft::runtime
