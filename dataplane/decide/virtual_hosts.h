#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace weft::decide {

// Chooses a virtual host by name: exact, else the longest "*.suffix", else the longest "prefix.*", else "*". Case does
// not count. A wildcard stands for at least one character.
// Owner: a RouteTable. Thread: immutable once filled, any.
class VirtualHostIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  enum class AddResult : uint8_t { kOk, kDuplicate, kBadWildcard };
  AddResult Add(std::string_view domain, uint32_t virtual_host);
  // After the last Add.
  void Seal();

  // Allocates nothing.
  uint32_t Find(std::string_view host) const;

 private:
  struct CaselessHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const;
  };
  struct CaselessEqual {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
  };
  using Map = absl::flat_hash_map<std::string, uint32_t, CaselessHash, CaselessEqual>;

  Map exact_;
  Map suffixes_;  // without the star
  Map prefixes_;
  std::vector<size_t> suffix_lengths_, prefix_lengths_;  // distinct, descending
  uint32_t any_ = kNone;
};

// "host:80" -> "host"; "[::1]:80" -> "[::1]"; a host without a port as it is.
std::string_view HostWithoutPort(std::string_view authority);

}  // namespace weft::decide
