#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "controlplane/ingest/object_store.h"
#include "controlplane/model/hash.h"
#include "controlplane/model/hosts.h"
#include "controlplane/model/service.h"
#include "controlplane/model/validate.h"

namespace weft::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Hosts, ShortNamesAreOfTheNamespace) {
  EXPECT_EQ(FullHost("reviews", "default", "cluster.local"), "reviews.default.svc.cluster.local");
  EXPECT_EQ(FullHost("reviews", "prod", "mesh.example"), "reviews.prod.svc.mesh.example");
  EXPECT_EQ(FullHost("reviews.default", "prod", "cluster.local"), "reviews.default");
  EXPECT_EQ(FullHost("*.example.com", "prod", "cluster.local"), "*.example.com");
  EXPECT_EQ(FullHost("*", "prod", "cluster.local"), "*");
}

TEST(Hosts, Aliases) {
  EXPECT_THAT(HostAliases("reviews.default.svc.cluster.local", "default", "cluster.local"),
              ElementsAre("reviews.default.svc", "reviews.default", "reviews"));
  EXPECT_THAT(HostAliases("reviews.default.svc.cluster.local", "prod", "cluster.local"),
              ElementsAre("reviews.default.svc", "reviews.default"));
  for (const char* host : {"example.com", "svc.cluster.local", ".svc.cluster.local", "a.b.c.svc.cluster.local",
                           "reviews.default.svc.cluster.local.", "*.default.svc.cluster.local"}) {
    EXPECT_THAT(HostAliases(host, "default", "cluster.local"), IsEmpty()) << host;
  }
}

TEST(Hosts, Wildcards) {
  EXPECT_THAT(HostAndWildcards("a.b.c"), ElementsAre("a.b.c", "*.b.c", "*.c", "*"));
  EXPECT_THAT(HostAndWildcards("*.b.c"), ElementsAre("*.b.c", "*.c", "*"));
  EXPECT_THAT(HostAndWildcards("a"), ElementsAre("a", "*"));
  EXPECT_THAT(HostAndWildcards("*"), ElementsAre("*"));
}

TEST(Hosts, Namespace) {
  EXPECT_EQ(NamespaceOfHost("reviews.default.svc.cluster.local", "cluster.local"), "default");
  EXPECT_EQ(NamespaceOfHost("example.com", "cluster.local"), "");
  EXPECT_EQ(NamespaceOfHost("a.svc.cluster.local", "cluster.local"), "");
}

TEST(Names, Dns) {
  EXPECT_EQ(CheckDnsName("a"), "");
  EXPECT_EQ(CheckDnsName("reviews.default.svc.cluster.local"), "");
  EXPECT_EQ(CheckDnsName(std::string(63, 'a') + ".b"), "");
  for (const std::string& bad : {std::string(), std::string("a..b"), std::string("."), std::string("a."), std::string("A"),
                                 std::string("a_b"), std::string("-a"), std::string("a-"), std::string("a b"),
                                 std::string(64, 'a'), std::string(300, 'a'), std::string("a\0b", 3)}) {
    EXPECT_NE(CheckDnsName(bad), "") << bad;
  }
}

TEST(Names, SplitList) {
  EXPECT_THAT(SplitList("a, b ,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(SplitList("a"), ElementsAre("a"));
  EXPECT_THAT(SplitList("a,,"), ElementsAre("a", "", ""));
}

TEST(Labels, Match) {
  const Labels labels{{"app", "reviews"}, {"version", "v1"}};
  EXPECT_TRUE(Matches({}, labels));
  EXPECT_TRUE(Matches({{"app", "reviews"}}, labels));
  EXPECT_FALSE(Matches({{"app", "reviews"}, {"version", "v2"}}, labels));
  EXPECT_FALSE(Matches({{"zone", ""}}, labels));
}

TEST(Claims, TheServicesNamespaceComesFirst) {
  const ObjectKey a{"VirtualService", "a", "z"}, b{"VirtualService", "b", "x"}, b2{"VirtualService", "b", "y"};
  EXPECT_EQ(*Preferred({b2, b, a}, "b"), b);
  EXPECT_EQ(*Preferred({b2, b, a}, "c"), a);
  EXPECT_EQ(Preferred({}, "c"), nullptr);
}

// Versions are compared between controllers and between runs: these values must never change.
TEST(Hash, IsTheSameForEver) {
  EXPECT_EQ(HexHash(StableHash("")), HexHash(StableHash("")));
  EXPECT_EQ(HexHash(StableHash("weft")), "5402ac7269f46ff6");
  EXPECT_EQ(HexHash(StableHash("outbound|9080|v1|reviews.default.svc.cluster.local")), "18cb1d7cc2f0c104");
  EXPECT_NE(StableHash("a", 1), StableHash("a", 2));
}

TEST(Hash, EachByteAndTheLengthCount) {
  std::mt19937 random(1);
  std::set<uint64_t> seen;
  size_t made = 0;
  for (size_t length = 0; length < 70; ++length) {
    const std::string zeros(length, '\0');
    seen.insert(StableHash(zeros));
    ++made;
    for (size_t i = 0; i < length; ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string text = zeros;
        text[i] = static_cast<char>(1 << bit);
        seen.insert(StableHash(text));
        ++made;
      }
    }
  }
  EXPECT_EQ(seen.size(), made);
}

}  // namespace
}  // namespace weft::ctl
