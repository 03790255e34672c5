// Header map: what the pump and the deciders ask of it for each request.
#include <string>
#include <vector>

#include "bench/micro/counting_allocator.h"
#include "benchmark/benchmark.h"
#include "dataplane/http/header_map.h"
#include "dataplane/http/message.h"

namespace weft::http {
namespace {

// Fields of a browser's request as productpage passes it on; range(0) further ones behind them.
struct Fields {
  explicit Fields(int64_t more) {
    for (int64_t i = 0; i < more; ++i) names.push_back("x-application-field-" + std::to_string(i));
    Fill();
  }
  void Fill() {
    map.Clear();
    map.Add("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)");
    map.Add("Accept", "text/html");
    map.Add("Accept-Encoding", "gzip, deflate");
    map.Add("Cookie", "session=eyJ1c2VyIjoiamFzb24ifQ");
    map.Add("end-user", "jason");
    map.Add("X-Request-Id", "6d1a3a52-8a3c-9f7b-a0ce-5f2a3d1b9c77");
    map.Add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    map.Add("Connection", "keep-alive");
    for (const std::string& n : names) map.Add(n, "value");
  }
  HeaderMap map;
  std::vector<std::string> names;
};

void BM_HeaderMap_FindKnown(benchmark::State& state) {
  Fields f(state.range(0));
  if (!f.map.Has(HeaderId::kXRequestId)) state.SkipWithError("not found");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(f.map.Find(HeaderId::kXRequestId));
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_FindKnown)->Arg(0)->Arg(90);

// The common answer: it is not there.
void BM_HeaderMap_FindKnownAbsent(benchmark::State& state) {
  Fields f(state.range(0));
  if (f.map.Has(HeaderId::kTransferEncoding)) state.SkipWithError("found");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(f.map.Find(HeaderId::kTransferEncoding));
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_FindKnownAbsent)->Arg(90);

// Routing by header, as the sample's `end-user`.
void BM_HeaderMap_FindByName(benchmark::State& state) {
  Fields f(state.range(0));
  if (f.map.Get("end-user") != "jason") state.SkipWithError("not found");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(f.map.Find("end-user"));
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_FindByName)->Arg(0)->Arg(90);

void BM_HeaderMap_FindByNameAbsent(benchmark::State& state) {
  Fields f(state.range(0));
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(f.map.Find("x-not-there"));
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_FindByNameAbsent)->Arg(0)->Arg(90);

void BM_HeaderMap_Identify(benchmark::State& state) {
  if (IdentifyHeader("Content-Length") != HeaderId::kContentLength) state.SkipWithError("not known");
  bench::AllocationScope scope;
  for (auto _ : state) {
    benchmark::DoNotOptimize(IdentifyHeader("Content-Length"));
    benchmark::DoNotOptimize(IdentifyHeader("x-application-field"));
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_Identify);

// Filling, hop-by-hop removal, setting two fields: the map's whole life in one request.
void BM_HeaderMap_Request(benchmark::State& state) {
  Fields f(state.range(0));
  auto request = [&] {
    f.Fill();
    RemoveHopByHop(f.map);
    f.map.Set(HeaderId::kXForwardedProto, "http");
    f.map.Set(HeaderId::kXRequestId, "00000000-8a3c-9f7b-a0ce-5f2a3d1b9c77");
    return f.map.size();
  };
  if (request() != 8 + static_cast<size_t>(state.range(0))) state.SkipWithError("the wrong fields");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(request());
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_HeaderMap_Request)->Arg(0)->Arg(90);

}  // namespace
}  // namespace weft::http
