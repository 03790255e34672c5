#include "dataplane/net/address.h"

#include <gtest/gtest.h>

namespace weft::net {
namespace {

TEST(Address, ReadsAndWritesIpLiterals) {
  for (const char* text : {"127.0.0.1:80", "255.255.255.255:65535", "0.0.0.0:0", "[::1]:8080",
                           "[::]:1", "[2001:db8::ff00:42:8329]:443"}) {
    auto a = Address::Parse(text);
    ASSERT_TRUE(a.has_value()) << text;
    EXPECT_TRUE(a->valid());
    EXPECT_EQ(a->ToString(), text);
    auto again = Address::FromSockaddr(a->sa(), a->length());
    EXPECT_EQ(again, *a);
    EXPECT_EQ(*Address::FromIp(a->Ip(), a->port()), *a);
  }
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text :
       {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8x",
        "127.0.0.1: 80", "localhost:80", "::1:80", "[::1]", "[::1:80", "1.2.3:4", "01.2.3.4:5",
        "1.2.3.4.5:6", "127.0.0.1:4294967376"}) {
    EXPECT_FALSE(Address::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(Address::FromIp("127.0.0.1", 65536).has_value());
  EXPECT_FALSE(Address::FromIp(std::string(200, '1'), 1).has_value());
  EXPECT_FALSE(Address::FromIp(std::string_view("127.0.0.1\0x", 11), 1).has_value())
      << "a NUL inside";
}

TEST(Address, Wildcards) {
  EXPECT_TRUE(Address::Parse("0.0.0.0:1")->is_wildcard());
  EXPECT_TRUE(Address::Parse("[::]:1")->is_wildcard());
  EXPECT_FALSE(Address::Parse("127.0.0.1:1")->is_wildcard());
  EXPECT_FALSE(Address().is_wildcard());
}

TEST(Address, UnixPaths) {
  auto file = Address::FromPath("/run/weft/sock");
  ASSERT_TRUE(file.has_value());
  EXPECT_TRUE(file->is_unix());
  EXPECT_EQ(file->ToString(), "/run/weft/sock");
  EXPECT_EQ(file->port(), 0);
  auto abstract = Address::FromPath("@weft");
  ASSERT_TRUE(abstract.has_value());
  EXPECT_EQ(abstract->sa()->sa_data[0], 0);
  EXPECT_EQ(abstract->ToString(), "@weft");
  EXPECT_FALSE(Address::FromPath("").has_value());
  EXPECT_FALSE(Address::FromPath(std::string_view("/a\0b", 4)).has_value());
  EXPECT_TRUE(Address::FromPath(std::string(107, 'x')).has_value());
  EXPECT_EQ(Address::FromPath(std::string(107, 'x'))->ToString(), std::string(107, 'x'));
  EXPECT_FALSE(Address::FromPath(std::string(108, 'x')).has_value());
}

TEST(Address, EqualityKnowsPortAndFamily) {
  EXPECT_EQ(*Address::Parse("1.2.3.4:5"), *Address::Parse("1.2.3.4:5"));
  EXPECT_FALSE(*Address::Parse("1.2.3.4:5") == *Address::Parse("1.2.3.4:6"));
  EXPECT_FALSE(*Address::Parse("1.2.3.4:5") == *Address::Parse("1.2.3.5:5"));
  EXPECT_FALSE(*Address::Parse("[::1]:5") == *Address::Parse("[::1]:6"));
  EXPECT_EQ(*Address::Parse("[::1]:5"), *Address::Parse("[0:0:0:0:0:0:0:1]:5"));
  EXPECT_EQ(Address(), Address());
  EXPECT_FALSE(Address() == *Address::Parse("1.2.3.4:5"));
  auto a = *Address::Parse("1.2.3.4:5");
  a.set_port(6);
  EXPECT_EQ(a, *Address::Parse("1.2.3.4:6"));
}

TEST(Address, EmptyIsSafe) {
  Address a;
  EXPECT_FALSE(a.valid());
  EXPECT_EQ(a.ToString(), "");
  EXPECT_EQ(a.Ip(), "");
  EXPECT_EQ(a.port(), 0);
}

}  // namespace
}  // namespace weft::net
