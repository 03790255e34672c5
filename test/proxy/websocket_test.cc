#include "dataplane/proxy/websocket.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace weft::proxy {
namespace {

std::string Answer(std::string_view key) {
  std::string out(kWebSocketAcceptSize, 0);
  AnswerWebSocketKey(key, out.data());
  return out;
}

TEST(WebSocketTest, TheAnswerOfTheRfc) {
  EXPECT_EQ(Answer("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

// Lengths around the borders of SHA-1's blocks, together with the 36 bytes that are appended;
// the values are OpenSSL's.
TEST(WebSocketTest, AnyLength) {
  EXPECT_EQ(Answer(""), "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
  EXPECT_EQ(Answer(std::string(19, 'a')), "yzaGyu0mcUukN7CdsSwa30tnCpc=");
  EXPECT_EQ(Answer(std::string(20, 'a')), "dUYRM7bOMwDmbriNIPr11x+r3E0=");
  EXPECT_EQ(Answer(std::string(28, 'a')), "xMWmCBqYJY4uXzUs8PNU1t+Pzro=");
  EXPECT_EQ(Answer(std::string(200, 'a')), "W7nwfYCuwcatB7HT3divf5cVU2A=");
}

TEST(WebSocketTest, KeysAre16RandomBytes) {
  Random random(7);
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    std::string key(kWebSocketKeySize, 0);
    MakeWebSocketKey(random, key.data());
    EXPECT_TRUE(key.ends_with("==") && key[21] != '=') << key;
    seen.insert(key);
  }
  EXPECT_EQ(seen.size(), 100u);
}

}  // namespace
}  // namespace weft::proxy
