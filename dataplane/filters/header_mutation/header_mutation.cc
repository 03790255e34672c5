#include "dataplane/filters/header_mutation/header_mutation.h"

#include <utility>

#include "dataplane/base/strings.h"
#include "dataplane/proxy/exchange.h"

namespace weft::filters {
namespace {

bool CompileList(const google::protobuf::RepeatedPtrField<
                     envoy::config::common::mutation_rules::v3::HeaderMutation>& in,
                 const std::string& path, decide::RegexPool* regexes, decide::Errors* errors,
                 std::vector<decide::HeaderMutation>* out) {
  bool ok = true;
  for (int i = 0; i < in.size(); ++i) {
    ok &= decide::CompileMutation(in[i], StrCat(path, "[", i, "]"), regexes, errors, out);
  }
  return ok;
}

}  // namespace

std::shared_ptr<const HeaderMutations> HeaderMutations::Compile(
    const envoy::extensions::filters::http::header_mutation::v3::Mutations& mutations,
    const std::string& path, decide::Errors* errors) {
  auto m = std::make_shared<HeaderMutations>();
  decide::RegexPool regexes;
  bool request = CompileList(mutations.request_mutations(), path + ".request_mutations", &regexes,
                             errors, &m->request);
  bool response = CompileList(mutations.response_mutations(), path + ".response_mutations",
                              &regexes, errors, &m->response);
  return request && response ? m : nullptr;
}

std::shared_ptr<const HeaderMutationFilter> HeaderMutationFilter::Compile(
    std::string name,
    const envoy::extensions::filters::http::header_mutation::v3::HeaderMutation& config,
    const std::string& path, decide::Errors* errors) {
  std::shared_ptr<HeaderMutationFilter> f(new HeaderMutationFilter);
  f->name_ = std::move(name);
  f->mutations_ = HeaderMutations::Compile(config.mutations(), path + ".mutations", errors);
  f->most_specific_wins_ = config.most_specific_header_mutations_wins();
  return f->mutations_ == nullptr ? nullptr : f;
}

// The filter's own changes, then the route levels'.
template <typename F>
void HeaderMutationFilter::ForEach(proxy::Exchange& exchange, F f) const {
  f(*mutations_);
  constexpr int kLevels = 4;
  const HeaderMutations* levels[kLevels];
  int n = 0;
  exchange.ForEachRouteConfig(name_, [&](const void* config) {
    if (n < kLevels) levels[n++] = static_cast<const HeaderMutations*>(config);
  });
  for (int i = 0; i < n; ++i) f(*levels[most_specific_wins_ ? i : n - 1 - i]);
}

proxy::Verdict HeaderMutationFilter::OnRequestHead(proxy::Exchange& exchange) const {
  ForEach(exchange, [&](const HeaderMutations& m) {
    exchange.Mutate(m.request, exchange.request().headers);
  });
  return proxy::Verdict::kContinue;
}

proxy::Verdict HeaderMutationFilter::OnResponseHead(proxy::Exchange& exchange) const {
  ForEach(exchange, [&](const HeaderMutations& m) {
    exchange.Mutate(m.response, exchange.response().headers);
  });
  return proxy::Verdict::kContinue;
}

}  // namespace weft::filters
