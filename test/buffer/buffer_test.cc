#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "dataplane/buffer/body_pipe.h"
#include "dataplane/buffer/slice_buffer.h"

namespace weft::buffer {
namespace {

TEST(Slab, LargeBlocksForBodiesAreReusedAndFewAreKept) {
  Slab slab;
  Block* first = slab.GetBulk().get();
  EXPECT_EQ(slab.GetBulk().get(), first) << "a returned block is given out again";
  std::vector<BlockRef> held;
  for (int i = 0; i < 100; ++i) held.push_back(slab.GetBulk());
  EXPECT_EQ(held.back()->capacity(), Slab::kBulkBlockBytes);
  EXPECT_EQ(slab.in_use_bytes(), 100u * Slab::kBulkBlockBytes);
  held.clear();
  EXPECT_EQ(slab.in_use(), 0u);
  EXPECT_EQ(slab.Get()->capacity(), Slab::kBlockBytes) << "the two lists don't mix";
}

TEST(Slab, BlocksOfAnySizeAreAtMostHalfAsLargeAgain) {
  Slab slab;
  for (uint32_t bytes = 1; bytes < 100'000; bytes += 37) {
    BlockRef b = slab.GetSized(bytes);
    ASSERT_GE(b->capacity(), bytes);
    ASSERT_LE(b->capacity(), std::max(512u, bytes * 3 / 2 + 64)) << bytes;
  }
  EXPECT_EQ(slab.in_use(), 0u);
  for (uint32_t bytes : {Slab::kSmallBlockBytes, Slab::kBlockBytes, Slab::kBulkBlockBytes}) {
    EXPECT_EQ(slab.GetSized(bytes)->capacity(), bytes);
    Block* first = slab.GetSized(bytes).get();
    EXPECT_EQ(slab.GetSized(bytes - 10).get(), first) << "pooled";
  }
}

TEST(Slab, IsCrowdedByWhatIsInUse) {
  Slab slab;
  std::vector<BlockRef> held;
  while (!slab.crowded()) {
    held.push_back(slab.GetBulk());
    ASSERT_LE(held.size(), 20u);
  }
  EXPECT_GE(held.size(), 16u);
  held.pop_back();
  held.pop_back();
  EXPECT_FALSE(slab.crowded());
}

TEST(ReadPace, GrowsWithWhatIsTakenAndStartsAnewAfterAPause) {
  Slab slab;
  ReadPace pace;
  // A transfer without a pause: within 256 KB it has large blocks.
  size_t taken = 0, reads = 0;
  while (pace.Next(slab) < Slab::kBulkBlockBytes) {
    pace.OnRead(pace.Next(slab), true);
    taken += pace.Next(slab);
    ASSERT_LT(++reads, 20u);
  }
  EXPECT_LE(taken, 400u * 1024);
  // A read that fills no block needs no larger one.
  pace.OnRead(1000, false);
  EXPECT_EQ(pace.Next(slab), Slab::kBlockBytes);
  pace.OnRead(Slab::kBlockBytes, true);
  EXPECT_EQ(pace.Next(slab), Slab::kBulkBlockBytes);
  // Who took much before the pause is soon trusted again, who took little is not.
  pace.OnPause();
  EXPECT_LT(pace.Next(slab), Slab::kBulkBlockBytes);
  EXPECT_GT(pace.Next(slab), Slab::kBlockBytes);
  pace.OnPause();
  EXPECT_EQ(pace.Next(slab), Slab::kBlockBytes);
}

TEST(ReadPace, ACrowdGetsLittleAtFirst) {
  Slab slab;
  std::vector<BlockRef> crowd;
  while (!slab.crowded()) crowd.push_back(slab.GetBulk());
  ReadPace pace;
  EXPECT_EQ(pace.Next(slab), Slab::kSmallBlockBytes);
  size_t reads = 0, taken = 0;
  uint32_t largest = 0;
  while (pace.Next(slab) < Slab::kBulkBlockBytes) {
    const uint32_t n = pace.Next(slab);
    EXPECT_GE(n, largest);
    largest = n;
    pace.OnRead(n, true);
    taken += n;
    ASSERT_LT(++reads, 400u);
  }
  EXPECT_EQ(largest, Slab::kBlockBytes);
  EXPECT_GE(taken, 4u << 20);
  crowd.clear();
  pace.Reset();
  EXPECT_EQ(pace.Next(slab), Slab::kBlockBytes);
}

TEST(SliceBuffer, WhatStaysMovesToABlockOfItsSize) {
  Slab slab;
  SliceBuffer b;
  BlockRef block = slab.GetBulk();
  memset(block->data(), 'a', 60'000);
  b.Append(Slice(block, block->data(), 60'000));
  block.reset();
  b.Shrink(slab);
  EXPECT_EQ(slab.in_use_bytes(), Slab::kBulkBlockBytes) << "most of it is in use";
  b.Consume(40'000);
  b.AppendCopy(slab, "end");
  b.Shrink(slab);
  EXPECT_LE(slab.in_use_bytes(), 30'100u);
  EXPECT_EQ(slab.in_use(), 1u);
  EXPECT_EQ(b.slice_count(), 1u);
  EXPECT_EQ(b.ToString(), std::string(20'000, 'a') + "end");
  // Drained drop by drop, every byte is copied a few times at most.
  size_t copied = 0;
  while (b.size() > 100) {
    b.Consume(100);
    const char* at = b.slice(0).data();
    b.Shrink(slab);
    if (b.slice(0).data() != at) copied += b.size();
    EXPECT_LE(slab.in_use_bytes(), std::max<size_t>(600, 2 * b.size() + 1000));
  }
  EXPECT_LE(copied, 4u * 20'003);
  EXPECT_TRUE(b.ToString().ends_with("end"));
  b.Clear();
  EXPECT_EQ(slab.in_use(), 0u);
}

TEST(SliceBuffer, AFewCopiedWordsHoldNoWholeBlock) {
  Slab slab;
  SliceBuffer b;
  b.AppendCopy(slab, "4000\r\n");
  EXPECT_LE(slab.in_use_bytes(), 512u);
  std::string all = "4000\r\n";
  for (int i = 0; i < 3000; ++i) {
    b.AppendCopy(slab, "0123456789");
    all += "0123456789";
  }
  EXPECT_LE(b.slice_count(), 8u) << "blocks grow";
  EXPECT_EQ(b.ToString(), all);
}

TEST(SliceBuffer, BehavesAsAQueueOfBytes) {
  // Random operations against a string.
  Slab slab;
  std::mt19937 random(3);
  {
    SliceBuffer a, b;
    std::string ra, rb;
    for (int i = 0; i < 20000; ++i) {
      switch (random() % 5) {
        case 0: {
          std::string s(random() % 3000, static_cast<char>('a' + i % 26));
          a.AppendCopy(slab, s);
          ra += s;
          break;
        }
        case 1: {
          BlockRef block = slab.Get();
          size_t n = random() % 500;
          memset(block->data(), 'A' + i % 26, n);
          a.Append(Slice(block, block->data(), n));
          ra.append(n, static_cast<char>('A' + i % 26));
          break;
        }
        case 2: {
          size_t n = random() % (ra.size() + 1);
          a.Consume(n);
          ra.erase(0, n);
          break;
        }
        case 3: {
          size_t max = random() % 4000;
          size_t n = a.MoveTo(b, max);
          ASSERT_EQ(n, std::min(max, ra.size()));
          rb += ra.substr(0, n);
          ra.erase(0, n);
          break;
        }
        case 4:
          if (random() % 50 == 0) {
            a.Splice(b);
            ra += rb;
            rb.clear();
          } else if (random() % 20 == 0) {
            b.Clear();
            rb.clear();
          } else {
            a.Shrink(slab);
          }
      }
      ASSERT_EQ(a.size(), ra.size());
      ASSERT_EQ(b.size(), rb.size());
      if (i % 500 == 0) {
        ASSERT_EQ(a.ToString(), ra);
        ASSERT_EQ(b.ToString(), rb);
      }
    }
  }
  EXPECT_EQ(slab.in_use(), 0u) << "a block leaked";
}

struct Ends : BodyPipe::Producer, BodyPipe::Consumer {
  int space = 0, ready = 0;
  size_t room = SIZE_MAX;
  size_t PipeRoom() override { return room; }
  void OnPipeSpace() override { ++space; }
  void OnPipeReady() override { ++ready; }
};

TEST(BodyPipe, BoundsTheProducerAndTellsBothSides) {
  Slab slab;
  Ends e;
  BodyPipe p;
  p.Reset(&e, 10);
  p.set_consumer(&e);
  p.Write(Slice::Static("0123456789ab"));
  EXPECT_TRUE(p.full());
  p.Notify();
  EXPECT_EQ(e.ready, 1);
  SliceBuffer out;
  p.Pull(out, 1);
  EXPECT_EQ(e.space, 0) << "still full";
  p.Pull(out, 5);
  EXPECT_EQ(e.space, 1);
  p.End();
  EXPECT_FALSE(p.finished());
  p.Pull(out);
  EXPECT_TRUE(p.finished());
  EXPECT_EQ(e.space, 1);
  EXPECT_EQ(out.ToString(), "0123456789ab");
  EXPECT_EQ(p.total(), 12u);
}

TEST(BodyPipe, HoldsNoMoreThanTheConsumerHasRoomFor) {
  Slab slab;
  Ends e;
  BodyPipe p;
  p.Reset(&e, 100);
  p.set_consumer(&e);
  e.room = 5;
  p.Write(Slice::Static("0123"));
  EXPECT_FALSE(p.full());
  p.Write(Slice::Static("4"));
  EXPECT_TRUE(p.full());
  SliceBuffer out;
  e.room = 0;  // and then nothing at all
  p.Pull(out);
  EXPECT_EQ(e.space, 0);
  EXPECT_TRUE(p.full()) << "empty, and yet nothing is to be read";
  p.RoomAgain();
  EXPECT_EQ(e.space, 0);
  e.room = SIZE_MAX;
  p.RoomAgain();
  EXPECT_EQ(e.space, 1) << "who was told that it is full hears of room";
  p.RoomAgain();
  EXPECT_EQ(e.space, 1) << "once";
  EXPECT_FALSE(p.full());
}

}  // namespace
}  // namespace weft::buffer
