#include "dataplane/decide/weighted_pick.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace weft::decide {
namespace {

// Weights that sum to a round of reasonable length.
std::vector<uint64_t> Normalize(const std::vector<uint32_t>& weights) {
  std::vector<uint64_t> out(weights.begin(), weights.end());
  uint64_t divisor = 0, sum = 0, used = 0;
  for (uint64_t w : out) {
    divisor = std::gcd(divisor, w);
    sum += w;
    used += w != 0;
  }
  if (sum == 0) return out;
  for (uint64_t& w : out) w /= divisor;
  sum /= divisor;
  const uint64_t limit = std::max<uint64_t>(PickTable::kMaxRound, used * 4);
  if (sum <= limit) return out;
  // The rounding error is handed on from item to item, so that it does not add up.
  uint64_t carried = 0;
  for (uint64_t& w : out) {
    if (w == 0) continue;
    carried += w * limit;
    uint64_t scaled = carried / sum;
    carried %= sum;
    w = std::max<uint64_t>(scaled, 1);
  }
  return out;
}

}  // namespace

PickTable PickTable::Build(const std::vector<uint32_t>& weights) {
  // Item i has its k-th turn (k = 0, 1, ...) at time (k + 1/2) / weight: within one unit of time each has all its turns,
  // evenly spread. Sorting all turns by time gives the round. Equal times: item order.
  const std::vector<uint64_t> normal = Normalize(weights);
  std::vector<std::pair<double, uint32_t>> turns;
  turns.reserve(std::accumulate(normal.begin(), normal.end(), uint64_t{0}));
  for (size_t i = 0; i < normal.size(); ++i) {
    for (uint64_t k = 0; k < normal[i]; ++k) {
      turns.emplace_back((static_cast<double>(k) + 0.5) / static_cast<double>(normal[i]), static_cast<uint32_t>(i));
    }
  }
  std::sort(turns.begin(), turns.end());
  PickTable table;
  table.order_.reserve(turns.size());
  for (const auto& [time, item] : turns) table.order_.push_back(item);
  return table;
}

}  // namespace weft::decide
