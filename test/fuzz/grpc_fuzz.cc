// gRPC framing and status texts. The first byte says where the input is cut: reading in pieces and at once must agree,
// and no more memory may be taken than has arrived.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/config/grpc_framing.h"

using namespace weft;
using namespace weft::config;

#define CHECK(x) \
  if (!(x)) abort()

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  size_t step = data[0] % 64 + 1;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  buffer::Slab slab;
  constexpr size_t kLimit = 4096;

  GrpcDecoder whole(kLimit), pieces(kLimit);
  std::vector<std::string> a, b;
  GrpcStatus sa, sb;
  {
    buffer::SliceBuffer in;
    in.AppendCopy(slab, input);
    sa = whole.Decode(in, &a);
    CHECK(in.empty());
  }
  for (size_t at = 0; at < input.size(); at += step) {
    buffer::SliceBuffer in;
    in.AppendCopy(slab, input.substr(at, step));
    sb = pieces.Decode(in, &b);
    CHECK(pieces.buffered() <= at + step);
  }
  CHECK(a == b);
  CHECK(sa.ToString() == sb.ToString());
  CHECK(whole.at_boundary() == pieces.at_boundary());
  size_t bytes = 0;
  for (const std::string& m : a) {
    CHECK(m.size() <= kLimit);
    bytes += m.size() + GrpcDecoder::kHeaderBytes;
  }
  CHECK(bytes <= input.size());

  std::string_view code = input.substr(0, input.size() / 2), message = input.substr(input.size() / 2);
  GrpcStatus s = ParseGrpcStatus(code, message);
  CHECK(static_cast<int>(s.code) >= 0 && static_cast<int>(s.code) <= 16);
  CHECK(PercentDecode(message).size() <= message.size());
  return 0;
}
