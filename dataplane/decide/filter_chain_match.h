#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/string_map.h"
#include "dataplane/decide/string_match.h"
#include "envoy/config/listener/v3/listener_components.pb.h"

namespace weft::decide {

// An IP address as deciders see it: a value. IPv4-mapped IPv6 addresses are IPv4 ones.
struct IpBytes {
  uint8_t size = 0;  // 4 or 16; 0: not an IP address (a Unix socket)
  std::array<uint8_t, 16> bytes = {};

  static IpBytes V4(const void* four);
  static IpBytes V6(const void* sixteen);
  static std::optional<IpBytes> Parse(std::string_view text);
  bool loopback() const;
  std::string ToString() const;
  bool operator==(const IpBytes&) const = default;
};

// What is known about a connection when its filter chain is chosen. Views are borrowed for one
// call.
struct ConnectionFields {
  IpBytes destination;
  uint16_t destination_port = 0;
  std::string_view server_name;                        // lower case; empty: none was seen
  std::string_view transport_protocol = "raw_buffer";  // "tls" when a ClientHello was seen
  const std::vector<std::string>* application_protocols = nullptr;  // best first; null: none
  IpBytes direct_source;  // the peer's own address
  IpBytes source;         // the same, unless a PROXY header named another one
  uint16_t source_port = 0;
};

// Why a connection got its chain: what `explain` shows.
struct ChainTrace {
  struct Step {
    std::string criterion;   // "server_names"
    std::string looked_up;   // "a.example.com"
    std::string chosen;      // "*.example.com"; "any" for chains that don't say; empty: none fits
  };
  struct Considered {
    int chain = 0;
    std::string name;
    std::string why_not;  // empty for the one that was chosen
  };
  std::vector<Step> steps;
  std::vector<Considered> considered;
};

// The filter chains of one listener by what they match (envoy.config.listener.v3.FilterChainMatch).
// The order of criteria and what "most specific" means are Envoy's: destination port, destination
// address, server name, transport protocol, application protocol, direct source address, source
// type, source address, source port; each takes the most specific value that any chain left over
// has, and there is no way back. Owner: a compiled listener, shared. Thread: immutable, any.
class FilterChainMatch {
 public:
  static constexpr int kNone = -1;
  struct Chain {
    const envoy::config::listener::v3::FilterChainMatch* match = nullptr;
    std::string name;  // for traces
    std::string path;  // of the chain: "filter_chains[0]"
  };
  // Null, and errors, when a match is malformed or two chains match the same connections.
  static std::shared_ptr<const FilterChainMatch> Compile(const std::vector<Chain>& chains,
                                                         Errors* errors);

  // Index of the chain; kNone: no chain matches (the default chain's turn).
  int Find(const ConnectionFields& connection, ChainTrace* trace = nullptr) const;

  // What inspection of the first bytes may still change, once the addresses are known. A chain
  // that is settled without must not wait for bytes that a server-first protocol never sends.
  enum Inspect : uint8_t { kNothing = 0, kTls = 1, kApplicationProtocol = 2 };
  uint8_t Needs(const ConnectionFields& connection) const;
  // Over all destinations.
  uint8_t needs() const { return needs_; }
  // One chain (index 0) takes every connection.
  bool trivial() const { return trivial_; }
  // The result depends on the local address: it is worth a system call.
  bool uses_destination() const { return uses_destination_; }

 private:
  enum Level : uint8_t {
    kDestinationPort,
    kDestinationIp,
    kServerName,
    kTransportProtocol,
    kApplicationProtocols,
    kDirectSourceIp,
    kSourceType,
    kSourceIp,
    kSourcePort,
    kLevels,
  };
  static constexpr uint32_t kMissing = UINT32_MAX;
  // Children by encoded value; a value of the last level leads to a chain. "" is "any".
  struct Node {
    StringMap<uint32_t> children;
    std::vector<uint8_t> lengths4, lengths6;  // prefix lengths that occur, longest first
    uint8_t needs = kNothing;                 // at kServerName: of what is below
  };
  struct Rule {
    std::string name;
    std::vector<std::string> values[kLevels];  // never empty
  };

  bool Insert(uint32_t node, int level, uint32_t chain, size_t* budget, uint32_t* other);
  uint8_t Collect(uint32_t node, int level);
  uint32_t Child(const Node& node, std::string_view key) const;
  uint32_t Step(const Node& node, int level, const ConnectionFields& c, std::string* chosen) const;
  static std::string DescribeInput(int level, const ConnectionFields& c);
  static std::string DescribeKey(int level, std::string_view key);

  std::vector<Node> nodes_;  // the first is the root
  std::vector<Rule> rules_;
  uint8_t needs_ = kNothing;
  bool trivial_ = false;
  bool uses_destination_ = false;
};

}  // namespace weft::decide
