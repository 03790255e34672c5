#include "dataplane/decide/virtual_hosts.h"

#include <algorithm>

#include "dataplane/base/strings.h"

namespace weft::decide {

size_t VirtualHostIndex::CaselessHash::operator()(std::string_view s) const {
  uint64_t h = 0xcbf29ce484222325u;  // FNV-1a, then mixed: the map takes bits from both ends
  for (char c : s) h = (h ^ static_cast<unsigned char>(AsciiLower(c))) * 0x100000001b3u;
  h ^= h >> 32;
  return static_cast<size_t>(h * 0x9e3779b97f4a7c15u);
}

bool VirtualHostIndex::CaselessEqual::operator()(std::string_view a, std::string_view b) const {
  return EqualsIgnoreCase(a, b);
}

VirtualHostIndex::AddResult VirtualHostIndex::Add(std::string_view domain, uint32_t virtual_host) {
  if (domain == "*") {
    if (any_ != kNone) return AddResult::kDuplicate;
    any_ = virtual_host;
    return AddResult::kOk;
  }
  size_t star = domain.find('*');
  Map* map = &exact_;
  if (star != std::string_view::npos) {
    if (star == 0) {
      map = &suffixes_;
      domain.remove_prefix(1);
    } else if (star + 1 == domain.size()) {
      map = &prefixes_;
      domain.remove_suffix(1);
    }
    if (map == &exact_ || domain.find('*') != std::string_view::npos) return AddResult::kBadWildcard;
  }
  return map->try_emplace(AsciiLower(domain), virtual_host).second ? AddResult::kOk : AddResult::kDuplicate;
}

void VirtualHostIndex::Seal() {
  auto lengths = [](const Map& map, std::vector<size_t>* out) {
    for (const auto& [text, host] : map) out->push_back(text.size());
    std::sort(out->begin(), out->end(), std::greater<>());
    out->erase(std::unique(out->begin(), out->end()), out->end());
  };
  lengths(suffixes_, &suffix_lengths_);
  lengths(prefixes_, &prefix_lengths_);
}

uint32_t VirtualHostIndex::Find(std::string_view host) const {
  if (host.empty()) return any_;
  if (auto it = exact_.find(host); it != exact_.end()) return it->second;
  for (size_t n : suffix_lengths_) {
    if (n >= host.size()) continue;
    if (auto it = suffixes_.find(host.substr(host.size() - n)); it != suffixes_.end()) return it->second;
  }
  for (size_t n : prefix_lengths_) {
    if (n >= host.size()) continue;
    if (auto it = prefixes_.find(host.substr(0, n)); it != prefixes_.end()) return it->second;
  }
  return any_;
}

std::string_view HostWithoutPort(std::string_view authority) {
  size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == authority.size()) return authority;
  size_t bracket = authority.rfind(']');
  if (bracket != std::string_view::npos && bracket > colon) return authority;  // "[::1]"
  for (char c : authority.substr(colon + 1)) {
    if (c < '0' || c > '9') return authority;
  }
  return authority.substr(0, colon);
}

}  // namespace weft::decide
