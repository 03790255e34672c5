#pragma once

#include <cstdint>

namespace weft::proxy {

// Fast random numbers for load balancing, sampling and request ids; not for secrets. xoshiro256**
// by Blackman and Vigna. Owner: Worker. Thread: the worker's.
class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& w : s_) {  // splitmix64 spreads the seed
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      w = z ^ (z >> 31);
    }
  }
  uint64_t Next() {
    uint64_t result = Rotl(s_[1] * 5, 7) * 9;
    uint64_t t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = Rotl(s_[3], 45);
    return result;
  }
  // Writes a version 4 UUID (RFC 9562), 36 characters.
  void Uuid(char* out);

 private:
  static uint64_t Rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t s_[4];
};

}  // namespace weft::proxy
