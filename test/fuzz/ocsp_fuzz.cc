// An OCSP response that the configuration names: any bytes are an answer or a message, never more.
#include <cstddef>
#include <cstdint>
#include <string>

#include "dataplane/tls/ocsp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string why;
  auto response = weft::tls::ParseOcspResponse({reinterpret_cast<const char*>(data), size}, &why);
  if (!response && why.empty()) __builtin_trap();
  return 0;
}
