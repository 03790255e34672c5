#include "dataplane/decide/weighted_pick.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace weft::decide {
namespace {

std::vector<uint64_t> Count(const PickTable& table, size_t items, size_t picks, uint32_t start = 0) {
  std::vector<uint64_t> counts(items);
  PickTable::Cursor cursor{start};
  for (size_t i = 0; i < picks; ++i) ++counts[table.Pick(&cursor)];
  return counts;
}

TEST(PickTableTest, NothingToPick) {
  PickTable::Cursor cursor;
  EXPECT_EQ(PickTable().Pick(&cursor), PickTable::kNone);
  EXPECT_EQ(PickTable::Build({}).Pick(&cursor), PickTable::kNone);
  EXPECT_EQ(PickTable::Build({0, 0}).Pick(&cursor), PickTable::kNone);
  EXPECT_EQ(PickTable::Build({0, 0}).PickWhere(&cursor, [](uint32_t) { return true; }), PickTable::kNone);
}

TEST(PickTableTest, EqualWeightsAreRoundRobinWhateverTheWeight) {
  for (uint32_t weight : {1u, 100u, 4000000000u}) {
    PickTable table = PickTable::Build({weight, weight, weight});
    EXPECT_EQ(table.round(), 3u);
    PickTable::Cursor cursor;
    for (uint32_t i = 0; i < 9; ++i) EXPECT_EQ(table.Pick(&cursor), i % 3);
  }
}

TEST(PickTableTest, ExactWithinOneRound) {
  const std::vector<uint32_t> weights = {5, 1, 0, 10, 4};
  PickTable table = PickTable::Build(weights);
  ASSERT_EQ(table.round(), 20u);
  std::vector<uint64_t> counts = Count(table, weights.size(), 20);
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_EQ(counts[i], weights[i]) << i;
}

TEST(PickTableTest, SpreadEvenly) {
  // In any stretch of 10 picks, an item of weight w of 100 comes w / 10 times, one more or less.
  const std::vector<uint32_t> weights = {50, 30, 10, 10};
  PickTable table = PickTable::Build(weights);
  for (uint32_t start = 0; start < table.round(); ++start) {
    std::vector<uint64_t> counts = Count(table, weights.size(), 10, start);
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_LE(std::abs(static_cast<double>(counts[i]) - weights[i] / 10.0), 1.0) << start << " item " << i;
    }
  }
}

TEST(PickTableTest, LongRoundsAreScaled) {
  const std::vector<uint32_t> weights = {1000003, 999983, 1, 500009};
  PickTable table = PickTable::Build(weights);
  EXPECT_LE(table.round(), PickTable::kMaxRound + weights.size());
  const size_t picks = table.round() * 10;
  std::vector<uint64_t> counts = Count(table, weights.size(), picks);
  double sum = 0;
  for (uint32_t w : weights) sum += w;
  for (size_t i = 0; i < weights.size(); ++i) {
    EXPECT_GT(counts[i], 0u) << "a weight above 0 is never starved";
    EXPECT_NEAR(static_cast<double>(counts[i]) / static_cast<double>(picks), weights[i] / sum, 1.0 / 2048) << i;
  }
}

TEST(PickTableTest, ManyItems) {
  std::vector<uint32_t> weights(10000);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<uint32_t>(1 + (i * 7919) % 1009);
  PickTable table = PickTable::Build(weights);
  EXPECT_LE(table.round(), 2 * 4 * weights.size());
  std::vector<uint64_t> counts = Count(table, weights.size(), table.round());
  for (uint64_t c : counts) EXPECT_GT(c, 0u);
}

TEST(PickTableTest, CursorOfALargerTableIsFine) {
  PickTable table = PickTable::Build({1, 1});
  PickTable::Cursor cursor{4000};
  EXPECT_LT(table.Pick(&cursor), 2u);
}

TEST(PickTableTest, PickWhereSkipsAndGivesUp) {
  PickTable table = PickTable::Build({1, 1, 1});
  PickTable::Cursor cursor;
  EXPECT_EQ(table.PickWhere(&cursor, [](uint32_t i) { return i == 2; }), 2u);
  EXPECT_EQ(table.PickWhere(&cursor, [](uint32_t i) { return i == 2; }), 2u);
  EXPECT_EQ(table.PickWhere(&cursor, [](uint32_t) { return false; }), PickTable::kNone);
}

}  // namespace
}  // namespace weft::decide
