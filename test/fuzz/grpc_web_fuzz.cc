// gRPC's texts in heads and gRPC-Web's base64: in pieces as in one, back and forth.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataplane/filters/grpc_web/grpc_web.h"
#include "dataplane/proxy/grpc.h"

#define CHECK(x) \
  if (!(x)) abort()

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft;
  std::string_view input(reinterpret_cast<const char*>(data), size);

  std::string whole, pieces;
  filters::Base64Decoder a, b;
  bool fine = a.Decode(input, &whole), also = true;
  for (size_t i = 0; i < input.size() && also; ++i) also = b.Decode(input.substr(i, 1), &pieces);
  CHECK(fine == also);
  if (fine) CHECK(whole == pieces && a.complete() == b.complete());
  CHECK(whole.size() <= input.size());

  std::string text, back;
  filters::AppendBase64(input, &text);
  filters::Base64Decoder c;
  CHECK(c.Decode(text, &back) && c.complete() && back == input);

  if (auto timeout = proxy::ParseGrpcTimeout(input)) {
    CHECK(*timeout >= 0);
    char out[10];
    std::string_view again(out, proxy::FormatGrpcTimeout(*timeout, out));
    CHECK(proxy::ParseGrpcTimeout(again).has_value());
  }
  Arena arena;
  for (unsigned char ch : proxy::PercentEncodeMessage(input, arena)) CHECK(ch >= 0x20 && ch <= 0x7e);
  proxy::IsGrpc(input);
  return 0;
}
