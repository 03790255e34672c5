#include "dataplane/decide/route_index.h"

#include <algorithm>
#include <random>
#include <set>

#include "dataplane/base/strings.h"
#include "gtest/gtest.h"

namespace weft::decide {
namespace {

std::vector<uint32_t> Find(const RouteIndex& index, std::string_view path) {
  RouteIndex::Cursor cursors[RouteIndex::kMaxCursors];
  size_t count = 0;
  EXPECT_TRUE(index.Find(path, cursors, &count));
  std::vector<uint32_t> out;
  for (size_t i = 0; i < count; ++i) {
    EXPECT_LT(cursors[i].at, cursors[i].end) << "no empty lists";
    EXPECT_TRUE(std::is_sorted(cursors[i].at, cursors[i].end));
    out.insert(out.end(), cursors[i].at, cursors[i].end);
  }
  std::sort(out.begin(), out.end());
  return out;
}

using Routes = std::vector<uint32_t>;

TEST(RouteIndexTest, PrefixesAndExactPaths) {
  RouteIndex index;
  index.Build({{"/api", 0, false}, {"/api", 1, true}, {"/api/v1", 2, false}, {"/", 3, false}, {"", 4, false},
               {"/apix", 5, true}, {"/api", 6, false}, {"/b", 7, false}},
              false);
  EXPECT_EQ(Find(index, "/api"), (Routes{0, 1, 3, 4, 6}));
  EXPECT_EQ(Find(index, "/api/"), (Routes{0, 3, 4, 6}));
  EXPECT_EQ(Find(index, "/api/v1/x"), (Routes{0, 2, 3, 4, 6}));
  EXPECT_EQ(Find(index, "/apix"), (Routes{0, 3, 4, 5, 6}));
  EXPECT_EQ(Find(index, "/apixx"), (Routes{0, 3, 4, 6}));
  EXPECT_EQ(Find(index, "/a"), (Routes{3, 4}));
  EXPECT_EQ(Find(index, ""), (Routes{4}));
  EXPECT_EQ(Find(index, "x"), (Routes{4}));
}

TEST(RouteIndexTest, Empty) {
  RouteIndex index;
  EXPECT_TRUE(index.empty());
  EXPECT_EQ(Find(index, "/"), Routes{});
}

TEST(RouteIndexTest, FoldsCase) {
  RouteIndex index;
  index.Build({{"/api", 0, false}, {"/apx", 1, true}}, true);
  EXPECT_EQ(Find(index, "/API/x"), Routes{0});
  EXPECT_EQ(Find(index, "/aPX"), Routes{1});
}

TEST(RouteIndexTest, BytesAbove127) {
  RouteIndex index;
  index.Build({{"/\xc3\xa9", 0, false}, {"/a", 1, false}, {"/\xff", 2, true}, {"/\x01", 3, false}}, false);
  EXPECT_EQ(Find(index, "/\xc3\xa9t"), Routes{0});
  EXPECT_EQ(Find(index, "/\xff"), Routes{2});
  EXPECT_EQ(Find(index, "/\x01"), Routes{3});
  EXPECT_EQ(Find(index, "/ab"), Routes{1});
}

TEST(RouteIndexTest, DeepChainsSaySo) {
  std::vector<RouteIndex::Key> keys;
  std::string text;
  for (uint32_t i = 0; i < 20000; ++i) {  // and building it must not recurse
    text += "a";
    if (i < 100 || i % 100 == 0) keys.push_back({text, i, false});
  }
  RouteIndex index;
  index.Build(keys, false);
  RouteIndex::Cursor cursors[RouteIndex::kMaxCursors];
  size_t count = 0;
  EXPECT_FALSE(index.Find(text, cursors, &count));
  count = 0;
  EXPECT_TRUE(index.Find("aaa", cursors, &count));
  EXPECT_EQ(count, 3u);
}

TEST(RouteIndexTest, AgreesWithALinearScan) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    const bool fold = round % 2 == 1;
    auto text = [&](size_t max) {
      std::string s;
      for (size_t n = random() % (max + 1); n > 0; --n) s.push_back("ab/A"[random() % (fold ? 4 : 3)]);
      return s;
    };
    std::vector<RouteIndex::Key> keys;
    for (uint32_t i = 0; i < 1 + random() % 40; ++i) {
      std::string t = text(6);
      keys.push_back({fold ? AsciiLower(t) : t, i, random() % 3 == 0});
    }
    RouteIndex index;
    index.Build(keys, fold);
    for (int i = 0; i < 50; ++i) {
      std::string path = text(8);
      std::string folded = fold ? AsciiLower(path) : path;
      Routes want;
      for (const RouteIndex::Key& k : keys) {
        if (k.exact ? folded == k.text : folded.starts_with(k.text)) want.push_back(k.route);
      }
      ASSERT_EQ(Find(index, path), want) << path;
    }
  }
}

}  // namespace
}  // namespace weft::decide
