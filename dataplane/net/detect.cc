#include "dataplane/net/detect.h"

#include <algorithm>

namespace weft::net {
namespace {

// tchar of RFC 9110 section 5.6.2.
bool IsToken(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Longer than any method that is registered, and than any that somebody would make up.
constexpr size_t kMaxMethod = 64;

}  // namespace

HttpGuess GuessHttp(std::string_view in) {
  const size_t same = std::min(in.size(), kHttp2Preface.size());
  if (in.substr(0, same) == kHttp2Preface.substr(0, same)) {
    return same == kHttp2Preface.size() ? HttpGuess::kHttp2 : HttpGuess::kMore;
  }
  // RFC 9112 section 2.2: an empty line before a request line is skipped.
  if (in.substr(0, 2) == "\r\n") {
    in.remove_prefix(2);
  } else if (in == "\r") {
    return HttpGuess::kMore;
  }
  size_t at = 0;
  while (at < in.size() && IsToken(in[at])) ++at;
  if (at > kMaxMethod) return HttpGuess::kNotHttp;
  if (at == in.size()) return HttpGuess::kMore;
  if (at == 0 || in[at] != ' ') return HttpGuess::kNotHttp;
  const size_t target = ++at;
  while (at < in.size() && static_cast<uint8_t>(in[at]) > ' ' && in[at] != 0x7f) ++at;
  if (at >= kMaxGuessedLine) return HttpGuess::kHttp11;
  if (at == in.size()) return HttpGuess::kMore;
  if (at == target || in[at] != ' ') return HttpGuess::kNotHttp;
  constexpr std::string_view kVersion = "HTTP/1.";
  std::string_view rest = in.substr(at + 1);
  const size_t n = std::min(rest.size(), kVersion.size());
  if (rest.substr(0, n) != kVersion.substr(0, n)) return HttpGuess::kNotHttp;
  rest.remove_prefix(n);
  if (rest.empty()) return HttpGuess::kMore;
  if (rest[0] != '0' && rest[0] != '1') return HttpGuess::kNotHttp;
  if (rest.size() == 1) return HttpGuess::kMore;
  if (rest[1] != '\r' && rest[1] != '\n') return HttpGuess::kNotHttp;
  return rest[0] == '0' ? HttpGuess::kHttp10 : HttpGuess::kHttp11;
}

}  // namespace weft::net
