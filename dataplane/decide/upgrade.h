#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/decide/string_match.h"

namespace weft::decide {

// Which protocols a connection manager or a route lets clients change to; "connect" stands for
// CONNECT tunnels (Envoy's upgrade_configs).
// Owner: the spec or route that it is a part of. Thread: immutable, any.
class UpgradeRules {
 public:
  enum class Rule : uint8_t { kUnset, kOff, kOn };

  // `type` in any case.
  Rule Find(std::string_view type) const;
  bool empty() const { return rules_.empty(); }
  // Adds one entry; `path` is the entry's field path for errors.
  void Add(const std::string& type, bool enabled, const std::string& path, Errors* errors);
  // A CONNECT ends here: its bytes go on as a TCP connection (Envoy's connect_config).
  void set_connect_ends() { connect_ends_ = true; }
  bool connect_ends() const { return connect_ends_; }

 private:
  struct Entry {
    std::string type;  // lower case
    bool enabled;
  };
  std::vector<Entry> rules_;
  bool connect_ends_ = false;
};

// The route's word counts before the manager's; without either it is off.
bool UpgradeAllowed(const UpgradeRules& manager, const UpgradeRules* route, std::string_view type);
// The first of the protocols that `offer` (a list, RFC 9110 section 7.8) holds and that is allowed;
// empty when none is. h2c never is (RFC 9113 section 3.1).
std::string_view ChooseUpgrade(const UpgradeRules& manager, const UpgradeRules* route,
                               std::string_view offer);
// Whether `offer` holds nothing but h2c.
bool OffersOnlyH2c(std::string_view offer);

}  // namespace weft::decide
