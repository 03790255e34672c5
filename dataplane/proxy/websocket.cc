#include "dataplane/proxy/websocket.h"

#include <absl/strings/escaping.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "dataplane/tls/digest.h"

namespace weft::proxy {
namespace {

// RFC 6455 section 1.3.
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void Base64(const void* in, size_t size, char* out) {
  const std::string text =
      absl::Base64Escape(absl::string_view(static_cast<const char*>(in), size));
  memcpy(out, text.data(), text.size());
}

}  // namespace

void MakeWebSocketKey(Random& random, char* out) {
  const uint64_t bytes[2] = {random.Next(), random.Next()};
  Base64(bytes, sizeof(bytes), out);
}

void AnswerWebSocketKey(std::string_view key, char* out) {
  const auto digest = tls::Sha1({key, kGuid});
  Base64(digest.data(), digest.size(), out);
}

}  // namespace weft::proxy
