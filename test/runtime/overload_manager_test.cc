#include "dataplane/runtime/overload_manager.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <vector>

namespace weft::runtime {
namespace {

class FakeReader final : public ResourceReader {
 public:
  explicit FakeReader(uint64_t* heap) : heap_(heap) {}
  uint64_t HeapBytes() override { return *heap_; }
  uint64_t CgroupBytes() override { return 30; }
  uint64_t CgroupLimit() override { return 40; }

 private:
  uint64_t* heap_;
};

struct Called {
  OverloadAction action;
  uint16_t level;
};

class OverloadManagerTest : public ::testing::Test {
 protected:
  OverloadManagerTest() {
    spec_ = std::make_shared<config::OverloadSpec>();
    spec_->monitors = {{"heap", config::ResourceKind::kHeap, 1000},
                       {"cgroup", config::ResourceKind::kCgroupMemory, 0}};
    spec_->refresh_interval = 10 * kMillisecond;
    spec_->actions = {{OverloadAction::kStopAcceptingRequests, {{0, 0.9, 0.9}}},
                      {OverloadAction::kDisableHttpKeepalive, {{0, 0.5, 0.9}}}};
  }
  void Start() {
    manager_ = std::make_unique<OverloadManager>(
        loop_, spec_, state_, *registry_.NewShard(), std::make_unique<FakeReader>(&heap_),
        [this](OverloadAction a, uint16_t level) { called_.push_back({a, level}); });
    manager_->Refresh();
  }

  event::Loop loop_;
  observe::Registry registry_;
  OverloadState state_;
  std::shared_ptr<config::OverloadSpec> spec_;
  uint64_t heap_ = 0;
  std::vector<Called> called_;
  std::unique_ptr<OverloadManager> manager_;
};

TEST_F(OverloadManagerTest, LevelsFollowThePressure) {
  heap_ = 500;
  Start();
  EXPECT_EQ(state_.level(OverloadAction::kStopAcceptingRequests), 0);
  EXPECT_EQ(state_.level(OverloadAction::kDisableHttpKeepalive), 0);
  EXPECT_TRUE(called_.empty());
  heap_ = 700;  // half way
  manager_->Refresh();
  EXPECT_EQ(state_.level(OverloadAction::kStopAcceptingRequests), 0);
  EXPECT_NEAR(state_.level(OverloadAction::kDisableHttpKeepalive), 0x7fff, 2);
  heap_ = 900;
  manager_->Refresh();
  EXPECT_TRUE(state_.Saturated(OverloadAction::kStopAcceptingRequests));
  EXPECT_TRUE(state_.Saturated(OverloadAction::kDisableHttpKeepalive));
  heap_ = 100;
  called_.clear();
  manager_->Refresh();
  EXPECT_EQ(state_.level(OverloadAction::kStopAcceptingRequests), 0);
  // Who has to undo something is told once, then no more.
  ASSERT_EQ(called_.size(), 2u);
  EXPECT_EQ(called_[0].level, 0);
  called_.clear();
  manager_->Refresh();
  EXPECT_TRUE(called_.empty());
}

TEST_F(OverloadManagerTest, AlmostSaturatedIsNotSaturated) {
  EXPECT_LT(LevelOf(spec_->actions[1], {0.8999999999, 0}), OverloadState::kSaturated);
}

TEST_F(OverloadManagerTest, TheControlGroupsLimitIsUsedWhenNoneIsGiven) {
  spec_->actions = {{OverloadAction::kShrinkHeap, {{1, 0.75, 0.75}}}};
  Start();
  EXPECT_TRUE(state_.Saturated(OverloadAction::kShrinkHeap));
}

TEST_F(OverloadManagerTest, ALowerLimitThanTheGroupsWins) {
  spec_->monitors[1].max = 30;
  spec_->actions = {{OverloadAction::kShrinkHeap, {{1, 1, 1}}}};
  Start();
  EXPECT_TRUE(state_.Saturated(OverloadAction::kShrinkHeap));
}

TEST_F(OverloadManagerTest, TheTimerReadsAgain) {
  Start();
  heap_ = 1000;
  while (!state_.Saturated(OverloadAction::kStopAcceptingRequests)) loop_.RunOnce(true);
}

TEST(OverloadState, AppliesToAShare) {
  OverloadState s;
  EXPECT_FALSE(s.Applies(OverloadAction::kStopAcceptingRequests, 0));
  s.Set(OverloadAction::kStopAcceptingRequests, 0x4000);
  EXPECT_TRUE(s.Applies(OverloadAction::kStopAcceptingRequests, 0x3fff));
  EXPECT_FALSE(s.Applies(OverloadAction::kStopAcceptingRequests, 0x4000));
  s.Set(OverloadAction::kStopAcceptingRequests, OverloadState::kSaturated);
  EXPECT_TRUE(s.Applies(OverloadAction::kStopAcceptingRequests, 0xffff));
}

TEST(OverloadState, TheConnectionLimitIsExact) {
  OverloadState s;
  s.set_max_connections(2);
  EXPECT_TRUE(s.TakeConnection());
  EXPECT_TRUE(s.TakeConnection());
  EXPECT_FALSE(s.TakeConnection());
  s.GiveConnection();
  EXPECT_TRUE(s.TakeConnection());
  EXPECT_EQ(s.connections(), 2u);
}

TEST(ResourceReader, ThisProcessHasAHeap) {
  if (mallinfo2().arena == 0) GTEST_SKIP() << "a sanitizer's allocator is not the C library's";
  auto reader = NewResourceReader();
  uint64_t before = reader->HeapBytes();
  std::vector<char> mb(64 << 20, 'x');
  EXPECT_GT(reader->HeapBytes(), before + (60u << 20)) << mb.size();
}

}  // namespace
}  // namespace weft::runtime
