// "did you mean": the nearest of some names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft::api {

// Edits (insert, remove, replace, swap neighbours) between two words, without regard to case, '_' and '-'.
// Gives up above `limit` and returns limit + 1.
int EditDistance(std::string_view a, std::string_view b, int limit);

// The candidate that is near enough to `word` to be what was meant: at most a third of it differs, or `word` (of four
// letters or more) is its beginning. Empty when none is.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace weft::api
