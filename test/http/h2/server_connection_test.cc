#include "dataplane/http/h2/server_connection.h"

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

}  // namespace
}  // namespace weft::http::h2
