#include "bench/micro/counting_allocator.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace weft::bench {
namespace {

// Keeps the compiler from leaving out an allocation that nobody looks at.
template <typename T>
T* Used(T* pointer) {
  asm volatile("" : "+r"(pointer) : : "memory");
  return pointer;
}

#if defined(__SANITIZE_ADDRESS__)

TEST(CountingAllocatorTest, SaysThatItDoesNotCountUnderAddressSanitizer) {
  EXPECT_FALSE(AllocationCountingAvailable());
  AllocationScope scope;
  delete Used(new int(7));
  EXPECT_EQ(scope.Delta().allocations, 0u);
}

#else

TEST(CountingAllocatorTest, IsAvailable) { EXPECT_TRUE(AllocationCountingAvailable()); }

TEST(CountingAllocatorTest, CountsNothingWhenNothingIsAllocated) {
  AllocationScope scope;
  char text[64] = "on the stack";
  Used(text);
  const AllocationCounts delta = scope.Delta();
  EXPECT_EQ(delta.allocations, 0u);
  EXPECT_EQ(delta.frees, 0u);
  EXPECT_EQ(delta.bytes, 0u);
}

TEST(CountingAllocatorTest, CountsEachNewOnce) {
  AllocationScope scope;
  delete Used(new int(7));
  delete[] Used(new char[100]);
  const AllocationCounts delta = scope.Delta();
  EXPECT_EQ(delta.allocations, 2u);
  EXPECT_EQ(delta.frees, 2u);
  EXPECT_EQ(delta.bytes, sizeof(int) + 100);
}

TEST(CountingAllocatorTest, CountsAlignedAndNothrowNew) {
  struct alignas(128) Wide {
    char bytes[128];
  };
  AllocationScope scope;
  Wide* wide = Used(new Wide);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(wide) % 128, 0u);
  delete wide;
  int* quiet = Used(new (std::nothrow) int);
  delete quiet;
  EXPECT_EQ(scope.Delta().allocations, 2u);
  EXPECT_EQ(scope.Delta().frees, 2u);
}

TEST(CountingAllocatorTest, CountsTheMallocFamily) {
  AllocationScope scope;
  void* p = Used(malloc(10));
  p = Used(realloc(p, 100000));
  free(p);
  p = Used(calloc(4, 8));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(static_cast<char*>(p)[i], 0);
  free(p);
  p = Used(aligned_alloc(64, 128));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
  free(p);
  ASSERT_EQ(posix_memalign(&p, 256, 512), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
  free(p);
  free(nullptr);
  EXPECT_EQ(scope.Delta().allocations, 5u);
  EXPECT_EQ(scope.Delta().frees, 5u);
  EXPECT_EQ(scope.Delta().bytes, 10u + 100000 + 32 + 128 + 512);
}

TEST(CountingAllocatorTest, RefusesABadAlignment) {
  void* p = nullptr;
  EXPECT_EQ(posix_memalign(&p, 3, 8), EINVAL);
}

TEST(CountingAllocatorTest, SeesWhatTheCLibraryAllocates) {
  AllocationScope scope;
  free(Used(strdup("made by libc")));
  EXPECT_EQ(scope.Delta().allocations, 1u);
}

TEST(CountingAllocatorTest, SeesWhatTheStandardLibraryAllocates) {
  AllocationScope scope;
  std::map<int, std::string> map;
  map[1] = std::string(100, 'x');
  EXPECT_GE(scope.Delta().allocations, 2u);
  std::string text = "short";
  scope.Reset();
  text += "er";
  EXPECT_EQ(scope.Delta().allocations, 0u);
}

TEST(CountingAllocatorTest, OtherThreadsDoNotDisturb) {
  uint64_t other = 0;
  std::unique_ptr<std::vector<int> > made;
  std::thread thread([&] {
    AllocationScope mine;
    made = std::make_unique<std::vector<int> >(1000);
    other = mine.Delta().allocations;
  });
  AllocationScope scope;
  thread.join();
  EXPECT_EQ(scope.Delta().allocations, 0u);
  EXPECT_EQ(other, 2u);
  scope.Reset();
  made.reset();  // freed by another thread than the one that allocated it
  EXPECT_EQ(scope.Delta().frees, 2u);
}

TEST(CountingAllocatorTest, ReportsPerIteration) {
  struct State {
    int64_t iterations() const { return 4; }
    std::map<std::string, double> counters;
  } state;
  state.counters = {{"allocs", 0}, {"alloc_bytes", 0}};
  AllocationScope scope;
  for (int i = 0; i < 4; ++i) free(Used(malloc(50)));
  ReportAllocations(state, scope);
  EXPECT_EQ(state.counters["allocs"], 1.0);
  EXPECT_EQ(state.counters["alloc_bytes"], 50.0);
}

#endif

}  // namespace
}  // namespace weft::bench
