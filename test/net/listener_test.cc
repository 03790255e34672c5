#include "dataplane/net/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "dataplane/event/loop.h"
#include "test/fakes/raw_client.h"

namespace weft::net {
namespace {

using fakes::RawClient;

struct Accepting : Listener::Handler {
  ~Accepting() {
    for (int fd : fds) close(fd);
  }
  void OnAccept(int fd, const Address& p) override {
    fds.push_back(fd);
    peer = p;
    if (then) then();
  }
  std::vector<int> fds;
  Address peer;
  std::function<void()> then;
};

int Open(const Address& at, const ListenOptions& options = {}) {
  std::string error;
  int fd = OpenListenSocket(at, options, &error);
  EXPECT_GE(fd, 0) << error;
  return fd;
}

const Address kAny = *Address::FromIp("127.0.0.1", 0);

TEST(Listener, AcceptsNonBlockingAndCloseOnExec) {
  event::Loop loop;
  Accepting h;
  Listener listener(loop, Open(kAny), &h);
  EXPECT_NE(listener.local_address().port(), 0);
  RawClient a(listener.local_address()), b(listener.local_address());
  ASSERT_TRUE(a.connected() && b.connected());
  while (h.fds.size() < 2) loop.RunOnce(true);
  EXPECT_EQ(h.peer.Ip(), "127.0.0.1");
  EXPECT_NE(h.peer.port(), 0);
  for (int fd : h.fds) {
    EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
}

TEST(Listener, SaysWhyItCannotListen) {
  event::Loop loop;
  Accepting h;
  ListenOptions alone;
  alone.reuse_port = false;
  Listener listener(loop, Open(kAny, alone), &h);
  std::string error;
  EXPECT_EQ(OpenListenSocket(listener.local_address(), alone, &error), -1);
  EXPECT_NE(error.find(listener.local_address().ToString()), std::string::npos) << error;
  EXPECT_NE(error.find("already uses this address"), std::string::npos) << error;
  EXPECT_EQ(OpenListenSocket(*Address::FromIp("192.0.2.1", 1234), {}, &error), -1);
  EXPECT_NE(error.find("192.0.2.1:1234: no interface"), std::string::npos) << error;
}

TEST(Listener, MayBeDestroyedWhileItAccepts) {
  event::Loop loop;
  Accepting h;
  auto listener = std::make_unique<Listener>(loop, Open(kAny), &h);
  RawClient a(listener->local_address()), b(listener->local_address()),
      c(listener->local_address());
  h.then = [&] { listener.reset(); };
  while (h.fds.empty()) loop.RunOnce(true);
  loop.RunOnce();
  EXPECT_EQ(h.fds.size(), 1u);
}

TEST(Listener, HoldsAndResumes) {
  event::Loop loop;
  Accepting h;
  Listener listener(loop, Open(kAny), &h);
  listener.SetAccepting(false);
  RawClient a(listener.local_address());
  for (int i = 0; i < 5; ++i) loop.RunOnce();
  EXPECT_EQ(h.fds.size(), 0u);
  listener.SetAccepting(true);
  while (h.fds.empty()) loop.RunOnce(true);
}

TEST(Listener, TheDescriptorCanBeHandedOnWithoutARefusedConnection) {
  event::Loop loop;
  Accepting h1, h2;
  auto first = std::make_unique<Listener>(loop, Open(kAny), &h1);
  Address at = first->local_address();
  RawClient waiting(at);
  int fd = first->Release();
  first.reset();
  Listener second(loop, fd, &h2);
  RawClient later(at);
  EXPECT_TRUE(later.connected());
  while (h2.fds.size() < 2) loop.RunOnce(true);
  EXPECT_EQ(h1.fds.size(), 0u);
}

TEST(Listener, PendingConnectionsCanBeTakenBeforeTheClose) {
  event::Loop loop;
  Accepting h;
  auto listener = std::make_unique<Listener>(loop, Open(kAny), &h);
  RawClient a(listener->local_address()), b(listener->local_address());
  listener->AcceptPending();
  listener.reset();
  EXPECT_EQ(h.fds.size(), 2u);
}

TEST(Listener, OutOfDescriptorsItWaitsAndGoesOn) {
  event::Loop loop;
  Accepting h;
  Listener listener(loop, Open(kAny), &h);
  RawClient client(listener.local_address());
  ASSERT_TRUE(client.connected());
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  int next = dup(0);  // the lowest free descriptor
  close(next);
  rlimit none = {static_cast<rlim_t>(next), old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  int turns = 0;
  MonoNanos start = MonotonicNow();
  while (MonotonicNow() - start < 150 * kMillisecond) {
    loop.RunOnce(true);
    ++turns;
  }
  EXPECT_EQ(h.fds.size(), 0u);
  EXPECT_LT(turns, 20) << "it spins on a socket that it can't accept from";
  setrlimit(RLIMIT_NOFILE, &old);
  start = MonotonicNow();
  while (h.fds.empty() && MonotonicNow() - start < 5 * kSecond) loop.RunOnce(true);
  EXPECT_EQ(h.fds.size(), 1u) << "nobody was told that descriptors are there again";
}

TEST(Listener, AUnixSocketFileOfALiveProcessIsNotTaken) {
  // Not in the test's own folder: a socket's path has at most 107 characters.
  std::string dir = "/tmp/listener_test." + std::to_string(getpid());
  std::filesystem::create_directory(dir);
  Address at = *Address::FromPath(dir + "/s");
  std::string error;
  int live = OpenListenSocket(at, {}, &error);
  ASSERT_GE(live, 0) << error;
  EXPECT_EQ(OpenListenSocket(at, {}, &error), -1);
  EXPECT_NE(error.find("already uses this address"), std::string::npos) << error;
  RawClient still(at);
  EXPECT_TRUE(still.connected());
  close(live);
  int again = OpenListenSocket(at, {}, &error);
  EXPECT_GE(again, 0) << "a file that is left over is replaced: " << error;
  close(again);
  // A file that is no socket is nobody's to remove.
  std::string file = dir + "/f";
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  EXPECT_EQ(OpenListenSocket(*Address::FromPath(file), {}, &error), -1);
  EXPECT_TRUE(std::filesystem::exists(file));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace weft::net
