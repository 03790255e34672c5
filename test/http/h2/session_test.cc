#include "dataplane/http/h2/session.h"

#include <gtest/gtest.h>

#include "test/http/h2/fake_server.h"

namespace weft::http::h2 {
namespace {

using test::FakeH2Server;
using test::Fields;

// What one request heard. Pulls body bytes only when told to.
struct Client : ClientStreamEvents, buffer::BodyPipe::Consumer {
  ClientStream* stream = nullptr;
  std::vector<int> informational;
  int status = 0;
  Fields fields, trailers;
  std::string body;
  buffer::BodyPipe* pipe = nullptr;
  bool done = false, reset = false, pull = true, release_in_head = false;
  Error error;

  void OnInformational(const ResponseHead& head) override { informational.push_back(head.status); }
  void OnResponse(ResponseHead& head, buffer::BodyPipe* b) override {
    status = head.status;
    for (const Header& h : head.headers) fields.emplace_back(std::string(h.name), std::string(h.value));
    if (release_in_head) {
      stream->Release();
      stream = nullptr;
      return;
    }
    if (b == nullptr) {
      done = true;
      stream = nullptr;
      return;
    }
    pipe = b;
    pipe->set_consumer(this);
  }
  void OnClientReset(const Error& e) override {
    reset = true;
    error = e;
    stream = nullptr;
    pipe = nullptr;
  }
  void OnPipeReady() override {
    if (pull) Pull();
  }
  void Pull(size_t max = SIZE_MAX) {
    buffer::SliceBuffer got;
    pipe->Pull(got, max);
    body += got.ToString();
    if (pipe->finished() && !done) {
      done = true;
      if (pipe->trailers() != nullptr) {
        for (const Header& h : *pipe->trailers()) trailers.emplace_back(std::string(h.name), std::string(h.value));
      }
      stream->Release();
      stream = nullptr;
    }
  }
};

struct Upload : buffer::BodyPipe::Producer {
  explicit Upload(buffer::Slab& s) : slab(s) { pipe.Reset(this); }
  void OnPipeSpace() override { ++spaces; }
  void Write(std::string_view bytes) {
    buffer::SliceBuffer b;
    b.AppendCopy(slab, bytes);
    for (size_t i = 0; i < b.slice_count(); ++i) pipe.Write(b.slice(i));
    pipe.Notify();
  }
  void End(const HeaderMap* trailers = nullptr) {
    pipe.End(trailers);
    pipe.Notify();
  }
  buffer::Slab& slab;
  buffer::BodyPipe pipe;
  int spaces = 0;
};

class SessionTest : public ::testing::Test, public Session::Handler {
 protected:
  void Start(SessionOptions options = {}, bool auto_window = true, std::vector<nghttp2_settings_entry> settings = {}) {
    auto [a, b] = test::TransportPair(loop_);
    session_ = std::make_unique<Session>(loop_, slab_, std::move(a), options, this);
    server_ = std::make_unique<FakeH2Server>(loop_, std::move(b), auto_window, std::move(settings));
  }
  void TearDown() override {
    session_.reset();
    server_.reset();
    loop_.RunOnce();
  }
  bool Until(const std::function<bool()>& f) { return test::RunUntil(loop_, f); }
  ClientStream* Get(Client& c, std::string_view path = "/") {
    c.stream = session_->Open(&c);
    if (c.stream == nullptr) return nullptr;
    RequestHead head;
    head.method = "GET";
    head.authority = "example.org";
    head.path = path;
    c.stream->SendRequest(head, nullptr);
    return c.stream;
  }
  ClientStream* Post(Client& c, Upload& up, int64_t length = kUnknownLength) {
    c.stream = session_->Open(&c);
    RequestHead head;
    head.method = "POST";
    head.authority = "example.org";
    head.path = "/up";
    head.has_body = true;
    head.content_length = length;
    c.stream->SendRequest(head, &up.pipe);
    return c.stream;
  }
  void OnSessionReady() override { ++ready_; }
  void OnSessionDraining() override { ++draining_; }
  void OnSessionClosed(const Error& e) override {
    ++closed_;
    error_ = e;
  }

  buffer::Slab slab_;
  event::Loop loop_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FakeH2Server> server_;
  int ready_ = 0, draining_ = 0, closed_ = 0;
  Error error_;
};

TEST_F(SessionTest, GetWithBodyAndTrailers) {
  Start();
  Client c;
  c.stream = session_->Open(&c);
  RequestHead head;
  head.method = "GET";
  head.authority = "example.org";
  head.path = "/a?b=c";
  head.headers.Add("X-Mixed-Case", "Value");
  head.headers.Add("connection", "keep-alive, x");
  head.headers.Add("host", "other");
  head.headers.Add("te", "gzip");
  c.stream->SendRequest(head, nullptr);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr && server_->stream(1)->ended; }));
  EXPECT_EQ(server_->stream(1)->head, (Fields{{":method", "GET"},
                                              {":scheme", "http"},
                                              {":path", "/a?b=c"},
                                              {":authority", "example.org"},
                                              {"x-mixed-case", "Value"}}));
  server_->Informational(1, {{":status", "103"}, {"link", "</x>"}});
  server_->Respond(1, {{":status", "200"}, {"content-type", "text/plain"}}, false);
  server_->Data(1, "hello ");
  server_->Data(1, "world");
  server_->End(1, {{"checksum", "9"}});
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.informational, std::vector<int>{103});
  EXPECT_EQ(c.status, 200);
  EXPECT_EQ(c.fields, (Fields{{"content-type", "text/plain"}}));
  EXPECT_EQ(c.body, "hello world");
  EXPECT_EQ(c.trailers, (Fields{{"checksum", "9"}}));
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(Until([&] { return session_->open_streams() == 0; }));
}

TEST_F(SessionTest, ResponseWithoutBodyEndsTheStream) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "204"}}, true);
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.status, 204);
  EXPECT_EQ(session_->open_streams(), 0u);
}

TEST_F(SessionTest, UploadWithLengthAndTrailers) {
  Start();
  Client c;
  Upload up(slab_);
  Post(c, up, 11);
  up.Write("hello ");
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr && server_->stream(1)->body == "hello "; }));
  EXPECT_EQ(server_->stream(1)->head.back(), (std::pair<std::string, std::string>("content-length", "11")));
  HeaderMap trailers;
  trailers.Add("x-sum", "1");
  up.Write("world");
  up.End(&trailers);
  ASSERT_TRUE(Until([&] { return server_->stream(1)->ended; }));
  EXPECT_EQ(server_->stream(1)->body, "hello world");
  EXPECT_EQ(server_->stream(1)->trailers, (Fields{{"x-sum", "1"}}));
  server_->Respond(1, {{":status", "200"}}, true);
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.status, 200);
}

// Both directions stay open at once: what gRPC's bidirectional streams need.
TEST_F(SessionTest, Bidirectional) {
  Start();
  Client c;
  Upload up(slab_);
  Post(c, up);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  for (int i = 0; i < 50; ++i) {
    std::string ask = "ask " + std::to_string(i) + "\n";
    up.Write(ask);
    ASSERT_TRUE(Until([&] { return server_->stream(1)->body.ends_with(ask); }));
    server_->Data(1, "answer " + std::to_string(i) + "\n");
    ASSERT_TRUE(Until([&] { return c.body.ends_with("answer " + std::to_string(i) + "\n"); }));
  }
  up.End();
  server_->End(1, {{"grpc-status", "0"}});
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.trailers, (Fields{{"grpc-status", "0"}}));
}

TEST_F(SessionTest, UnreadBodyIsBoundedByTheWindowAndFlowsOnWhenTaken) {
  SessionOptions o;
  o.stream_window = 65536;
  o.connection_window = 131072;
  Start(o);
  Client c;
  c.pull = false;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  std::string big;
  for (int i = 0; big.size() < 1000000; ++i) big += std::to_string(i) + ",";
  server_->Data(1, big);
  server_->End(1);
  ASSERT_TRUE(Until([&] { return c.pipe != nullptr && c.pipe->available() == 65536; }));
  for (int i = 0; i < 20; ++i) loop_.RunOnce();
  EXPECT_EQ(c.pipe->available(), 65536u);
  EXPECT_LE(slab_.in_use_bytes(), 5u * 65536u);
  // Small steps, most of which the codec hears nothing of.
  ASSERT_TRUE(Until([&] {
    for (int i = 0; i < 30 && !c.done; ++i) c.Pull(1000);
    return c.done;
  }));
  EXPECT_EQ(c.body, big);
}

TEST_F(SessionTest, ReleasedStreamsGiveTheirBytesBackToTheConnection) {
  SessionOptions o;
  o.stream_window = 65536;
  o.connection_window = 65535;
  Start(o);
  for (int i = 0; i < 5; ++i) {
    Client c;
    c.pull = false;
    Get(c);
    int32_t id = 1 + 2 * i;
    ASSERT_TRUE(Until([&] { return server_->stream(id) != nullptr; }));
    server_->Respond(id, {{":status", "200"}}, false);
    server_->Data(id, std::string(60000, 'x'));
    ASSERT_TRUE(Until([&] { return c.pipe != nullptr && c.pipe->available() == 60000; })) << i;
    c.stream->Release();
    ASSERT_TRUE(Until([&] { return server_->stream(id)->closed; }));
    EXPECT_EQ(server_->stream(id)->error, static_cast<uint32_t>(NGHTTP2_CANCEL));
  }
}

// RFC 8441: not a byte before the peer agrees, then both directions, with half-close.
TEST_F(SessionTest, ExtendedConnect) {
  Start({}, true, {{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}});
  ASSERT_TRUE(Until([&] { return ready_ == 1; }));
  EXPECT_TRUE(session_->CanConnectProtocol());
  Client c;
  Upload up(slab_);
  c.stream = session_->Open(&c);
  RequestHead head;
  head.method = "GET";
  head.authority = "example.org";
  head.path = "/chat";
  head.upgrade = "websocket";
  up.Write("early");
  c.stream->SendRequest(head, &up.pipe);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr && server_->stream(1)->head_done; }));
  EXPECT_EQ(server_->stream(1)->head, (Fields{{":method", "CONNECT"},
                                              {":protocol", "websocket"},
                                              {":scheme", "http"},
                                              {":path", "/chat"},
                                              {":authority", "example.org"}}));
  for (int i = 0; i < 5; ++i) loop_.RunOnce();
  EXPECT_EQ(server_->stream(1)->body, "");
  server_->Respond(1, {{":status", "200"}}, false);
  server_->Data(1, "down");
  ASSERT_TRUE(Until([&] { return server_->stream(1)->body == "early" && c.body == "down"; }));
  EXPECT_EQ(c.status, 101);
  up.End();
  ASSERT_TRUE(Until([&] { return server_->stream(1)->ended; }));
  server_->Data(1, " and out");
  server_->End(1);
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.body, "down and out");
}

TEST_F(SessionTest, UploadStopsAtThePeersWindow) {
  Start({}, /*auto_window=*/false);
  Client c;
  Upload up(slab_);
  Post(c, up);
  std::string big(300000, 'u');
  up.Write(big);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr && server_->stream(1)->body.size() == 65535; }));
  for (int i = 0; i < 20; ++i) loop_.RunOnce();
  EXPECT_EQ(server_->stream(1)->body.size(), 65535u);
  EXPECT_GE(up.pipe.available(), big.size() - 65535 - 65536);
  size_t consumed = 0;
  up.End();
  ASSERT_TRUE(Until([&] {
    size_t n = server_->stream(1)->body.size();
    server_->Consume(1, n - consumed);
    consumed = n;
    return server_->stream(1)->ended;
  }));
  EXPECT_EQ(server_->stream(1)->body, big);
  EXPECT_GT(up.spaces, 0);
}

TEST_F(SessionTest, StalledTransportBoundsTheOutput) {
  Start();
  ASSERT_TRUE(Until([&] { return ready_ == 1; }));
  server_->StopReading();
  Client c;
  Upload up(slab_);
  Post(c, up);
  std::string big(60000, 'u');
  up.Write(big);
  for (int i = 0; i < 20; ++i) loop_.RunOnce();
  EXPECT_LT(slab_.in_use_bytes(), 200000u);
}

TEST_F(SessionTest, RefusedStreamIsUnprocessed) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Reset(1, NGHTTP2_REFUSED_STREAM);
  ASSERT_TRUE(Until([&] { return c.reset; }));
  EXPECT_TRUE(c.error.unprocessed);
  EXPECT_EQ(c.error.detail, "REFUSED_STREAM");
}

TEST_F(SessionTest, ResetInTheBodyIsNeverACompleteResponse) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  server_->Data(1, "part");
  ASSERT_TRUE(Until([&] { return c.body == "part"; }));
  server_->Reset(1, NGHTTP2_INTERNAL_ERROR);
  ASSERT_TRUE(Until([&] { return c.reset; }));
  EXPECT_FALSE(c.done);
  EXPECT_FALSE(c.error.unprocessed);
  EXPECT_EQ(c.error.detail, "INTERNAL_ERROR");
  EXPECT_EQ(closed_, 0);
}

TEST_F(SessionTest, BodyShorterThanContentLengthIsAnError) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}, {"content-length", "10"}}, false);
  server_->Data(1, "12345");
  server_->End(1);
  ASSERT_TRUE(Until([&] { return c.reset || c.done; }));
  EXPECT_TRUE(c.reset);
}

TEST_F(SessionTest, StatusOutsideOfItsRangeIsAnError) {
  Start();
  for (const char* status : {"004", "099", "600", "999"}) {
    Client c;
    Get(c);
    ASSERT_TRUE(Until([&] { return !server_->streams().empty() && !server_->streams().back()->closed; }));
    server_->Respond(server_->streams().back()->id, {{":status", status}}, true);
    ASSERT_TRUE(Until([&] { return c.reset; })) << status;
    EXPECT_EQ(c.status, 0);
    EXPECT_EQ(c.error.code, ErrorCode::kProtocol);
  }
}

TEST_F(SessionTest, CompleteAnswerBeforeTheUploadEndedIsAnAnswer) {
  Start();
  Client c;
  Upload up(slab_);
  Post(c, up);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "413"}}, true);
  ASSERT_TRUE(Until([&] { return c.done; }));
  EXPECT_EQ(c.status, 413);
  EXPECT_FALSE(c.reset);
  up.Write("late");  // the stream must not be the pipe's consumer any more
  loop_.RunOnce();
}

TEST_F(SessionTest, GoAwayRefusesNewStreamsAndThoseAboveItsLastId) {
  Start();
  Client a, b;
  Get(a);
  Get(b);
  ASSERT_TRUE(Until([&] { return server_->stream(3) != nullptr; }));
  server_->GoAway(1, NGHTTP2_NO_ERROR);
  ASSERT_TRUE(Until([&] { return b.reset; }));
  EXPECT_TRUE(b.error.unprocessed);
  EXPECT_EQ(draining_, 1);
  Client c;
  EXPECT_FALSE(session_->CanOpen());
  EXPECT_EQ(Get(c), nullptr);
  EXPECT_EQ(closed_, 0);
  server_->Respond(1, {{":status", "200"}}, true);
  ASSERT_TRUE(Until([&] { return a.done; }));
  ASSERT_TRUE(Until([&] { return closed_ == 1; }));
  EXPECT_EQ(error_.code, ErrorCode::kDrain);
}

TEST_F(SessionTest, DrainEndsAfterTheLastStream) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  session_->Drain();
  ASSERT_TRUE(Until([&] { return server_->goaway_received; }));
  EXPECT_EQ(closed_, 0);
  server_->Respond(1, {{":status", "200"}}, true);
  ASSERT_TRUE(Until([&] { return closed_ == 1; }));
  EXPECT_TRUE(c.done);
}

TEST_F(SessionTest, PeerClosesTheConnection) {
  Start();
  Client a, b;
  Get(a);
  Get(b);
  ASSERT_TRUE(Until([&] { return server_->stream(3) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  ASSERT_TRUE(Until([&] { return a.status == 200; }));
  server_->CloseTransport();
  ASSERT_TRUE(Until([&] { return closed_ == 1; }));
  EXPECT_TRUE(a.reset);
  EXPECT_TRUE(b.reset);
  EXPECT_FALSE(b.error.unprocessed);
  EXPECT_EQ(error_.code, ErrorCode::kDisconnect);
  Client c;
  EXPECT_EQ(Get(c), nullptr);
}

TEST_F(SessionTest, RequestThatNeverLeftIsUnprocessed) {
  Start();
  ASSERT_TRUE(Until([&] { return ready_ == 1; }));
  server_->CloseTransport();
  Client c;
  Get(c);  // the kernel does not take a byte of it
  ASSERT_TRUE(Until([&] { return c.reset; }));
  EXPECT_TRUE(c.error.unprocessed);
}

TEST_F(SessionTest, PeerThatDoesNotSpeakHttp2) {
  Start();
  ASSERT_TRUE(Until([&] { return ready_ == 1; }));
  Client c;
  Get(c);
  server_->Raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(Until([&] { return closed_ == 1; }));
  EXPECT_TRUE(c.reset);
  EXPECT_EQ(error_.side, Side::kUpstream);
  EXPECT_FALSE(error_.detail.empty());
}

TEST_F(SessionTest, TooLargeAHeadResetsOnlyItsStream) {
  SessionOptions o;
  o.max_head_bytes = 4096;
  Start(o);
  Client a, b;
  Get(a);
  Get(b);
  ASSERT_TRUE(Until([&] { return server_->stream(3) != nullptr; }));
  server_->Respond(1, {{":status", "200"}, {"x-large", std::string(5000, 'v')}}, true);
  server_->Respond(3, {{":status", "200"}}, true);
  ASSERT_TRUE(Until([&] { return b.done && a.reset; }));
  EXPECT_EQ(a.error.code, ErrorCode::kHeadersTooLarge);
  EXPECT_EQ(closed_, 0);
}

TEST_F(SessionTest, EndlessInformationalHeadsAreBounded) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  for (int i = 0; i < 3000; ++i) server_->Informational(1, {{":status", "103"}, {"link", "</some/style.css>"}});
  ASSERT_TRUE(Until([&] { return c.reset; }));
  EXPECT_EQ(c.error.code, ErrorCode::kHeadersTooLarge);
}

TEST_F(SessionTest, StreamsAreLimitedByThePeersSetting) {
  Start({}, true, {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}});
  ASSERT_TRUE(Until([&] { return ready_ == 1; }));
  Client a, b, c;
  ASSERT_NE(Get(a), nullptr);
  ASSERT_NE(Get(b), nullptr);
  EXPECT_FALSE(session_->CanOpen());
  EXPECT_EQ(Get(c), nullptr);
  ASSERT_TRUE(Until([&] { return server_->stream(3) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, true);
  ASSERT_TRUE(Until([&] { return a.done; }));
  EXPECT_TRUE(session_->CanOpen());
}

TEST_F(SessionTest, KeepaliveAnswered) {
  SessionOptions o;
  o.keepalive_interval = 20 * kMillisecond;
  o.keepalive_timeout = 60 * kSecond;
  Start(o);
  ASSERT_TRUE(Until([&] { return server_->pings() >= 3; }));
  EXPECT_EQ(closed_, 0);
}

TEST_F(SessionTest, KeepaliveWithoutAnswerCloses) {
  SessionOptions o;
  o.keepalive_interval = 20 * kMillisecond;
  o.keepalive_timeout = 40 * kMillisecond;
  Start(o);
  server_->answer_pings = false;
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return closed_ == 1; }));
  EXPECT_EQ(error_.code, ErrorCode::kIdleTimeout);
  EXPECT_TRUE(c.reset);
}

TEST_F(SessionTest, ReleaseInsideAnEventAndBeforeSending) {
  Start();
  Client a, b;
  a.release_in_head = true;
  Get(a);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  server_->Data(1, "x");
  ASSERT_TRUE(Until([&] { return server_->stream(1)->closed; }));
  ClientStream* unused = session_->Open(&b);
  unused->Release();
  loop_.RunOnce();
  EXPECT_EQ(session_->open_streams(), 0u);
}

TEST_F(SessionTest, FailedUploadResetsTheStream) {
  Start();
  Client c;
  Upload up(slab_);
  Post(c, up);
  up.Write("some");
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr && server_->stream(1)->body == "some"; }));
  up.pipe.Fail({ErrorCode::kDisconnect, Side::kDownstream});
  up.pipe.Notify();
  ASSERT_TRUE(Until([&] { return server_->stream(1)->closed; }));
  EXPECT_EQ(server_->stream(1)->error, static_cast<uint32_t>(NGHTTP2_CANCEL));
  EXPECT_FALSE(server_->stream(1)->ended);
  EXPECT_TRUE(c.reset);
}

TEST_F(SessionTest, BytesThatNoFieldMayHoldAreNotSent) {
  Start();
  Client c;
  c.stream = session_->Open(&c);
  RequestHead head;
  head.method = "GET";
  head.authority = "example.org";
  head.path = "/";
  head.headers.Add("x-bad", std::string_view("a\r\nb: c", 7));
  c.stream->SendRequest(head, nullptr);
  ASSERT_TRUE(Until([&] { return c.reset; }));
  EXPECT_EQ(c.error.side, Side::kLocal);
  EXPECT_EQ(server_->streams().size(), 0u);
}

TEST_F(SessionTest, IdleSessionHoldsNoBuffers) {
  Start();
  Client c;
  Get(c);
  ASSERT_TRUE(Until([&] { return server_->stream(1) != nullptr; }));
  server_->Respond(1, {{":status", "200"}}, false);
  server_->Data(1, "some bytes");
  server_->End(1);
  ASSERT_TRUE(Until([&] { return c.done && session_->open_streams() == 0; }));
  for (int i = 0; i < 5; ++i) loop_.RunOnce();
  EXPECT_EQ(slab_.in_use(), 0u);
}

// Everything that a turn makes leaves in one write: the server reads it in one piece.
TEST_F(SessionTest, ManyRequestsOfOneTurn) {
  Start();
  std::vector<Client> clients(50);
  for (Client& c : clients) ASSERT_NE(Get(c), nullptr);
  ASSERT_TRUE(Until([&] { return server_->streams().size() == 50; }));
  for (auto* s : server_->streams()) {
    server_->Respond(s->id, {{":status", "200"}}, false);
    server_->Data(s->id, std::string(100000, 'a'));
    server_->End(s->id);
  }
  ASSERT_TRUE(Until([&] {
    for (Client& c : clients) {
      if (!c.done) return false;
    }
    return true;
  }));
  for (Client& c : clients) EXPECT_EQ(c.body.size(), 100000u);
}

}  // namespace
}  // namespace weft::http::h2
