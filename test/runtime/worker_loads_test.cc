#include "dataplane/runtime/worker_loads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>

namespace weft::runtime {
namespace {

TEST(WorkerLoads, OneConnectionMoreIsNoReasonToMove) {
  WorkerLoads loads(2);
  loads.Add(0);
  EXPECT_EQ(loads.Choose(0, false), 0u);
  EXPECT_EQ(loads.Choose(0, true), 1u);
  loads.Add(0);
  EXPECT_EQ(loads.Choose(0, false), 1u);
  EXPECT_EQ(loads.Choose(1, false), 1u);
}

TEST(WorkerLoads, AmongManyAnEighthIsNoReasonToMove) {
  WorkerLoads loads(2);
  for (int i = 0; i < 80; ++i) {
    loads.Add(0);
    loads.Add(1);
  }
  for (int i = 0; i < 11; ++i) {
    loads.Add(0);
    EXPECT_EQ(loads.Choose(0, false), 0u) << i;
  }
  loads.Add(0);
  EXPECT_EQ(loads.Choose(0, false), 1u);
}

TEST(WorkerLoads, RemovedConnectionsCountNoMore) {
  WorkerLoads loads(2);
  for (int i = 0; i < 4; ++i) loads.Add(0);
  for (int i = 0; i < 4; ++i) loads.Remove(0);
  EXPECT_EQ(loads.connections(0), 0u);
  EXPECT_EQ(loads.Choose(0, true), 0u);
}

// However the kernel spreads 8 connections, the busiest of 4 workers has at most 1.5 times the mean.
TEST(WorkerLoads, WhateverTheKernelDoes) {
  std::mt19937 random(7);
  for (int round = 0; round < 1000; ++round) {
    WorkerLoads loads(4);
    for (int i = 0; i < 8; ++i) loads.Add(loads.Choose(random() % 4, false));
    uint32_t most = 0;
    for (size_t w = 0; w < 4; ++w) most = std::max(most, loads.connections(w));
    EXPECT_LE(most, 3u);
  }
}

}  // namespace
}  // namespace weft::runtime
