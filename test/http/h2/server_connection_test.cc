#include "dataplane/http/h2/server_connection.h"

#include <cstring>

#include "test/http/h2/server_fixture.h"

namespace weft::http::h2 {
namespace {

using test::Fields;
using test::Frame;

class ServerConnectionTest : public ServerFixture {};

TEST_F(ServerConnectionTest, GetWithBodyAndTrailers) {
  Open();
  SendAndTurn(codec_.Headers(1, With(Get("/a?b=c"), {{"x-a", "1"}, {"te", "trailers"}}), true));
  ASSERT_EQ(exchanges_.size(), 1u);
  Exchange& e = *exchanges_[0];
  EXPECT_EQ(e.method, "GET");
  EXPECT_EQ(e.path, "/a?b=c");
  EXPECT_EQ(e.authority, "a.example");
  EXPECT_EQ(e.fields, (Fields{{"x-a", "1"}, {"te", "trailers"}}));
  EXPECT_EQ(e.in, nullptr);
  EXPECT_NE(e.stream->request_end_time(), 0);
  ResponseHead hint;
  hint.status = 103;
  hint.headers.Add("link", "</x>");
  e.stream->SendInformational(hint);
  ResponseHead head;
  head.status = 200;
  head.has_body = true;
  head.content_length = kUnknownLength;
  head.headers.Add("Content-Type", "text/plain");
  head.headers.Add("connection", "close");
  head.headers.Add("keep-alive", "x");
  e.stream->SendResponse(head, &e.out);
  e.Write("hello ");
  Turn();
  HeaderMap trailers;
  trailers.Add("X-Sum", "9");
  e.Write("world");
  e.End(&trailers);
  Turn();
  auto heads = Got(NGHTTP2_HEADERS, 1);
  ASSERT_EQ(heads.size(), 3u);
  EXPECT_EQ(heads[0].fields, (Fields{{":status", "103"}, {"link", "</x>"}}));
  EXPECT_EQ(heads[1].fields, (Fields{{":status", "200"}, {"content-type", "text/plain"}}));
  EXPECT_EQ(heads[2].fields, (Fields{{"x-sum", "9"}}));
  EXPECT_TRUE(heads[2].end_stream());
  EXPECT_EQ(Body(1), "hello world");
  EXPECT_TRUE(e.done);
  EXPECT_EQ(e.bytes_sent, 11u);
  EXPECT_TRUE(connection_->idle());
  EXPECT_EQ(connection_->requests(), 1u);
  EXPECT_TRUE(Got(NGHTTP2_RST_STREAM).empty());
}

TEST_F(ServerConnectionTest, UploadWithTrailers) {
  Open();
  SendAndTurn(codec_.Headers(1, With(Post(), {{"content-length", "5"}}), false));
  ASSERT_EQ(exchanges_.size(), 1u);
  Exchange& e = *exchanges_[0];
  EXPECT_EQ(e.content_length, 5);
  EXPECT_TRUE(e.has_body);
  EXPECT_EQ(e.stream->request_end_time(), 0);
  SendAndTurn(codec_.Data(1, "hello", false) +
              codec_.Headers(1, {{"x-sum", "1"}, {"trailer", "x"}}, true));
  EXPECT_TRUE(e.ended);
  EXPECT_EQ(e.body, "hello");
  EXPECT_EQ(e.trailers, (Fields{{"x-sum", "1"}}));
  EXPECT_EQ(counters_.trailers.value(), 1u);
  e.Answer(204);
  Turn();
  EXPECT_TRUE(e.done);
  EXPECT_EQ(Got(NGHTTP2_HEADERS, 1).at(0).fields, (Fields{{":status", "204"}}));
}

TEST_F(ServerConnectionTest, StreamsAnswerInAnyOrderAndLeaveInOneWrite) {
  Open();
  SendAndTurn(codec_.Headers(1, Get("/1"), true) + codec_.Headers(3, Get("/3"), true) +
              codec_.Headers(5, Get("/5"), true));
  ASSERT_EQ(exchanges_.size(), 3u);
  exchanges_[2]->Answer(201);
  exchanges_[0]->Answer(202);
  exchanges_[1]->Answer(203);
  EXPECT_TRUE(peer_.out.empty());  // corked until the turn ends
  Turn();
  EXPECT_EQ(Status(1), "202");
  EXPECT_EQ(Status(3), "203");
  EXPECT_EQ(Status(5), "201");
  EXPECT_TRUE(connection_->idle());
  EXPECT_EQ(connection_->requests(), 3u);
}

TEST_F(ServerConnectionTest, AnIdleConnectionHoldsNoBlock) {
  Open();
  EXPECT_EQ(slab_.in_use(), 0u);
  SendAndTurn(codec_.Headers(1, Post(), false) + codec_.Data(1, "x", false));
  EXPECT_EQ(slab_.in_use(), 0u);  // nor an idle stream
  SendAndTurn(codec_.Data(1, "x", true));
  exchanges_[0]->Answer();
  Turn();
  EXPECT_EQ(slab_.in_use(), 0u);
}

TEST_F(ServerConnectionTest, BeginsWithWhatSomeoneElseHasRead) {
  std::string text =
      std::string(test::kPreface) + codec_.Settings() + codec_.Headers(1, Get(), true);
  buffer::BlockRef block = slab_.Get();
  memcpy(block->data(), text.data(), text.size());
  connection_ = new ServerConnection(context_, options_, counters_,
                                     std::make_unique<fakes::FakeTransport>(peer_), this, this);
  const char* data = block->data();
  connection_->Start(buffer::Slice(std::move(block), data, text.size()));
  EXPECT_EQ(exchanges_.size(), 1u);
  EXPECT_EQ(slab_.in_use(), 0u);
  exchanges_[0]->Answer();
  Turn();
  EXPECT_EQ(Status(1), "200");
}

TEST_F(ServerConnectionTest, HeadAndBodilessStatuses) {
  Open();
  SendAndTurn(codec_.Headers(
                  1,
                  {{":method", "HEAD"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}},
                  true) +
              codec_.Headers(3, Get(), true) + codec_.Headers(5, Get(), true));
  exchanges_[0]->Begin(7);
  exchanges_[0]->Write("ignored");
  ResponseHead not_modified;
  not_modified.status = 304;
  not_modified.length_without_body = true;
  not_modified.content_length = 9;
  exchanges_[1]->stream->SendResponse(not_modified, nullptr);
  exchanges_[2]->Answer(200);
  Turn();
  EXPECT_EQ(Got(NGHTTP2_HEADERS, 1).at(0).fields,
            (Fields{{":status", "200"}, {"content-length", "7"}}));
  EXPECT_EQ(Got(NGHTTP2_HEADERS, 3).at(0).fields,
            (Fields{{":status", "304"}, {"content-length", "9"}}));
  EXPECT_EQ(Got(NGHTTP2_HEADERS, 5).at(0).fields,
            (Fields{{":status", "200"}, {"content-length", "0"}}));
  for (uint32_t id : {1, 3, 5}) {
    EXPECT_TRUE(Got(NGHTTP2_HEADERS, id).at(0).end_stream());
    EXPECT_TRUE(Got(NGHTTP2_DATA, id).empty());
  }
}

TEST_F(ServerConnectionTest, ABodyThatBreaksItsLengthIsReset) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true) + codec_.Headers(3, Get(), true));
  exchanges_[0]->Begin(10);
  exchanges_[0]->Write("short");
  exchanges_[0]->End();
  exchanges_[1]->Begin(3);
  exchanges_[1]->Write("too long");
  Turn();
  Turn();
  EXPECT_EQ(ResetOf(1), NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(ResetOf(3), NGHTTP2_INTERNAL_ERROR);
  EXPECT_TRUE(exchanges_[0]->reset);
  EXPECT_TRUE(exchanges_[1]->reset);
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerConnectionTest, AFailedPipeIsNeverACompleteAnswer) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  Exchange& e = *exchanges_[0];
  e.Begin();
  e.Write("half");
  Turn();
  e.out.Fail({ErrorCode::kDisconnect, Side::kUpstream});
  e.out.Notify();
  Turn();
  EXPECT_EQ(Body(1), "half");
  EXPECT_EQ(ResetOf(1), NGHTTP2_INTERNAL_ERROR);
  EXPECT_TRUE(e.reset);
}

TEST_F(ServerConnectionTest, AnEarlyAnswerEndsTheRequest) {
  Open();
  SendAndTurn(codec_.Headers(1, Post(), false) + codec_.Data(1, "some", false));
  exchanges_[0]->Answer(403);
  Turn();
  EXPECT_EQ(Status(1), "403");
  EXPECT_EQ(ResetOf(1), NGHTTP2_NO_ERROR);
  EXPECT_TRUE(exchanges_[0]->done);
  // What the client had sent before it knew is no error.
  SendAndTurn(codec_.Data(1, "more", true) + codec_.Headers(3, Get(), true));
  EXPECT_EQ(exchanges_.size(), 2u);
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerConnectionTest, WindowsFollowWhatWasTaken) {
  options_.session.stream_window = 65535;
  options_.session.connection_window = 65535;
  Open();
  SendAndTurn(codec_.Headers(1, Post(), false));
  Exchange& e = *exchanges_[0];
  e.pull = false;
  for (int i = 0; i < 4; ++i) SendAndTurn(codec_.Data(1, std::string(16000, 'u'), false));
  EXPECT_TRUE(Got(NGHTTP2_WINDOW_UPDATE).empty());
  EXPECT_EQ(e.in->available(), 64000u);
  e.Pull();
  Turn();
  uint64_t on_stream = 0, on_connection = 0;
  for (const Frame& f : Got(NGHTTP2_WINDOW_UPDATE))
    (f.stream == 0 ? on_connection : on_stream) += f.word();
  EXPECT_EQ(on_stream, 64000u);
  EXPECT_EQ(on_connection, 64000u);
  e.stream->Abort();
  Turn();
}

TEST_F(ServerConnectionTest, AbandonedUploadsGiveTheConnectionsWindowBack) {
  options_.session.connection_window = 65535;
  Open();
  for (uint32_t id = 1; id < 11; id += 2) {
    SendAndTurn(codec_.Headers(id, Post(), false));
    exchanges_.back()->pull = false;
    SendAndTurn(codec_.Data(id, std::string(16000, 'u'), false) +
                codec_.Data(id, std::string(16000, 'u'), false));
    exchanges_.back()->stream->Abort();
    Turn();
    SendAndTurn(codec_.Data(id, std::string(16000, 'u'), false));  // before it knew
  }
  uint64_t given = 0;
  for (const Frame& f : Got(NGHTTP2_WINDOW_UPDATE, 0)) given += f.word();
  EXPECT_GE(given + 65535, 5u * 48000u);
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerConnectionTest, AnswersStopAtThePeersWindowAndGoOn) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  Exchange& e = *exchanges_[0];
  e.Begin();
  std::string big(200000, 'b');
  e.Write(big);
  e.End();
  Turn();
  EXPECT_EQ(Body(1).size(), 65535u);
  EXPECT_FALSE(e.done);
  SendAndTurn(codec_.WindowUpdate(0, 1 << 20));
  EXPECT_EQ(Body(1).size(), 65535u);
  SendAndTurn(codec_.WindowUpdate(1, 1 << 20));
  Turn();
  EXPECT_EQ(Body(1), big);
  EXPECT_TRUE(e.done);
}

TEST_F(ServerConnectionTest, AFullKernelBoundsTheOutput) {
  Open();
  peer_.room = 0;
  std::string all;
  for (uint32_t id = 1; id < 100; id += 2) all += codec_.Headers(id, Get(), true);
  Send(all + codec_.WindowUpdate(0, 1 << 28));
  for (auto& e : exchanges_) {
    e->Begin();
    e->Write(std::string(60000, 'x'));
  }
  size_t held = slab_.in_use_bytes();
  for (int i = 0; i < 5; ++i) Turn();
  EXPECT_LT(slab_.in_use_bytes(), held + 2 * options_.session.max_buffered_output);
  for (auto& e : exchanges_) EXPECT_FALSE(e->done);
  connection_->Close();
  for (auto& e : exchanges_) EXPECT_TRUE(e->reset);
  for (auto& e : exchanges_) e->out.Reset(nullptr);
}

TEST_F(ServerConnectionTest, APipeIsFullWithWhatTheWindowsTake) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true) + codec_.WindowUpdate(0, 1 << 20));
  Exchange& e = *exchanges_[0];
  e.Begin();
  e.Write(std::string(65'000, 'x'));
  Turn();
  EXPECT_EQ(Body(1).size(), 65'000u);
  e.Write(std::string(534, 'x'));
  EXPECT_FALSE(e.out.full()) << "535 may go";
  e.Write("yz");
  EXPECT_TRUE(e.out.full());
  Turn();
  EXPECT_EQ(e.out.available(), 1u);
  EXPECT_TRUE(e.out.full()) << "one byte, and no window";
  EXPECT_EQ(e.spaces, 0);
  SendAndTurn(codec_.WindowUpdate(1, 100));
  Turn();
  EXPECT_GE(e.spaces, 1);
  EXPECT_FALSE(e.out.full());
  e.End();
  Turn();
  EXPECT_TRUE(e.done);
  EXPECT_EQ(Body(1).size(), 65'536u);
}

TEST_F(ServerConnectionTest, ACrowdNarrowsTheWindowsOfWhoHoldsMuch) {
  const std::string ack("\0\0\0\4\1\0\0\0\0", 9);
  Open();
  SendAndTurn(ack);
  // What others hold on this worker.
  std::vector<buffer::BlockRef> crowd;
  while (!slab_.crowded()) crowd.push_back(slab_.GetBulk());
  auto windows = [&] {
    std::vector<uint32_t> out;
    for (const test::Frame& f : Got(NGHTTP2_SETTINGS)) {
      if (f.payload.size() == 6 && f.payload[1] == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) {
        out.push_back(f.word(2));
      }
    }
    return out;
  };
  Send(codec_.Headers(1, Post(), false));
  exchanges_[0]->pull = false;
  const std::string piece(16'000, 'x');
  for (int i = 0; i < 8; ++i) Send(codec_.Data(1, piece, false));
  Turn();
  EXPECT_EQ(windows(), std::vector<uint32_t>{}) << "this connection holds little";
  for (int i = 0; i < 4; ++i) Send(codec_.Data(1, piece, false));
  Turn();
  EXPECT_EQ(windows(), std::vector<uint32_t>{4096});
  SendAndTurn(ack);
  // A stream whose consumer keeps up gets its window back.
  Send(codec_.Headers(3, Post(), false));
  for (int i = 0; i < 8; ++i) SendAndTurn(codec_.Data(3, std::string(4096, 'y'), false));
  uint64_t given = 0;
  for (const test::Frame& f : Got(NGHTTP2_WINDOW_UPDATE, 3)) given += f.word();
  EXPECT_GE(given, uint64_t{options_.session.stream_window});
  EXPECT_EQ(exchanges_[1]->body.size(), 8u * 4096);
  EXPECT_TRUE(Got(NGHTTP2_WINDOW_UPDATE, 1).empty());
  // The other one lost nothing.
  exchanges_[0]->pull = true;
  exchanges_[0]->Pull();
  Turn();
  EXPECT_EQ(exchanges_[0]->body.size(), 12u * 16'000);
  crowd.clear();
}

TEST_F(ServerConnectionTest, DoneMeansWithTheKernel) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  peer_.room = 20;
  exchanges_[0]->Begin();
  exchanges_[0]->Write("hello world, hello world");
  exchanges_[0]->End();
  Turn();
  EXPECT_FALSE(exchanges_[0]->done);
  peer_.MakeRoom(1000);
  Turn();
  EXPECT_TRUE(exchanges_[0]->done);
}

// ---- what is no request

TEST_F(ServerConnectionTest, RefusedRequests) {
  options_.session.stream_error_on_invalid_message = true;
  struct Case {
    Fields fields;
    int status;  // 0: reset
  };
  const Case cases[] = {
      {With(Get(), {{"host", "b.example"}}), 400},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "u@a"}}, 400},
      {{{":method", "GET"}, {":scheme", "ftp"}, {":path", "/"}, {":authority", "a"}}, 400},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "a"}, {":authority", "a"}}, 0},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "*"}, {":authority", "a"}}, 0},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/a#b"}, {":authority", "a"}}, 400},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/a\xc3\xa4"}, {":authority", "a"}},
       400},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", ""}, {":authority", "a"}}, 0},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/a b"}, {":authority", "a"}}, 0},
      {{{":method", "G T"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}}, 0},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, 0},
      {{{":method", "GET"}, {":path", "/"}, {":authority", "a"}}, 0},
      {{{":method", "GET"},
        {":method", "GET"},
        {":scheme", "http"},
        {":path", "/"},
        {":authority", "a"}},
       0},
      {{{":method", "CONNECT"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a:1"}}, 0},
      {{{":method", "CONNECT"},
        {":scheme", "http"},
        {":path", "/"},
        {":authority", "a"},
        {":protocol", "websocket"}},
       0},
      {With({{"x-first", "1"}}, Get()), 0},
      {With(Get(), {{"x-\x01", "1"}}), 0},
      {With(Get(), {{"x", "a\r\nb: c"}}), 0},
      {With(Get(), {{"x", std::string("a\0b", 3)}}), 0},
      {With(Get(), {{"x", " a"}}), 0},
      {With(Get(), {{"X", "a"}}), 0},
      {With(Get(), {{"connection", "close"}}), 0},
      {With(Get(), {{"transfer-encoding", "chunked"}}), 0},
      {With(Get(), {{"te", "gzip"}}), 0},
      {With(Get(), {{"content-length", "x"}}), 0},
      {With(Get(), {{"content-length", "1"}, {"content-length", "1"}}), 0},
      {With(Get(), {{"content-length", "7"}}), 0},
      {With(Get(), {{"expect", "miracles"}}), 417},
  };
  Open();
  uint32_t id = 1;
  for (const Case& c : cases) {
    SendAndTurn(codec_.Headers(id, c.fields, true));
    SCOPED_TRACE(c.fields.back().first + ": " + c.fields.back().second + " " + c.fields[2].second);
    if (c.status == 0) {
      EXPECT_EQ(ResetOf(id), NGHTTP2_PROTOCOL_ERROR);
      EXPECT_EQ(Status(id), "");
    } else {
      EXPECT_EQ(Status(id), std::to_string(c.status));
    }
    EXPECT_TRUE(exchanges_.empty());
    id += 2;
  }
  EXPECT_EQ(bad_.size(), std::size(cases));
  SendAndTurn(codec_.Headers(
      id, With(Get("*"), {{"host", "A.EXAMPLE"}, {"cookie", "a=1"}, {"cookie", "b=2"}}), true));
  EXPECT_TRUE(exchanges_.empty());  // * is for OPTIONS
  SendAndTurn(codec_.Headers(
      id + 2, With(Get(), {{"host", "A.EXAMPLE"}, {"cookie", "a=1"}, {"cookie", "b=2"}}), true));
  ASSERT_EQ(exchanges_.size(), 1u);
  EXPECT_EQ(exchanges_[0]->fields, (Fields{{"cookie", "a=1; b=2"}}));
}

TEST_F(ServerConnectionTest, AMalformedMessageEndsTheConnectionUnlessToldOtherwise) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  SendAndTurn(codec_.Headers(3, With(Get(), {{"connection", "close"}}), true));
  EXPECT_EQ(GoAway(), NGHTTP2_PROTOCOL_ERROR);
  EXPECT_TRUE(exchanges_[0]->reset);
  EXPECT_EQ(exchanges_[0]->error.code, ErrorCode::kDisconnect);
  ASSERT_EQ(bad_.size(), 1u);
  EXPECT_EQ(bad_[0].first, 0);
  EXPECT_TRUE(peer_.shut);
  peer_.eof = true;
  peer_.Deliver();
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, ABodyOfAnotherLengthIsReset) {
  Open();
  SendAndTurn(codec_.Headers(1, With(Post(), {{"content-length", "5"}}), false) +
              codec_.Headers(3, With(Post(), {{"content-length", "5"}}), false));
  SendAndTurn(codec_.Data(1, "toolong", false) + codec_.Data(3, "abc", true));
  Turn();
  EXPECT_EQ(ResetOf(1), NGHTTP2_PROTOCOL_ERROR);
  EXPECT_EQ(ResetOf(3), NGHTTP2_PROTOCOL_ERROR);
  for (auto& e : exchanges_) {
    EXPECT_TRUE(e->reset);
    EXPECT_FALSE(e->ended);
    EXPECT_EQ(e->error.code, ErrorCode::kBadRequest);
  }
}

TEST_F(ServerConnectionTest, AHeadTooLargeIsAnsweredOnItsStream) {
  options_.session.max_head_bytes = 1000;
  Open();
  SendAndTurn(codec_.Headers(1, With(Get(), {{"x", std::string(900, 'x')}}), true) +
              codec_.Headers(3, Get(), true));
  EXPECT_EQ(Status(1), "431");
  ASSERT_EQ(exchanges_.size(), 1u);
  ASSERT_EQ(bad_.size(), 1u);
  EXPECT_EQ(bad_[0].first, 431);
  EXPECT_EQ(counters_.header_overflow.value(), 1u);
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerConnectionTest, TooManyFieldsAndTrailersTooLarge) {
  options_.session.max_headers = 5;
  options_.session.max_head_bytes = 1000;
  Open();
  Fields many = Get();
  for (int i = 0; i < 6; ++i) many.emplace_back("x-" + std::to_string(i), "1");
  SendAndTurn(codec_.Headers(1, many, true));
  EXPECT_EQ(Status(1), "431");
  SendAndTurn(codec_.Headers(3, Post(), false));
  SendAndTurn(codec_.Headers(3, {{"x", std::string(2000, 'y')}}, true));
  ASSERT_EQ(exchanges_.size(), 1u);
  EXPECT_TRUE(exchanges_[0]->reset);
  EXPECT_FALSE(exchanges_[0]->ended);
  EXPECT_GE(ResetOf(3), 0);
}

// ---- ends

TEST_F(ServerConnectionTest, GracefulEndInTwoSteps) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  connection_->DrainSoon();
  Turn();
  ASSERT_EQ(Got(NGHTTP2_GOAWAY).size(), 1u);
  EXPECT_EQ(Got(NGHTTP2_GOAWAY)[0].word(0), 0x7fffffffu);
  auto pings = Got(NGHTTP2_PING);
  ASSERT_EQ(pings.size(), 1u);
  // On its way when the client learns of it: still answered.
  SendAndTurn(codec_.Headers(3, Get(), true) +
              test::MakeFrame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, pings[0].payload));
  ASSERT_EQ(exchanges_.size(), 2u);
  ASSERT_EQ(Got(NGHTTP2_GOAWAY).size(), 2u);
  EXPECT_EQ(Got(NGHTTP2_GOAWAY)[1].word(0), 3u);
  EXPECT_EQ(GoAway(), NGHTTP2_NO_ERROR);
  // After that: ignored, the client may send it elsewhere.
  SendAndTurn(codec_.Headers(5, Get(), true));
  EXPECT_EQ(exchanges_.size(), 2u);
  exchanges_[0]->Answer();
  Turn();
  EXPECT_FALSE(peer_.shut);
  exchanges_[1]->Answer();
  Turn();
  EXPECT_EQ(Status(3), "200");
  EXPECT_TRUE(peer_.shut);
  peer_.eof = true;
  peer_.Deliver();
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, DrainOfAnIdleConnectionClosesIt) {
  Open();
  connection_->Drain();
  Turn();
  EXPECT_EQ(GoAway(), NGHTTP2_NO_ERROR);
  EXPECT_TRUE(peer_.shut);
  peer_.eof = true;
  peer_.Deliver();
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, RequestsOfOneConnectionAreLimited) {
  options_.max_requests = 2;
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  EXPECT_TRUE(Got(NGHTTP2_GOAWAY).empty());
  SendAndTurn(codec_.Headers(3, Get(), true));
  EXPECT_EQ(Got(NGHTTP2_GOAWAY).size(), 1u);
  for (auto& e : exchanges_) e->Answer();
  Turn();
  EXPECT_EQ(Status(3), "200");
}

TEST_F(ServerConnectionTest, AResetInTheTurnOfTheRequestIsNoRequest) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true) + codec_.Reset(1, NGHTTP2_CANCEL));
  EXPECT_TRUE(exchanges_.empty());
  EXPECT_TRUE(connection_->idle());
  EXPECT_EQ(counters_.rx_reset.value(), 1u);
  SendAndTurn(codec_.Headers(3, Get(), true));
  SendAndTurn(codec_.Reset(3, NGHTTP2_CANCEL));
  ASSERT_EQ(exchanges_.size(), 1u);
  EXPECT_TRUE(exchanges_[0]->reset);
  EXPECT_EQ(exchanges_[0]->error.side, Side::kDownstream);
}

TEST_F(ServerConnectionTest, ThePeerGoesAwayInTheMiddle) {
  Open();
  SendAndTurn(codec_.Headers(1, Post(), false) + codec_.Headers(3, Get(), true));
  peer_.eof = true;
  peer_.Deliver();
  for (auto& e : exchanges_) {
    EXPECT_TRUE(e->reset);
    EXPECT_EQ(e->error.code, ErrorCode::kDisconnect);
  }
  EXPECT_EQ(closed_, 1);
}

TEST_F(ServerConnectionTest, ClosedAndAbortedInsideOnRequest) {
  Open();
  on_request = [](Exchange& e) {
    http::ServerStream* s = e.stream;
    e.Gone();
    s->Abort();
  };
  SendAndTurn(codec_.Headers(1, Get(), true));
  EXPECT_EQ(ResetOf(1), NGHTTP2_INTERNAL_ERROR);
  on_request = [this](Exchange&) { connection_->Close(); };
  SendAndTurn(codec_.Headers(3, Get(), true) + codec_.Headers(5, Get(), true));
  EXPECT_EQ(closed_, 1);
  EXPECT_TRUE(exchanges_.back()->reset);
}

TEST_F(ServerConnectionTest, NotHttp2) {
  Open(/*settings=*/false);
  SendAndTurn("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  EXPECT_EQ(GoAway(), NGHTTP2_PROTOCOL_ERROR);
  EXPECT_TRUE(peer_.shut);
}

TEST_F(ServerConnectionTest, PieceByPiece) {
  Open(/*settings=*/false);
  peer_.max_read = 1;
  SendAndTurn(std::string(test::kPreface) + codec_.Settings() + codec_.Headers(1, Post(), false) +
              codec_.Data(1, "hello", true));
  ASSERT_EQ(exchanges_.size(), 1u);
  EXPECT_EQ(exchanges_[0]->body, "hello");
  EXPECT_TRUE(exchanges_[0]->ended);
}

TEST_F(ServerConnectionTest, ExtendedConnect) {
  options_.session.allow_connect = true;
  Open();
  SendAndTurn(codec_.Headers(1,
                             {{":method", "CONNECT"},
                              {":scheme", "https"},
                              {":path", "/chat"},
                              {":authority", "a"},
                              {":protocol", "websocket"}},
                             false));
  ASSERT_EQ(exchanges_.size(), 1u);
  Exchange& e = *exchanges_[0];
  EXPECT_EQ(e.method, "GET");
  EXPECT_EQ(e.upgrade, "websocket");
  ASSERT_NE(e.in, nullptr);
  ResponseHead head;
  head.status = 101;
  head.tunnel = head.has_body = true;
  head.content_length = kUnknownLength;
  head.upgrade = "websocket";
  e.stream->SendResponse(head, &e.out);
  e.Write("down");
  SendAndTurn(codec_.Data(1, "up", false));
  EXPECT_EQ(Status(1), "200");
  EXPECT_EQ(Body(1), "down");
  EXPECT_EQ(e.body, "up");
  // Half-close: the other direction goes on.
  e.End();
  Turn();
  EXPECT_TRUE(Got(NGHTTP2_DATA, 1).back().end_stream());
  EXPECT_FALSE(e.done);
  EXPECT_EQ(ResetOf(1), -1);
  SendAndTurn(codec_.Data(1, " and up", true));
  EXPECT_EQ(e.body, "up and up");
  Turn();
  EXPECT_TRUE(e.done);
}

TEST_F(ServerConnectionTest, ATunnelIsNotDoneBeforeItsLastBytesAreTaken) {
  Open();
  SendAndTurn(codec_.Headers(1, {{":method", "CONNECT"}, {":authority", "a:443"}}, false));
  ASSERT_EQ(exchanges_.size(), 1u);
  Exchange& e = *exchanges_[0];
  EXPECT_EQ(e.method, "CONNECT");
  e.pull = false;
  ResponseHead head;
  head.status = 200;
  head.tunnel = head.has_body = true;
  head.content_length = kUnknownLength;
  e.stream->SendResponse(head, &e.out);
  e.End();
  SendAndTurn(codec_.Data(1, "late", true));
  Turn();
  EXPECT_FALSE(e.done);
  e.Pull(2);
  Turn();
  EXPECT_FALSE(e.done);
  e.Pull();
  Turn();
  EXPECT_TRUE(e.done);
  EXPECT_EQ(e.body, "late");
}

}  // namespace
}  // namespace weft::http::h2
