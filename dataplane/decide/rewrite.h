#pragma once

#include <string>
#include <string_view>

#include "dataplane/decide/route.h"

namespace weft::decide {

// `path` (with query, which is kept) with its matched part replaced by `prefix_rewrite`. A prefix route replaces the
// prefix as it is written: "/api" to "/" makes "//x" of "/api/x", as in Envoy. Appends to `out`.
void AppendRewrittenPath(const RouteMatcher& match, std::string_view path, std::string_view prefix_rewrite,
                         std::string* out);

// The Location of a redirect route for this request. Appends to `out`.
void AppendRedirectLocation(const Route& route, const RequestView& request, std::string* out);

}  // namespace weft::decide
