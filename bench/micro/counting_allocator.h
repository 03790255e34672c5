#pragma once

// Counts heap allocations, for benches and tests that claim "no allocation per request".
//
//   AllocationScope scope;
//   for (int i = 0; i < 1000; ++i) HandleRequest();
//   EXPECT_EQ(scope.Delta().allocations, 0u);
//
// A program that depends on //bench/micro:counting_allocator has its malloc family and its operator
// new replaced, C libraries' calls included (nghttp2, libuv), whichever way they are linked. Counts
// are per thread, so that other threads don't disturb.

#include <cstddef>
#include <cstdint>

namespace weft::bench {

struct AllocationCounts {
  uint64_t allocations = 0;  // malloc, calloc, aligned_alloc, ..., operator new; a realloc that
                             // moves or grows counts as one
  uint64_t frees = 0;        // of non-null pointers
  uint64_t bytes = 0;        // asked for

  friend AllocationCounts operator-(AllocationCounts a, AllocationCounts b) {
    return {a.allocations - b.allocations, a.frees - b.frees, a.bytes - b.bytes};
  }
};

// False under AddressSanitizer, which needs the allocator for itself: all counts are 0 there, so
// that a test of numbers above 0 must ask first. A test that expects 0 passes there, and checks
// something in the other configurations.
bool AllocationCountingAvailable();

// Of the calling thread since it began.
AllocationCounts ThreadAllocations();

// What the calling thread allocated since this was made (or since Reset). Owner: the caller.
// Thread: the one that made it.
class AllocationScope {
 public:
  AllocationScope() : start_(ThreadAllocations()) {}
  AllocationCounts Delta() const { return ThreadAllocations() - start_; }
  void Reset() { start_ = ThreadAllocations(); }

 private:
  AllocationCounts start_;
};

// Makes allocations per iteration part of a Google Benchmark's output. `State` is benchmark::State;
// a template, so that tests need no benchmark library. Call it after the loop, with a scope that
// was made (or reset) right before the loop.
template <typename State>
void ReportAllocations(State& state, const AllocationScope& scope) {
  const AllocationCounts delta = scope.Delta();
  const double iterations = state.iterations() > 0 ? static_cast<double>(state.iterations()) : 1.0;
  state.counters["allocs"] = static_cast<double>(delta.allocations) / iterations;
  state.counters["alloc_bytes"] = static_cast<double>(delta.bytes) / iterations;
}

}  // namespace weft::bench
