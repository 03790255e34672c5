// What a hostile peer can make a server connection do has an end: GOAWAY and a counter for each.
#include "test/http/h2/server_fixture.h"

namespace weft::http::h2 {
namespace {

using test::Fields;
using test::MakeFrame;
using test::Word;

class ServerBoundsTest : public ServerFixture {
 protected:
  void ExpectCalm(const observe::Counter& counter) {
    Turn();
    EXPECT_EQ(GoAway(), NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(counter.value(), 1u);
    EXPECT_TRUE(peer_.shut);
    // Nothing that follows is looked at.
    size_t before = exchanges_.size();
    SendAndTurn(codec_.Headers(9001, Get(), true));
    EXPECT_EQ(exchanges_.size(), before);
    peer_.eof = true;
    peer_.Deliver();
    EXPECT_EQ(closed_, 1);
  }
};

TEST_F(ServerBoundsTest, RapidReset) {
  Open();
  uint32_t id = 1;
  for (int i = 0; i < 2000 && GoAway() < 0; ++i, id += 2) {
    SendAndTurn(codec_.Headers(id, Get(), true));
    if (GoAway() < 0) SendAndTurn(codec_.Reset(id, NGHTTP2_CANCEL));
  }
  EXPECT_LE(exchanges_.size(), 501u);
  ExpectCalm(counters_.inbound_reset_flood);
}

TEST_F(ServerBoundsTest, ABusyConnectionMayCancelAThird) {
  Open();
  for (uint32_t id = 1; id < 6000; id += 2) {
    SendAndTurn(codec_.Headers(id, Get(), true));
    if (id % 3 == 0) {
      SendAndTurn(codec_.Reset(id, NGHTTP2_CANCEL));
    } else {
      exchanges_.back()->Answer();
      Turn();
    }
  }
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerBoundsTest, ResetsThatThePeerMakesUsSend) {
  Open();
  for (uint32_t id = 1; id < 1000 && GoAway() < 0; id += 2) {
    SendAndTurn(codec_.Headers(id, Get(), true) + codec_.WindowUpdate(id, 0x7fffffff));
    Turn();
  }
  EXPECT_LE(exchanges_.size(), 102u);
  ExpectCalm(counters_.outbound_reset_flood);
  for (auto& e : exchanges_) EXPECT_TRUE(e->reset);
}

TEST_F(ServerBoundsTest, ContinuationFlood) {
  Open();
  std::string flood = MakeFrame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, codec_.Block(Get()));
  for (int i = 0; i < 40; ++i)
    flood += MakeFrame(NGHTTP2_CONTINUATION, 0, 1, std::string("\0\x01x\x01y", 5));
  Send(flood);
  ExpectCalm(counters_.inbound_continuation_flood);
  EXPECT_TRUE(exchanges_.empty());
}

TEST_F(ServerBoundsTest, ContinuationsOfAHeadOrdinarilyLarge) {
  Open();
  std::string block = codec_.Block(With(Get(), {{"x", std::string(40000, 'x')}}));
  std::string all = MakeFrame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, block.substr(0, 4096));
  for (size_t at = 4096; at < block.size(); at += 4096) {
    all += MakeFrame(NGHTTP2_CONTINUATION, at + 4096 >= block.size() ? NGHTTP2_FLAG_END_HEADERS : 0,
                     1, block.substr(at, 4096));
  }
  SendAndTurn(all);
  EXPECT_EQ(exchanges_.size(), 1u);
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerBoundsTest, HpackBomb) {
  Open();
  // 4 KB into the dynamic table, then a byte for each further copy.
  std::string block =
      "\x82\x84\x86\x41\x01"
      "a\x40\x04"
      "bomb\x7f\xa1\x1e" +
      std::string(4000, 'b') + std::string(12000, '\xbe');
  Send(MakeFrame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, 1, block));
  Turn();
  EXPECT_EQ(GoAway(), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(counters_.header_overflow.value(), 1u);
  EXPECT_TRUE(exchanges_.empty());
}

TEST_F(ServerBoundsTest, PingFlood) {
  Open();
  std::string pings;
  for (int i = 0; i < 1001; ++i) pings += MakeFrame(NGHTTP2_PING, 0, 0, "12345678");
  Send(pings);  // more than may wait for their answers
  ExpectCalm(counters_.outbound_control_flood);
}

TEST_F(ServerBoundsTest, PingsThatAreReadAreLimitedByTime) {
  Open();
  for (int i = 0; i < 100 && GoAway() < 0; ++i) {
    std::string pings;
    for (int k = 0; k < 100; ++k) pings += MakeFrame(NGHTTP2_PING, 0, 0, "12345678");
    SendAndTurn(pings);
  }
  ExpectCalm(counters_.inbound_control_frames_flood);
}

TEST_F(ServerBoundsTest, SettingsFloodOfAPeerThatDoesNotRead) {
  Open();
  peer_.room = 0;
  std::string flood;
  for (int i = 0; i < 1001; ++i) flood += codec_.Settings();
  Send(flood);
  Turn();
  EXPECT_EQ(counters_.outbound_control_flood.value(), 1u);
  peer_.MakeRoom(SIZE_MAX);
  Turn();
  EXPECT_EQ(GoAway(), NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_F(ServerBoundsTest, UnknownFrames) {
  Open();
  for (int i = 0; i < 2100 && GoAway() < 0; ++i) SendAndTurn(MakeFrame(0x77, 0, 0, ""));
  ExpectCalm(counters_.inbound_control_frames_flood);
}

TEST_F(ServerBoundsTest, EmptyDataFrames) {
  Open();
  SendAndTurn(codec_.Headers(1, Post(), false) + codec_.Data(1, "", false) +
              codec_.Data(1, "x", false) + codec_.Data(1, "", false) + codec_.Data(1, "y", false));
  EXPECT_EQ(GoAway(), -1);  // one at a time is no flood
  Send(codec_.Data(1, "", false) + codec_.Data(1, "", false));
  ExpectCalm(counters_.inbound_empty_frames_flood);
}

TEST_F(ServerBoundsTest, PaddingAloneIsEmptyToo) {
  Open();
  SendAndTurn(codec_.Headers(1, Post(), false));
  std::string padded =
      MakeFrame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, std::string("\x03\0\0\0", 4));
  Send(padded + padded);
  ExpectCalm(counters_.inbound_empty_frames_flood);
}

TEST_F(ServerBoundsTest, EmptyContinuations) {
  Open();
  Send(MakeFrame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, codec_.Block(Get())) +
       MakeFrame(NGHTTP2_CONTINUATION, 0, 1, "") + MakeFrame(NGHTTP2_CONTINUATION, 0, 1, ""));
  ExpectCalm(counters_.inbound_empty_frames_flood);
}

TEST_F(ServerBoundsTest, PriorityFlood) {
  Open();
  std::string flood;
  for (int i = 0; i < 101; ++i) flood += MakeFrame(NGHTTP2_PRIORITY, 0, 3, Word(0) + "\x10");
  Send(flood);
  ExpectCalm(counters_.inbound_priority_frames_flood);
}

TEST_F(ServerBoundsTest, WindowUpdateFlood) {
  Open();
  std::string flood;
  for (int i = 0; i < 6; ++i) flood += codec_.WindowUpdate(0, 1);
  Send(flood);
  ExpectCalm(counters_.inbound_window_update_frames_flood);
}

TEST_F(ServerBoundsTest, WindowUpdatesOfAReaderAreNoFlood) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  exchanges_[0]->Begin();
  for (int i = 0; i < 200; ++i) {
    exchanges_[0]->Write(std::string(1000, 'x'));
    Turn();
    SendAndTurn(codec_.WindowUpdate(0, 1000) + codec_.WindowUpdate(1, 1000));
  }
  EXPECT_EQ(GoAway(), -1);
  exchanges_[0]->stream->Abort();
  Turn();
}

TEST_F(ServerBoundsTest, StreamsAboveTheLimitAreRefused) {
  options_.session.max_concurrent_streams = 2;
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true) + codec_.Headers(3, Get(), true) +
              codec_.Headers(5, Get(), true));
  EXPECT_EQ(exchanges_.size(), 2u);
  EXPECT_EQ(ResetOf(5), NGHTTP2_REFUSED_STREAM);
  EXPECT_EQ(counters_.stream_refused_errors.value(), 1u);
  // Its body was on its way.
  SendAndTurn(codec_.Data(5, "x", true));
  EXPECT_EQ(GoAway(), -1);
}

TEST_F(ServerBoundsTest, FramesOnStreamsThatAreOver) {
  Open();
  SendAndTurn(codec_.Headers(5, Get(), true));
  exchanges_[0]->Answer();
  Turn();
  SendAndTurn(codec_.WindowUpdate(5, 1) + codec_.Reset(5, 0));
  EXPECT_EQ(GoAway(), -1);
  SendAndTurn(codec_.Headers(3, Get(), true));  // a lower id
  EXPECT_EQ(GoAway(), NGHTTP2_STREAM_CLOSED);
}

TEST_F(ServerBoundsTest, HintsToWhoDoesNotReadAreDropped) {
  Open();
  SendAndTurn(codec_.Headers(1, Get(), true));
  peer_.room = 0;
  ResponseHead hint;
  hint.status = 103;
  hint.headers.Add("link", "x");
  for (int i = 0; i < 1000; ++i) exchanges_[0]->stream->SendInformational(hint);
  Turn();
  peer_.MakeRoom(SIZE_MAX);
  Turn();
  EXPECT_LE(Got(NGHTTP2_HEADERS, 1).size(), 8u);
}

}  // namespace
}  // namespace weft::http::h2
