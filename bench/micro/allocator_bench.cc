// What the counting costs by itself, so that nobody blames the code under test for it; also the
// pattern to copy.

#include <benchmark/benchmark.h>

#include <cstdlib>

#include "bench/micro/counting_allocator.h"

namespace weft::bench {
namespace {

void BM_MallocFree(benchmark::State& state) {
  AllocationScope scope;
  for (auto _ : state) {
    void* p = malloc(static_cast<size_t>(state.range(0)));
    benchmark::DoNotOptimize(p);
    free(p);
  }
  ReportAllocations(state, scope);
}
BENCHMARK(BM_MallocFree)->Arg(64)->Arg(4096);

void BM_NoAllocation(benchmark::State& state) {
  AllocationScope scope;
  int n = 0;
  for (auto _ : state) benchmark::DoNotOptimize(++n);
  ReportAllocations(state, scope);
}
BENCHMARK(BM_NoAllocation);

}  // namespace
}  // namespace weft::bench
