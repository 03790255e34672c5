#include "api/cpp/names.h"

#include <charconv>
#include <vector>

#include "dataplane/base/strings.h"

namespace weft::api {
namespace {

// 1 to 65535 in decimal without leading zeros: a name has one spelling.
std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || text[0] == '0' || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at; (at = text.find(separator)) != std::string_view::npos; text.remove_prefix(at + 1)) {
    parts.push_back(text.substr(0, at));
  }
  parts.push_back(text);
  return parts;
}

}  // namespace

std::string_view MessageNameOf(std::string_view type_url) {
  const size_t slash = type_url.rfind('/');
  return slash == std::string_view::npos ? type_url : type_url.substr(slash + 1);
}

std::string_view ShortTypeName(std::string_view type_url) {
  if (type_url == kListenerType) return "listener";
  if (type_url == kRouteType) return "route";
  if (type_url == kClusterType) return "cluster";
  if (type_url == kEndpointType) return "endpoint";
  return MessageNameOf(type_url);
}

std::string ClusterName::ToString() const {
  return StrCat(direction == Direction::kInbound ? "inbound" : "outbound", "|", port, "|", subset, "|", host);
}

std::string OutboundCluster(uint16_t port, std::string_view subset, std::string_view host) {
  return StrCat("outbound|", port, "|", subset, "|", host);
}

std::string InboundCluster(uint16_t port) { return StrCat("inbound|", port, "||"); }

std::optional<ClusterName> ParseClusterName(std::string_view name) {
  const std::vector<std::string_view> parts = Split(name, '|');
  if (parts.size() != 4) return std::nullopt;
  ClusterName out;
  if (parts[0] == "inbound") {
    out.direction = ClusterName::Direction::kInbound;
  } else if (parts[0] != "outbound") {
    return std::nullopt;
  }
  const std::optional<uint16_t> port = ParsePort(parts[1]);
  if (!port) return std::nullopt;
  out.port = *port;
  out.subset = parts[2];
  out.host = parts[3];
  return out;
}

std::string HostPort(std::string_view host, uint16_t port) {
  if (host.find(':') != std::string_view::npos) return StrCat("[", host, "]:", port);
  return StrCat(host, ":", port);
}

std::optional<HostAndPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::optional<uint16_t> port = ParsePort(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  const bool brackets = host.starts_with('[');
  if (brackets) {
    if (!host.ends_with(']') || host.size() < 3) return std::nullopt;
    host = host.substr(1, host.size() - 2);
  }
  if (!port || (!brackets && host.find_first_of("[]:") != std::string_view::npos)) return std::nullopt;
  return HostAndPort{std::string(host), *port};
}

std::string InboundVirtualHost(uint16_t port) { return StrCat("inbound|http|", port); }

std::string NodeId::ToString() const {
  return StrCat(type, "~", address, "~", name, ns.empty() ? "" : ".", ns, "~", domain);
}

std::optional<NodeId> ParseNodeId(std::string_view id) {
  const std::vector<std::string_view> parts = Split(id, '~');
  if (parts.size() != 4 || parts[0].empty() || parts[2].empty()) return std::nullopt;
  NodeId out;
  out.type = parts[0];
  out.address = parts[1];
  // A namespace is one DNS label, a name may have dots: the last one separates.
  const size_t dot = parts[2].rfind('.');
  out.name = parts[2].substr(0, dot);
  if (dot != std::string_view::npos) out.ns = parts[2].substr(dot + 1);
  if (out.name.empty() || (dot != std::string_view::npos && out.ns.empty())) return std::nullopt;
  out.domain = parts[3];
  return out;
}

std::string SpiffeId(std::string_view trust_domain, std::string_view ns, std::string_view service_account) {
  return StrCat("spiffe://", trust_domain, "/ns/", ns, "/sa/", service_account);
}

std::optional<SpiffeIdentity> ParseSpiffeId(std::string_view id) {
  constexpr std::string_view kScheme = "spiffe://";
  if (!id.starts_with(kScheme)) return std::nullopt;
  const std::vector<std::string_view> parts = Split(id.substr(kScheme.size()), '/');
  if (parts.size() != 5 || parts[1] != "ns" || parts[3] != "sa") return std::nullopt;
  if (parts[0].empty() || parts[2].empty() || parts[4].empty()) return std::nullopt;
  return SpiffeIdentity{std::string(parts[0]), std::string(parts[2]), std::string(parts[4])};
}

std::string ServiceHost(std::string_view name, std::string_view ns, std::string_view domain_suffix) {
  return StrCat(name, ".", ns, ".svc.", domain_suffix);
}

std::string CheckDnsLabel(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > 63) return StrCat("has ", name.size(), " characters, at most 63 are allowed");
  for (char c : name) {
    if (c >= 'A' && c <= 'Z') return "has an upper-case letter; only a-z, 0-9 and '-' are allowed";
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') {
      return "has a character other than a-z, 0-9 and '-'";
    }
  }
  if (name.front() == '-' || name.back() == '-') return "begins or ends with '-'";
  return "";
}

}  // namespace weft::api
