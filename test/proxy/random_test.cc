#include "dataplane/proxy/random.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>

namespace weft::proxy {
namespace {

TEST(Random, FollowsItsSeed) {
  Random a(1), b(1), c(2);
  for (int i = 0; i < 100; ++i) {
    uint64_t n = a.Next();
    EXPECT_EQ(n, b.Next());
    EXPECT_NE(n, c.Next());
  }
}

TEST(Random, EveryBitIsSetHalfTheTime) {
  Random r(0);
  int ones[64] = {};
  for (int i = 0; i < 10'000; ++i) {
    uint64_t n = r.Next();
    for (int bit = 0; bit < 64; ++bit) ones[bit] += static_cast<int>(n >> bit & 1);
  }
  for (int n : ones) EXPECT_NEAR(n, 5000, 300);
}

TEST(Random, UuidsAreVersion4AndDiffer) {
  Random r(42);
  std::set<std::string> seen;
  std::string variants;
  for (int i = 0; i < 10'000; ++i) {
    char buf[37] = {};
    buf[36] = '!';
    r.Uuid(buf);
    EXPECT_EQ(buf[36], '!') << "36 characters and no more";
    std::string u(buf, 36);
    for (size_t at = 0; at < 36; ++at) {
      if (at == 8 || at == 13 || at == 18 || at == 23) {
        EXPECT_EQ(u[at], '-');
      } else {
        EXPECT_NE(std::string("0123456789abcdef").find(u[at]), std::string::npos) << u;
      }
    }
    EXPECT_EQ(u[14], '4') << u;
    EXPECT_NE(std::string("89ab").find(u[19]), std::string::npos) << u;
    variants += u[19];
    EXPECT_TRUE(seen.insert(u).second) << "twice: " << u;
  }
  for (char v : {'8', '9', 'a', 'b'}) EXPECT_NE(variants.find(v), std::string::npos);
}

}  // namespace
}  // namespace weft::proxy
