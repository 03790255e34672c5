#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "controlplane/xds/resource.h"

namespace weft::ctl::xds {

// FNV-1a with a finalizer. Summed over a set it gives a version that does not depend on order and
// is equal on every controller.
inline uint64_t HashOf(const Resource& resource) {
  uint64_t h = 0xcbf29ce484222325u;
  auto add = [&h](std::string_view text) {
    for (unsigned char c : text) h = (h ^ c) * 0x100000001b3u;
    h = (h ^ 0xff) * 0x100000001b3u;
  };
  add(resource.name);
  add(resource.version);
  h ^= h >> 31;
  h *= 0x7fb5d329728ea185u;
  h ^= h >> 27;
  return h;
}

inline std::string VersionText(uint64_t hash) {
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace weft::ctl::xds
