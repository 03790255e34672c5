// PROXY headers: no beginning of one is told to be something else, and what is read can be written.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataplane/net/proxy_protocol.h"

using weft::net::MakeProxyHeader;
using weft::net::ParseProxyHeader;
using weft::net::ProxyHeader;
using Result = weft::net::ProxyHeaderResult;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  ProxyHeader header;
  const Result result = ParseProxyHeader(in, &header);
  for (size_t n = 0; n < in.size() && n < 300; ++n) {
    ProxyHeader part;
    Result early = ParseProxyHeader(in.substr(0, n), &part);
    if (early == Result::kMore) continue;
    if (early != result || (early == Result::kDone && part.size != header.size)) abort();
  }
  if (result != Result::kDone) return 0;
  if (header.size > in.size() || header.size > weft::net::kMaxProxyHeader) abort();
  if (!header.has_addresses) return 0;
  for (int version : {1, 2}) {
    ProxyHeader again;
    const std::string wire = MakeProxyHeader(version, header.source, header.destination);
    if (ParseProxyHeader(wire, &again) != Result::kDone || !(again.source == header.source) ||
        !(again.destination == header.destination)) {
      abort();
    }
  }
  return 0;
}
