#include "dataplane/decide/virtual_hosts.h"

#include "gtest/gtest.h"

namespace weft::decide {
namespace {

using AddResult = VirtualHostIndex::AddResult;

TEST(VirtualHostIndexTest, MostSpecificFirst) {
  VirtualHostIndex index;
  ASSERT_EQ(index.Add("*", 0), AddResult::kOk);
  ASSERT_EQ(index.Add("www.example.com", 1), AddResult::kOk);
  ASSERT_EQ(index.Add("*.example.com", 2), AddResult::kOk);
  ASSERT_EQ(index.Add("*-bar.example.com", 3), AddResult::kOk);
  ASSERT_EQ(index.Add("*.com", 4), AddResult::kOk);
  ASSERT_EQ(index.Add("www.*", 5), AddResult::kOk);
  ASSERT_EQ(index.Add("www.example.*", 6), AddResult::kOk);
  ASSERT_EQ(index.Add("reviews:9080", 7), AddResult::kOk);
  ASSERT_EQ(index.Add("[::1]:80", 8), AddResult::kOk);
  index.Seal();
  struct Case {
    const char* host;
    uint32_t want;
  } cases[] = {
      {"www.example.com", 1},     {"WWW.Example.COM", 1},  {"x.example.com", 2},   {"foo-bar.example.com", 3},
      {"-bar.example.com", 2},    // a wildcard takes at least one character: the next shorter suffix fits
      {".example.com", 4},        {"other.com", 4},        {"www.example.org", 6}, {"www.other.org", 5},
      {"www.example.", 5},        {"www.", 0},             {"nothing", 0},         {"", 0},
      {"reviews:9080", 7},        {"reviews:9081", 0},     {"reviews", 0},         {"[::1]:80", 8},
      {"www.example.com:80", 6},  // ports count: no suffix fits, the longest prefix does
  };
  for (const Case& c : cases) EXPECT_EQ(index.Find(c.host), c.want) << c.host;
}

TEST(VirtualHostIndexTest, NoneWithoutCatchAll) {
  VirtualHostIndex index;
  index.Add("a", 0);
  index.Seal();
  EXPECT_EQ(index.Find("b"), VirtualHostIndex::kNone);
  EXPECT_EQ(index.Find(""), VirtualHostIndex::kNone);
}

TEST(VirtualHostIndexTest, DuplicatesAndBadWildcards) {
  VirtualHostIndex index;
  EXPECT_EQ(index.Add("a.com", 0), AddResult::kOk);
  EXPECT_EQ(index.Add("A.com", 1), AddResult::kDuplicate);
  EXPECT_EQ(index.Add("*.a.com", 1), AddResult::kOk);
  EXPECT_EQ(index.Add("*.A.com", 1), AddResult::kDuplicate);
  EXPECT_EQ(index.Add("a.*", 1), AddResult::kOk);
  EXPECT_EQ(index.Add("a.*", 1), AddResult::kDuplicate);
  EXPECT_EQ(index.Add("*", 1), AddResult::kOk);
  EXPECT_EQ(index.Add("*", 1), AddResult::kDuplicate);
  EXPECT_EQ(index.Add("a.*.com", 1), AddResult::kBadWildcard);
  EXPECT_EQ(index.Add("*.a.*", 1), AddResult::kBadWildcard);
  EXPECT_EQ(index.Add("**", 1), AddResult::kBadWildcard);
}

TEST(HostWithoutPortTest, Table) {
  EXPECT_EQ(HostWithoutPort("a:80"), "a");
  EXPECT_EQ(HostWithoutPort("a"), "a");
  EXPECT_EQ(HostWithoutPort("a:"), "a:");
  EXPECT_EQ(HostWithoutPort("a:b"), "a:b");
  EXPECT_EQ(HostWithoutPort("[::1]"), "[::1]");
  EXPECT_EQ(HostWithoutPort("[::1]:80"), "[::1]");
  EXPECT_EQ(HostWithoutPort(""), "");
}

}  // namespace
}  // namespace weft::decide
