#include "api/cpp/suggest.h"

#include <algorithm>
#include <array>

#include "dataplane/base/strings.h"

namespace weft::api {
namespace {

constexpr size_t kLongest = 64;  // nobody mistypes a longer name by a few letters in a way worth a table

std::string Fold(std::string_view word) {
  std::string out;
  for (char c : word) {
    if (c != '_' && c != '-') out += AsciiLower(c);
  }
  return out;
}

}  // namespace

int EditDistance(std::string_view left, std::string_view right, int limit) {
  const std::string a = Fold(left), b = Fold(right);
  const int n = static_cast<int>(a.size()), m = static_cast<int>(b.size());
  if (a.size() > kLongest || b.size() > kLongest || std::abs(n - m) > limit) return limit + 1;
  // Three rows of the classic table; the third is for swapped neighbours.
  std::array<std::array<int, kLongest + 1>, 3> rows{};
  for (int j = 0; j <= m; ++j) rows[0][j] = j;
  for (int i = 1; i <= n; ++i) {
    const auto& above = rows[(i - 1) % 3];
    auto& row = rows[i % 3];
    row[0] = i;
    int least = i;
    for (int j = 1; j <= m; ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], rows[(i - 2) % 3][j - 2] + 1);
      }
      least = std::min(least, row[j]);
    }
    if (least > limit) return limit + 1;
  }
  return std::min(rows[n % 3][m], limit + 1);
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const int limit = std::max<int>(1, static_cast<int>(std::min(word.size(), kLongest)) / 3);
  if (word.size() < 2) return "";
  int best = limit + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const int distance = EditDistance(word, candidate, limit);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  if (!nearest.empty() || word.size() < 4) return nearest;
  // A name cut short: the shortest that begins with it.
  const std::string folded = Fold(word);
  for (const std::string& candidate : candidates) {
    if (Fold(candidate).starts_with(folded) && (nearest.empty() || candidate.size() < nearest.size())) {
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace weft::api
