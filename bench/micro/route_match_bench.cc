// Route matching: 10,000 routes should cost at most about three times what 10 cost; nothing is
// allocated.
#include <memory>
#include <string>

#include "bench/micro/counting_allocator.h"
#include "benchmark/benchmark.h"
#include "dataplane/decide/route_table.h"
#include "dataplane/decide/weighted_pick.h"

namespace weft::decide {
namespace {

enum Kind { kPrefix, kExact, kRegex, kMixed };

std::string PathOf(int i) {
  return "/service-" + std::to_string(i % 100) + "/api/v1/items/" + std::to_string(i);
}

std::shared_ptr<const RouteTable> MakeTable(Kind kind, int routes) {
  envoy::config::route::v3::RouteConfiguration config;
  auto* vhost = config.add_virtual_hosts();
  vhost->set_name("v");
  vhost->add_domains("*");
  for (int i = 0; i < routes; ++i) {
    auto* route = vhost->add_routes();
    auto* match = route->mutable_match();
    switch (kind == kMixed ? static_cast<Kind>(i % 3) : kind) {
      case kPrefix:
        match->set_prefix(PathOf(i) + "/");
        break;
      case kExact:
        match->set_path(PathOf(i) + "/x");
        break;
      default:
        match->mutable_safe_regex()->set_regex(PathOf(i) + "/[a-z]+");
    }
    route->mutable_route()->set_cluster("c" + std::to_string(i));
  }
  auto* rest = vhost->add_routes();
  rest->mutable_match()->set_prefix("/");
  rest->mutable_route()->set_cluster("rest");
  return RouteTable::Compile(config, nullptr);
}

void Match(benchmark::State& state, Kind kind) {
  const int routes = static_cast<int>(state.range(0));
  auto table = MakeTable(kind, routes);
  std::vector<std::string> paths;
  for (int i = 0; i < 64; ++i)
    paths.push_back(PathOf(static_cast<int>((i * 2654435761u) % static_cast<unsigned>(routes))) +
                    "/x");
  size_t at = 0;
  RequestView request{.method = "GET", .scheme = "http", .authority = "reviews:9080"};
  for (int i = 0; i < 64; ++i) {  // expressions build their automata at first use
    request.path = paths[static_cast<size_t>(i)];
    if (table->Match(request, 0, nullptr).cluster == "rest") state.SkipWithError("the wrong route");
  }
  bench::AllocationScope scope;
  for (auto _ : state) {
    request.path = paths[at++ & 63];
    benchmark::DoNotOptimize(table->Match(request, 0, nullptr));
  }
  bench::ReportAllocations(state, scope);
}

BENCHMARK_CAPTURE(Match, prefix, kPrefix)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK_CAPTURE(Match, exact, kExact)->Arg(10)->Arg(10000);
BENCHMARK_CAPTURE(Match, regex, kRegex)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(Match, mixed, kMixed)->Arg(10)->Arg(1000);

// One of many virtual hosts, as in the route configuration of one port of a large mesh.
void VirtualHosts(benchmark::State& state) {
  envoy::config::route::v3::RouteConfiguration config;
  const int hosts = static_cast<int>(state.range(0));
  for (int i = 0; i < hosts; ++i) {
    auto* vhost = config.add_virtual_hosts();
    const std::string name = "service-" + std::to_string(i);
    vhost->set_name(name);
    for (const char* suffix : {"", ":9080", ".default", ".default.svc.cluster.local",
                               ".default.svc.cluster.local:9080"}) {
      vhost->add_domains(name + suffix);
    }
    auto* route = vhost->add_routes();
    route->mutable_match()->set_prefix("/");
    route->mutable_route()->set_cluster(name);
  }
  auto table = RouteTable::Compile(config, nullptr);
  const std::string host =
      "service-" + std::to_string(hosts / 2) + ".default.svc.cluster.local:9080";
  RequestView request{.method = "GET", .scheme = "http", .authority = host, .path = "/reviews/0"};
  for (auto _ : state) benchmark::DoNotOptimize(table->Match(request, 0, nullptr));
}
BENCHMARK(VirtualHosts)->Arg(10)->Arg(10000);

void Pick(benchmark::State& state) {
  PickTable table = PickTable::Build(std::vector<uint32_t>(static_cast<size_t>(state.range(0)), 1));
  PickTable::Cursor cursor;
  for (auto _ : state) benchmark::DoNotOptimize(table.Pick(&cursor));
}
BENCHMARK(Pick)->Arg(3)->Arg(1000);

}  // namespace
}  // namespace weft::decide
