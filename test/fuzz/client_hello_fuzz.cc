// First bytes of connections: ClientHello, HTTP. Whatever they are, and however the kernel cuts them,
// the answer is the same and comes within the bound.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataplane/net/client_hello.h"
#include "dataplane/net/detect.h"

using weft::net::ClientHelloParser;
using weft::net::GuessHttp;
using weft::net::HttpGuess;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // The first byte says how the rest is cut.
  const size_t step = 1 + data[0] % 64;
  std::string_view in(reinterpret_cast<const char*>(data) + 1, size - 1);

  ClientHelloParser whole, pieces;
  auto told = whole.Feed(in);
  auto result = ClientHelloParser::Result::kMore;
  for (size_t n = std::min(step, in.size());; n = std::min(n + step, in.size())) {
    result = pieces.Feed(in.substr(0, n));
    if (result != ClientHelloParser::Result::kMore || n == in.size()) break;
  }
  // Pieces may tell earlier that it is too much; else they tell the same.
  if (told != result) abort();
  if (told == ClientHelloParser::Result::kDone) {
    const auto &a = whole.hello(), &b = pieces.hello();
    if (a.server_name != b.server_name || a.protocols != b.protocols ||
        a.highest_version != b.highest_version || a.server_name.size() > 255) {
      abort();
    }
    for (char c : a.server_name) {
      if (c <= ' ' || c >= 0x7f || (c >= 'A' && c <= 'Z')) abort();
    }
  }
  if (in.size() >= ClientHelloParser::kMaxBytes && told == ClientHelloParser::Result::kMore) abort();

  HttpGuess guess = GuessHttp(in);
  for (size_t n = 0; n < in.size() && n < 512; ++n) {
    HttpGuess early = GuessHttp(in.substr(0, n));
    if (early != HttpGuess::kMore && early != guess) abort();
  }
  return 0;
}
