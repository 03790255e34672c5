#include "dataplane/proxy/random.h"

namespace weft::proxy {

void Random::Uuid(char* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  uint64_t hi = Next(), lo = Next();
  hi = (hi & ~uint64_t{0xf000}) | 0x4000;
  lo = (lo & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  auto put = [&](uint64_t v, int shift, int digits) {
    for (int i = 0; i < digits; ++i) *out++ = kHex[(v >> (shift - 4 * i)) & 15];
  };
  put(hi, 60, 8);
  *out++ = '-';
  put(hi, 28, 4);
  *out++ = '-';
  put(hi, 12, 4);
  *out++ = '-';
  put(lo, 60, 4);
  *out++ = '-';
  put(lo, 44, 12);
}

}  // namespace weft::proxy
