#include "controlplane/xds/push_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace weft::ctl::xds {
namespace {

// Counts its turns; waits in the first one until it is let go.
class Item : public Pushable {
 public:
  explicit Item(bool wait) : wait_(wait) {}
  void Push() override {
    EXPECT_EQ(inside_.fetch_add(1), 0) << "two threads push to one proxy";
    if (turns_.fetch_add(1) == 0 && wait_) {
      entered.set_value();
      go.get_future().wait();
    }
    inside_.fetch_sub(1);
  }
  int turns() const { return turns_; }

  std::promise<void> entered, go;

 private:
  const bool wait_;
  std::atomic<int> inside_{0}, turns_{0};
};

// Returns when everything that was added before has had its turn (with one thread).
void Flush(PushQueue& queue) {
  auto last = std::make_shared<Item>(true);
  last->go.set_value();
  queue.Add(last);
  last->entered.get_future().wait();
}

TEST(PushQueue, NewsForAWaitingProxyMerge) {
  PushQueue queue(1);
  auto blocker = std::make_shared<Item>(true);
  auto item = std::make_shared<Item>(false);
  EXPECT_TRUE(queue.Add(blocker));
  blocker->entered.get_future().wait();
  EXPECT_TRUE(queue.Add(item));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(queue.Add(item));
  EXPECT_EQ(queue.size(), 1u);
  blocker->go.set_value();
  Flush(queue);
  EXPECT_EQ(item->turns(), 1);
}

TEST(PushQueue, NewsWhileAProxyIsPushedToLeadToExactlyOneMoreTurn) {
  PushQueue queue(1);
  auto item = std::make_shared<Item>(true);
  queue.Add(item);
  item->entered.get_future().wait();
  EXPECT_TRUE(queue.Add(item));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(queue.Add(item));
  item->go.set_value();
  Flush(queue);  // may come between the two turns
  Flush(queue);
  EXPECT_EQ(item->turns(), 2);
}

TEST(PushQueue, SlowProxyHoldsOneThreadOnly) {
  PushQueue queue(2);
  auto slow = std::make_shared<Item>(true);
  queue.Add(slow);
  slow->entered.get_future().wait();
  for (int i = 0; i < 10; ++i) Flush(queue);
  slow->go.set_value();
}

TEST(PushQueue, StopDropsWhatWaitsAndLaterAddsDoNothing) {
  auto item = std::make_shared<Item>(false);
  auto blocker = std::make_shared<Item>(true);
  PushQueue queue(1);
  queue.Add(blocker);
  blocker->entered.get_future().wait();
  queue.Add(item);
  std::thread stop([&] { queue.Stop(); });
  while (queue.size() != 0) std::this_thread::yield();
  blocker->go.set_value();
  stop.join();
  EXPECT_FALSE(queue.Add(item));
  EXPECT_EQ(item->turns(), 0);
}

TEST(PushQueue, ManyThreadsManyItems) {
  std::vector<std::shared_ptr<Item>> items;
  for (int i = 0; i < 20; ++i) items.push_back(std::make_shared<Item>(false));
  PushQueue queue(4);
  std::vector<std::thread> adders;
  for (int t = 0; t < 4; ++t) {
    adders.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) queue.Add(items[static_cast<size_t>(i) % items.size()]);
    });
  }
  for (std::thread& adder : adders) adder.join();
  // Stop drops what still waits, so it comes only after everybody had a turn; an Item itself tells
  // when two threads push to it at once.
  for (auto& item : items) {
    while (item->turns() == 0) std::this_thread::yield();
  }
  queue.Stop();
  for (auto& item : items) EXPECT_GE(item->turns(), 1);
}

}  // namespace
}  // namespace weft::ctl::xds
