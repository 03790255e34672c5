// Connections to one endpoint, over real sockets on one loop.
#include "dataplane/upstream/conn_pool.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/net/listener.h"
#include "dataplane/observe/metrics.h"

namespace weft::upstream {
namespace {

// An origin on the test's own loop: accepts, and answers when the test says so.
class Origin : public net::Listener::Handler {
 public:
  explicit Origin(event::Loop& loop) {
    std::string error;
    int fd = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), {}, &error);
    listener_ = std::make_unique<net::Listener>(loop, fd, this);
    address_ = listener_->local_address();
  }
  ~Origin() {
    for (int fd : fds) {
      if (fd >= 0) close(fd);
    }
  }
  void OnAccept(int fd, const net::Address&) override { fds.push_back(fd); }
  void Answer(size_t i, std::string_view extra = "") {
    std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + std::string(extra) + "\r\n";
    ASSERT_EQ(send(fds[i], text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void Hang(size_t i) { close(std::exchange(fds[i], -1)); }
  const net::Address& address() const { return address_; }
  std::vector<int> fds;

 private:
  std::unique_ptr<net::Listener> listener_;
  net::Address address_;
};

struct Wish : StreamRequest, http::ClientStreamEvents {
  void OnStreamReady(http::ClientStream& s) override {
    ++ready;
    stream = &s;
    if (send) {
      s.set_events(this);
      s.SendRequest(*request, nullptr);
    }
  }
  void OnStreamFailed(const Error& e) override {
    ++failed;
    error = e;
    if (on_failed) on_failed();
  }
  void OnInformational(const http::ResponseHead&) override {}
  void OnResponse(http::ResponseHead& head, buffer::BodyPipe*) override { status = head.status; }
  void OnClientReset(const Error& e) override {
    ++reset;
    error = e;
    stream = nullptr;
  }
  void Release() {
    http::ClientStream* s = std::exchange(stream, nullptr);
    s->set_events(nullptr);
    s->Release();
  }
  const http::RequestHead* request = nullptr;
  http::ClientStream* stream = nullptr;
  std::function<void()> on_failed;
  Error error;
  bool send = true;
  int ready = 0, failed = 0, reset = 0, status = 0;
};

class ConnPoolTest : public ::testing::Test {
 protected:
  ConnPoolTest() {
    spec_ = std::make_shared<ClusterSpec>();
    spec_->name = "c";
    request_.method = "GET", request_.path = "/", request_.authority = "a";
    counters_ = registry_.NewShard()->Cluster("c");
  }
  ~ConnPoolTest() override {
    pool_.reset();
    loop_.RunOnce();
    loop_.RunOnce();
    // Whatever a test did, nothing may be left over.
    EXPECT_EQ(counters_->upstream_cx_active.value(), 0);
    EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 0);
    EXPECT_EQ(spec_->usage->connections, others_);
    EXPECT_EQ(spec_->usage->pending, 0u);
    EXPECT_EQ(counters_->upstream_cx_total.value(), counters_->upstream_cx_destroy.value());
  }
  void Make() { Make(origin_.address()); }
  void Make(const net::Address& to) {
    Make(to, ConnPool::Protocol::kHttp1);
  }
  void Make(const net::Address& to, ConnPool::Protocol protocol) {
    EndpointSpec endpoint;
    endpoint.address = to;
    host_.reset(new HostContext{context_, spec_, counters_, endpoint, {}, {}});
    pool_ = std::make_unique<ConnPool>(*host_, protocol);
  }
  std::unique_ptr<Wish> Ask(bool send = true) {
    auto w = std::make_unique<Wish>();
    w->request = &request_;
    w->send = send;
    pool_->Acquire(w.get());
    return w;
  }
  bool Until(const std::function<bool()>& done, MonoNanos limit = 30 * kSecond) {
    MonoNanos start = MonotonicNow();
    while (!done() && MonotonicNow() - start < limit) loop_.RunOnce();
    return done();
  }

  event::Loop loop_;
  buffer::Slab slab_;
  http::h1::ClientContext context_{loop_, slab_};
  Origin origin_{loop_};
  observe::Registry registry_;
  observe::ClusterCounters* counters_;
  std::shared_ptr<ClusterSpec> spec_;
  http::RequestHead request_;
  std::unique_ptr<HostContext> host_;
  std::unique_ptr<ConnPool> pool_;
  uint32_t others_ = 0;  // connections that "other workers" hold
};

TEST_F(ConnPoolTest, DialsOnceAndReuses) {
  Make();
  for (int i = 0; i < 3; ++i) {
    auto w = Ask();
    ASSERT_TRUE(Until([&] { return w->ready == 1 && !origin_.fds.empty(); }));
    origin_.Answer(0);
    ASSERT_TRUE(Until([&] { return w->status == 200; }));
    w->Release();
    EXPECT_EQ(pool_->idle_count(), 1u);
  }
  EXPECT_EQ(pool_->dialed(), 1u);
  EXPECT_EQ(counters_->upstream_cx_destroy_with_active_rq.value(), 0u);
}

TEST_F(ConnPoolTest, TheWarmestConnectionIsLentFirst) {
  Make();
  auto a = Ask(), b = Ask();
  ASSERT_TRUE(Until([&] { return a->ready && b->ready && origin_.fds.size() == 2; }));
  http::ClientStream* second = b->stream;
  origin_.Answer(0);
  origin_.Answer(1);
  ASSERT_TRUE(Until([&] { return a->status && b->status; }));
  a->Release();
  b->Release();
  auto c = Ask(false);
  EXPECT_EQ(c->stream, second);
  c->Release();
  EXPECT_EQ(pool_->idle_count(), 2u) << "a stream that was lent and never used comes back";
}

TEST_F(ConnPoolTest, WhoWaitsGetsWhateverIsFreeFirst) {
  spec_->breakers.max_connections = 1;
  Make();
  auto a = Ask(), b = Ask(), c = Ask();
  EXPECT_EQ(counters_->upstream_cx_overflow.value(), 2u);
  EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 3);
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  EXPECT_EQ(b->ready + c->ready, 0);
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  EXPECT_EQ(b->ready, 1) << "in order";
  EXPECT_EQ(c->ready, 0);
  c->Cancel();
  EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 0);
  b->Release();
}

TEST_F(ConnPoolTest, TooManyWaitingIsAnOverflow) {
  spec_->breakers.max_pending_requests = 1;
  Make();
  auto a = Ask(), b = Ask();
  EXPECT_EQ(b->failed, 1);
  EXPECT_EQ(b->error.code, ErrorCode::kOverflow);
  EXPECT_EQ(counters_->upstream_rq_pending_overflow.value(), 1u);
  ASSERT_TRUE(Until([&] { return a->ready == 1; }));
  a->Release();
}

TEST_F(ConnPoolTest, WhenOtherWorkersHoldEveryConnectionItFailsAtOnce) {
  spec_->breakers.max_connections = 2;
  spec_->usage->connections = others_ = 2;
  Make();
  auto a = Ask();
  EXPECT_EQ(a->failed, 1);
  EXPECT_EQ(a->error.code, ErrorCode::kOverflow);
}

TEST_F(ConnPoolTest, WhoWaitsIsToldWhenAnotherWorkerTookTheFreedConnection) {
  spec_->breakers.max_connections = 1;
  Make();
  auto a = Ask(), b = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  // The connection ends, and before this worker can dial, another one has the unit.
  spec_->usage->connections.fetch_add(others_ = 1);
  origin_.Hang(0);
  ASSERT_TRUE(Until([&] { return a->reset == 1; }));
  ASSERT_TRUE(Until([&] { return b->failed + b->ready == 1; }))
      << "it waits for a connection that never comes";
  EXPECT_EQ(b->error.code, ErrorCode::kOverflow);
}

TEST_F(ConnPoolTest, WhoWaitsForAConnectionThatEndsGetsOneOfItsOwn) {
  spec_->breakers.max_connections = 1;
  Make();
  auto a = Ask(), b = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  origin_.Hang(0);
  ASSERT_TRUE(Until([&] { return a->reset == 1 && b->ready == 1; }));
  EXPECT_EQ(pool_->dialed(), 2u);
  b->Release();
}

TEST_F(ConnPoolTest, AFailedDialFailsItsRequestAndTheOthersTryAgain) {
  net::Address dead;
  {
    Origin gone(loop_);
    dead = gone.address();
  }
  spec_->breakers.max_connections = 1;
  Make(dead);
  auto a = Ask(), b = Ask(), c = Ask();
  ASSERT_TRUE(Until([&] { return a->failed + b->failed + c->failed == 3; }))
      << "somebody waits for a dial that is over";
  for (Wish* w : {a.get(), b.get(), c.get()}) EXPECT_EQ(w->error.code, ErrorCode::kConnectFailed);
  EXPECT_EQ(counters_->upstream_cx_connect_fail.value(), 3u);
  EXPECT_EQ(pool_->dial_failures(), 3u);
  EXPECT_EQ(pool_->connection_count(), 0u);
}

TEST_F(ConnPoolTest, ADialMayFailIntoTheNextAttempt) {
  net::Address dead;
  {
    Origin gone(loop_);
    dead = gone.address();
  }
  Make(dead);
  Wish again;
  again.request = &request_;
  auto a = std::make_unique<Wish>();
  a->on_failed = [&] { pool_->Acquire(&again); };  // a retry at once, from inside the failure
  pool_->Acquire(a.get());
  ASSERT_TRUE(Until([&] { return again.failed == 1; }));
}

TEST_F(ConnPoolTest, ThePoolMayGoAwayInsideAFailure) {
  net::Address dead;
  {
    Origin gone(loop_);
    dead = gone.address();
  }
  Make(dead);
  auto a = std::make_unique<Wish>(), b = std::make_unique<Wish>();
  a->on_failed = [&] { pool_.reset(); };
  pool_->Acquire(a.get());
  pool_->Acquire(b.get());
  ASSERT_TRUE(Until([&] { return a->failed == 1; }));
  loop_.RunOnce();
}

TEST_F(ConnPoolTest, ThePoolMayGoAwayWhileItDialsAndTheDialIsOver) {
  Make();
  auto a = Ask();
  usleep(5'000);    // connected: the event waits for the next turn
  loop_.Post([&] {  // in the same turn, ahead of the socket's event or behind it
    a.reset();
    pool_.reset();
  });
  loop_.RunOnce();
  loop_.RunOnce();
}

TEST_F(ConnPoolTest, AConnectTimeoutIsOne) {
  // A full queue answers no SYN.
  net::ListenOptions o;
  o.backlog = 0;
  std::string error;
  int fd = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), o, &error);
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len);
  net::Address at = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)!connect(fillers.back(), at.sa(), at.length());
  }
  usleep(20'000);
  spec_->connect_timeout = 30 * kMillisecond;
  Make(at);
  auto a = Ask();
  ASSERT_TRUE(Until([&] { return a->failed == 1; }));
  EXPECT_EQ(a->error.code, ErrorCode::kConnectTimeout);
  EXPECT_EQ(counters_->upstream_cx_connect_timeout.value(), 1u);
  for (int f : fillers) close(f);
  close(fd);
}

TEST_F(ConnPoolTest, CancelledWhileDialingTheConnectionIsKeptForTheNext) {
  Make();
  {
    auto a = Ask();
    EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 1);
  }  // its owner is gone
  EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 0);
  ASSERT_TRUE(Until([&] { return pool_->idle_count() == 1; }));
  auto b = Ask(false);
  EXPECT_EQ(b->ready, 1);
  b->Release();
  EXPECT_EQ(pool_->dialed(), 1u);
}

TEST_F(ConnPoolTest, DrainClosesWhatIsIdleAndFinishesWhatIsBusy) {
  Make();
  auto a = Ask(), b = Ask();
  ASSERT_TRUE(Until([&] { return a->ready && b->ready && origin_.fds.size() == 2; }));
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  pool_->Drain();
  EXPECT_EQ(pool_->connection_count(), 1u);
  origin_.Answer(1);
  ASSERT_TRUE(Until([&] { return b->status == 200; }));
  b->Release();
  EXPECT_EQ(pool_->connection_count(), 0u);
  EXPECT_EQ(counters_->upstream_cx_destroy_with_active_rq.value(), 0u);
}

TEST_F(ConnPoolTest, DrainTellsWhoWaits) {
  spec_->breakers.max_connections = 1;
  Make();
  auto a = Ask(), b = Ask(), c = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  b->on_failed = [&] { c->Cancel(); };  // the failure of one may withdraw another
  pool_->Drain();
  EXPECT_EQ(b->failed, 1) << "the endpoint is gone: whoever waits must choose another";
  EXPECT_EQ(b->error.code, ErrorCode::kDrain);
  EXPECT_TRUE(b->error.unprocessed);
  EXPECT_EQ(c->failed, 0);
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  EXPECT_EQ(pool_->connection_count(), 0u);
}

TEST_F(ConnPoolTest, ADrainedPoolClosesTheConnectionThatItWasDialing) {
  Make();
  auto a = Ask();
  pool_->Drain();
  EXPECT_EQ(a->failed, 1);
  ASSERT_TRUE(Until([&] { return pool_->connection_count() == 0; }));
}

TEST_F(ConnPoolTest, AFreshConnectionIsDialedThoughOneIsIdle) {
  Make();
  auto a = Ask(false);
  ASSERT_TRUE(Until([&] { return a->ready == 1; }));
  http::ClientStream* first = a->stream;
  a->Release();
  ASSERT_EQ(pool_->idle_count(), 1u);
  Wish fresh;
  fresh.request = &request_;
  pool_->Acquire(&fresh, ConnPool::Want::kFresh);
  EXPECT_EQ(fresh.ready, 0);
  ASSERT_TRUE(Until([&] { return fresh.ready == 1; }));
  EXPECT_NE(fresh.stream, first);
  fresh.Release();
  // With no connection allowed any more, an idle one is better than none.
  spec_->breakers.max_connections = 1;
  Wish last;
  last.send = false;
  pool_->Acquire(&last, ConnPool::Want::kFresh);
  EXPECT_EQ(last.ready, 1);
  last.Release();
}

TEST_F(ConnPoolTest, ACloseByTheUpstreamBetweenRequestsIsNoLoss) {
  Make();
  auto a = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  origin_.Hang(0);
  ASSERT_TRUE(Until([&] { return pool_->connection_count() == 0; }));
  EXPECT_EQ(counters_->upstream_cx_destroy_with_active_rq.value(), 0u);
}

TEST_F(ConnPoolTest, AConnectionMayDieWhileItIsLent) {
  // Reset while idle, and used before the loop has seen it: the write fails inside Acquire.
  Make();
  auto a = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  linger l = {1, 0};
  setsockopt(origin_.fds[0], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  origin_.Hang(0);
  auto b = Ask();
  EXPECT_EQ(b->ready, 1);
  EXPECT_EQ(b->reset, 1);
  EXPECT_EQ(pool_->connection_count(), 0u);
  EXPECT_EQ(counters_->upstream_cx_destroy_with_active_rq.value(), 1u);
  auto c = Ask();
  ASSERT_TRUE(Until([&] { return c->ready == 1; }));
  c->Release();
}

TEST_F(ConnPoolTest, AConnectionThatIsUsedUpIsNoLoss) {
  spec_->max_requests_per_connection = 1;
  Make();
  auto a = Ask();
  ASSERT_TRUE(Until([&] { return a->ready == 1 && origin_.fds.size() == 1; }));
  origin_.Answer(0);
  ASSERT_TRUE(Until([&] { return a->status == 200; }));
  a->Release();
  EXPECT_EQ(pool_->connection_count(), 0u);
  EXPECT_EQ(counters_->upstream_cx_destroy_with_active_rq.value(), 0u);
}

TEST_F(ConnPoolTest, IdleConnectionsAgeOut) {
  spec_->idle_timeout = 30 * kMillisecond;
  Make();
  auto a = Ask(false), b = Ask();
  ASSERT_TRUE(Until([&] { return a->ready && b->ready && origin_.fds.size() == 2; }));
  a->Release();  // never used
  origin_.Answer(0), origin_.Answer(1);
  ASSERT_TRUE(Until([&] { return b->status == 200; }));
  b->Release();
  ASSERT_TRUE(Until([&] { return pool_->connection_count() == 0; }));
}

}  // namespace
}  // namespace weft::upstream
