#include "controlplane/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace weft::ctl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(Graph, ComputesOnceAndAgainAfterAChange) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, int> twice(graph, "twice", [&](const int& key, Reader& reader) {
    const int* value = reader.Get(input, key);
    return value == nullptr ? -1 : *value * 2;
  });
  EXPECT_EQ(twice.Observe(1), -1);
  input.Set(1, 21);
  EXPECT_EQ(twice.Get(1), 42);
  EXPECT_EQ(twice.Get(1), 42);
  EXPECT_EQ(twice.computed(), 2u);
  EXPECT_FALSE(input.Set(1, 21));
  EXPECT_EQ(twice.Get(1), 42);
  EXPECT_EQ(twice.computed(), 2u);
  EXPECT_TRUE(input.Erase(1));
  EXPECT_EQ(twice.Get(1), -1);
  EXPECT_FALSE(input.Erase(1));
}

TEST(Graph, AChangeConcernsOnlyWhatReadIt) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, int> copy(graph, "copy", [&](const int& key, Reader& reader) { return *reader.Get(input, key); });
  for (int i = 0; i < 100; ++i) input.Set(i, i);
  for (int i = 0; i < 100; ++i) copy.Observe(i);
  EXPECT_EQ(copy.computed(), 100u);
  input.Set(7, 70);
  EXPECT_THAT(copy.TakeChanged(), ElementsAre(Pair(7, 70)));
  EXPECT_EQ(copy.computed(), 101u);
  EXPECT_THAT(copy.TakeChanged(), IsEmpty());
}

TEST(Graph, AnEqualResultEndsTheChange) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, bool> even(graph, "even",
                             [&](const int& key, Reader& reader) { return *reader.Get(input, key) % 2 == 0; });
  Derivation<int, std::string> word(graph, "word", [&](const int& key, Reader& reader) {
    return std::string(reader.Get(even, key) ? "even" : "odd");
  });
  input.Set(0, 2);
  EXPECT_EQ(word.Observe(0), "even");
  input.Set(0, 4);
  EXPECT_THAT(word.TakeChanged(), IsEmpty());
  EXPECT_EQ(even.computed(), 2u);
  EXPECT_EQ(word.computed(), 1u) << "its only input has the same value as before";
  input.Set(0, 5);
  EXPECT_THAT(word.TakeChanged(), ElementsAre(Pair(0, "odd")));
}

TEST(Graph, ReadersKeepTheOldObjectWhenTheNewOneIsEqual) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, std::shared_ptr<const std::string>> text(graph, "text", [&](const int& key, Reader& reader) {
    return std::make_shared<const std::string>(*reader.Get(input, key) < 10 ? "small" : "large");
  });
  input.Set(0, 1);
  auto before = text.Observe(0);
  input.Set(0, 2);
  EXPECT_EQ(text.Get(0).get(), before.get());
}

TEST(Graph, WhatIsNoLongerReadDoesNotInvalidate) {
  Graph graph;
  Input<std::string, int> input(graph, "input");
  Derivation<int, int> choice(graph, "choice", [&](const int&, Reader& reader) {
    return *reader.Get(input, std::string(*reader.Get(input, std::string("which")) == 0 ? "a" : "b"));
  });
  input.Set("which", 0);
  input.Set("a", 1);
  input.Set("b", 2);
  EXPECT_EQ(choice.Observe(0), 1);
  input.Set("b", 3);
  EXPECT_THAT(choice.TakeChanged(), IsEmpty());
  EXPECT_EQ(choice.computed(), 1u);
  input.Set("which", 1);
  EXPECT_THAT(choice.TakeChanged(), ElementsAre(Pair(0, 3)));
  input.Set("a", 9);
  EXPECT_THAT(choice.TakeChanged(), IsEmpty());
  EXPECT_EQ(choice.computed(), 2u);
}

// A cell that another one reads is brought up to date on the way; its own change must be reported all the same.
TEST(Graph, ReportsObservedCellsThatOthersRead) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, int> low(graph, "low", [&](const int& key, Reader& reader) { return *reader.Get(input, key); });
  Derivation<int, int> high(graph, "high", [&](const int& key, Reader& reader) { return reader.Get(low, key) + 1; });
  input.Set(0, 0);
  low.Observe(0);
  high.Observe(0);
  input.Set(0, 1);
  EXPECT_THAT(high.TakeChanged(), ElementsAre(Pair(0, 2)));
  EXPECT_THAT(low.TakeChanged(), ElementsAre(Pair(0, 1)));
}

TEST(Graph, IndexFollowsValues) {
  Graph graph;
  Input<std::string, int> ports(graph, "ports");
  Index<int, std::string, int> by_port(graph, "by_port", ports,
                                       [](const std::string&, const int& port) { return std::vector<int>{port}; });
  Derivation<int, std::string> names(graph, "names", [&](const int& port, Reader& reader) {
    std::string out;
    for (const std::string& name : reader.Find(by_port, port)) out += name + " ";
    return out;
  });
  EXPECT_EQ(names.Observe(80), "");
  ports.Set("b", 80);
  ports.Set("a", 80);
  ports.Set("c", 81);
  EXPECT_THAT(names.TakeChanged(), ElementsAre(Pair(80, "a b ")));
  ports.Set("c", 82);
  EXPECT_THAT(names.TakeChanged(), IsEmpty());
  EXPECT_EQ(names.computed(), 2u) << "another bucket";
  ports.Set("a", 81);
  ports.Erase("b");
  EXPECT_THAT(names.TakeChanged(), ElementsAre(Pair(80, "")));
}

TEST(Graph, ForgetsWhatNobodyNeeds) {
  Graph graph;
  Input<int, int> input(graph, "input");
  Derivation<int, int> low(graph, "low", [&](const int& key, Reader& reader) {
    const int* value = reader.Get(input, key);
    return value == nullptr ? 0 : *value;
  });
  Derivation<int, int> high(graph, "high", [&](const int& key, Reader& reader) { return reader.Get(low, key); });
  for (int i = 0; i < 50; ++i) high.Get(i);
  EXPECT_EQ(graph.cells(), 0u) << "nothing observes them, and the inputs are absent";
  input.Set(1, 5);
  high.Observe(1);
  low.Observe(1);
  EXPECT_EQ(graph.cells(), 3u);
  high.Unobserve(1);
  EXPECT_EQ(graph.cells(), 2u);
  low.Unobserve(1);
  EXPECT_EQ(graph.cells(), 1u) << "the input's value stays";
  input.Erase(1);
  EXPECT_EQ(graph.cells(), 0u);
}

TEST(GraphDeathTest, ACycleAbortsWithTheNames) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Graph graph;
  Derivation<int, int>* second = nullptr;
  Derivation<int, int> first(graph, "first", [&](const int& k, Reader& reader) { return reader.Get(*second, k); });
  Derivation<int, int> other(graph, "other", [&](const int& k, Reader& reader) { return reader.Get(first, k); });
  second = &other;
  EXPECT_DEATH(first.Get(0), "first -> other -> first");
}

// A mesh in small: numbers in groups, sums by group, and an observed report per group that reads only some of the sums,
// depending on values. Each has its own table, so that recomputations can be counted.
struct World {
  using Item = std::pair<int, int>;  // group, value
  Graph graph;
  Input<int, Item> items{graph, "items"};
  Input<int, int> links{graph, "links"};
  Index<int, int, Item> by_group{graph, "by_group", items,
                                 [](const int&, const Item& item) { return std::vector<int>{item.first}; }};
  Derivation<int, int> sum{graph, "sum", [this](const int& group, Reader& reader) {
                             int total = 0;
                             for (int key : reader.Find(by_group, group)) total += reader.Get(items, key)->second;
                             return total;
                           }};
  Derivation<int, int> digit{graph, "digit",
                             [this](const int& group, Reader& reader) { return reader.Get(sum, group) / 10; }};
  Derivation<int, std::string> report{graph, "report", [this](const int& group, Reader& reader) {
                                        std::string out = std::to_string(reader.Get(digit, group));
                                        // Follows links through other groups, at most a few: which cells it reads
                                        // depends on values.
                                        int at = group;
                                        for (int i = 0; i < 4; ++i) {
                                          const int* next = reader.Get(links, at);
                                          if (next == nullptr) break;
                                          at = *next;
                                          out += "," + std::to_string(reader.Get(digit, at));
                                        }
                                        return out;
                                      }};
};

// Random changes; after each one, what the incremental graph says equals what a graph says that is made anew from the
// same inputs, and the changes that it tells are exactly the differences.
TEST(GraphProperty, IncrementalEqualsFromScratch) {
  const char* steps_text = std::getenv("WEFT_GRAPH_STEPS");
  const int steps = steps_text != nullptr ? std::atoi(steps_text) : 20000;
  constexpr int kGroups = 8, kItems = 24;
  std::mt19937 random(12345);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };

  World world;
  std::map<int, World::Item> items;
  std::map<int, int> links;
  std::map<int, std::string> known;     // observed groups and the value last told
  for (int step = 0; step < steps; ++step) {
    for (int changes = 1 + pick(3); changes > 0; --changes) {
      switch (pick(6)) {
        case 0:
        case 1: {
          const int key = pick(kItems);
          items[key] = {pick(kGroups), pick(40)};
          world.items.Set(key, items[key]);
          break;
        }
        case 2: {
          const int key = pick(kItems);
          items.erase(key);
          world.items.Erase(key);
          break;
        }
        case 3: {
          const int group = pick(kGroups);
          links[group] = pick(kGroups);
          world.links.Set(group, links[group]);
          break;
        }
        case 4: {
          const int group = pick(kGroups);
          links.erase(group);
          world.links.Erase(group);
          break;
        }
        case 5: {
          const int group = pick(kGroups);
          if (known.contains(group)) {
            world.report.Unobserve(group);
            known.erase(group);
          } else {
            known[group] = world.report.Observe(group);
          }
          break;
        }
      }
    }
    World fresh;
    for (const auto& [key, item] : items) fresh.items.Set(key, item);
    for (const auto& [group, to] : links) fresh.links.Set(group, to);

    std::map<int, std::string> told;
    for (auto& [group, value] : world.report.TakeChanged()) told[group] = value;
    for (auto& [group, value] : known) {
      const std::string expected = fresh.report.Get(group);
      // A group observed in this step may be told again, with the value that Observe gave or a newer one.
      if (auto it = told.find(group); it != told.end()) value = it->second;
      ASSERT_EQ(value, expected) << "step " << step << ", group " << group;
      told.erase(group);
    }
    ASSERT_TRUE(told.empty()) << "step " << step << ": told a group that nobody observes";
    const int any = pick(kGroups);
    ASSERT_EQ(world.report.Get(any), fresh.report.Get(any)) << "step " << step;
  }
  for (const auto& [group, value] : known) world.report.Unobserve(group);
  EXPECT_EQ(world.graph.cells(), items.size() + links.size() + [&] {
    std::set<int> groups;
    for (const auto& [key, item] : items) groups.insert(item.first);
    return groups.size();
  }());
}

// The count is what an incremental graph is for: independent of how much there is.
TEST(Graph, CountsRecomputations) {
  World world;
  for (int i = 0; i < 1000; ++i) world.items.Set(i, {i % 100, 1});
  for (int group = 0; group < 100; ++group) world.report.Observe(group);
  const uint64_t sums = world.sum.computed(), digits = world.digit.computed(), reports = world.report.computed();
  EXPECT_EQ(sums, 100u);
  EXPECT_EQ(reports, 100u);

  world.items.Set(5, {5, 2});  // 10 -> 11: the tens stay
  EXPECT_THAT(world.report.TakeChanged(), IsEmpty());
  EXPECT_EQ(world.sum.computed() - sums, 1u);
  EXPECT_EQ(world.digit.computed() - digits, 1u);
  EXPECT_EQ(world.report.computed() - reports, 0u);

  world.items.Set(5, {5, 20});
  EXPECT_THAT(world.report.TakeChanged(), ElementsAre(Pair(5, "2")));
  EXPECT_EQ(world.sum.computed() - sums, 2u);
  EXPECT_EQ(world.digit.computed() - digits, 2u);
  EXPECT_EQ(world.report.computed() - reports, 1u);

  world.items.Set(6, {7, 1});  // from group 6 to group 7: two sums
  EXPECT_EQ(world.report.TakeChanged().size(), 1u) << "9 and 11: the tens of one differ";
  EXPECT_EQ(world.sum.computed() - sums, 4u);
}

}  // namespace
}  // namespace weft::ctl
