#include "dataplane/net/connector.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "dataplane/event/loop.h"
#include "dataplane/net/listener.h"

namespace weft::net {
namespace {

struct Dialing : Connector::Handler {
  void OnConnected(std::unique_ptr<Transport> t) override {
    transport = std::move(t);
    ++calls;
    connector.reset();  // as owners do
  }
  void OnConnectFailed(int e) override {
    error = e;
    ++calls;
    connector.reset();
  }
  void Run(event::Loop& loop) {
    MonoNanos start = MonotonicNow();
    while (calls == 0 && MonotonicNow() - start < 5 * kSecond) loop.RunOnce(true);
  }
  std::unique_ptr<Connector> connector;
  std::unique_ptr<Transport> transport;
  int error = 0, calls = 0;
};

struct Socket {
  explicit Socket(int backlog = 16) {
    ListenOptions o;
    o.backlog = backlog;
    std::string error;
    fd = OpenListenSocket(*Address::FromIp("127.0.0.1", 0), o, &error);
    sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len);
    address = Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  }
  ~Socket() { close(fd); }
  int fd;
  Address address;
};

TEST(Connector, Connects) {
  event::Loop loop;
  Socket server;
  Dialing d;
  d.connector = std::make_unique<Connector>(loop, &d);
  d.connector->Start(server.address, kSecond);
  EXPECT_EQ(d.calls, 0) << "never from inside Start";
  d.Run(loop);
  ASSERT_NE(d.transport, nullptr);
  EXPECT_EQ(d.transport->peer_address(), server.address);
  EXPECT_EQ(d.transport->local_address().Ip(), "127.0.0.1");
  EXPECT_NE(d.transport->local_address().port(), 0);
  d.transport.reset();
  loop.RunOnce();
}

TEST(Connector, RefusedIsReportedOnce) {
  event::Loop loop;
  Address dead;
  {
    Socket gone;
    dead = gone.address;
  }
  Dialing d;
  d.connector = std::make_unique<Connector>(loop, &d);
  d.connector->Start(dead, kSecond);
  EXPECT_EQ(d.calls, 0);
  d.Run(loop);
  for (int i = 0; i < 5; ++i) loop.RunOnce();
  EXPECT_EQ(d.calls, 1);
  EXPECT_EQ(d.error, ECONNREFUSED);
}

TEST(Connector, TimesOut) {
  // A listener whose queue is full answers no SYN.
  event::Loop loop;
  Socket full(0);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)!connect(fd, full.address.sa(), full.address.length());
    fillers.push_back(fd);
  }
  usleep(20'000);
  Dialing d;
  d.connector = std::make_unique<Connector>(loop, &d);
  MonoNanos start = MonotonicNow();
  d.connector->Start(full.address, 50 * kMillisecond);
  d.Run(loop);
  EXPECT_EQ(d.calls, 1);
  EXPECT_EQ(d.error, ETIMEDOUT);
  EXPECT_GE(MonotonicNow() - start, 50 * kMillisecond);
  for (int fd : fillers) close(fd);
}

TEST(Connector, DestroyingItCancels) {
  event::Loop loop;
  Socket server;
  Dialing d;
  d.connector = std::make_unique<Connector>(loop, &d);
  d.connector->Start(server.address, 20 * kMillisecond);
  usleep(5'000);  // the handshake is over: the event is on its way
  d.connector.reset();
  for (int i = 0; i < 5; ++i) loop.RunOnce();
  EXPECT_EQ(d.calls, 0);
}

TEST(Connector, OutOfDescriptorsIsAnErrorFromTheLoop) {
  event::Loop loop;
  Socket server;
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  int next = dup(0);
  close(next);
  rlimit none = {static_cast<rlim_t>(next), old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  Dialing d;
  d.connector = std::make_unique<Connector>(loop, &d);
  d.connector->Start(server.address, kSecond);
  EXPECT_EQ(d.calls, 0);
  d.Run(loop);
  setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(d.error, EMFILE);
}

}  // namespace
}  // namespace weft::net
