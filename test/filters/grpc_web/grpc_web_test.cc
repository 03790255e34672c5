#include "dataplane/filters/grpc_web/grpc_web.h"

#include <gtest/gtest.h>

namespace weft::filters {
namespace {

TEST(GrpcWebTest, Base64) {
  for (const char* plain : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    std::string text, back;
    AppendBase64(plain, &text);
    Base64Decoder d;
    for (char c : text) ASSERT_TRUE(d.Decode({&c, 1}, &back)) << text;
    EXPECT_TRUE(d.complete());
    EXPECT_EQ(back, plain);
  }
  std::string text;
  AppendBase64("fooba", &text);
  EXPECT_EQ(text, "Zm9vYmE=");
}

TEST(GrpcWebTest, GroupsMayFollowPadding) {
  Base64Decoder d;
  std::string out;
  EXPECT_TRUE(d.Decode("Zg==Zm8=Zm9v", &out));
  EXPECT_EQ(out, "ffofoo");
}

TEST(GrpcWebTest, WhatIsNotBase64) {
  for (const char* bad : {"!", "Z=", "=", "Zg=x", "Zg =", "Z\n"}) {
    Base64Decoder d;
    std::string out;
    EXPECT_FALSE(d.Decode(bad, &out)) << bad;
  }
  Base64Decoder d;
  std::string out;
  EXPECT_TRUE(d.Decode("Zm9vYg", &out));
  EXPECT_FALSE(d.complete());
}

}  // namespace
}  // namespace weft::filters
