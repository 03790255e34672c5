// One upstream connection over a fake transport: what an upstream can do to it.
#include "dataplane/http/h1/client_connection.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "test/fakes/fake_transport.h"

namespace weft::http::h1 {
namespace {

class ClientConnectionTest : public ::testing::Test,
                             public ClientConnection::Owner,
                             public ClientStreamEvents,
                             public buffer::BodyPipe::Consumer {
 protected:
  ClientConnectionTest() { request_.method = "GET", request_.path = "/", request_.authority = "a"; }
  ~ClientConnectionTest() override {
    if (connection_ != nullptr) connection_->Close();
    loop_.RunOnce();
  }
  void Connect() {
    connection_ = new ClientConnection(context_, options_,
                                       std::make_unique<fakes::FakeTransport>(peer_), this);
  }
  void Ask(buffer::BodyPipe* body = nullptr) {
    connection_->lent = true;
    connection_->set_events(this);
    connection_->SendRequest(request_, body);
  }
  void OnIdle(ClientConnection& c) override {
    ++idle_;
    c.lent = false;
  }
  void OnClosed(ClientConnection& c) override {
    ++closed_;
    connection_ = nullptr;
    loop_.DeferDelete(std::unique_ptr<ClientConnection>(&c));
  }
  void OnInformational(const ResponseHead& head) override {
    ++informational_;
    hints_.clear();
    for (const Header& h : head.headers) hints_ += std::string(h.name) + ";";
  }
  void OnResponse(ResponseHead& head, buffer::BodyPipe* body) override {
    status_ = head.status;
    pipe_ = body;
    if (on_response_) on_response_();
  }
  void OnClientReset(const Error& error) override {
    ++resets_;
    error_ = error;
    pipe_ = nullptr;
  }
  void OnPipeReady() override {
    if (on_ready_) on_ready_();
  }
  void RunFor(MonoNanos time, const std::function<bool()>& done) {
    MonoNanos start = MonotonicNow();
    while (!done() && MonotonicNow() - start < time) loop_.RunOnce();
  }

  event::Loop loop_;
  buffer::Slab slab_;
  ClientContext context_{loop_, slab_};
  ClientOptions options_;
  fakes::FakePeer peer_;
  RequestHead request_;
  ClientConnection* connection_ = nullptr;
  buffer::BodyPipe* pipe_ = nullptr;
  std::function<void()> on_response_, on_ready_;
  std::string hints_;
  Error error_;
  int idle_ = 0, closed_ = 0, informational_ = 0, resets_ = 0, status_ = 0;
};

TEST_F(ClientConnectionTest, IsReusedAndHoldsNothingBetweenRequests) {
  Connect();
  for (int i = 1; i <= 3; ++i) {
    Ask();
    EXPECT_EQ(connection_->reused(), i > 1);
    peer_.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(status_, 200);
    EXPECT_EQ(idle_, i - 1) << "not before its owner let go";
    connection_->Release();
    EXPECT_EQ(idle_, i);
    EXPECT_EQ(slab_.in_use(), 0u);
  }
}

TEST_F(ClientConnectionTest, LetGoBeforeTheRequestWasSentItIsIdleAgain) {
  Connect();
  connection_->lent = true;
  connection_->Release();
  EXPECT_EQ(idle_, 1) << "the pool would count it as busy for ever";
}

TEST_F(ClientConnectionTest, ANeverUsedConnectionHasAnIdleTimeoutToo) {
  options_.idle_timeout = 20 * kMillisecond;
  Connect();
  RunFor(kSecond, [&] { return closed_ == 1; });
  EXPECT_EQ(closed_, 1);
}

TEST_F(ClientConnectionTest, ReadingThatWasOffAtTheEndDoesNotCostTheConnection) {
  options_.buffer_bytes = 16 * 1024;
  Connect();
  Ask();
  peer_.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
  ASSERT_NE(pipe_, nullptr);
  pipe_->set_consumer(this);
  size_t got = 0;
  for (int i = 0; i < 100 && got < 100'000; ++i) {
    peer_.Send(
        std::string(std::min<size_t>(20'000, 100'000 - std::min<size_t>(100'000, got)), 'x'));
    if (peer_.in.empty() && pipe_->ended() && !peer_.reading) break;
    buffer::SliceBuffer part;
    got += pipe_->Pull(part);
    part.Release();
    if (!pipe_->ended()) loop_.RunOnce();
  }
  buffer::SliceBuffer rest;
  pipe_->Pull(rest);
  rest.Release();
  connection_->Release();
  EXPECT_EQ(idle_, 1);
  EXPECT_EQ(closed_, 0);
  EXPECT_TRUE(peer_.reading) << "a close by the peer must be seen";
}

TEST_F(ClientConnectionTest, BytesBehindTheResponseEndTheConnection) {
  Connect();
  Ask();
  peer_.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n");
  connection_->Release();
  EXPECT_EQ(idle_, 0);
  EXPECT_EQ(closed_, 1);
}

TEST_F(ClientConnectionTest, UnaskedBytesEndAnIdleConnection) {
  Connect();
  peer_.Send("HTTP/1.1 408 Request Timeout\r\n\r\n");
  EXPECT_EQ(closed_, 1);
}

TEST_F(ClientConnectionTest, AnAnswerBeforeTheWriteErrorCounts) {
  // The upstream answers, and closes with our body unread: the write fails, the answer is there to
  // be read.
  Connect();
  request_.method = "POST";
  request_.has_body = true;
  request_.content_length = 1'000'000;
  buffer::BodyPipe body;
  body.Reset(nullptr);
  Ask(&body);
  std::string page(100'000, 'p');
  peer_.in = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 100000\r\n\r\n" + page;
  peer_.read_error = ECONNRESET;
  peer_.write_error = EPIPE;
  body.Write(buffer::Slice::Static("abc"));
  std::string got;
  auto pull = [&] {
    buffer::SliceBuffer part;
    if (pipe_ != nullptr) pipe_->Pull(part);
    got += part.ToString();
  };
  on_response_ = [&] { pipe_->set_consumer(this); };
  on_ready_ = pull;
  body.Notify();
  for (int i = 0; i < 100 && closed_ == 0 && got.size() < page.size(); ++i) {
    peer_.Deliver();
    loop_.RunOnce();
  }
  EXPECT_EQ(status_, 413);
  EXPECT_EQ(resets_, 0);
  EXPECT_TRUE(got == page) << got.size();
  connection_->Release();
  EXPECT_EQ(closed_, 1);
}

TEST_F(ClientConnectionTest, AWriteErrorWithoutAnAnswerIsAResetInsideSendRequest) {
  Connect();
  peer_.write_error = EPIPE;
  peer_.eof = true;
  Ask();
  EXPECT_EQ(resets_, 1);
  EXPECT_EQ(closed_, 1);
  EXPECT_TRUE(error_.unprocessed) << "no byte was taken";
}

TEST_F(ClientConnectionTest, InformationalResponsesLoseTheirHopByHopFields) {
  Connect();
  Ask();
  peer_.Send(
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nUpgrade: a\r\n\r\n");
  EXPECT_EQ(informational_, 1);
  EXPECT_EQ(hints_, "Link;");
  peer_.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(status_, 200);
}

TEST_F(ClientConnectionTest, ReleasedInsideOnResponse) {
  for (const char* response :
       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"}) {
    peer_ = {};
    idle_ = closed_ = 0;
    Connect();
    on_response_ = [&] { connection_->Release(); };
    Ask();
    peer_.Send(response);
    EXPECT_EQ(idle_ + closed_, 1) << response;
    EXPECT_EQ(resets_, 0);
    if (connection_ != nullptr) connection_->Close();
    loop_.RunOnce();
  }
}

TEST_F(ClientConnectionTest, ReleasedAndUsedAgainInsideNotify) {
  Connect();
  int asked = 0;
  on_response_ = [&] { pipe_->set_consumer(this); };
  on_ready_ = [&] {
    buffer::SliceBuffer part;
    pipe_->Pull(part);
    if (!pipe_->finished()) return;
    part.Release();
    connection_->Release();
    if (++asked < 3) Ask();  // as a pool serves who waits
  };
  Ask();
  for (int i = 0; i < 3; ++i) peer_.Send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(idle_, 3);
  EXPECT_EQ(slab_.in_use(), 0u);
}

TEST_F(ClientConnectionTest, AnOpenAnswerThatIsSilentHoldsItsHeadAlone) {
  Connect();
  on_response_ = [&] { pipe_->set_consumer(this); };
  on_ready_ = [&] {
    buffer::SliceBuffer part;
    pipe_->Pull(part);
  };
  Ask();
  peer_.Send("HTTP/1.1 200 OK\r\nX-Field: value\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_LE(slab_.in_use_bytes(), 512u);
  peer_.Send("400\r\n" + std::string(1024, 'x') + "\r\n");
  EXPECT_LE(slab_.in_use_bytes(), 512u) << "nobody views what was taken";
  connection_->Close();
}

TEST_F(ClientConnectionTest, ABodyThatNobodyTakesIsBounded) {
  options_.buffer_bytes = 64 * 1024;
  options_.limits.max_chunk_excess = UINT32_MAX;
  const std::string pieces[] = {"1\r\nx\r\n", "1;" + std::string(250, 'e') + "\r\nx\r\n",
                                "40000\r\n" + std::string(0x40000, 'x') + "\r\n"};
  for (const std::string& piece : pieces) {
    peer_ = {};
    Connect();
    Ask();
    peer_.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::string body;
    while (body.size() < 500'000) body += piece;
    for (int i = 0; i < 60 && peer_.reading; ++i) peer_.Send(body);
    EXPECT_FALSE(peer_.reading);
    EXPECT_LE(slab_.in_use_bytes(), 320u * 1024) << piece.size();
    connection_->Close();
    loop_.RunOnce();
  }
}

TEST_F(ClientConnectionTest, ATruncatedBodyIsAReset) {
  for (const char* response :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    peer_ = {};
    resets_ = 0;
    Connect();
    Ask();
    peer_.in = response;
    peer_.eof = true;
    peer_.Deliver();
    EXPECT_EQ(status_, 200);
    EXPECT_EQ(resets_, 1) << response;
    loop_.RunOnce();
  }
}

TEST_F(ClientConnectionTest, ABodyUntilTheEndIsCompleteAtAnOrderlyEndOnly) {
  for (bool orderly : {true, false}) {
    peer_ = {};
    resets_ = closed_ = 0;
    Connect();
    Ask();
    peer_.in = "HTTP/1.0 200 OK\r\n\r\nabc";
    orderly ? peer_.eof = true : (peer_.read_error = ECONNRESET) != 0;
    peer_.Deliver();
    EXPECT_EQ(resets_, orderly ? 0 : 1);
    if (orderly) {
      EXPECT_TRUE(pipe_->ended());
      connection_->Release();
    }
    EXPECT_EQ(closed_, 1);
    loop_.RunOnce();
  }
}

}  // namespace
}  // namespace weft::http::h1
