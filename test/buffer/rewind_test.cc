// A body that has to be sent again.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace weft::buffer
