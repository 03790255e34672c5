#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::tls {

// What a server must know of an OCSP response (RFC 6960) before it staples it. The signature is the
// client's to check.
struct OcspResponse {
  enum class Status : uint8_t { kGood, kRevoked, kUnknown };
  Status status = Status::kUnknown;
  std::string serial;  // of the certificate that it speaks of: DER integer bytes in hexadecimal
  int64_t this_update = 0;  // Unix seconds
  int64_t next_update = 0;  // 0: not said
};

// Nothing, and a message, when the bytes are not a successful response about one certificate.
std::optional<OcspResponse> ParseOcspResponse(std::string_view der, std::string* why);

}  // namespace weft::tls
