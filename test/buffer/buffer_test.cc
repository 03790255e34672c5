#include <gtest/gtest.h>

#include <random>
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

}  // namespace
}  // namespace weft::buffer
