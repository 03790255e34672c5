#include "controlplane/model/hash.h"

#include <cstdio>

namespace weft::ctl {
namespace {

// Both halves of the 128-bit product: every bit of the result depends on every bit of both factors.
uint64_t Mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Little-endian on every machine.
uint64_t Load(const char* p, size_t n) {
  uint64_t value = 0;
  for (size_t i = 0; i < n; ++i) value |= uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
  return value;
}

// Odd, with about half of the bits set: fractions of the square roots of 2, 3 and 5.
constexpr uint64_t kA = 0x6a09e667f3bcc909, kB = 0xbb67ae8584caa73b, kC = 0x3c6ef372fe94f82b;

}  // namespace

uint64_t StableHash(std::string_view bytes, uint64_t seed) {
  uint64_t hash = Mix(seed ^ kA, bytes.size() ^ kB);
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 16; p += 16, left -= 16) hash = Mix(Load(p, 8) ^ kB ^ hash, Load(p + 8, 8) ^ kC);
  const uint64_t low = Load(p, left < 8 ? left : 8);
  const uint64_t high = left > 8 ? Load(p + 8, left - 8) : 0;
  return Mix(Mix(low ^ kC ^ hash, high ^ kA), hash ^ kB);
}

std::string HexHash(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace weft::ctl
