#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::ctl {

// A hash that is the same in every process and on every machine: versions of resources are made of it. Not for keys
// that an attacker chooses.
uint64_t StableHash(std::string_view bytes, uint64_t seed = 0);

// 16 hexadecimal digits.
std::string HexHash(uint64_t hash);

}  // namespace weft::ctl
