// The route compiler and matcher. Input: a RouteConfiguration in protobuf text format, a line "---", then one path a
// line. Nothing may crash; a refused configuration has an error; the index finds what a look at every route finds.
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/decide/rewrite.h"
#include "dataplane/decide/route_table.h"

namespace {

class Silent : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {}
};

class SomeHeaders : public weft::HeaderSource {
 public:
  std::optional<std::string_view> Get(std::string_view name) const override {
    if (name.size() % 2 == 0) return std::nullopt;
    return name;
  }
};

void Check(const weft::decide::RouteTable& table, std::string_view path, uint64_t random) {
  SomeHeaders headers;
  weft::decide::RequestView request{.method = "GET", .scheme = "http", .authority = "a.example:80", .path = path, .headers = &headers};
  weft::decide::Trace trace;
  weft::decide::RouteMatch fast = table.Match(request, random, nullptr), traced = table.Match(request, random, &trace);
  if (fast.vhost != traced.vhost || fast.route != traced.route || fast.weighted != traced.weighted) {
    fprintf(stderr, "index and scan differ on %.*s\n", static_cast<int>(path.size()), path.data());
    abort();
  }
  if (fast.route == nullptr) return;
  std::string out;
  if (fast.route->action.kind == weft::decide::RouteAction::Kind::kRedirect) {
    weft::decide::AppendRedirectLocation(*fast.route, request, &out);
  }
  weft::decide::AppendRewrittenPath(fast.route->match, path, fast.route->action.prefix_rewrite, &out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t split = text.find("\n---\n");
  envoy::config::route::v3::RouteConfiguration config;
  google::protobuf::TextFormat::Parser parser;
  Silent silent;
  parser.RecordErrorsTo(&silent);
  parser.SetRecursionLimit(50);
  if (!parser.ParseFromString(std::string(text.substr(0, split)), &config)) return 0;
  std::vector<weft::api::SourceError> errors;
  auto table = weft::decide::RouteTable::Compile(config, &errors);
  if ((table == nullptr) != weft::api::HasError(errors)) abort();
  if (table == nullptr || split == std::string_view::npos) return 0;
  std::string_view paths = text.substr(split + 5);
  for (uint64_t random = 1; !paths.empty() && random < 50; ++random) {
    size_t end = paths.find('\n');
    Check(*table, paths.substr(0, end), random * 0x9e3779b97f4a7c15u);
    if (end == std::string_view::npos) break;
    paths.remove_prefix(end + 1);
  }
  return 0;
}
