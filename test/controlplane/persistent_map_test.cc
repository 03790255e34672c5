#include "controlplane/translate/persistent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace weft::ctl {
namespace {

// All keys collide in all bits of their hash that differ from `mod`.
struct Collider {
  int value;
  int mod;
  bool operator==(const Collider& o) const { return value == o.value; }
  template <typename H>
  friend H AbslHashValue(H h, const Collider& c) {
    return H::combine(std::move(h), c.value % c.mod);
  }
};

TEST(PersistentMap, SetFindErase) {
  PersistentMap<std::string, int> map;
  EXPECT_EQ(map.Find("a"), nullptr);
  map.Erase("a");
  map.Set("a", 1);
  map.Set("b", 2);
  map.Set("a", 3);
  EXPECT_EQ(map.size(), 2u);
  EXPECT_EQ(*map.Find("a"), 3);
  map.Erase("a");
  EXPECT_EQ(map.Find("a"), nullptr);
  EXPECT_EQ(map.size(), 1u);
  map.Erase("b");
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.Find("b"), nullptr);
}

TEST(PersistentMap, CopiesAreIndependent) {
  PersistentMap<int, int> first;
  for (int i = 0; i < 1000; ++i) first.Set(i, i);
  PersistentMap<int, int> second = first;
  for (int i = 0; i < 1000; i += 2) second.Erase(i);
  second.Set(1, -1);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(*first.Find(i), i);
  EXPECT_EQ(first.size(), 1000u);
  EXPECT_EQ(second.size(), 500u);
  EXPECT_EQ(*second.Find(1), -1);
  EXPECT_EQ(second.Find(2), nullptr);
}

TEST(PersistentMap, SurvivesEqualHashes) {
  PersistentMap<Collider, int> map;
  for (int i = 0; i < 200; ++i) map.Set({i, 2}, i);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(*map.Find({i, 2}), i);
  for (int i = 0; i < 200; i += 3) map.Erase({i, 2});
  for (int i = 0; i < 200; ++i) ASSERT_EQ(map.Find({i, 2}) == nullptr, i % 3 == 0);
}

TEST(PersistentMap, RandomChangesEqualAStdMapAndOldCopiesStay) {
  std::mt19937 random(7);
  PersistentMap<int, int> map;
  std::map<int, int> expected;
  std::vector<std::pair<PersistentMap<int, int>, std::map<int, int>>> copies;
  for (int step = 0; step < 20000; ++step) {
    const int key = static_cast<int>(random() % 500);
    if (random() % 3 == 0) {
      map.Erase(key);
      expected.erase(key);
    } else {
      map.Set(key, step);
      expected[key] = step;
    }
    if (step % 1000 == 0) copies.emplace_back(map, expected);
  }
  copies.emplace_back(map, expected);
  for (const auto& [copy, values] : copies) {
    std::map<int, int> seen;
    copy.ForEach([&](int key, int value) { seen[key] = value; });
    ASSERT_EQ(seen, values);
    ASSERT_EQ(copy.size(), values.size());
  }
}

}  // namespace
}  // namespace weft::ctl
