// Fixed work for bench/gate/run, which counts the instructions of N requests: one figure a run, the same steps for the
// same N. What is made at first use is made before; the gate takes the difference of two runs, so set-up costs nothing.
//
//   work --list          the figures
//   work --built-with    compiler, C library, processor architecture
//   work FIGURE N        N requests, exit status 1 when an answer is wrong

#include <gnu/libc-version.h>
#include <nghttp2/nghttp2.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/gate/h2_server_work.h"
#include "bench/micro/pump.h"
#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/decide/route_table.h"
#include "dataplane/http/h1/head_parser.h"
#include "dataplane/http/h1/serializer.h"
#include "dataplane/http/header_map.h"
#include "dataplane/http/message.h"

namespace weft::bench {
namespace {

// Does `n` requests; false when one went wrong.
using Work = std::function<bool(uint64_t n)>;

// The whole pump: both codecs, route match, pool, loop. Eight connections share each look at what is ready.
Work H1KeepAlive() {
  auto pump = std::make_shared<Pump>(
      PumpOptions{.connections = 8, .request = TypicalRequest(), .response = TypicalResponse(1024)});
  return [pump](uint64_t n) {
    Pump::Result r = pump->Run(n);
    if (r.wrong != 0) std::fprintf(stderr, "wrong answer: %.200s\n", r.first_wrong.c_str());
    return r.wrong == 0 && r.requests == n;
  };
}

// Four heads: the request in and out, the response in and out.
Work H1Codec() {
  struct State {
    std::string request = TypicalRequest(), response = TypicalResponse(0);
    http::h1::HeadParser parser;
    http::h1::HeadLimits limits;
    http::RequestHead asked;
    http::ResponseHead answer;
    buffer::Slab slab;
    buffer::SliceBuffer out;
  };
  auto s = std::make_shared<State>();
  return [s](uint64_t n) {
    using Result = http::h1::HeadParser::Result;
    for (; n > 0; --n) {
      s->parser.Reset();
      s->asked.Clear();
      if (s->parser.ParseRequest(s->request, s->limits, &s->asked) != Result::kDone) return false;
      http::RemoveHopByHop(s->asked.headers);
      http::h1::WriteRequest(s->asked, s->slab, s->out);
      s->parser.Reset();
      s->answer.Clear();
      if (s->parser.ParseResponse(s->response, s->limits, "GET", &s->answer) != Result::kDone) return false;
      http::RemoveHopByHop(s->answer.headers);
      http::h1::WriteResponse(s->answer, {}, s->slab, s->out);
      if (s->out.size() < s->request.size()) return false;
      s->out.Clear();
    }
    return true;
  };
}

// 100 virtual hosts of 20 routes: prefixes, exact paths, an expression.
Work RouteMatch() {
  envoy::config::route::v3::RouteConfiguration config;
  for (int h = 0; h < 100; ++h) {
    auto* vhost = config.add_virtual_hosts();
    vhost->set_name("service-" + std::to_string(h));
    vhost->add_domains(vhost->name() + ":9080");
    vhost->add_domains(vhost->name() + ".default.svc.cluster.local:9080");
    for (int r = 0; r < 20; ++r) {
      auto* route = vhost->add_routes();
      const std::string path = "/api/v1/items-" + std::to_string(r);
      if (r % 3 == 0) {
        route->mutable_match()->set_prefix(path + "/");
      } else if (r % 3 == 1) {
        route->mutable_match()->set_path(path + "/x");
      } else {
        route->mutable_match()->mutable_safe_regex()->set_regex(path + "/[a-z]+");
      }
      route->mutable_route()->set_cluster(vhost->name());
    }
  }
  struct State {
    std::shared_ptr<const decide::RouteTable> table;
    std::vector<std::pair<std::string, std::string>> asked;  // host, path
  };
  auto s = std::make_shared<State>();
  s->table = decide::RouteTable::Compile(config, nullptr);
  for (int i = 0; i < 60; ++i) {
    const int host = i * 37 % 100;
    s->asked.emplace_back("service-" + std::to_string(host) + (i % 2 == 0 ? ":9080" : ".default.svc.cluster.local:9080"),
                          "/api/v1/items-" + std::to_string(i % 20) + "/x");
  }
  return [s](uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      const auto& [host, path] = s->asked[i % s->asked.size()];
      auto match = s->table->Match({.method = "GET", .scheme = "http", .authority = host, .path = path}, i, nullptr);
      if (match.cluster.empty()) return false;
    }
    return true;
  };
}

// The map's life in one request: filled, asked, hop-by-hop fields out, two set.
Work HeaderMapWork() {
  auto map = std::make_shared<http::HeaderMap>();
  return [map](uint64_t n) {
    for (; n > 0; --n) {
      map->Clear();
      map->Add("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)");
      map->Add("Accept", "text/html");
      map->Add("Accept-Encoding", "gzip, deflate");
      map->Add("Cookie", "session=eyJ1c2VyIjoiamFzb24ifQ");
      map->Add("end-user", "jason");
      map->Add("X-Request-Id", "6d1a3a52-8a3c-9f7b-a0ce-5f2a3d1b9c77");
      map->Add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
      map->Add("Connection", "keep-alive, x-hop");
      map->Add("x-hop", "1");
      if (map->Get("end-user") != "jason" || map->Has(http::HeaderId::kTransferEncoding)) return false;
      http::RemoveHopByHop(*map);
      map->Set(http::HeaderId::kXForwardedProto, "http");
      map->Set(http::HeaderId::kXRequestId, "00000000-8a3c-9f7b-a0ce-5f2a3d1b9c77");
      if (map->size() != 8) return false;
    }
    return true;
  };
}

Work H2ServerStream() {
  auto work = std::make_shared<H2ServerWork>();
  return [work](uint64_t n) { return work->Run(n); };
}

struct Figure {
  std::string_view name;
  Work (*make)();
};
constexpr Figure kFigures[] = {
    {"h1-keep-alive", H1KeepAlive},       {"h1-codec", H1Codec},       {"route-match", RouteMatch},
    {"h2-server-stream", H2ServerStream}, {"header-map", HeaderMapWork},
};

constexpr uint64_t kWarmUp = 960;

int Main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--list") {
    for (const Figure& f : kFigures) std::printf("%s\n", f.name.data());
    return 0;
  }
  if (first == "--built-with") {
#if defined(__clang__)
    const char* compiler = "clang";
#else
    const char* compiler = "gcc";
#endif
#if defined(__x86_64__)
    const char* machine = "x86_64";
#elif defined(__aarch64__)
    const char* machine = "aarch64";
#else
    const char* machine = "another architecture";
#endif
    std::printf("%s %s, glibc %s, libnghttp2 %s, %s\n", compiler, __VERSION__, gnu_get_libc_version(), NGHTTP2_VERSION, machine);
    return 0;
  }
  uint64_t n = 0;
  for (const Figure& f : kFigures) {
    if (f.name != first || argc != 3) continue;
    const char* end = argv[2] + std::strlen(argv[2]);
    if (auto [at, error] = std::from_chars(argv[2], end, n); at != end || error != std::errc()) break;
    Work work = f.make();
    if (work(kWarmUp) && work(n)) return 0;
    std::fprintf(stderr, "work: %s gave a wrong answer\n", argv[1]);
    return 1;
  }
  std::fprintf(stderr, "usage: work --list | --built-with | FIGURE REQUESTS\n");
  return 2;
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) { return weft::bench::Main(argc, argv); }
