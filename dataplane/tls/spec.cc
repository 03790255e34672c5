#include "dataplane/tls/spec.h"

namespace weft::tls {

std::optional<Sha256> ParseHexSha256(std::string_view text) {
  Sha256 out{};
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == ':') {
      if (digits == 0 || digits % 2 != 0 || i + 1 == text.size() || text[i - 1] == ':')
        return std::nullopt;
      continue;
    }
    int v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
    if (v < 0 || digits >= 64) return std::nullopt;
    out[digits / 2] = static_cast<uint8_t>(out[digits / 2] << 4 | v);
    ++digits;
  }
  if (digits != 64) return std::nullopt;
  return out;
}

std::optional<Sha256> ParseBase64Sha256(std::string_view text) {
  Sha256 out{};
  if (text.size() != 44 || text.back() != '=') return std::nullopt;
  uint32_t bits = 0, have = 0;
  size_t n = 0;
  for (char c : text.substr(0, 43)) {
    int v = c >= 'A' && c <= 'Z'   ? c - 'A'
            : c >= 'a' && c <= 'z' ? c - 'a' + 26
            : c >= '0' && c <= '9' ? c - '0' + 52
            : c == '+'             ? 62
            : c == '/'             ? 63
                                   : -1;
    if (v < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out[n++] = static_cast<uint8_t>(bits >> have);
    }
  }
  if (n != out.size() || (bits & 3) != 0) return std::nullopt;  // the padding's bits are 0
  return out;
}

}  // namespace weft::tls
