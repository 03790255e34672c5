#include "dataplane/proxy/websocket.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace weft::proxy {
namespace {

// RFC 6455 section 1.3.
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void Base64(const uint8_t* in, size_t size, char* out) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    const size_t have = size - i < 3 ? size - i : 3;
    uint32_t bits = uint32_t{in[i]} << 16;
    if (have > 1) bits |= uint32_t{in[i + 1]} << 8;
    if (have > 2) bits |= in[i + 2];
    for (size_t j = 0; j < 4; ++j) *out++ = j <= have ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
}

// SHA-1 (RFC 3174), which RFC 6455 prescribes: a check for accidents, no secret hangs on it.
std::array<uint8_t, 20> Sha1(std::string_view text) {
  std::string m(text);
  m.push_back('\x80');
  while (m.size() % 64 != 56) m.push_back('\0');
  const uint64_t bit_count = text.size() * 8;
  for (int shift = 56; shift >= 0; shift -= 8) m.push_back(static_cast<char>(bit_count >> shift));
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t at = 0; at < m.size(); at += 64) {
    uint32_t w[80];
    for (size_t t = 0; t < 16; ++t) {
      w[t] = 0;
      for (size_t b = 0; b < 4; ++b) w[t] = w[t] << 8 | static_cast<uint8_t>(m[at + 4 * t + b]);
    }
    for (size_t t = 16; t < 80; ++t)
      w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t t = 0; t < 80; ++t) {
      uint32_t f, k;
      if (t < 20) {
        f = (b & c) | (~b & d);
        k = 0x5a827999;
      } else if (t < 40) {
        f = b ^ c ^ d;
        k = 0x6ed9eba1;
      } else if (t < 60) {
        f = (b & c) | (b & d) | (c & d);
        k = 0x8f1bbcdc;
      } else {
        f = b ^ c ^ d;
        k = 0xca62c1d6;
      }
      const uint32_t next = std::rotl(a, 5) + f + e + w[t] + k;
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
  }
  std::array<uint8_t, 20> out;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<uint8_t>(h[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

}  // namespace

void MakeWebSocketKey(Random& random, char* out) {
  const uint64_t words[2] = {random.Next(), random.Next()};
  uint8_t bytes[16];
  memcpy(bytes, words, sizeof(bytes));
  Base64(bytes, sizeof(bytes), out);
}

void AnswerWebSocketKey(std::string_view key, char* out) {
  std::string text(key);
  text.append(kGuid);
  const std::array<uint8_t, 20> digest = Sha1(text);
  Base64(digest.data(), digest.size(), out);
}

}  // namespace weft::proxy
