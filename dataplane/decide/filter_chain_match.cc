#include "dataplane/decide/filter_chain_match.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

namespace listener = envoy::config::listener::v3;
using SourceType = listener::FilterChainMatch;

constexpr const char* kLevelNames[] = {
    "destination_port",      "prefix_ranges",
    "server_names",          "transport_protocol",
    "application_protocols", "direct_source_prefix_ranges",
    "source_type",           "source_prefix_ranges",
    "source_ports"};

// Keys of a level's children. Ports: two bytes. Networks: bytes in the address, prefix length,
// address. Source types: one byte. The rest: the text; a wildcard name without its star.
std::string PortKey(uint32_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
}

struct NetworkKey {
  char text[18];
  size_t size;
  std::string_view view() const { return {text, size}; }
};

NetworkKey KeyOf(const IpBytes& ip, uint8_t length) {
  NetworkKey k;
  k.text[0] = static_cast<char>(ip.size);
  k.text[1] = static_cast<char>(length);
  k.size = 2u + ip.size;
  for (size_t i = 0; i < ip.size; ++i) {
    int bits = std::clamp(static_cast<int>(length) - static_cast<int>(i) * 8, 0, 8);
    k.text[2 + i] = static_cast<char>(ip.bytes[i] & static_cast<uint8_t>(0xff00 >> bits));
  }
  return k;
}

bool IsLocal(const ConnectionFields& c) {
  return c.source.size == 0 || c.source.loopback() || c.source == c.destination;
}

}  // namespace

IpBytes IpBytes::V4(const void* four) {
  IpBytes ip;
  ip.size = 4;
  memcpy(ip.bytes.data(), four, 4);
  return ip;
}

IpBytes IpBytes::V6(const void* sixteen) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (memcmp(sixteen, kMapped, sizeof(kMapped)) == 0) {
    return V4(static_cast<const uint8_t*>(sixteen) + 12);
  }
  IpBytes ip;
  ip.size = 16;
  memcpy(ip.bytes.data(), sixteen, 16);
  return ip;
}

std::optional<IpBytes> IpBytes::Parse(std::string_view text) {
  char copy[INET6_ADDRSTRLEN + 1] = {};
  if (text.size() >= sizeof(copy) || text.find('\0') != std::string_view::npos) return std::nullopt;
  memcpy(copy, text.data(), text.size());
  uint8_t bytes[16];
  if (inet_pton(AF_INET, copy, bytes) == 1) return V4(bytes);
  if (inet_pton(AF_INET6, copy, bytes) != 1) return std::nullopt;
  IpBytes ip;  // as written: a range of mapped addresses has its own prefix length
  ip.size = 16;
  memcpy(ip.bytes.data(), bytes, 16);
  return ip;
}

bool IpBytes::loopback() const {
  if (size == 4) return bytes[0] == 127;
  static constexpr uint8_t kOne[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return size == 16 && memcmp(bytes.data(), kOne, 16) == 0;
}

std::string IpBytes::ToString() const {
  char out[INET6_ADDRSTRLEN] = "";
  if (size == 0) return "(no IP address)";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes.data(), out, sizeof(out));
  return out;
}

namespace {

class RuleReader {
 public:
  RuleReader(const listener::FilterChainMatch& match, std::string path, Errors* errors)
      : match_(match), path_(std::move(path)), errors_(errors) {}

  void Ports(std::vector<std::string>* destination, std::vector<std::string>* source) {
    if (match_.has_destination_port()) Port(match_.destination_port().value(), "", destination);
    for (int i = 0; i < match_.source_ports_size(); ++i) {
      Port(match_.source_ports(i), StrCat("source_ports[", i, "]"), source);
    }
  }

  void Networks(const google::protobuf::RepeatedPtrField<envoy::config::core::v3::CidrRange>& ranges,
                const char* field, std::vector<std::string>* out) {
    for (int i = 0; i < ranges.size(); ++i) {
      const std::string at = StrCat(path_, ".", field, "[", i, "]");
      auto ip = IpBytes::Parse(ranges[i].address_prefix());
      if (!ip) {
        errors_->Add(at + ".address_prefix",
                     StrCat("\"", ranges[i].address_prefix(), "\": expected an IP address"));
        continue;
      }
      uint32_t length = ranges[i].prefix_len().value();
      uint32_t most = ip->size * 8u;
      if (length > most) {
        errors_->Add(at + ".prefix_len", StrCat(length, ": expected 0 to ", most));
        continue;
      }
      // A range of IPv4-mapped addresses is one of IPv4 addresses, as the connections' are.
      IpBytes mapped = ip->size == 16 ? IpBytes::V6(ip->bytes.data()) : *ip;
      if (mapped.size != ip->size && length >= 96) {
        ip = mapped;
        length -= 96;
      }
      out->emplace_back(KeyOf(*ip, static_cast<uint8_t>(length)).view());
    }
    if (ranges.empty()) {  // every address of either family
      out->emplace_back(KeyOf(IpBytes::V4("\0\0\0"), 0).view());
      IpBytes six;
      six.size = 16;
      out->emplace_back(KeyOf(six, 0).view());
    }
  }

  void ServerNames(std::vector<std::string>* out) {
    for (int i = 0; i < match_.server_names_size(); ++i) {
      std::string name = AsciiLower(match_.server_names(i));
      const bool wildcard = name.rfind("*.", 0) == 0 && name.size() > 2;
      if (wildcard) name.erase(0, 1);
      if (name.find('*') != std::string::npos) {
        errors_->Add(StrCat(path_, ".server_names[", i, "]"),
                     StrCat("\"", match_.server_names(i),
                            "\": expected a name, or *. in front of one; leave server_names out "
                            "to match every name"));
        continue;
      }
      out->push_back(std::move(name));
    }
  }

  void SourceTypes(std::vector<std::string>* out) {
    if (!SourceType::ConnectionSourceType_IsValid(match_.source_type())) {
      errors_->Add(path_ + ".source_type",
                   StrCat(static_cast<int>(match_.source_type()),
                          ": expected ANY, SAME_IP_OR_LOOPBACK or EXTERNAL"));
    } else if (match_.source_type() != SourceType::ANY) {
      out->emplace_back(1, static_cast<char>(match_.source_type()));
    }
  }

  void Refuse() {
    if (!match_.address_suffix().empty()) {
      errors_->Add(path_ + ".address_suffix", "not supported: use prefix_ranges");
    }
    if (match_.has_suffix_len()) {
      errors_->Add(path_ + ".suffix_len", "not supported: use prefix_ranges");
    }
  }

 private:
  void Port(uint32_t port, const std::string& field, std::vector<std::string>* out) {
    if (port < 1 || port > 65535) {
      errors_->Add(StrCat(path_, ".", field.empty() ? "destination_port" : field),
                   StrCat(port, ": expected 1 to 65535"));
      return;
    }
    out->push_back(PortKey(port));
  }

  const listener::FilterChainMatch& match_;
  const std::string path_;
  Errors* errors_;
};

}  // namespace

std::shared_ptr<const FilterChainMatch> FilterChainMatch::Compile(const std::vector<Chain>& chains,
                                                                  Errors* errors) {
  // Enough for thousands of names and networks; their product is what costs.
  size_t budget = 1'000'000;
  std::vector<api::SourceError> found;
  Errors own(&found);
  auto out = std::make_shared<FilterChainMatch>();
  out->nodes_.emplace_back();
  for (size_t i = 0; i < chains.size(); ++i) {
    const listener::FilterChainMatch& m = *chains[i].match;
    Rule rule;
    rule.name = chains[i].name;
    auto& v = rule.values;
    RuleReader reader(m, chains[i].path + ".filter_chain_match", &own);
    reader.Refuse();
    reader.Ports(&v[kDestinationPort], &v[kSourcePort]);
    reader.Networks(m.prefix_ranges(), "prefix_ranges", &v[kDestinationIp]);
    reader.Networks(m.direct_source_prefix_ranges(), "direct_source_prefix_ranges",
                    &v[kDirectSourceIp]);
    reader.Networks(m.source_prefix_ranges(), "source_prefix_ranges", &v[kSourceIp]);
    reader.ServerNames(&v[kServerName]);
    reader.SourceTypes(&v[kSourceType]);
    if (!m.transport_protocol().empty()) v[kTransportProtocol].push_back(m.transport_protocol());
    v[kApplicationProtocols].assign(m.application_protocols().begin(),
                                    m.application_protocols().end());
    for (auto& values : v) {
      if (values.empty()) values.emplace_back();
      std::sort(values.begin(), values.end());
      values.erase(std::unique(values.begin(), values.end()), values.end());
    }
    out->rules_.push_back(std::move(rule));
    uint32_t other = kMissing;
    if (!own.any() && !out->Insert(0, 0, static_cast<uint32_t>(i), &budget, &other)) {
      if (other == kMissing) {
        own.Add(chains[i].path + ".filter_chain_match",
                "matches too many combinations: fewer names, ranges or ports in one chain");
      } else {
        own.Add(chains[i].path + ".filter_chain_match",
                StrCat("matches the same connections as ", chains[other].path,
                       ": each connection must have one most specific chain"));
      }
    }
  }
  for (api::SourceError& e : found) errors->Add(std::move(e.path), std::move(e.message));
  if (own.any()) return nullptr;
  for (Node& n : out->nodes_) {
    auto longest_first = [](std::vector<uint8_t>& v) {
      std::sort(v.begin(), v.end(), std::greater<>());
      v.erase(std::unique(v.begin(), v.end()), v.end());
    };
    longest_first(n.lengths4);
    longest_first(n.lengths6);
  }
  out->needs_ = out->Collect(0, 0);
  out->trivial_ = out->rules_.size() == 1 && chains[0].match->ByteSizeLong() == 0;
  for (const Rule& r : out->rules_) {
    out->uses_destination_ |= !r.values[kDestinationPort][0].empty() ||
                              r.values[kDestinationIp].size() != 2 ||
                              r.values[kDestinationIp][0][1] != 0 ||
                              r.values[kDestinationIp][1][1] != 0 ||
                              !r.values[kSourceType][0].empty();
  }
  return out;
}

// False when there is a chain with this very match (`other`), or when there are too many.
bool FilterChainMatch::Insert(uint32_t node, int level, uint32_t chain, size_t* budget,
                              uint32_t* other) {
  const bool network = level == kDestinationIp || level == kDirectSourceIp || level == kSourceIp;
  for (const std::string& key : rules_[chain].values[level]) {
    if (*budget == 0) return false;
    --*budget;
    if (network) {
      Node& n = nodes_[node];
      (key[0] == 4 ? n.lengths4 : n.lengths6).push_back(static_cast<uint8_t>(key[1]));
    }
    auto it = nodes_[node].children.find(key);
    if (level == kLevels - 1) {
      if (it != nodes_[node].children.end()) {
        *other = it->second;
        return false;
      }
      nodes_[node].children[key] = chain;
      continue;
    }
    uint32_t child;
    if (it == nodes_[node].children.end()) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_[node].children[key] = child;
      nodes_.emplace_back();
    } else {
      child = it->second;
    }
    if (!Insert(child, level + 1, chain, budget, other)) return false;
  }
  return true;
}

// What inspection matters below this node.
uint8_t FilterChainMatch::Collect(uint32_t node, int level) {
  uint8_t needs = kNothing;
  for (const auto& [key, child] : nodes_[node].children) {
    if (level == kServerName || level == kTransportProtocol) {
      if (!key.empty()) needs |= kTls;
    } else if (level == kApplicationProtocols && !key.empty()) {
      needs |= kApplicationProtocol;
    }
    if (level < kApplicationProtocols) needs |= Collect(child, level + 1);
  }
  nodes_[node].needs = needs;
  return needs;
}

uint32_t FilterChainMatch::Child(const Node& node, std::string_view key) const {
  auto it = node.children.find(key);
  return it == node.children.end() ? kMissing : it->second;
}

uint32_t FilterChainMatch::Step(const Node& node, int level, const ConnectionFields& c,
                                std::string* chosen) const {
  auto take = [&](std::string_view key) {
    uint32_t child = Child(node, key);
    if (child != kMissing && chosen != nullptr) *chosen = key;
    return child;
  };
  // Most nodes have chains that don't say, and none that do.
  auto any_or = [&](auto specific) {
    if (node.children.size() > 1 || !node.children.contains(std::string_view())) {
      uint32_t child = specific();
      if (child != kMissing) return child;
    }
    return take("");
  };
  auto network = [&](const IpBytes& ip) {
    const IpBytes none = IpBytes::V4("\0\0\0");
    if (ip.size == 0) return take(KeyOf(none, 0).view());
    for (uint8_t length : ip.size == 4 ? node.lengths4 : node.lengths6) {
      uint32_t child = take(KeyOf(ip, length).view());
      if (child != kMissing) return child;
    }
    return kMissing;
  };
  switch (level) {
    case kDestinationPort:
      return any_or([&] { return take(PortKey(c.destination_port)); });
    case kSourcePort:
      return any_or([&] { return take(PortKey(c.source_port)); });
    case kDestinationIp:
      return network(c.destination);
    case kDirectSourceIp:
      return network(c.direct_source);
    case kSourceIp:
      return network(c.source);
    case kServerName:
      return any_or([&] {
        if (c.server_name.empty()) return kMissing;
        uint32_t child = take(c.server_name);
        // ".example.com" and ".com" for "www.example.com".
        for (size_t dot = c.server_name.find('.', 1);
             child == kMissing && dot != std::string_view::npos && dot + 1 < c.server_name.size();
             dot = c.server_name.find('.', dot + 1)) {
          child = take(c.server_name.substr(dot));
        }
        return child;
      });
    case kTransportProtocol:
      return any_or([&] {
        return c.transport_protocol.empty() ? kMissing : take(c.transport_protocol);
      });
    case kApplicationProtocols:
      return any_or([&] {
        if (c.application_protocols == nullptr) return kMissing;
        for (const std::string& p : *c.application_protocols) {
          uint32_t child = p.empty() ? kMissing : take(p);
          if (child != kMissing) return child;
        }
        return kMissing;
      });
    default:
      return any_or([&] {
        char type = IsLocal(c) ? SourceType::SAME_IP_OR_LOOPBACK : SourceType::EXTERNAL;
        return take({&type, 1});
      });
  }
}

int FilterChainMatch::Find(const ConnectionFields& c, ChainTrace* trace) const {
  uint32_t node = 0;
  std::string chosen[kLevels];
  int level = 0;
  for (; level < kLevels; ++level) {
    node = Step(nodes_[node], level, c, trace == nullptr ? nullptr : &chosen[level]);
    if (trace != nullptr) {
      trace->steps.push_back(
          {kLevelNames[level], DescribeInput(level, c),
           node == kMissing ? std::string() : DescribeKey(level, chosen[level])});
    }
    if (node == kMissing) break;
  }
  if (trace != nullptr) {
    for (size_t i = 0; i < rules_.size(); ++i) {
      ChainTrace::Considered considered{static_cast<int>(i), rules_[i].name, {}};
      for (int l = 0; l < kLevels && considered.why_not.empty(); ++l) {
        const auto& values = rules_[i].values[l];
        const bool none = l == level;  // no chain that was left over has a value that fits
        if (!none && std::find(values.begin(), values.end(), chosen[l]) != values.end()) continue;
        considered.why_not = StrCat(
            kLevelNames[l], " ", DescribeKey(l, values[0]), values.size() > 1 ? ", ..." : "",
            none ? " does not match " : " is not the most specific match of ", DescribeInput(l, c));
        if (none) break;
      }
      trace->considered.push_back(std::move(considered));
    }
  }
  return node == kMissing ? kNone : static_cast<int>(node);
}

uint8_t FilterChainMatch::Needs(const ConnectionFields& c) const {
  if (needs_ == kNothing) return kNothing;
  uint32_t node = Step(nodes_[0], kDestinationPort, c, nullptr);
  if (node != kMissing) node = Step(nodes_[node], kDestinationIp, c, nullptr);
  return node == kMissing ? uint8_t{kNothing} : nodes_[node].needs;
}

std::string FilterChainMatch::DescribeInput(int level, const ConnectionFields& c) {
  switch (level) {
    case kDestinationPort:
      return StrCat(c.destination_port);
    case kSourcePort:
      return StrCat(c.source_port);
    case kDestinationIp:
      return c.destination.ToString();
    case kDirectSourceIp:
      return c.direct_source.ToString();
    case kSourceIp:
      return c.source.ToString();
    case kServerName:
      return c.server_name.empty() ? "(no server name)" : std::string(c.server_name);
    case kTransportProtocol:
      return std::string(c.transport_protocol);
    case kApplicationProtocols: {
      std::string out;
      if (c.application_protocols != nullptr) {
        for (const std::string& p : *c.application_protocols) {
          StrAppend(&out, out.empty() ? "" : ",", p);
        }
      }
      return out.empty() ? "(no application protocol)" : out;
    }
    default:
      return IsLocal(c) ? "SAME_IP_OR_LOOPBACK" : "EXTERNAL";
  }
}

std::string FilterChainMatch::DescribeKey(int level, std::string_view key) {
  if (key.empty()) return "any";
  switch (level) {
    case kDestinationPort:
    case kSourcePort:
      return StrCat(static_cast<uint8_t>(key[0]) * 256 + static_cast<uint8_t>(key[1]));
    case kDestinationIp:
    case kDirectSourceIp:
    case kSourceIp: {
      if (key[1] == 0) return "any";
      IpBytes ip;
      ip.size = static_cast<uint8_t>(key[0]);
      memcpy(ip.bytes.data(), key.data() + 2, ip.size);
      return StrCat(ip.ToString(), "/", static_cast<uint8_t>(key[1]));
    }
    case kServerName:
      return key[0] == '.' ? StrCat("*", key) : std::string(key);
    case kSourceType:
      return key[0] == SourceType::EXTERNAL ? "EXTERNAL" : "SAME_IP_OR_LOOPBACK";
    default:
      return std::string(key);
  }
}

}  // namespace weft::decide
