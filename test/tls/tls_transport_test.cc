#include <gtest/gtest.h>
#include <unistd.h>

#include "dataplane/buffer/slice_buffer.h"
#include "test/tls/pair.h"

namespace weft::tls::testing {
namespace {

std::string Text(size_t n) {
  std::string out(n, 0);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<char>('a' + i * 7 % 26);
  return out;
}

// Writes all of `text`, going on when the other side makes room.
void WriteAll(End& end, buffer::Slab& slab, std::string_view text, buffer::SliceBuffer* out) {
  out->AppendCopy(slab, text);
  end.on_writable = [&end, out] {
    size_t n = 0;
    net::Flush(*end.transport, *out, &n);
  };
  end.on_writable();
}

TEST_F(PairTest, HandshakeTellsWhoIsThere) {
  ContextSpec server = ServerSpec();
  server.alpn = {"h2", "http/1.1"};
  server.has_validation = server.require_client_certificate = true;
  server.validation.trusted_ca = Inline(kCa);
  ContextSpec client = ClientSpec();
  client.alpn = {"http/1.1"};
  auto c = MakeContext(client), s = MakeContext(server);
  Connect(*c, *s);
  const net::TlsInfo& at_server = *server_->transport->tls();
  EXPECT_EQ(at_server.version(), "TLSv1.3");
  EXPECT_EQ(at_server.alpn(), "http/1.1");
  EXPECT_EQ(at_server.sni(), "server.test");
  EXPECT_TRUE(at_server.peer_validated());
  EXPECT_EQ(at_server.peer_uri_sans(),
            std::vector<std::string>{"spiffe://td.test/ns/one/sa/client"});
  EXPECT_EQ(server_->transport->peer_identity(), "spiffe://td.test/ns/one/sa/client");
  EXPECT_EQ(at_server.peer_subject(), "CN=client,O=weft");
  EXPECT_EQ(at_server.peer_issuer(), "CN=ca");
  EXPECT_EQ(at_server.peer_serial(), "1003");
  EXPECT_EQ(at_server.peer_sha256().size(), 64u);
  EXPECT_TRUE(at_server.peer_pem_url_encoded().starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
  EXPECT_EQ(at_server.local_uri_sans(),
            std::vector<std::string>{"spiffe://td.test/ns/one/sa/server"});
  EXPECT_EQ(client_->transport->tls()->local_subject(), "CN=client,O=weft");
  EXPECT_EQ(client_->transport->peer_identity(), "spiffe://td.test/ns/one/sa/server");
  EXPECT_EQ(at_server.Get(TlsSource::Value::kPeerUriSan), "spiffe://td.test/ns/one/sa/client");
}

TEST_F(PairTest, BytesGoBothWaysAndIdleEndsHoldNothing) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  EXPECT_EQ(client_->Write("hello"), 5);
  EXPECT_EQ(server_->Write("answer"), 6);
  EXPECT_TRUE(Until([&] { return server_->received == "hello" && client_->received == "answer"; }));
  EXPECT_EQ(slab_.in_use(), 0u);
}

TEST_F(PairTest, OneSystemCallBringsSeveralRecordsAndOneTakesThem) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  client_->Write("x");  // tickets and the like are out of the way
  server_->Write("y");
  ASSERT_TRUE(Until([&] { return server_->received == "x" && client_->received == "y"; }));
  client_counts_ = server_counts_ = {};
  // Pieces of one write are put together in one record, and leave by one call.
  std::string head = Text(200), body = Text(3000);
  iovec iov[2] = {{head.data(), head.size()}, {body.data(), body.size()}};
  EXPECT_EQ(client_->transport->Write(iov, 2), 3200);
  EXPECT_EQ(client_counts_.writes, 1);
  for (int i = 0; i < 3; ++i) client_->Write("more");
  server_->received.clear();
  ASSERT_TRUE(Until([&] { return server_->received.size() == 3212; }));
  EXPECT_EQ(server_->received, head + body + "moremoremore");
  EXPECT_EQ(server_counts_.reads, 1);
  EXPECT_EQ(server_counts_.empty_reads, 0);
}

TEST_F(PairTest, LargeTransfersWithSlowReaders) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  const std::string text = Text(3'000'000);
  buffer::SliceBuffer up, down;
  server_->max_read = 5000;  // less than a record
  client_->max_read = 100'000;
  WriteAll(*client_, slab_, text, &up);
  WriteAll(*server_, slab_, text, &down);
  EXPECT_FALSE(up.empty());  // the socket does not take as much
  ASSERT_TRUE(Until([&] {
    return server_->received.size() == text.size() && client_->received.size() == text.size();
  }));
  EXPECT_TRUE(server_->received == text && client_->received == text);
  EXPECT_TRUE(up.empty() && down.empty());
  up.Release();
  down.Release();
  EXPECT_EQ(slab_.in_use(), 0u);
}

TEST_F(PairTest, ReadableAgainWhileDecryptedBytesRemain) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  server_->max_read = 1;
  client_->Write("abcdefgh");
  ASSERT_TRUE(Until([&] { return server_->received == "abcdefgh"; }));
  EXPECT_GE(server_->readable, 8);
  // Not while reading is off, and again once it is on.
  server_->received.clear();
  server_->on_readable = [&] {
    server_->ReadSome(2);
    server_->transport->SetReading(false);
  };
  client_->Write("12345");
  ASSERT_TRUE(Until([&] { return server_->received == "12"; }));
  for (int i = 0; i < 20; ++i) loop_.RunOnce();
  EXPECT_EQ(server_->received, "12");
  server_->on_readable = nullptr;
  server_->transport->SetReading(true);
  EXPECT_TRUE(Until([&] { return server_->received == "12345"; }));
}

TEST_F(PairTest, CloseNotifyIsAnEndAndItsLackIsAnError) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  client_->Write("last");
  client_->transport.reset();
  ASSERT_TRUE(Until([&] { return server_->ended; }));
  EXPECT_EQ(server_->received, "last");
  EXPECT_EQ(server_->end, 0);

  Connect(*c, *s);
  client_->Write("cut");
  shutdown(fds_[0], SHUT_WR);  // as somebody on the way does it
  ASSERT_TRUE(Until([&] { return server_->ended; }));
  EXPECT_EQ(server_->received, "cut");
  EXPECT_LT(server_->end, 0);
}

TEST_F(PairTest, HalfClose) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  client_->Write("question");
  client_->transport->ShutdownWrite();
  ASSERT_TRUE(Until([&] { return server_->ended; }));
  EXPECT_EQ(server_->end, 0);
  EXPECT_EQ(server_->received, "question");
  EXPECT_EQ(server_->Write("answer"), 6);
  ASSERT_TRUE(Until([&] { return client_->received == "answer"; }));
  EXPECT_LT(client_->Write("too late"), 0);
  server_->transport.reset();
  ASSERT_TRUE(Until([&] { return client_->ended; }));
  EXPECT_EQ(client_->end, 0);
}

TEST_F(PairTest, ForeignBytesAreAnErrorOfTheConnection) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  client_->Write("good");
  ASSERT_EQ(send(fds_[0], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
  ASSERT_TRUE(Until([&] { return server_->ended; }));
  EXPECT_EQ(server_->received, "good");
  EXPECT_LT(server_->end, 0);
}

TEST_F(PairTest, EndsThatGoInsideTheirCallbacks) {
  auto c = MakeContext(ClientSpec()), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  bool gone = false;
  server_->max_read = 1;
  server_->on_readable = [&] {
    server_->ReadSome(1);
    if (server_->received.size() < 3) return;
    server_->on_readable = nullptr;
    server_->transport.reset();
    gone = true;
  };
  client_->Write("abcdef");
  EXPECT_TRUE(Until([&] { return gone; }));
  EXPECT_TRUE(Until([&] { return client_->ended; }));

  Begin(*c, *s);
  client_->handshake.reset();  // cancels
  EXPECT_TRUE(Until([&] { return !server_->failure.empty(); }));
  EXPECT_EQ(client_->failure, "");
  EXPECT_EQ(server_->counted, static_cast<int>(net::HandshakeFailure::kConnection));
}

TEST_F(PairTest, RefusalsSayWhy) {
  auto s = MakeContext(ServerSpec());
  ContextSpec client = ClientSpec();
  client.validation.trusted_ca = Inline(kOtherCa);
  auto stranger = MakeContext(client);
  Begin(*stranger, *s);
  ASSERT_TRUE(Until([&] { return Settled(); }));
  EXPECT_NE(client_->failure.find("issuer"), std::string::npos) << client_->failure;
  EXPECT_EQ(client_->counted, static_cast<int>(net::HandshakeFailure::kVerify));
  EXPECT_EQ(server_->counted, static_cast<int>(net::HandshakeFailure::kTls));

  client = ClientSpec();
  client.validation.sans.push_back(
      {SanMatcher::Type::kUri, [](std::string_view v) { return v == "spiffe://x"; }, "", ""});
  auto picky = MakeContext(client);
  Begin(*picky, *s);
  ASSERT_TRUE(Until([&] { return Settled(); }));
  EXPECT_EQ(client_->counted, static_cast<int>(net::HandshakeFailure::kSan));

  client = ClientSpec();
  client.auto_sni_san = true;
  auto named = MakeContext(client);
  net::HandshakeOptions wish;
  wish.sni = "a.wild.test";
  Connect(*named, *s, wish);
  wish.sni = "elsewhere.test";
  Begin(*named, *s, wish);
  ASSERT_TRUE(Until([&] { return Settled(); }));
  EXPECT_NE(client_->failure.find("elsewhere.test"), std::string::npos) << client_->failure;
}

TEST_F(PairTest, WithoutValidationAnyCertificateWillDo) {
  ContextSpec client;
  auto c = MakeContext(client), s = MakeContext(ServerSpec());
  Connect(*c, *s);
  EXPECT_FALSE(client_->transport->tls()->peer_validated());
  EXPECT_EQ(client_->transport->peer_identity(), "");
  EXPECT_EQ(client_->transport->tls()->peer_subject(), "CN=server,O=weft");
}

TEST_F(PairTest, SessionsAreResumedAndEndWithTrust) {
  std::string trust = kCa;
  ContextSpec server = ServerSpec();
  server.has_validation = server.require_client_certificate = true;
  server.validation.trusted_ca = {"/trust", "", "trust"};
  auto c = MakeContext(ClientSpec());
  auto s =
      MakeContext(server, [&](const std::string&) -> absl::StatusOr<std::string> { return trust; });
  for (int i = 0; i < 3; ++i) {
    Connect(*c, *s);
    EXPECT_EQ(client_->resumed, i > 0);
    EXPECT_EQ(server_->resumed, i > 0);
    EXPECT_EQ(server_->transport->peer_identity(), "spiffe://td.test/ns/one/sa/client");
    server_->Write("x");  // brings the ticket
    ASSERT_TRUE(Until([&] { return client_->received == "x"; }));
  }
  // A client of another trust has other sessions.
  ContextSpec other = ClientSpec();
  auto c2 = MakeContext(other);
  Connect(*c2, *s);
  EXPECT_FALSE(client_->resumed);
}

}  // namespace
}  // namespace weft::tls::testing
