#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
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
  static void Fire(void* self) {
    static_cast<Shot*>(self)->at = static_cast<Shot*>(self)->time->now;
  }
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
  Timer timer(
      loop.timers(), [](void* l) { static_cast<Loop*>(l)->Stop(); }, &loop);
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

// A task that asks for another round `rounds` times.
struct AskingTask : TurnEndTask {
  Loop* loop = nullptr;
  int rounds = 0;
  void RunAtTurnEnd() override {
    if (--rounds > 0) {
      loop->AtTurnEnd(this);
    } else {
      loop->Stop();
    }
  }
};

struct StopLater {
  explicit StopLater(Loop& loop) : timer(loop.timers(), &StopLater::Fire, this), loop_(loop) {
    timer.Arm(5 * kSecond);
  }
  static void Fire(void* self) {
    ADD_FAILURE() << "the loop slept";
    static_cast<StopLater*>(self)->loop_.Stop();
  }
  Timer timer;
  Loop& loop_;
};

TEST(Loop, NeverSleepsOverTurnEndTasks) {
  // More rounds than one turn runs: the rest must not wait for the next event.
  Loop loop;
  AskingTask task;
  task.loop = &loop;
  task.rounds = 100;
  StopLater guard(loop);
  loop.Post([&] { loop.AtTurnEnd(&task); });
  loop.Run();
  EXPECT_EQ(task.rounds, 0);
}

TEST(Loop, ADestructorMayAskForATurnEnd) {
  Loop loop;
  AskingTask task;
  task.loop = &loop;
  task.rounds = 1;
  struct Last {
    Loop* loop;
    AskingTask* task;
    ~Last() { loop->AtTurnEnd(task); }
  };
  StopLater guard(loop);
  loop.Post([&] { loop.DeferDelete(std::unique_ptr<Last>(new Last{&loop, &task})); });
  loop.Run();
  EXPECT_EQ(task.rounds, 0);
}

TEST(Loop, WhatWasPostedToALoopThatEndedIsNotRun) {
  bool ran = false;
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> seen = held;
  {
    Loop loop;
    loop.Post([&loop] { loop.Stop(); });
    loop.Run();
    loop.Post([&ran, held = std::move(held)] { ran = true; });
  }
  EXPECT_FALSE(ran) << "its captures may be gone";
  EXPECT_TRUE(seen.expired()) << "but it is freed";
}

TEST(FdWatcher, AnErrorDoesNotEndTheWatch) {
  // A peer that sends and then resets: the bytes that came before must all be read, then the error.
  Loop loop;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len = sizeof(any);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&any), len), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&any), &len);
  int peer = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(connect(peer, reinterpret_cast<sockaddr*>(&any), len), 0);
  int fd = accept(listener, nullptr, nullptr);
  struct H : FdWatcher::Handler {
    FdWatcher watcher;
    Loop* loop;
    int fd;
    size_t got = 0;
    bool ended = false;
    void OnFdReady(uint8_t ready) override {
      EXPECT_EQ(ready, FdWatcher::kRead) << "only what was asked for";
      char buf[100];
      ssize_t n = recv(fd, buf, sizeof(buf), 0);
      if (n > 0) {
        got += static_cast<size_t>(n);
      } else if (n == 0 || errno != EAGAIN) {
        ended = true;
        watcher.Stop();
        loop->Stop();
      }
    }
  } h;
  h.loop = &loop;
  h.fd = fd;
  std::string text(2000, 'x');
  ASSERT_EQ(send(peer, text.data(), text.size(), 0), 2000);
  linger l = {1, 0};
  setsockopt(peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  close(peer);
  ASSERT_EQ(h.watcher.Start(loop, fd, FdWatcher::kRead, &h), 0);
  StopLater guard(loop);
  loop.Run();
  EXPECT_TRUE(h.ended);
  EXPECT_EQ(h.got, 2000u);
  h.watcher.Stop();
  close(fd);
  close(listener);
  guard.timer.Cancel();
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
