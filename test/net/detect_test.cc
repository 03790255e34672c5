#include "dataplane/net/detect.h"

#include <gtest/gtest.h>

#include <string>

namespace weft::net {
namespace {

TEST(GuessHttpTest, Table) {
  struct Case {
    std::string in;
    HttpGuess want;
  } cases[] = {
      {"", HttpGuess::kMore},
      {"G", HttpGuess::kMore},
      {"GET", HttpGuess::kMore},
      {"GET ", HttpGuess::kMore},
      {"GET /", HttpGuess::kMore},
      {"GET / ", HttpGuess::kMore},
      {"GET / HTT", HttpGuess::kMore},
      {"GET / HTTP/1.", HttpGuess::kMore},
      {"GET / HTTP/1.1", HttpGuess::kMore},
      {"GET / HTTP/1.1\r", HttpGuess::kHttp11},
      {"GET / HTTP/1.1\r\nHost: a\r\n", HttpGuess::kHttp11},
      {"GET / HTTP/1.0\r\n", HttpGuess::kHttp10},
      {"GET / HTTP/1.1\n", HttpGuess::kHttp11},
      {"\r\nGET / HTTP/1.1\r\n", HttpGuess::kHttp11},
      {"\r", HttpGuess::kMore},
      {"M-SEARCH * HTTP/1.1\r\n", HttpGuess::kHttp11},
      {"CONNECT a:443 HTTP/1.1\r\n", HttpGuess::kHttp11},
      {"GET / HTTP/1.2\r\n", HttpGuess::kNotHttp},
      {"GET / HTTP/1.15", HttpGuess::kNotHttp},
      {"GET / HTTP/2.0\r\n", HttpGuess::kNotHttp},
      {"GET / FTP", HttpGuess::kNotHttp},
      {"GET  / HTTP/1.1\r\n", HttpGuess::kNotHttp},
      {"GET /\r\n", HttpGuess::kNotHttp},  // HTTP/0.9
      {" GET", HttpGuess::kNotHttp},
      {"\nGET", HttpGuess::kNotHttp},
      {"\x16\x03\x01", HttpGuess::kNotHttp},
      {"SSH-2.0-OpenSSH_9\r\n", HttpGuess::kNotHttp},
      {"EHLO a\r\n", HttpGuess::kNotHttp},
      {"*1\r\n$4\r\nPING\r\n", HttpGuess::kNotHttp},
      {std::string("\0\0\0\x05", 4), HttpGuess::kNotHttp},
      {"P", HttpGuess::kMore},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", HttpGuess::kMore},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpGuess::kHttp2},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", HttpGuess::kHttp2},
      {"PRI * HTTP/1.1\r\n", HttpGuess::kHttp11},
      {"PRI * HTTP/2.0\r\n\r\nXX", HttpGuess::kNotHttp},
      {"POST / HTTP/1.1\r\n", HttpGuess::kHttp11},
      {std::string(64, 'A'), HttpGuess::kMore},
      {std::string(65, 'A'), HttpGuess::kNotHttp},
      {"GET /" + std::string(9000, 'a'), HttpGuess::kHttp11},
      {"GET /a\x01", HttpGuess::kNotHttp},
  };
  for (const Case& c : cases) EXPECT_EQ(GuessHttp(c.in), c.want) << testing::PrintToString(c.in);
}

// What is told of a beginning does not change with what follows.
TEST(GuessHttpTest, OnceToldAlwaysTold) {
  for (const std::string& whole : {std::string("GET /index HTTP/1.1\r\nHost: a\r\n\r\n"), std::string(kHttp2Preface) + "xyz",
                                   std::string("HELO there\r\n"), std::string("\r\nPUT /x HTTP/1.0\r\n\r\n")}) {
    HttpGuess told = HttpGuess::kMore;
    for (size_t n = 0; n <= whole.size(); ++n) {
      HttpGuess g = GuessHttp(std::string_view(whole).substr(0, n));
      if (told != HttpGuess::kMore) {
        EXPECT_EQ(g, told) << whole << " " << n;
      }
      told = g;
    }
    EXPECT_NE(told, HttpGuess::kMore) << whole;
  }
}

}  // namespace
}  // namespace weft::net
