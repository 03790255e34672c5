// One downstream connection over a fake transport: what a peer can do to it.
#include "dataplane/http/h1/server_connection.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "test/fakes/fake_transport.h"

namespace weft::http::h1 {
namespace {

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

class ServerConnectionTest : public ::testing::Test,
                             public ServerHandler,
                             public ServerStreamEvents,
                             public ServerConnection::Owner,
                             public buffer::BodyPipe::Consumer {
 protected:
  void Connect() {
    auto transport = std::make_unique<fakes::FakeTransport>(peer_);
    connection_ = new ServerConnection(context_, options_, std::move(transport), this, this);
  }
  ~ServerConnectionTest() override {
    if (connection_ != nullptr) connection_->Close();
    loop_.RunOnce();
  }
  void OnRequest(ServerStream& stream) override {
    ++requests_;
    stream_ = &stream;
    stream.set_events(this);
    if (on_request_) on_request_(stream);
  }
  void OnBadRequest(net::Transport&, const Error& error, int status, Protocol) override {
    bad_ = status;
    bad_error_ = error;
  }
  void OnStreamReset(const Error& error) override {
    reset_ = error;
    ++ends_;
    stream_ = nullptr;
  }
  void OnStreamDone() override {
    ++done_;
    ++ends_;
    stream_ = nullptr;
  }
  void OnClosed(http::ServerConnection& c) override {
    ++closed_;
    connection_ = nullptr;
    loop_.DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  }
  void OnPipeReady() override {}

  static void Answer(ServerStream& stream, int status = 200) {
    ResponseHead head;
    head.status = status;
    stream.SendResponse(head, nullptr);
  }
  // Runs the loop until `done` or 2 s are over.
  void RunUntil(const std::function<bool()>& done) {
    MonoNanos start = MonotonicNow();
    while (!done() && MonotonicNow() - start < 2 * kSecond) {
      loop_.RunOnce();
    }
  }

  event::Loop loop_;
  buffer::Slab slab_;
  ServerContext context_{loop_, slab_};
  ServerOptions options_;
  fakes::FakePeer peer_;
  ServerConnection* connection_ = nullptr;
  ServerStream* stream_ = nullptr;
  std::function<void(ServerStream&)> on_request_;
  Error reset_, bad_error_;
  int requests_ = 0, bad_ = 0, done_ = 0, ends_ = 0, closed_ = 0;
};

TEST_F(ServerConnectionTest, AnIdleConnectionHoldsNothing) {
  on_request_ = [](ServerStream& s) { Answer(s); };
  Connect();
  for (int i = 0; i < 3; ++i) {
    peer_.Send(kGet);
    loop_.RunOnce();
    EXPECT_EQ(slab_.in_use(), 0u);
  }
  EXPECT_EQ(requests_, 3);
  EXPECT_TRUE(connection_->idle());
}

TEST_F(ServerConnectionTest, ARefusedMessageIsReadNoFurtherEvenIfTheAnswerCannotLeave) {
  Connect();
  peer_.room = 0;
  // The line that is refused, then what would be a whole request by itself.
  peer_.Send("GET / HTTP/1.1\r\nBad Header: x\r\n");
  EXPECT_EQ(bad_, 400);
  peer_.Send("Host: a\r\n\r\n");
  peer_.Send(kGet);
  EXPECT_EQ(requests_, 0) << "a refused message became a request";
  peer_.MakeRoom(SIZE_MAX);
  EXPECT_EQ(peer_.out.substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(peer_.out.find("HTTP/1.1", 12), std::string::npos) << "answered twice";
  EXPECT_TRUE(peer_.shut || closed_ == 1);
}

TEST_F(ServerConnectionTest, ABrokenBodyIsReadNoFurtherEvenIfTheAnswerCannotLeave) {
  Connect();
  peer_.room = 0;
  peer_.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX");
  EXPECT_EQ(ends_, 1);
  peer_.Send("\r\n0\r\n\r\n");
  peer_.Send(kGet);
  EXPECT_EQ(requests_, 1);
  peer_.MakeRoom(SIZE_MAX);
  EXPECT_EQ(peer_.out.substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(peer_.out.find("HTTP/1.1", 12), std::string::npos);
}

TEST_F(ServerConnectionTest, APeerThatNeverTakesItsRefusalIsClosed) {
  options_.head_timeout = 10 * kMillisecond;
  options_.delayed_close_timeout = 20 * kMillisecond;
  Connect();
  peer_.room = 0;
  peer_.Send("GET / HT");
  RunUntil([&] { return closed_ == 1; });
  EXPECT_EQ(bad_, 408);
  EXPECT_EQ(closed_, 1) << "no timer was left";
}

TEST_F(ServerConnectionTest, APeerThatNeverTakesItsTimeoutAnswerIsClosed) {
  options_.stream_idle_timeout = 10 * kMillisecond;
  options_.delayed_close_timeout = 20 * kMillisecond;
  Connect();
  peer_.room = 0;
  peer_.Send(kGet);
  RunUntil([&] { return closed_ == 1; });
  EXPECT_EQ(reset_.code, ErrorCode::kStreamIdleTimeout);
  EXPECT_EQ(ends_, 1);
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, AZeroDelayedCloseTimeoutClosesAtOnce) {
  options_.delayed_close_timeout = 0;
  Connect();
  peer_.Send("bad\r\n\r\n");
  EXPECT_EQ(bad_, 400);
  RunUntil([&] { return closed_ == 1; });
  EXPECT_EQ(closed_, 1) << "it lingers for ever";
}

TEST_F(ServerConnectionTest, WhatComesAfterTheCloseInTheSameTurnIsIgnored) {
  on_request_ = [](ServerStream& s) { Answer(s); };
  Connect();
  peer_.room = 10;
  peer_.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(peer_.out.size(), 10u);
  net::Transport::Handler* handler = peer_.handler;
  connection_->Close();
  EXPECT_EQ(closed_, 1);
  peer_.room = SIZE_MAX;
  handler->OnWritable();  // was on its way
  peer_.in = kGet;
  handler->OnReadable();
  EXPECT_EQ(peer_.out.size(), 10u);
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(closed_, 1);
  loop_.RunOnce();  // the destructor asserts that it stayed closed
}

TEST_F(ServerConnectionTest, ClosedInsideOnRequest) {
  on_request_ = [&](ServerStream&) { connection_->Close(); };
  Connect();
  peer_.Send(std::string(kGet) + kGet);
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(closed_, 1);
  EXPECT_EQ(ends_, 1) << "the stream's owner is told";
}

TEST_F(ServerConnectionTest, AHeadThatStopsHoldsItsOwnSize) {
  on_request_ = [](ServerStream& s) {
    EXPECT_EQ(s.request().path, "/some/path");
    EXPECT_EQ(s.request().authority, "a.example");
    EXPECT_EQ(s.request().headers.Get("x-long"), std::string(3000, 'v'));
    EXPECT_EQ(s.request().headers.Get("x-last"), "1");
    Answer(s);
  };
  Connect();
  const std::string head = "GET /some/path HTTP/1.1\r\nHost: a.example\r\nX-Long: " + std::string(3000, 'v') +
                           "\r\nX-Last: 1\r\n\r\n";
  for (int i = 0; i < 2; ++i) {
    const int before = requests_;
    for (size_t at = 0; at < head.size(); ++at) {
      EXPECT_EQ(requests_, before);
      peer_.Send(head.substr(at, 1));
      if (at + 1 == head.size()) break;
      EXPECT_LE(slab_.in_use_bytes(), std::max<size_t>(512, 2 * (at + 1)));
    }
    EXPECT_EQ(requests_, before + 1);
    loop_.RunOnce();
    EXPECT_EQ(slab_.in_use(), 0u);
  }
  // One that arrives in two parts, and one that never ends.
  peer_.Send(head.substr(0, 100));
  peer_.Send(head.substr(100));
  EXPECT_EQ(requests_, 3);
  loop_.RunOnce();
  peer_.Send(head.substr(0, 100));
  connection_->Close();
  EXPECT_EQ(slab_.in_use(), 0u) << "at once, not only when it is deleted";
}

TEST_F(ServerConnectionTest, AbortedInsideOnRequest) {
  on_request_ = [&](ServerStream& s) { s.Abort(); };
  Connect();
  peer_.Send(std::string(kGet) + kGet);
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(closed_, 1);
  EXPECT_EQ(ends_, 0) << "who aborts is not called back";
  EXPECT_TRUE(peer_.reset_on_close);
}

TEST_F(ServerConnectionTest, APeerThatPipelinesMegabytesIsLeftInTheKernel) {
  Connect();
  std::string many;
  while (many.size() < 4'000'000) many += kGet;
  peer_.Send(many);
  EXPECT_EQ(requests_, 1);
  EXPECT_FALSE(peer_.reading);
  EXPECT_LE(slab_.in_use_bytes(), 128u * 1024);
  EXPECT_GT(peer_.in.size(), 3'800'000u);
  // It goes on as answers leave, and forgets none.
  on_request_ = [](ServerStream& s) { Answer(s); };
  Answer(*stream_);
  loop_.RunOnce();
  peer_.Deliver();
  EXPECT_EQ(requests_, static_cast<int>(many.size() / strlen(kGet)));
  EXPECT_TRUE(connection_->idle());
}

TEST_F(ServerConnectionTest, ABodyThatNobodyTakesIsBounded) {
  options_.buffer_bytes = 64 * 1024;
  options_.limits.max_chunk_excess = UINT32_MAX;
  const std::string pieces[] = {"1\r\nx\r\n", "1;" + std::string(250, 'e') + "\r\nx\r\n",
                                "400\r\n" + std::string(1024, 'x') + "\r\n",
                                "40000\r\n" + std::string(0x40000, 'x') + "\r\n"};
  for (const std::string& piece : pieces) {
    peer_ = {};
    Connect();
    peer_.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::string body;
    while (body.size() < 500'000) body += piece;
    for (int i = 0; i < 60 && peer_.reading; ++i) peer_.Send(body);
    ASSERT_NE(stream_, nullptr);
    buffer::BodyPipe* pipe = stream_->request_body();
    EXPECT_GE(pipe->available(), 64u * 1024);
    EXPECT_LE(pipe->available(), 192u * 1024);
    EXPECT_FALSE(peer_.reading);
    EXPECT_LE(slab_.in_use_bytes(), 320u * 1024) << "pieces of " << piece.size();
    buffer::SliceBuffer all;
    pipe->Pull(all);
    EXPECT_LE(all.slice_count(), 400u) << "pieces of " << piece.size();
    EXPECT_EQ(all.ToString(), std::string(all.size(), 'x'));
    all.Release();
    connection_->Close();
    loop_.RunOnce();
  }
}

TEST_F(ServerConnectionTest, ARequestThatWaitsHoldsItsHeadAlone) {
  Connect();
  peer_.Send("GET /path HTTP/1.1\r\nHost: a.example\r\nX-Field: value\r\nUpgrade: a\r\n"
             "Connection: upgrade\r\n\r\n");
  EXPECT_LE(slab_.in_use_bytes(), 512u);
  peer_.Send("");
  const RequestHead& head = stream_->request();
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.path, "/path");
  EXPECT_EQ(head.authority, "a.example");
  EXPECT_EQ(head.upgrade, "a");
  EXPECT_EQ(head.headers.Get("x-field"), "value");
}

TEST_F(ServerConnectionTest, AReaderThatStopsShutsThePipeAndHoldsWhatItWasGiven) {
  struct : buffer::BodyPipe::Producer {
    int spaces = 0;
    void OnPipeSpace() override { ++spaces; }
  } producer;
  buffer::BodyPipe pipe;
  pipe.Reset(&producer);
  Connect();
  peer_.Send(kGet);
  ResponseHead head;
  head.status = 200;
  head.has_body = true;
  head.content_length = 60'001;
  stream_->SendResponse(head, &pipe);
  peer_.room = 50'000;
  {
    buffer::BlockRef block = slab_.GetBulk();
    memset(block->data(), 'x', 60'000);
    pipe.Write(buffer::Slice(block, block->data(), 60'000));
  }
  EXPECT_FALSE(pipe.full());
  pipe.Notify();
  EXPECT_TRUE(pipe.full()) << "empty, but nothing would go on from it";
  EXPECT_EQ(pipe.available(), 0u);
  EXPECT_LE(slab_.in_use_bytes(), 17'000u) << "what is left is in a block of its size";
  EXPECT_EQ(producer.spaces, 0);
  peer_.MakeRoom(5'000);
  EXPECT_EQ(producer.spaces, 0);
  EXPECT_LE(slab_.in_use_bytes(), 9'000u);
  peer_.MakeRoom(SIZE_MAX);
  EXPECT_EQ(producer.spaces, 1);
  pipe.Write(buffer::Slice::Static("y"));
  pipe.End();
  pipe.Notify();
  EXPECT_EQ(done_, 1);
  EXPECT_TRUE(peer_.out.ends_with("xy"));
  EXPECT_EQ(peer_.out.size() - peer_.out.find("\r\n\r\n") - 4, 60'001u);
}

TEST_F(ServerConnectionTest, SmallReadsOfABodyDoNotTakeABlockEach) {
  options_.buffer_bytes = 64 * 1024;
  Connect();
  peer_.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  peer_.max_read = 1;
  peer_.Send(std::string(100'000, 'x'));
  EXPECT_EQ(stream_->request_body()->available(), 64u * 1024);
  EXPECT_LE(slab_.in_use_bytes(), 192u * 1024);
}

TEST_F(ServerConnectionTest, AFloodOfInformationalResponsesIsBounded) {
  Connect();
  peer_.room = 0;
  peer_.Send(kGet);
  ResponseHead hint;
  hint.status = 103;
  hint.headers.Add("link", "</a.css>");
  for (int i = 0; i < 100'000 && stream_ != nullptr; ++i) stream_->SendInformational(hint);
  EXPECT_LE(slab_.in_use_bytes(), 512u * 1024);
  Answer(*stream_);
  peer_.MakeRoom(SIZE_MAX);
  EXPECT_NE(peer_.out.find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(ServerConnectionTest, NoInformationalResponseToHttp10) {
  on_request_ = [](ServerStream& s) {
    ResponseHead hint;
    hint.status = 103;
    s.SendInformational(hint);
    Answer(s);
  };
  Connect();
  peer_.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(peer_.out.substr(0, 12), "HTTP/1.1 200");
}

TEST_F(ServerConnectionTest, AResponseCutShortByATimeoutIsAReset) {
  options_.stream_idle_timeout = 10 * kMillisecond;
  buffer::BodyPipe body;
  body.Reset(nullptr);
  on_request_ = [&](ServerStream& s) {
    ResponseHead head;
    head.status = 200;
    head.has_body = true;
    head.content_length = kUnknownLength;
    s.SendResponse(head, &body);
  };
  Connect();
  peer_.Send("GET / HTTP/1.0\r\n\r\n");  // framed by the end of the connection
  RunUntil([&] { return closed_ == 1; });
  EXPECT_EQ(ends_, 1);
  EXPECT_TRUE(peer_.reset_on_close) << "an orderly end would make it look complete";
}

TEST_F(ServerConnectionTest, StatusesWithoutABodyNeverGetOne) {
  for (int status : {204, 304}) {
    buffer::BodyPipe body;
    body.Reset(nullptr);
    body.Write(buffer::Slice::Static("oops"));
    body.End();
    on_request_ = [&](ServerStream& s) {
      ResponseHead head;
      head.status = status;
      head.has_body = true;
      head.content_length = 4;
      s.SendResponse(head, &body);
    };
    peer_ = {};
    Connect();
    peer_.Send(kGet);
    EXPECT_EQ(peer_.out.find("oops"), std::string::npos) << status;
    EXPECT_EQ(peer_.out.find("content-length"), std::string::npos) << peer_.out;
    EXPECT_EQ(done_, status == 204 ? 1 : 2);
    connection_->Close();
    loop_.RunOnce();
  }
}

TEST_F(ServerConnectionTest, AWriteErrorInsideSendResponseEndsTheStreamOnce) {
  on_request_ = [](ServerStream& s) { Answer(s); };
  Connect();
  peer_.write_error = EPIPE;
  peer_.Send(std::string(kGet) + kGet);
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(ends_, 1);
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, ReadingGoesOnAfterAFullPipeWasEmptied) {
  options_.buffer_bytes = 16 * 1024;
  Connect();
  peer_.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" +
             std::string(3'000'000, 'x'));
  buffer::BodyPipe* pipe = stream_->request_body();
  size_t total = 0;
  for (int i = 0; i < 10'000 && !pipe->finished(); ++i) {
    buffer::SliceBuffer part;
    total += pipe->Pull(part, 5000);
    part.Release();
    loop_.RunOnce();
    peer_.Deliver();
  }
  EXPECT_TRUE(pipe->finished());
  EXPECT_EQ(total, 3'000'000u);
}

TEST_F(ServerConnectionTest, ASlowReaderGetsEverythingPieceByPiece) {
  // The pipe is full, the socket is full, then both move: no wake-up may be lost.
  buffer::BodyPipe body;
  struct P : buffer::BodyPipe::Producer {
    int spaces = 0;
    void OnPipeSpace() override { ++spaces; }
  } producer;
  body.Reset(&producer, 16 * 1024);
  on_request_ = [&](ServerStream& s) {
    ResponseHead head;
    head.status = 200;
    head.has_body = true;
    head.content_length = 200'000;
    s.SendResponse(head, &body);
  };
  Connect();
  peer_.room = 0;
  peer_.Send(kGet);
  std::string text(200'000, 'y');
  size_t given = 0;
  for (int i = 0; i < 10'000 && done_ == 0; ++i) {
    while (given < text.size() && !body.full()) {
      size_t n = std::min<size_t>(5000, text.size() - given);
      body.Write(buffer::Slice::Static({text.data() + given, n}));
      given += n;
      if (given == text.size()) body.End();
      body.Notify();
      if (done_ != 0) break;
    }
    loop_.RunOnce();
    if (peer_.want_write) peer_.MakeRoom(777);
  }
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(peer_.out.size() - peer_.out.find("\r\n\r\n") - 4, text.size());
  EXPECT_GT(producer.spaces, 0);
}

TEST_F(ServerConnectionTest, AnEarlyAnswerEndsTheConnectionAfterwards) {
  on_request_ = [](ServerStream& s) { Answer(s, 413); };
  Connect();
  peer_.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
  EXPECT_NE(peer_.out.find("connection: close"), std::string::npos);
  EXPECT_TRUE(peer_.shut) << "the peer's unread bytes must not reset the answer away";
  EXPECT_EQ(closed_, 0);
  peer_.Send(std::string(99'997, 'x'));
  peer_.Send(kGet);
  EXPECT_EQ(requests_, 1) << "nothing behind it is a request";
  peer_.eof = true;
  peer_.Deliver();
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, DrainWaitsForTheAnswer) {
  Connect();
  peer_.Send(kGet);
  connection_->Drain();
  EXPECT_EQ(closed_, 0);
  Answer(*stream_);
  EXPECT_NE(peer_.out.find("connection: close"), std::string::npos);
  RunUntil([&] { return closed_ == 1; });
  EXPECT_EQ(closed_, 1);
}

}  // namespace
}  // namespace weft::http::h1
