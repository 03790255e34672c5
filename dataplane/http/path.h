#pragma once

#include <string>
#include <string_view>

namespace weft::http {

// Whether Normalize or MergeSlashes would change `path` (with or without a query); cheap, for the
// common case.
bool NeedsNormalizing(std::string_view path);

// RFC 3986 section 6.2.2: decodes percent-encoded unreserved characters, reads "\" as "/", removes
// dot segments; never climbs above the root. The query stays as it is. Appends to `out`. Source:
// Envoy's normalize_path.
void AppendNormalizedPath(std::string_view path, std::string* out);

// Runs of "/" in the path (not in the query) become one. Source: Envoy's merge_slashes. Appends to
// `out`.
void AppendWithMergedSlashes(std::string_view path, std::string* out);

}  // namespace weft::http
