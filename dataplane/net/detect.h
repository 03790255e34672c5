#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::net {

// What the first bytes of a connection look like, for choosing a filter chain; whether they are valid
// is the codec's business.
enum class HttpGuess : uint8_t { kMore, kNotHttp, kHttp10, kHttp11, kHttp2 };

// `in`: everything that was read so far. Bytes that can't begin an HTTP message are told at the first
// of them, so that other protocols don't wait.
HttpGuess GuessHttp(std::string_view in);

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// A request line that is longer is taken for HTTP/1.1 without its end.
inline constexpr size_t kMaxGuessedLine = 8 * 1024;

}  // namespace weft::net
