#include "dataplane/config/grpc_client.h"

#include <gtest/gtest.h>

#include "test/config/fake_grpc_server.h"

namespace weft::config {
namespace {

using test::FakeGrpcServer;

struct Call : GrpcStream::Handler {
  std::vector<std::string> messages;
  std::optional<GrpcStatus> end;
  void OnGrpcMessage(std::string m) override { messages.push_back(std::move(m)); }
  void OnGrpcEnd(const GrpcStatus& s) override { end = s; }
};

class GrpcClientTest : public ::testing::Test, public GrpcConnection::Handler {
 protected:
  void Connect(GrpcOptions options = {}) {
    connection_ = std::make_unique<GrpcConnection>(loop_, slab_, server_.address(), options, this);
    ASSERT_TRUE(Until([&] { return ready_ || closed_.has_value(); }));
  }
  std::unique_ptr<GrpcStream> Open(Call& call, GrpcStream::Metadata metadata = {}) {
    return std::make_unique<GrpcStream>(*connection_, "/pkg.Service/Method", "xds.example", metadata, &call);
  }
  FakeGrpcServer::Call Served(size_t i = 0) {
    EXPECT_TRUE(Until([&] { return server_.calls().size() > i; }));
    return server_.calls()[i];
  }
  bool Until(const std::function<bool()>& f) { return test::RunUntil(loop_, f); }
  void OnGrpcReady() override { ready_ = true; }
  void OnGrpcClosed(const GrpcStatus& s) override { closed_ = s; }
  void TearDown() override {
    connection_.reset();
    loop_.RunOnce();
  }

  buffer::Slab slab_;
  event::Loop loop_;
  FakeGrpcServer server_{loop_};
  std::unique_ptr<GrpcConnection> connection_;
  bool ready_ = false;
  std::optional<GrpcStatus> closed_;
};

TEST_F(GrpcClientTest, BidirectionalMessages) {
  Connect();
  Call call;
  auto stream = Open(call, {{"x-token", "abc"}});
  EXPECT_TRUE(stream->Send("one"));
  EXPECT_TRUE(stream->Send(""));
  auto served = Served();
  EXPECT_EQ(served.path(), "/pkg.Service/Method");
  EXPECT_EQ(served.Head(":authority"), "xds.example");
  EXPECT_EQ(served.Head(":method"), "POST");
  EXPECT_EQ(served.Head("te"), "trailers");
  EXPECT_EQ(served.Head("content-type"), "application/grpc");
  EXPECT_EQ(served.Head("x-token"), "abc");
  ASSERT_TRUE(Until([&] { return served.messages().size() == 2; }));
  EXPECT_EQ(served.messages(), (std::vector<std::string>{"one", ""}));
  served.Accept();
  served.Send("first");
  served.Send("");
  ASSERT_TRUE(Until([&] { return call.messages.size() == 2; }));
  EXPECT_EQ(call.messages, (std::vector<std::string>{"first", ""}));
  stream->Send("two");
  stream->SendEnd();
  EXPECT_FALSE(stream->Send("after the end"));
  ASSERT_TRUE(Until([&] { return served.half_closed(); }));
  served.End(0);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_TRUE(call.end->ok());
}

TEST_F(GrpcClientTest, TenMegabytesArriveUnbroken) {
  Connect();
  Call call;
  auto stream = Open(call);
  stream->Send("go");
  auto served = Served();
  served.Accept();
  std::string big;
  big.reserve(11u << 20);
  for (uint32_t i = 0; big.size() < (10u << 20); ++i) big.append(reinterpret_cast<const char*>(&i), 4);
  served.Send(big);
  ASSERT_TRUE(Until([&] { return !call.messages.empty(); }));
  EXPECT_TRUE(call.messages[0] == big);
}

TEST_F(GrpcClientTest, StatusInTrailers) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.Accept();
  served.End(7, "no%20entry%21");
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), "PERMISSION_DENIED: no entry!");
}

TEST_F(GrpcClientTest, TrailersOnly) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.connection->Respond(
      served.id, {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "12"}, {"grpc-message", "who?"}},
      true);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), "UNIMPLEMENTED: who?");
}

struct HttpAnswer {
  const char* status;
  const char* content_type;
  const char* want;
};
class GrpcHttpStatus : public GrpcClientTest, public ::testing::WithParamInterface<HttpAnswer> {};
TEST_P(GrpcHttpStatus, IsMapped) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.connection->Respond(served.id, {{":status", GetParam().status}, {"content-type", GetParam().content_type}}, false);
  served.connection->Data(served.id, "<html>some page</html>");
  served.connection->End(served.id);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), GetParam().want);
  EXPECT_TRUE(call.messages.empty());
}
INSTANTIATE_TEST_SUITE_P(
    All, GrpcHttpStatus,
    ::testing::Values(HttpAnswer{"400", "text/html", "INTERNAL: HTTP status 400"},
                      HttpAnswer{"401", "text/html", "UNAUTHENTICATED: HTTP status 401"},
                      HttpAnswer{"403", "text/html", "PERMISSION_DENIED: HTTP status 403"},
                      HttpAnswer{"404", "text/html", "UNIMPLEMENTED: HTTP status 404"},
                      HttpAnswer{"429", "text/html", "UNAVAILABLE: HTTP status 429"},
                      HttpAnswer{"502", "text/html", "UNAVAILABLE: HTTP status 502"},
                      HttpAnswer{"503", "text/html", "UNAVAILABLE: HTTP status 503"},
                      HttpAnswer{"504", "text/html", "UNAVAILABLE: HTTP status 504"},
                      HttpAnswer{"500", "text/html", "UNKNOWN: HTTP status 500"},
                      HttpAnswer{"418", "application/grpc", "UNKNOWN: HTTP status 418"},
                      HttpAnswer{"200", "text/html", "UNKNOWN: answer is not gRPC: content-type \"text/html\""}));

TEST_F(GrpcClientTest, EndWithoutStatus) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.Accept();
  served.connection->End(served.id);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), "UNKNOWN: answer ended without a grpc-status");
}

TEST_F(GrpcClientTest, EndInTheMiddleOfAMessage) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.Accept();
  served.connection->Data(served.id, std::string("\0\0\0\0\x0ahalf", 9));
  served.End(0);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), "INTERNAL: answer ended in the middle of a message");
}

TEST_F(GrpcClientTest, MessageAboveTheLimitEndsTheCall) {
  GrpcOptions o;
  o.max_message_bytes = 1000;
  Connect(o);
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.Accept();
  served.Send(std::string(1000, 'a'));
  served.Send(std::string(1001, 'b'));
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.messages.size(), 1u);
  EXPECT_EQ(call.end->ToString(), "RESOURCE_EXHAUSTED: peer sent a message of 1001 bytes; the limit is 1000");
  ASSERT_TRUE(Until([&] { return served.closed(); }));
}

struct ResetCase {
  uint32_t error;
  const char* want;
};
class GrpcReset : public GrpcClientTest, public ::testing::WithParamInterface<ResetCase> {};
TEST_P(GrpcReset, IsMapped) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  served.Accept();
  served.Send("x");
  ASSERT_TRUE(Until([&] { return call.messages.size() == 1; }));
  served.connection->Reset(served.id, GetParam().error);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->ToString(), GetParam().want);
  EXPECT_FALSE(closed_.has_value());
}
INSTANTIATE_TEST_SUITE_P(All, GrpcReset,
                         ::testing::Values(ResetCase{NGHTTP2_REFUSED_STREAM, "UNAVAILABLE: REFUSED_STREAM"},
                                           ResetCase{NGHTTP2_CANCEL, "CANCELLED: CANCEL"},
                                           ResetCase{NGHTTP2_ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED: ENHANCE_YOUR_CALM"},
                                           ResetCase{NGHTTP2_INADEQUATE_SECURITY, "PERMISSION_DENIED: INADEQUATE_SECURITY"},
                                           ResetCase{NGHTTP2_INTERNAL_ERROR, "INTERNAL: INTERNAL_ERROR"},
                                           ResetCase{NGHTTP2_PROTOCOL_ERROR, "INTERNAL: PROTOCOL_ERROR"}));

TEST_F(GrpcClientTest, LostConnectionIsUnavailable) {
  Connect();
  Call call;
  auto stream = Open(call);
  Served();
  server_.CloseConnections();
  ASSERT_TRUE(Until([&] { return closed_.has_value(); }));
  ASSERT_TRUE(call.end.has_value());
  EXPECT_EQ(call.end->code, GrpcCode::kUnavailable);
  EXPECT_NE(closed_->message.find(server_.address().ToString()), std::string::npos) << closed_->message;
  // A call on a dead connection ends at once, but never from inside its constructor.
  Call late;
  auto dead = Open(late);
  EXPECT_FALSE(late.end.has_value());
  ASSERT_TRUE(Until([&] { return late.end.has_value(); }));
  EXPECT_EQ(late.end->code, GrpcCode::kUnavailable);
}

TEST_F(GrpcClientTest, NobodyListens) {
  net::Address free_port = server_.address();
  {
    FakeGrpcServer gone(loop_);
    free_port = gone.address();
  }
  connection_ = std::make_unique<GrpcConnection>(loop_, slab_, free_port, GrpcOptions(), this);
  ASSERT_TRUE(Until([&] { return closed_.has_value(); }));
  EXPECT_EQ(closed_->ToString(),
            "UNAVAILABLE: cannot connect to " + free_port.ToString() + ": Connection refused");
}

TEST_F(GrpcClientTest, PeerThatAcceptsAndIsSilent) {
  server_.mute = true;
  GrpcOptions o;
  o.connect_timeout = 50 * kMillisecond;
  connection_ = std::make_unique<GrpcConnection>(loop_, slab_, server_.address(), o, this);
  ASSERT_TRUE(Until([&] { return closed_.has_value(); }));
  EXPECT_EQ(closed_->ToString(),
            "UNAVAILABLE: " + server_.address().ToString() + ": connected, but no HTTP/2 SETTINGS within 50 ms");
}

TEST_F(GrpcClientTest, DestroyingTheStreamCancelsTheCall) {
  Connect();
  Call call;
  auto stream = Open(call);
  auto served = Served();
  stream.reset();
  ASSERT_TRUE(Until([&] { return served.closed(); }));
  EXPECT_EQ(served.connection->stream(served.id)->error, static_cast<uint32_t>(NGHTTP2_CANCEL));
  EXPECT_FALSE(call.end.has_value());
}

TEST_F(GrpcClientTest, PeerThatDoesNotReadIsGivenUp) {
  GrpcOptions o;
  o.max_pending_bytes = 200000;
  Connect(o);
  Call call;
  auto stream = Open(call);
  Served().connection->StopReading();
  bool sent = true;
  for (int i = 0; i < 1000 && sent; ++i) {
    sent = stream->Send(std::string(10000, 'x'));
    if (i % 10 == 0) loop_.RunOnce();
  }
  EXPECT_FALSE(sent);
  ASSERT_TRUE(Until([&] { return call.end.has_value(); }));
  EXPECT_EQ(call.end->code, GrpcCode::kResourceExhausted);
}

}  // namespace
}  // namespace weft::config
