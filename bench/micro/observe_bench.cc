// What one request pays for being counted and logged: nothing may be allocated.
#include <optional>
#include <string>

#include "bench/micro/counting_allocator.h"
#include "benchmark/benchmark.h"
#include "dataplane/base/substitution/format.h"
#include "dataplane/observe/metrics.h"

namespace weft::observe {
namespace {

class OneHeader : public HeaderSource {
 public:
  std::optional<std::string_view> Get(std::string_view name) const override {
    if (name == "user-agent") return std::string_view("curl/7.88.1");
    return std::nullopt;
  }
};

void CountRequest(benchmark::State& state) {
  Registry registry;
  ClusterCounters* c =
      registry.NewShard()->Cluster("outbound|9080|v1|reviews.default.svc.cluster.local");
  uint64_t ms = 0;
  for (uint64_t warm = 0; warm < 200; ++warm) c->upstream_rq_time.Record(warm);
  c->CountResponse(200);
  bench::AllocationScope scope;
  for (auto _ : state) {
    c->upstream_rq_total.Inc();
    c->upstream_rq_active.Inc();
    c->CountResponse(200);
    c->upstream_rq_time.Record(ms++ % 200);
    c->upstream_rq_active.Dec();
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(CountRequest);

void FormatDefaultLog(benchmark::State& state) {
  Format format = *Format::Compile(kDefaultAccessLogFormat);
  OneHeader headers;
  StreamFields f;
  f.start_wall_micros = 1'460'751'420'310'123;
  f.method = "GET";
  f.path = "/reviews/0";
  f.protocol = "HTTP/1.1";
  f.authority = "reviews:9080";
  f.request_headers = f.response_headers = &headers;
  f.response_code = 200;
  f.bytes_sent = 1024;
  f.duration_nanos = 1'500'000;
  f.upstream_host = "127.0.2.3:9080";
  std::string line;
  format.Append(f, FormatStyle::kLog, &line);
  bench::AllocationScope scope;
  for (auto _ : state) {
    line.clear();
    format.Append(f, FormatStyle::kLog, &line);
    benchmark::DoNotOptimize(line.data());
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(FormatDefaultLog);

}  // namespace
}  // namespace weft::observe
