#include "dataplane/upstream/idle_limit.h"

#include <gtest/gtest.h>

namespace weft::upstream {
namespace {

constexpr MonoNanos kS = kSecond, kMs = kMillisecond;

TEST(IdleLimitTest, NothingIsKnownAtFirst) {
  IdleLimit l;
  EXPECT_EQ(l.limit(), 0);
  EXPECT_FALSE(l.Near(3600 * kS));
}

TEST(IdleLimitTest, TheLeastOfWhatWasSeenCounts) {
  IdleLimit l;
  l.Observe(1200 * kMs, 10 * kS);
  l.Observe(1000 * kMs, 20 * kS);
  l.Observe(1100 * kMs, 30 * kS);
  EXPECT_EQ(l.limit(), 1000 * kMs);
  EXPECT_FALSE(l.Near(700 * kMs));
  EXPECT_TRUE(l.Near(800 * kMs));
  EXPECT_TRUE(l.Near(5 * kS));
}

TEST(IdleLimitTest, TheMarginGrowsWithTheLimitAndTheRoundTrip) {
  IdleLimit l;
  l.Observe(75 * kS, kS);
  EXPECT_LE(l.Margin(), 6 * kS) << "long limits do not make connections useless";
  l.NoteRoundTrip(200 * kMs);
  EXPECT_GE(l.Margin(), 5 * kS + 400 * kMs);
}

TEST(IdleLimitTest, ARestartIsJudgedByTheOldestOfItsVictims) {
  IdleLimit l;
  for (MonoNanos age : {5 * kMs, 3 * kS, 40 * kMs}) l.Observe(age, 10 * kS);
  EXPECT_EQ(l.limit(), 3 * kS);
}

TEST(IdleLimitTest, WhatConnectionsOutliveWasNoLimit) {
  IdleLimit l;
  l.Observe(100 * kMs, kS);
  l.Survived(150 * kMs);
  EXPECT_EQ(l.limit(), 100 * kMs) << "a peer may look at its clock now and then only";
  l.Survived(200 * kMs);
  EXPECT_EQ(l.limit(), 0);
  l.Observe(100 * kMs, 10 * kS);
  l.Observe(60 * kS, 80 * kS);
  EXPECT_EQ(l.limit(), 60 * kS);
}

TEST(IdleLimitTest, OldObservationsAreForgotten) {
  IdleLimit l;
  l.Observe(900 * kMs, kS);
  for (int i = 0; i < 8; ++i) l.Observe(1000 * kMs, (10 + i) * kS);
  EXPECT_EQ(l.limit(), 1000 * kMs);
}

TEST(IdleLimitTest, AnEndpointThatClosesAfterEachAnswerIsNotLentTo) {
  IdleLimit l;
  l.Observe(0, kS);
  EXPECT_TRUE(l.Near(1));
}

}  // namespace
}  // namespace weft::upstream
