#include "dataplane/net/client_hello.h"

#include <gtest/gtest.h>

namespace weft::net {
namespace {

using Result = ClientHelloParser::Result;

std::string Number(size_t n, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(n >> (8 * i)));
  return out;
}
std::string Vec(const std::string& s, int bytes) { return Number(s.size(), bytes) + s; }
std::string Extension(size_t type, const std::string& data) { return Number(type, 2) + Vec(data, 2); }
std::string Name(const std::string& name) { return Extension(0, Vec(Number(0, 1) + Vec(name, 2), 2)); }
std::string Alpn(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& n : names) list += Vec(n, 1);
  return Extension(16, Vec(list, 2));
}
std::string Body(const std::string& extensions) {
  return "\x03\x03" + std::string(32, 'r') + Vec("session", 1) + Vec("\x13\x01\x13\x02", 2) +
         Vec(std::string(1, '\0'), 1) + extensions;
}
std::string Hello(const std::string& extensions) { return "\x01" + Vec(Body(Vec(extensions, 2)), 3); }
std::string Record(const std::string& fragment) { return "\x16\x03\x01" + Vec(fragment, 2); }
// The message in records of `size` bytes.
std::string Records(const std::string& message, size_t size) {
  std::string out;
  for (size_t i = 0; i < message.size(); i += size) out += Record(message.substr(i, size));
  return out;
}

Result Feed(const std::string& in, ClientHello* hello = nullptr, size_t max = ClientHelloParser::kMaxBytes) {
  ClientHelloParser p(max);
  Result r = p.Feed(in);
  if (hello != nullptr) *hello = p.hello();
  return r;
}

TEST(ClientHelloTest, NameProtocolsVersion) {
  ClientHello h;
  std::string versions = Extension(43, Vec("\x0a\x0a\x03\x04\x03\x03", 1));
  ASSERT_EQ(Feed(Record(Hello(Name("WWW.Example.com") + Alpn({"h2", "http/1.1"}) + versions)), &h), Result::kDone);
  EXPECT_EQ(h.server_name, "www.example.com");
  EXPECT_EQ(h.protocols, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(h.highest_version, 0x0304);
}

TEST(ClientHelloTest, NothingIsRequired) {
  ClientHello h;
  ASSERT_EQ(Feed(Record("\x01" + Vec(Body(""), 3)), &h), Result::kDone);  // no extensions at all
  EXPECT_EQ(h.server_name, "");
  EXPECT_EQ(h.highest_version, 0x0303);
  EXPECT_EQ(Feed(Record(Hello(Extension(65, "whatever"))), &h), Result::kDone);
  EXPECT_EQ(Feed(Record(Hello("")), &h), Result::kDone);
}

TEST(ClientHelloTest, EveryCutOfReadsAndRecords) {
  const std::string hello = Hello(Name("a.b") + Alpn({"h2"}) + Extension(21, std::string(300, '\0')));
  for (size_t size : {1, 2, 3, 4, 5, 7, 100, 1000}) {
    const std::string wire = Records(hello, size) + "more";
    const size_t end = wire.size() - 4;
    ClientHelloParser p;
    for (size_t n = 0; n < end; ++n) ASSERT_EQ(p.Feed(wire.substr(0, n)), Result::kMore) << size << " " << n;
    ASSERT_EQ(p.Feed(wire), Result::kDone) << size;
    EXPECT_EQ(p.hello().server_name, "a.b");
    EXPECT_EQ(p.hello().protocols, std::vector<std::string>{"h2"});
    EXPECT_EQ(Feed(wire), Result::kDone);
  }
}

TEST(ClientHelloTest, OtherProtocolsAreToldAtOnce) {
  for (const char* s : {"G", "GET / HTTP/1.1\r\n", "PRI *", "SSH-2.0", "\x80\x2e\x01", "\x15\x03", "\x16\x02", "\x16\x04"}) {
    EXPECT_EQ(Feed(s), Result::kNotTls) << s;
  }
  EXPECT_EQ(Feed(std::string("\x16\x03\x01\x00\x00", 5)), Result::kNotTls);       // an empty record
  EXPECT_EQ(Feed("\x16\x03\x01\x40\x01"), Result::kNotTls);                       // one that is too long
  EXPECT_EQ(Feed(std::string("\x16\x03\x01\x00\x10\x02", 6)), Result::kNotTls);   // a ServerHello
  EXPECT_EQ(Feed(""), Result::kMore);
}

TEST(ClientHelloTest, Malformed) {
  const std::string good = Name("a");
  const std::string cases[] = {
      Name("a") + Name("a"),                                          // twice
      Alpn({"h2"}) + Alpn({"h2"}),
      Extension(0, Vec(Number(0, 1) + Vec("a", 2) + Number(0, 1) + Vec("b", 2), 2)),  // two names
      Extension(0, ""),
      Extension(0, Vec("", 2)),
      Extension(0, Vec(Number(0, 1) + Vec("", 2), 2)),                 // an empty name
      Extension(0, Vec(Number(0, 1) + Vec("a", 2), 2) + "x"),          // more behind it
      Name(std::string("a\0b", 3)), Name("a b"), Name("\xc3\xa9"), Name(std::string(256, 'a')),
      Extension(16, Vec("", 2)), Extension(16, Vec(Vec("", 1) + "x", 2)), Extension(16, Vec("\x05h2", 2)),
      Extension(43, Vec("\x03", 1)), Extension(43, ""), Extension(43, Vec("\x03\x04\x03", 1)),
      "\x01",
      Number(5, 2) + Number(100, 2),                                   // longer than what is there
  };
  for (const std::string& c : cases) EXPECT_EQ(Feed(Record(Hello(c))), Result::kMalformed) << testing::PrintToString(c);
  const std::string bodies[] = {
      "", "\x03\x03", Body("x"), Body(Vec("", 2) + "x"),
      "\x03\x03" + std::string(32, 'r') + Vec(std::string(33, 's'), 1) + Vec("\x13\x01", 2) + Vec("\1", 1),
      "\x03\x03" + std::string(32, 'r') + Vec("", 1) + Vec("", 2) + Vec("\1", 1),
      "\x03\x03" + std::string(32, 'r') + Vec("", 1) + Vec("\x13\x01", 2) + Vec("", 1),
  };
  for (const std::string& b : bodies) EXPECT_EQ(Feed(Record("\x01" + Vec(b, 3))), Result::kMalformed) << testing::PrintToString(b);
  // Another record type in the middle of the message.
  std::string hello = Hello(good);
  EXPECT_EQ(Feed(Record(hello.substr(0, 10)) + "\x17\x03\x03"), Result::kMalformed);
  EXPECT_EQ(Feed(Record(hello.substr(0, 10)) + std::string("\x16\x03\x03\x00\x00", 5)), Result::kMalformed);
}

TEST(ClientHelloTest, Bounds) {
  EXPECT_EQ(Feed(std::string("\x16\x03\x01\x40\x00", 5) + ("\x01" + Number(70000, 3))), Result::kTooLarge);  // by its header
  // By what was sent: records of one byte.
  std::string drip = Records("\x01" + Number(60000, 3) + std::string(60000, 'x'), 1);
  EXPECT_EQ(Feed(drip.substr(0, 64 * 1024)), Result::kTooLarge);
  std::string hello = Record(Hello(Extension(21, std::string(1000, '\0'))));
  EXPECT_EQ(Feed(hello, nullptr, 512), Result::kTooLarge);
  EXPECT_EQ(Feed(Records(Hello(Extension(21, std::string(60000, '\0')) + Name("late")), 16384)), Result::kDone);
}

}  // namespace
}  // namespace weft::net
