// HTTP/2 connections to one endpoint, and dials, over real sockets on one loop.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <vector>

#include "dataplane/net/listener.h"
#include "dataplane/net/tcp_transport.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/upstream/host.h"
#include "test/http/h2/fake_server.h"

namespace weft::upstream {
namespace {

using test::FakeH2Server;

// An HTTP/2 origin on the test's own loop; answers when the test says so.
class Origin : public net::Listener::Handler {
 public:
  Origin(event::Loop& loop, const char* ip = "127.0.0.1", uint16_t port = 0) : loop_(loop) {
    std::string error;
    int fd = net::OpenListenSocket(*net::Address::FromIp(ip, port), {}, &error);
    listener_ = std::make_unique<net::Listener>(loop, fd, this);
  }
  void OnAccept(int fd, const net::Address& peer) override {
    std::vector<nghttp2_settings_entry> settings;
    if (max_streams > 0) {
      settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams});
    }
    peers.push_back(peer);
    servers.push_back(std::make_unique<FakeH2Server>(
        loop_, std::make_unique<net::TcpTransport>(loop_, fd, peer), true, settings));
  }
  net::Address address() { return listener_->local_address(); }
  size_t streams() {
    size_t n = 0;
    for (auto& s : servers) n += s->streams().size();
    return n;
  }
  uint32_t max_streams = 0;
  std::vector<std::unique_ptr<FakeH2Server>> servers;
  std::vector<net::Address> peers;

 private:
  event::Loop& loop_;
  std::unique_ptr<net::Listener> listener_;
};

struct Wish : StreamRequest, http::ClientStreamEvents {
  ~Wish() { Release(); }
  void OnStreamReady(http::ClientStream& s) override {
    ++ready;
    stream = &s;
    s.set_events(this);
    s.SendRequest(*request, nullptr);
  }
  void OnStreamFailed(const Error& e) override {
    ++failed;
    error = e;
  }
  void OnInformational(const http::ResponseHead&) override {}
  void OnResponse(http::ResponseHead& head, buffer::BodyPipe* body) override {
    status = head.status;
    if (body == nullptr) stream = nullptr;
  }
  void OnClientReset(const Error& e) override {
    ++reset;
    error = e;
    stream = nullptr;
  }
  void Release() {
    if (stream == nullptr) return;
    stream->set_events(nullptr);
    std::exchange(stream, nullptr)->Release();
  }
  const http::RequestHead* request = nullptr;
  http::ClientStream* stream = nullptr;
  Error error;
  int ready = 0, failed = 0, reset = 0, status = 0;
};

struct TcpHandler : TcpDial::Handler {
  void OnTcpConnected(std::unique_ptr<TcpConnection> c) override { connection = std::move(c); }
  void OnTcpFailed(const Error& e) override {
    ++failed;
    error = e.code;
  }
  std::unique_ptr<TcpConnection> connection;
  int failed = 0;
  ErrorCode error = ErrorCode::kNone;
};

class Http2PoolTest : public ::testing::Test {
 protected:
  Http2PoolTest() {
    spec_ = std::make_shared<ClusterSpec>();
    spec_->name = "c";
    spec_->protocol = UpstreamProtocol::kHttp2;
    request_.method = "GET", request_.path = "/", request_.authority = "a";
    counters_ = registry_.NewShard()->Cluster("c");
  }
  ~Http2PoolTest() override {
    wishes_.clear();
    origin_.servers.clear();
    host_.reset();
    loop_.RunOnce();
    loop_.RunOnce();
    EXPECT_EQ(counters_->upstream_cx_active.value(), 0);
    EXPECT_EQ(counters_->upstream_rq_pending_active.value(), 0);
    EXPECT_EQ(spec_->usage->connections, 0u);
    EXPECT_EQ(spec_->usage->pending, 0u);
    EXPECT_EQ(counters_->upstream_cx_total.value(), counters_->upstream_cx_destroy.value());
  }
  void Make() {
    endpoint_.address = origin_.address();
    host_ = MakeRc<Host>(context_, endpoint_, spec_, counters_);
  }
  Wish& Ask(const StreamWish& wish = {}) {
    wishes_.push_back(std::make_unique<Wish>());
    wishes_.back()->request = &request_;
    host_->Acquire(wishes_.back().get(), wish);
    return *wishes_.back();
  }
  bool Until(const std::function<bool()>& done) {
    MonoNanos start = MonotonicNow();
    while (!done() && MonotonicNow() - start < 20 * kSecond) loop_.RunOnce();
    return done();
  }
  void Answer(size_t server, int32_t id) {
    origin_.servers[server]->Respond(id, {{":status", "200"}}, true);
  }

  event::Loop loop_;
  buffer::Slab slab_;
  http::h1::ClientContext context_{loop_, slab_};
  Origin origin_{loop_};
  observe::Registry registry_;
  observe::ClusterCounters* counters_;
  std::shared_ptr<ClusterSpec> spec_;
  EndpointSpec endpoint_;
  http::RequestHead request_;
  Rc<Host> host_;
  std::vector<std::unique_ptr<Wish>> wishes_;
};

TEST_F(Http2PoolTest, OneConnectionServesAllWhoWait) {
  Make();
  for (int i = 0; i < 20; ++i) Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 20; }));
  EXPECT_EQ(host_->dialed(), 1u);
  for (int i = 0; i < 20; ++i) Answer(0, 2 * i + 1);
  ASSERT_TRUE(Until([&] { return wishes_.back()->status == 200; }));
  Wish& next = Ask();
  EXPECT_EQ(next.ready, 1) << "at once, on the connection that is there";
  EXPECT_EQ(counters_->upstream_cx_http2_total.value(), 1u);
}

TEST_F(Http2PoolTest, WhenThePeersLimitIsReachedAnotherConnectionIsMade) {
  origin_.max_streams = 2;
  Make();
  Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  Answer(0, 1);  // its SETTINGS are known by now
  ASSERT_TRUE(Until([&] { return wishes_[0]->status == 200; }));
  for (int i = 0; i < 4; ++i) Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 5; }));
  EXPECT_EQ(host_->dialed(), 2u);
}

TEST_F(Http2PoolTest, WhoWaitsGetsTheRoomOfWhoEnds) {
  auto limited = DefaultHttp2();
  limited.max_concurrent_streams = 1;
  spec_->http2 = std::make_shared<http::h2::SessionOptions>(limited);
  spec_->breakers.max_connections = 1;
  Make();
  Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  Wish& second = Ask();
  EXPECT_EQ(second.ready + second.failed, 0);
  Answer(0, 1);
  ASSERT_TRUE(Until([&] { return second.ready == 1 && origin_.streams() == 2; }));
  EXPECT_EQ(host_->dialed(), 1u);
}

TEST_F(Http2PoolTest, ARefusedStreamWasNotProcessed) {
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  origin_.servers[0]->Reset(1, NGHTTP2_REFUSED_STREAM);
  ASSERT_TRUE(Until([&] { return w.reset == 1; }));
  EXPECT_TRUE(w.error.unprocessed);
  EXPECT_FALSE(w.error.connection_lost);
}

TEST_F(Http2PoolTest, StreamsAboveGoawaysLastWereNotProcessedAndNewOnesGoElsewhere) {
  Make();
  Wish& first = Ask();
  Wish& second = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 2; }));
  origin_.servers[0]->GoAway(1, NGHTTP2_NO_ERROR);
  ASSERT_TRUE(Until([&] { return second.reset == 1; }));
  EXPECT_TRUE(second.error.unprocessed);
  EXPECT_EQ(first.reset, 0) << "goes on";
  Ask();
  ASSERT_TRUE(Until([&] { return origin_.servers.size() == 2 && origin_.streams() == 3; }));
  Answer(0, 1);
  ASSERT_TRUE(Until([&] { return first.status == 200; }));
}

TEST_F(Http2PoolTest, AConnectionThatEndsTellsItsStreamsWhetherTheyMayHaveArrived) {
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  origin_.servers[0]->CloseTransport();
  ASSERT_TRUE(Until([&] { return w.reset == 1; }));
  EXPECT_TRUE(w.error.connection_lost);
  EXPECT_FALSE(w.error.unprocessed);
  ASSERT_TRUE(Until([&] { return host_->connection_count() == 0; }));
}

TEST_F(Http2PoolTest, AConnectionCarriesAsManyRequestsAsItMay) {
  spec_->max_requests_per_connection = 2;
  Make();
  for (int i = 0; i < 3; ++i) {
    Wish& w = Ask();
    ASSERT_TRUE(Until([&] { return origin_.streams() == static_cast<size_t>(i) + 1; }));
    Answer(origin_.servers.size() - 1, i == 1 ? 3 : 1);
    ASSERT_TRUE(Until([&] { return w.status == 200; }));
  }
  EXPECT_EQ(host_->dialed(), 2u);
  EXPECT_EQ(counters_->upstream_cx_max_requests.value(), 1u);
  EXPECT_TRUE(origin_.servers[0]->goaway_received);
}

TEST_F(Http2PoolTest, IdleConnectionsEnd) {
  spec_->idle_timeout = 20 * kMillisecond;
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  Answer(0, 1);
  ASSERT_TRUE(Until([&] { return w.status == 200 && host_->connection_count() == 0; }));
  EXPECT_EQ(counters_->upstream_cx_idle_timeout.value(), 1u);
}

TEST_F(Http2PoolTest, OldConnectionsEnd) {
  spec_->max_connection_duration = 20 * kMillisecond;
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  ASSERT_TRUE(Until([&] { return counters_->upstream_cx_max_duration_reached.value() == 1; }));
  EXPECT_EQ(w.reset, 0) << "its stream goes on";
  Answer(0, 1);
  ASSERT_TRUE(Until([&] { return w.status == 200 && host_->connection_count() == 0; }));
}

TEST_F(Http2PoolTest, AFailedDialFailsAllWhoWait) {
  {
    Origin gone(loop_);
    endpoint_.address = gone.address();
  }
  host_ = MakeRc<Host>(context_, endpoint_, spec_, counters_);
  for (int i = 0; i < 3; ++i) Ask();
  ASSERT_TRUE(Until([&] { return wishes_[2]->failed == 1; }));
  EXPECT_EQ(wishes_[0]->failed + wishes_[1]->failed, 2);
  EXPECT_EQ(wishes_[0]->error.code, ErrorCode::kConnectFailed);
  EXPECT_EQ(host_->dialed(), 1u);
}

TEST_F(Http2PoolTest, ADrainedHostTellsWhoWaitsAndFinishesWhatRuns) {
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  host_->Drain();
  ASSERT_TRUE(Until([&] { return origin_.servers[0]->goaway_received; }));
  Answer(0, 1);
  ASSERT_TRUE(Until([&] { return w.status == 200 && host_->connection_count() == 0; }));
}

TEST_F(Http2PoolTest, TheProtocolOfTheRequest) {
  spec_->protocol = UpstreamProtocol::kDownstream;
  Make();
  Ask({.http2 = true});
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  Wish& plain = Ask({.http2 = false});
  ASSERT_TRUE(Until([&] { return plain.ready == 1; }));
  EXPECT_EQ(counters_->upstream_cx_http2_total.value(), 1u);
  EXPECT_EQ(counters_->upstream_cx_http1_total.value(), 1u);
  plain.Release();
}

TEST_F(Http2PoolTest, ConnectionsAreMadeAheadOfNeed) {
  spec_->protocol = UpstreamProtocol::kHttp1;
  spec_->preconnect_ratio = 2;
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return w.ready == 1 && host_->dialed() == 2; }));
  w.Release();
}

TEST_F(Http2PoolTest, TheAddressThatAnswersWins) {
  // The first one is refused: the next is tried at once, not after the stagger.
  net::Address dead;
  {
    Origin gone(loop_);
    dead = gone.address();
  }
  endpoint_.dial_order = {dead, origin_.address()};
  Make();
  Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  EXPECT_EQ(counters_->upstream_cx_connect_fail.value(), 0u);
}

TEST_F(Http2PoolTest, AnAddressThatIsSilentIsOvertaken) {
  // A full backlog: connect neither succeeds nor fails.
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in sa = {};
  sa.sin_family = AF_INET;
  sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&sa), sizeof(sa)), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  socklen_t size = sizeof(sa);
  getsockname(fd, reinterpret_cast<sockaddr*>(&sa), &size);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)!connect(fillers.back(), reinterpret_cast<sockaddr*>(&sa), sizeof(sa));
  }
  endpoint_.dial_order = {net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&sa), size),
                          origin_.address()};
  Make();
  Ask();
  EXPECT_TRUE(Until([&] { return origin_.streams() == 1; }));
  EXPECT_EQ(host_->dialed(), 1u);
  for (int f : fillers) close(f);
  close(fd);
}

TEST_F(Http2PoolTest, TheSourceAddress) {
  net::DialOptions dialing;
  dialing.source = *net::Address::FromIp("127.0.0.7", 0);
  spec_->dialing = std::make_shared<net::DialOptions>(dialing);
  Make();
  Ask();
  ASSERT_TRUE(Until([&] { return origin_.streams() == 1; }));
  EXPECT_EQ(origin_.peers[0].Ip(), "127.0.0.7");
}

TEST_F(Http2PoolTest, ASourceAddressThatIsNotOursFailsTheDial) {
  net::DialOptions dialing;
  dialing.source = *net::Address::FromIp("192.0.2.1", 0);
  spec_->dialing = std::make_shared<net::DialOptions>(dialing);
  Make();
  Wish& w = Ask();
  ASSERT_TRUE(Until([&] { return w.failed == 1; }));
  EXPECT_EQ(counters_->bind_errors.value(), 1u);
}

TEST_F(Http2PoolTest, TcpConnectionsAreCounted) {
  spec_->breakers.max_connections = 1;
  Make();
  TcpHandler first, second;
  auto dial = host_->DialTcp(&first);
  auto refused = host_->DialTcp(&second);
  EXPECT_EQ(second.failed, 0) << "told from the loop only";
  ASSERT_TRUE(Until([&] { return first.connection != nullptr && second.failed == 1; }));
  EXPECT_EQ(second.error, ErrorCode::kOverflow);
  EXPECT_EQ(host_->connection_count(), 1u);
  first.connection.reset();
  EXPECT_EQ(host_->connection_count(), 0u);
  TcpHandler third;
  auto again = host_->DialTcp(&third);
  again.reset();
  EXPECT_EQ(spec_->usage->connections, 0u) << "cancelled";
}

TEST_F(Http2PoolTest, ATcpDialThatFailsSaysSo) {
  {
    Origin gone(loop_);
    endpoint_.address = gone.address();
  }
  host_ = MakeRc<Host>(context_, endpoint_, spec_, counters_);
  TcpHandler handler;
  auto dial = host_->DialTcp(&handler);
  ASSERT_TRUE(Until([&] { return handler.failed == 1; }));
  EXPECT_EQ(handler.error, ErrorCode::kConnectFailed);
  EXPECT_EQ(host_->dial_failures(), 1u);
}

}  // namespace
}  // namespace weft::upstream
