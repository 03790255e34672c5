#include "dataplane/net/proxy_protocol.h"

#include <gtest/gtest.h>

#include "dataplane/event/loop.h"
#include "test/fakes/fake_transport.h"

namespace weft::net {
namespace {

using R = ProxyHeaderResult;

const std::string kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);

std::string Two(char command, char family, const std::string& body) {
  std::string out = kSignature2 + command + family;
  out.push_back(static_cast<char>(body.size() >> 8));
  out.push_back(static_cast<char>(body.size()));
  return out + body;
}

TEST(ProxyHeaderTest, VersionOne) {
  ProxyHeader h;
  const std::string in = "PROXY TCP4 1.2.3.4 5.6.7.8 4000 443\r\nGET";
  ASSERT_EQ(ParseProxyHeader(in, &h), R::kDone);
  EXPECT_EQ(h.version, 1);
  EXPECT_EQ(h.size, in.size() - 3);
  EXPECT_TRUE(h.has_addresses);
  EXPECT_EQ(h.source.ToString(), "1.2.3.4:4000");
  EXPECT_EQ(h.destination.ToString(), "5.6.7.8:443");
  h = {};
  ASSERT_EQ(ParseProxyHeader("PROXY TCP6 fe80::1 ::1 0 65535\r\n", &h), R::kDone);
  EXPECT_EQ(h.source.ToString(), "[fe80::1]:0");
  EXPECT_EQ(h.destination.ToString(), "[::1]:65535");
  for (const char* unknown : {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:f any thing\r\n"}) {
    h = {};
    ASSERT_EQ(ParseProxyHeader(unknown, &h), R::kDone) << unknown;
    EXPECT_FALSE(h.has_addresses);
    EXPECT_EQ(h.size, std::string_view(unknown).size());
  }
}

TEST(ProxyHeaderTest, VersionOneRefusals) {
  for (const char* in : {
           "PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
           "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
           "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
           "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3.4 x 1 2\r\n",
           "PROXY UNKNOWNX\r\n"}) {
    ProxyHeader h;
    EXPECT_EQ(ParseProxyHeader(in, &h), R::kMalformed) << in;
  }
  ProxyHeader h;
  EXPECT_EQ(ParseProxyHeader("PROXY UNKNOWN " + std::string(200, 'x'), &h), R::kMalformed);  // no end in 107 bytes
  EXPECT_EQ(ParseProxyHeader("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + std::string(100, 'x'), &h), R::kMalformed);
}

TEST(ProxyHeaderTest, VersionTwo) {
  ProxyHeader h;
  const std::string v4("\x01\x02\x03\x04\x05\x06\x07\x08\x0f\xa0\x01\xbb", 12);
  ASSERT_EQ(ParseProxyHeader(Two(0x21, 0x11, v4) + "rest", &h), R::kDone);
  EXPECT_EQ(h.version, 2);
  EXPECT_EQ(h.size, 28u);
  EXPECT_EQ(h.source.ToString(), "1.2.3.4:4000");
  EXPECT_EQ(h.destination.ToString(), "5.6.7.8:443");
  h = {};
  const std::string fields("\x04\x00\x03" "abc" "\x03\x00\x00", 9);
  ASSERT_EQ(ParseProxyHeader(Two(0x21, 0x11, v4 + fields), &h), R::kDone);
  EXPECT_EQ(h.size, 37u);
  EXPECT_TRUE(h.has_addresses);
  h = {};
  const std::string v6 = std::string(15, '\0') + "\x01" + std::string(15, '\0') + "\x02" + std::string("\0\x50\0\x51", 4);
  ASSERT_EQ(ParseProxyHeader(Two(0x21, 0x21, v6), &h), R::kDone);
  EXPECT_EQ(h.source.ToString(), "[::1]:80");
  EXPECT_EQ(h.destination.ToString(), "[::2]:81");
  for (const std::string& in : {Two(0x20, 0, ""), Two(0x20, 0x11, v4), Two(0x20, 0x7f, "anything"), Two(0x21, 0, "xyz"),
                                Two(0x21, 0x31, std::string(216, 'u'))}) {
    h = {};
    ASSERT_EQ(ParseProxyHeader(in, &h), R::kDone);
    EXPECT_FALSE(h.has_addresses);
    EXPECT_EQ(h.size, in.size());
  }
}

TEST(ProxyHeaderTest, VersionTwoRefusals) {
  const std::string v4(12, '\1');
  for (const std::string& in : {Two(0x22, 0x11, v4), Two(0x11, 0x11, v4), Two(0x31, 0x11, v4), Two(0x21, 0x12, v4),
                                Two(0x21, 0x22, std::string(36, '\1')), Two(0x21, 0x10, v4), Two(0x21, 0x11, v4.substr(1)),
                                Two(0x21, 0x21, v4), Two(0x21, 0x11, v4 + "\x04"), Two(0x21, 0x11, v4 + std::string("\x04\x00\x02x", 4))}) {
    ProxyHeader h;
    EXPECT_EQ(ParseProxyHeader(in, &h), R::kMalformed) << testing::PrintToString(in);
  }
}

TEST(ProxyHeaderTest, EveryCutAndOtherBytes) {
  const std::string v4(12, '\1');
  for (const std::string& in : {std::string("PROXY TCP4 1.2.3.4 5.6.7.8 4000 443\r\n"), std::string("PROXY UNKNOWN\r\n"),
                                Two(0x21, 0x11, v4), Two(0x20, 0, "")}) {
    ProxyHeader h;
    for (size_t n = 0; n < in.size(); ++n) EXPECT_EQ(ParseProxyHeader(in.substr(0, n), &h), R::kMore) << in << n;
    EXPECT_EQ(ParseProxyHeader(in, &h), R::kDone);
  }
  for (const char* in : {"G", "PUT / HTTP/1.1", "POST", "PROXI", "proxy ", "\x16\x03", "\r\n\r\n\r\n"}) {
    ProxyHeader h;
    EXPECT_EQ(ParseProxyHeader(in, &h), R::kNone) << in;
  }
}

TEST(ProxyHeaderTest, WhatIsWrittenIsRead) {
  struct Case {
    const char *from, *to;
  } cases[] = {{"1.2.3.4:5", "6.7.8.9:10"}, {"[fe80::1]:5", "[::1]:65535"}};
  for (const Case& c : cases) {
    for (int version : {1, 2}) {
      std::string wire = MakeProxyHeader(version, *Address::Parse(c.from), *Address::Parse(c.to));
      ProxyHeader h;
      ASSERT_EQ(ParseProxyHeader(wire, &h), R::kDone);
      EXPECT_EQ(h.version, version);
      EXPECT_EQ(h.size, wire.size());
      EXPECT_EQ(h.source.ToString(), c.from);
      EXPECT_EQ(h.destination.ToString(), c.to);
    }
  }
  // Not of one family: not told.
  EXPECT_EQ(MakeProxyHeader(1, *Address::Parse("1.2.3.4:5"), *Address::Parse("[::1]:5")), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(MakeProxyHeader(2, Address(), Address()), Two(0x20, 0, ""));
  EXPECT_EQ(MakeProxyHeader(1, *Address::FromPath("/a"), *Address::FromPath("/b")), "PROXY UNKNOWN\r\n");
}

struct Secured final : Handshake::Handler {
  void OnSecured(std::unique_ptr<Transport> t) override { transport = std::move(t); }
  void OnHandshakeFailed(std::string_view d) override { failure = d; }
  std::unique_ptr<Transport> transport;
  std::string failure;
};

TEST(ProxyProtocolSecurityTest, WritesTheHeaderFirst) {
  event::Loop loop;
  buffer::Slab slab;
  Address from = *Address::Parse("1.2.3.4:5"), to = *Address::Parse("6.7.8.9:10");
  HandshakeOptions options;
  ProxiedFor proxied{from, to};
  options.proxied_for = &proxied;
  const std::string want = MakeProxyHeader(1, from, to);
  for (size_t room : {SIZE_MAX, size_t{7}}) {  // at once, and in pieces
    fakes::FakePeer peer;
    peer.room = room;
    Secured secured;
    auto handshake = ProxyProtocolSecurity(1, nullptr)
                         .Begin(loop, slab, std::make_unique<fakes::FakeTransport>(peer), options, &secured);
    EXPECT_EQ(secured.transport, nullptr);  // never from inside Begin
    loop.RunOnce();
    while (secured.transport == nullptr && peer.want_write) peer.MakeRoom(7);
    ASSERT_NE(secured.transport, nullptr);
    EXPECT_EQ(peer.out, want);
    EXPECT_TRUE(peer.reading);
  }
  fakes::FakePeer peer;
  peer.write_error = EPIPE;
  Secured secured;
  auto handshake = ProxyProtocolSecurity(2, nullptr)
                       .Begin(loop, slab, std::make_unique<fakes::FakeTransport>(peer), options, &secured);
  loop.RunOnce();
  EXPECT_EQ(secured.failure, "the PROXY header could not be written");
  EXPECT_TRUE(peer.closed);
}

}  // namespace
}  // namespace weft::net
