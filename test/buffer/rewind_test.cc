// A body that has to be sent again.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "dataplane/buffer/body_pipe.h"

namespace weft::buffer {
namespace {

std::string PullAll(BodyPipe& pipe, size_t max = SIZE_MAX) {
  SliceBuffer out;
  pipe.Pull(out, max);
  return out.ToString();
}

TEST(RewindTest, WhatWasPulledComesBack) {
  BodyPipe pipe;
  pipe.Reset(nullptr);
  pipe.KeepPulled(100);
  pipe.Write(Slice::Static("hello "));
  EXPECT_EQ(PullAll(pipe, 2), "he");
  EXPECT_EQ(PullAll(pipe), "llo ");
  EXPECT_EQ(pipe.taken(), 6u);
  pipe.Write(Slice::Static("world"));
  EXPECT_TRUE(pipe.CanRewind());
  pipe.Rewind();
  EXPECT_EQ(pipe.available(), 11u);
  EXPECT_EQ(pipe.taken(), 6u) << "a producer's window is not given twice";
  EXPECT_EQ(PullAll(pipe, 8), "hello wo");
  pipe.Rewind();
  EXPECT_EQ(PullAll(pipe), "hello world");
  pipe.End();
  EXPECT_TRUE(pipe.finished());
  pipe.Rewind();
  EXPECT_FALSE(pipe.finished());
  EXPECT_EQ(PullAll(pipe), "hello world");
}

TEST(RewindTest, PastTheCapNothingIsKept) {
  BodyPipe pipe;
  pipe.Reset(nullptr);
  pipe.KeepPulled(4);
  pipe.Write(Slice::Static("hello"));
  EXPECT_TRUE(pipe.CanRewind());
  PullAll(pipe);
  EXPECT_FALSE(pipe.CanRewind());
}

TEST(RewindTest, WithoutKeepingOnlyAnUntouchedBodyCanBeSentAgain) {
  BodyPipe pipe;
  pipe.Reset(nullptr);
  pipe.Write(Slice::Static("hello"));
  EXPECT_TRUE(pipe.CanRewind());
  PullAll(pipe, 1);
  EXPECT_FALSE(pipe.CanRewind());
}

TEST(RewindTest, ManySmallPiecesAreNotKept) {
  BodyPipe pipe;
  pipe.Reset(nullptr);
  pipe.KeepPulled(10000);
  for (int i = 0; i < 100; ++i) {
    pipe.Write(Slice::Static("x"));
    PullAll(pipe);
  }
  EXPECT_FALSE(pipe.CanRewind()) << "each would hold a block";
}

TEST(RewindTest, ACrowdKeepsLittle) {
  Slab slab;
  std::vector<BlockRef> crowd;
  for (const bool crowded : {false, true}) {
    while (crowded && !slab.crowded()) crowd.push_back(slab.GetBulk());
    BodyPipe pipe;
    pipe.Reset(nullptr);
    pipe.KeepPulled(64 * 1024);
    BlockRef block = slab.Get();
    memset(block->data(), 'x', 10'000);
    pipe.Write(Slice(block, block->data(), 1'000));
    PullAll(pipe);
    EXPECT_TRUE(pipe.CanRewind());
    pipe.Write(Slice(block, block->data() + 1'000, 9'000));
    PullAll(pipe);
    EXPECT_EQ(pipe.CanRewind(), !crowded);
  }
}

}  // namespace
}  // namespace weft::buffer
