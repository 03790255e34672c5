#include "dataplane/decide/upgrade.h"

#include <algorithm>

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

// Takes the next non-empty element off a comma-separated list; empty at the end.
std::string_view NextElement(std::string_view* list) {
  while (!list->empty()) {
    const size_t comma = std::min(list->find(','), list->size());
    std::string_view t = list->substr(0, comma);
    list->remove_prefix(std::min(comma + 1, list->size()));
    while (!t.empty() && (t.front() == ' ' || t.front() == '\t')) t.remove_prefix(1);
    while (!t.empty() && (t.back() == ' ' || t.back() == '\t')) t.remove_suffix(1);
    if (!t.empty()) return t;
  }
  return {};
}

// A protocol is a name, perhaps with a version (RFC 9110 section 7.8).
bool IsProtocol(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && std::string_view("\"(),:;<=>?@[\\]{}").find(static_cast<char>(c)) ==
                                       std::string_view::npos;
  });
}

}  // namespace

UpgradeRules::Rule UpgradeRules::Find(std::string_view type) const {
  for (const Entry& e : rules_) {
    if (EqualsIgnoreCase(e.type, type)) return e.enabled ? Rule::kOn : Rule::kOff;
  }
  return Rule::kUnset;
}

void UpgradeRules::Add(const std::string& type, bool enabled, const std::string& path,
                       Errors* errors) {
  const std::string at = path + ".upgrade_type";
  if (type.empty()) {
    errors->Add(at, "is missing");
  } else if (!IsProtocol(type)) {
    errors->Add(at, StrCat("\"", type, "\" is not the name of a protocol"));
  } else if (EqualsIgnoreCase(type, "h2c")) {
    errors->Add(at, "\"h2c\": HTTP/2 without TLS is spoken by prior knowledge only (RFC 9113 section 3.1)");
  } else if (Find(type) != Rule::kUnset) {
    errors->Add(at, StrCat("\"", type, "\" is in the list already"));
  }
  rules_.push_back({AsciiLower(type), enabled});
}

bool UpgradeAllowed(const UpgradeRules& manager, const UpgradeRules* route, std::string_view type) {
  if (route != nullptr) {
    const UpgradeRules::Rule rule = route->Find(type);
    if (rule != UpgradeRules::Rule::kUnset) return rule == UpgradeRules::Rule::kOn;
  }
  return manager.Find(type) == UpgradeRules::Rule::kOn;
}

std::string_view ChooseUpgrade(const UpgradeRules& manager, const UpgradeRules* route,
                               std::string_view offer) {
  for (std::string_view t = NextElement(&offer); !t.empty(); t = NextElement(&offer)) {
    // "connect" is the name of the other kind of tunnel, not of a protocol.
    if (EqualsIgnoreCase(t, "h2c") || EqualsIgnoreCase(t, "connect") || !IsProtocol(t)) continue;
    if (UpgradeAllowed(manager, route, t)) return t;
  }
  return {};
}

bool OffersOnlyH2c(std::string_view offer) {
  bool any = false;
  for (std::string_view t = NextElement(&offer); !t.empty(); t = NextElement(&offer)) {
    if (!EqualsIgnoreCase(t, "h2c")) return false;
    any = true;
  }
  return any;
}

}  // namespace weft::decide
