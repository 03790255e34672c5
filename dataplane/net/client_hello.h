#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::net {

// What a TLS ClientHello (RFC 8446 section 4.1.2) says in the clear.
struct ClientHello {
  std::string server_name;                // lower case; empty: none
  std::vector<std::string> protocols;     // ALPN, in the client's order
  uint16_t highest_version = 0;           // 0x0304: TLS 1.3
};

// Reads a ClientHello without answering it, from the start of a byte stream that comes in pieces. The
// message may be spread over several records. Work and memory are bounded by `max_bytes`, and each
// byte is looked at once however it was cut. Owner: whoever reads. Thread: its own.
class ClientHelloParser {
 public:
  static constexpr size_t kMaxBytes = 64 * 1024;
  enum class Result : uint8_t {
    kMore,      // so far it may be one
    kDone,      // hello() holds it
    kNotTls,    // the bytes are no TLS handshake
    kMalformed, // they begin like one and are none
    kTooLarge,
  };
  explicit ClientHelloParser(size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}

  // `in`: everything that was read so far, from the first byte on.
  Result Feed(std::string_view in);
  const ClientHello& hello() const { return hello_; }

 private:
  Result ParseMessage(std::string_view body);

  const size_t max_bytes_;
  size_t record_ = 0;      // where the next record begins
  std::string assembled_;  // of a message that is spread over records
  ClientHello hello_;
};

}  // namespace weft::net
