#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <random>
#include <thread>

#include "dataplane/event/fd_watcher.h"
#include "dataplane/event/loop.h"

namespace weft::event {
namespace {

struct FakeTime {
  MonoNanos now = 1'000 * kSecond;
  MonoNanos wake = 0;
  TimerWheel wheel{[this] { return now; }, [this](MonoNanos due) { wake = due; }};
};

struct Shot {
  FakeTime* time;
  MonoNanos at = 0;
  static void Fire(void* self) { static_cast<Shot*>(self)->at = static_cast<Shot*>(self)->time->now; }
};

TEST(TimerWheel, FiresNeverEarlyAndSoonAfter) {
  // Random delays from 0 to two days, driven by the wheel's own idea of when to wake.
  FakeTime t;
  std::mt19937_64 random(7);
  std::vector<std::unique_ptr<Shot>> shots;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<MonoNanos> due;
  for (int i = 0; i < 2000; ++i) {
    shots.push_back(std::make_unique<Shot>(Shot{&t}));
    timers.push_back(std::make_unique<Timer>(t.wheel, &Shot::Fire, shots.back().get()));
    MonoNanos delay = static_cast<MonoNanos>(random() % (uint64_t{1} << (random() % 48)));
    due.push_back(t.now + delay);
    timers.back()->Arm(delay);
  }
  MonoNanos next = t.wake;
  while (next != 0) {
    ASSERT_GE(next, t.now);
    t.now = next;
    next = t.wheel.Run();
  }
  for (size_t i = 0; i < shots.size(); ++i) {
    EXPECT_GE(shots[i]->at, due[i]);
    EXPECT_LE(shots[i]->at, due[i] + 2 * TimerWheel::kTick) << due[i] - 1'000 * kSecond;
  }
  EXPECT_EQ(t.wheel.armed(), 0u);
}

TEST(TimerWheel, PushingAwayAndCancelling) {
  FakeTime t;
  Shot a{&t}, b{&t}, c{&t};
  Timer ta(t.wheel, &Shot::Fire, &a), tb(t.wheel, &Shot::Fire, &b);
  ta.Arm(100 * kMillisecond);
  tb.Arm(100 * kMillisecond);
  {
    Timer tc(t.wheel, &Shot::Fire, &c);
    tc.Arm(10 * kMillisecond);
  }
  t.now += 90 * kMillisecond;
  t.wheel.Run();
  ta.Arm(500 * kMillisecond);  // later
  tb.Cancel();
  t.now += 400 * kMillisecond;
  t.wheel.Run();
  EXPECT_EQ(a.at, 0);
  t.now += 200 * kMillisecond;
  t.wheel.Run();
  EXPECT_NE(a.at, 0);
  EXPECT_EQ(b.at, 0);
  EXPECT_EQ(c.at, 0) << "a destroyed timer fired";
  ta.Arm(10 * kSecond);
  ta.Arm(10 * kMillisecond);  // earlier
  a.at = 0;
  t.now += 20 * kMillisecond;
  t.wheel.Run();
  EXPECT_NE(a.at, 0);
}

TEST(Loop, TimersPostsAndTurnEndTasks) {
  Loop loop;
  std::vector<std::string> order;
  struct Task : TurnEndTask {
    std::vector<std::string>* order;
    void RunAtTurnEnd() override { order->push_back("turn end"); }
  } task;
  task.order = &order;
  Timer timer(loop.timers(), [](void* l) { static_cast<Loop*>(l)->Stop(); }, &loop);
  std::thread other([&] {
    loop.Post([&] {
      order.push_back("first");
      loop.AtTurnEnd(&task);
      loop.AtTurnEnd(&task);
      struct Noisy {
        std::vector<std::string>* order;
        ~Noisy() { order->push_back("freed"); }
      };
      loop.DeferDelete(std::unique_ptr<Noisy>(new Noisy{&order}));
    });
    loop.Post([&] {
      order.push_back("second");
      timer.Arm(30 * kMillisecond);
    });
  });
  MonoNanos start = MonotonicNow();
  loop.Run();
  other.join();
  EXPECT_GE(MonotonicNow() - start, 30 * kMillisecond);
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second", "turn end", "freed"}));
}

TEST(FdWatcher, ReportsReadinessAndMayBeDestroyedInItsCallback) {
  Loop loop;
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  struct H : FdWatcher::Handler {
    std::unique_ptr<FdWatcher> watcher = std::make_unique<FdWatcher>();
    Loop* loop;
    int calls = 0;
    void OnFdReady(uint8_t ready) override {
      EXPECT_TRUE(ready & FdWatcher::kRead);
      ++calls;
      watcher.reset();
      loop->Stop();
    }
  } h;
  h.loop = &loop;
  ASSERT_EQ(h.watcher->Start(loop, fds[0], FdWatcher::kRead, &h), 0);
  loop.RunOnce();
  EXPECT_EQ(h.calls, 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  loop.Run();
  loop.RunOnce();
  EXPECT_EQ(h.calls, 1);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace weft::event
