#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/decide/header_mutation.h"
#include "dataplane/proxy/filter.h"
#include "envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb.h"

namespace weft::filters {

// Both directions' changes; the configuration of the filter and of its per-route form.
struct HeaderMutations {
  std::vector<decide::HeaderMutation> request, response;

  // Null when there was an error; errors carry paths below `path`.
  static std::shared_ptr<const HeaderMutations> Compile(
      const envoy::extensions::filters::http::header_mutation::v3::Mutations& mutations,
      const std::string& path, decide::Errors* errors);
};

// envoy.filters.http.header_mutation: changes heads by the filter's configuration, then by each
// route level's: from the most specific to the most general one, or the other way round with
// most_specific_header_mutations_wins, so that later changes override earlier ones (Envoy docs:
// header_mutation filter). Stateless: one object serves all exchanges. Thread: immutable, any.
class HeaderMutationFilter final : public proxy::FilterFactory {
 public:
  static std::shared_ptr<const HeaderMutationFilter> Compile(
      std::string name,
      const envoy::extensions::filters::http::header_mutation::v3::HeaderMutation& config,
      const std::string& path, decide::Errors* errors);

  std::string_view name() const override { return name_; }
  proxy::Verdict OnRequestHead(proxy::Exchange& exchange) const override;
  proxy::Verdict OnResponseHead(proxy::Exchange& exchange) const override;

 private:
  HeaderMutationFilter() = default;
  template <typename F>
  void ForEach(proxy::Exchange& exchange, F f) const;
  std::string name_;
  std::shared_ptr<const HeaderMutations> mutations_;
  bool most_specific_wins_ = false;
};

}  // namespace weft::filters
