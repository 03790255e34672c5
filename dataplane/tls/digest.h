#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace weft::tls {

// SHA-1 of the pieces, one after the other. Only where a protocol prescribes it and no secret hangs on
// it, as RFC 6455 section 4.2.2 does. Thread: any.
std::array<uint8_t, 20> Sha1(std::initializer_list<std::string_view> pieces);

}  // namespace weft::tls
