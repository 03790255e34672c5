#pragma once

#include <cstddef>
#include <string_view>

#include "dataplane/proxy/random.h"

namespace weft::proxy {

// The handshake of RFC 6455 section 4, for the places where HTTP/2 meets HTTP/1: HTTP/1 proves with
// Sec-WebSocket-Key and Sec-WebSocket-Accept that the server understood, HTTP/2 needs no proof
// (RFC 8441 section 5).
inline constexpr std::string_view kWebSocketKey = "sec-websocket-key";
inline constexpr std::string_view kWebSocketAccept = "sec-websocket-accept";
inline constexpr size_t kWebSocketKeySize = 24;
inline constexpr size_t kWebSocketAcceptSize = 28;

// Writes a new key: 16 random bytes in base64.
void MakeWebSocketKey(Random& random, char* out);
// Writes the only right answer to `key`.
void AnswerWebSocketKey(std::string_view key, char* out);

}  // namespace weft::proxy
