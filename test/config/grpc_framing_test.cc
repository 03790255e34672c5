#include "dataplane/config/grpc_framing.h"

#include <gtest/gtest.h>

#include <random>

namespace weft::config {
namespace {

std::string Frame(std::string_view message, char flags = 0) {
  char h[5];
  WriteGrpcHeader(static_cast<uint32_t>(message.size()), h);
  h[0] = flags;
  return std::string(h, 5).append(message);
}

class GrpcFramingTest : public ::testing::Test {
 protected:
  GrpcStatus Feed(GrpcDecoder& d, std::string_view bytes, std::vector<std::string>* out) {
    buffer::SliceBuffer b;
    b.AppendCopy(slab_, bytes);
    GrpcStatus s = d.Decode(b, out);
    EXPECT_TRUE(b.empty());
    return s;
  }
  buffer::Slab slab_;
};

TEST_F(GrpcFramingTest, OneByteAtATime) {
  GrpcDecoder d(100);
  std::string bytes = Frame("hello") + Frame("") + Frame("x");
  std::vector<std::string> out;
  for (char c : bytes) ASSERT_TRUE(Feed(d, {&c, 1}, &out).ok());
  EXPECT_EQ(out, (std::vector<std::string>{"hello", "", "x"}));
  EXPECT_TRUE(d.at_boundary());
}

TEST_F(GrpcFramingTest, AnySplitGivesTheSameMessages) {
  std::mt19937 rnd(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> want, got;
    std::string bytes;
    for (int i = rnd() % 6; i >= 0; --i) {
      want.push_back(std::string(rnd() % 3 == 0 ? 0 : rnd() % 40000, static_cast<char>('a' + i)));
      bytes += Frame(want.back());
    }
    GrpcDecoder d(1 << 20);
    for (size_t at = 0; at < bytes.size();) {
      size_t n = std::min<size_t>(bytes.size() - at, 1 + rnd() % 9000);
      ASSERT_TRUE(Feed(d, std::string_view(bytes).substr(at, n), &got).ok());
      at += n;
    }
    EXPECT_EQ(got, want);
    EXPECT_TRUE(d.at_boundary());
  }
}

TEST_F(GrpcFramingTest, BrokenFrames) {
  struct Case {
    std::string bytes, want;
  } cases[] = {
      {Frame("abc", 1), "INTERNAL: peer sent a compressed message although none was asked for"},
      {Frame("abc", 2), "INTERNAL: peer sent a message with reserved flags"},
      {Frame("abc", '\xff'), "INTERNAL: peer sent a message with reserved flags"},
      {Frame(std::string(101, 'a')), "RESOURCE_EXHAUSTED: peer sent a message of 101 bytes; the limit is 100"},
      {std::string("\0\xff\xff\xff\xff", 5), "RESOURCE_EXHAUSTED: peer sent a message of 4294967295 bytes; the limit is 100"},
  };
  for (const Case& c : cases) {
    GrpcDecoder d(100);
    std::vector<std::string> out;
    EXPECT_EQ(Feed(d, Frame("ok") + c.bytes, &out).ToString(), c.want);
    EXPECT_EQ(out, std::vector<std::string>{"ok"});
    // Broken stays broken.
    EXPECT_EQ(Feed(d, Frame("more"), &out).ToString(), c.want);
    EXPECT_EQ(out.size(), 1u);
  }
}

TEST_F(GrpcFramingTest, AnnouncedLengthTakesNoMemory) {
  GrpcDecoder d(64u << 20);
  std::vector<std::string> out;
  ASSERT_TRUE(Feed(d, std::string("\0\x03\xff\xff\xff" "abc", 8), &out).ok());
  EXPECT_EQ(d.buffered(), 3u);
  EXPECT_FALSE(d.at_boundary());
}

TEST(GrpcStatusTest, Parsing) {
  EXPECT_EQ(ParseGrpcStatus("0", "").ToString(), "OK");
  EXPECT_EQ(ParseGrpcStatus("14", "down %F0%9F%98%80").ToString(), "UNAVAILABLE: down \xF0\x9F\x98\x80");
  EXPECT_EQ(ParseGrpcStatus("17", "x").ToString(), "UNKNOWN: peer sent grpc-status \"17\": x");
  EXPECT_EQ(ParseGrpcStatus("-1", "").code, GrpcCode::kUnknown);
  EXPECT_EQ(ParseGrpcStatus("", "").code, GrpcCode::kUnknown);
  EXPECT_EQ(ParseGrpcStatus("1x", "").code, GrpcCode::kUnknown);
  EXPECT_EQ(PercentDecode("100%"), "100%");
  EXPECT_EQ(PercentDecode("%zz%4"), "%zz%4");
  EXPECT_EQ(PercentDecode("%41%62"), "Ab");
}

}  // namespace
}  // namespace weft::config
