// Steady keep-alive requests through the whole pump, with the peers on the same loop: time per request includes the
// kernel's loopback and both peers' reads and writes, so it is good for comparing builds, not for quoting. The columns
// allocs and alloc_bytes are per request and must be 0; bench/micro/pump_test fails when they are not.
#include <string>

#include "bench/micro/pump.h"
#include "benchmark/benchmark.h"

namespace weft::bench {
namespace {

void Measure(benchmark::State& state, PumpOptions options) {
  options.connections = static_cast<int>(state.range(0));
  Pump pump(std::move(options));
  constexpr uint64_t kBatch = 1000;
  Pump::Result warm = pump.Run(2 * kBatch);
  if (warm.wrong != 0) {
    state.SkipWithError(("wrong answer: " + warm.first_wrong.substr(0, 200)).c_str());
    return;
  }
  AllocationCounts sum;
  while (state.KeepRunningBatch(kBatch)) {
    Pump::Result r = pump.Run(kBatch);
    sum.allocations += r.allocations.allocations;
    sum.bytes += r.allocations.bytes;
    if (r.wrong != 0) {
      state.SkipWithError(("wrong answer: " + r.first_wrong.substr(0, 200)).c_str());
      return;
    }
  }
  double n = static_cast<double>(state.iterations());
  state.counters["allocs"] = static_cast<double>(sum.allocations) / n;
  state.counters["alloc_bytes"] = static_cast<double>(sum.bytes) / n;
}

void BM_Pump_Get1K(benchmark::State& state) {
  Measure(state, {.request = TypicalRequest(), .response = TypicalResponse(1024)});
}
BENCHMARK(BM_Pump_Get1K)->Arg(1)->Arg(64)->UseRealTime()->MeasureProcessCPUTime();

void BM_Pump_Get1KAccessLog(benchmark::State& state) {
  Measure(state, {.request = TypicalRequest(), .response = TypicalResponse(1024), .access_log = "/dev/null"});
}
BENCHMARK(BM_Pump_Get1KAccessLog)->Arg(64)->UseRealTime()->MeasureProcessCPUTime();

void BM_Pump_Chunked16K(benchmark::State& state) {
  Measure(state, {.request = TypicalRequest(), .response = ChunkedResponse(16 * 1024)});
}
BENCHMARK(BM_Pump_Chunked16K)->Arg(64)->UseRealTime()->MeasureProcessCPUTime();

void BM_Pump_Post1K(benchmark::State& state) {
  Measure(state, {.request = PostRequest(1024), .response = TypicalResponse(1024)});
}
BENCHMARK(BM_Pump_Post1K)->Arg(64)->UseRealTime()->MeasureProcessCPUTime();

}  // namespace
}  // namespace weft::bench
