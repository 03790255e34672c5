#include "dataplane/decide/filter_chain_match.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "test/decide/testing.h"

namespace weft::decide {
namespace {

using Match = envoy::config::listener::v3::FilterChainMatch;

struct Table {
  std::vector<Match> matches;
  std::shared_ptr<const FilterChainMatch> table;
  std::string errors;
};

Table Compile(const std::vector<std::string>& texts) {
  Table t;
  for (const std::string& text : texts) t.matches.push_back(FromText<Match>(text));
  std::vector<FilterChainMatch::Chain> chains;
  for (size_t i = 0; i < t.matches.size(); ++i) {
    chains.push_back({&t.matches[i], "c" + std::to_string(i),
                      "filter_chains[" + std::to_string(i) + "]"});
  }
  std::vector<api::SourceError> found;
  Errors errors(&found);
  t.table = FilterChainMatch::Compile(chains, &errors);
  t.errors = Lines(found);
  return t;
}

struct Connection {
  std::string to = "10.0.0.1";
  uint16_t port = 80;
  std::string sni, transport = "raw_buffer";
  std::vector<std::string> alpn;
  std::string from = "192.168.0.9", direct = "192.168.0.9";
  uint16_t source_port = 40000;

  ConnectionFields Fields() const {
    ConnectionFields f;
    auto ip = [](const std::string& s) { return s.empty() ? IpBytes() : *IpBytes::Parse(s); };
    f.destination = ip(to);
    f.destination_port = port;
    f.server_name = sni;
    f.transport_protocol = transport;
    f.application_protocols = &alpn;
    f.source = ip(from);
    f.direct_source = ip(direct);
    f.source_port = source_port;
    return f;
  }
};

int Find(const Table& t, const Connection& c) { return t.table->Find(c.Fields()); }

TEST(FilterChainMatchTest, OneChainTakesAll) {
  Table t = Compile({""});
  ASSERT_NE(t.table, nullptr);
  EXPECT_TRUE(t.table->trivial());
  EXPECT_FALSE(t.table->uses_destination());
  EXPECT_EQ(t.table->needs(), FilterChainMatch::kNothing);
  EXPECT_EQ(Find(t, {}), 0);
  EXPECT_EQ(Find(t, {.to = "", .from = "", .direct = ""}), 0);  // a Unix socket
  EXPECT_EQ(Find(t, {.to = "::1", .from = "fe80::1", .direct = "fe80::1"}), 0);
}

TEST(FilterChainMatchTest, DestinationPortHasNoWayBack) {
  Table t = Compile({"destination_port {value: 80} server_names: 'a.com'", "", "server_names: 'b.com'"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_TRUE(t.table->uses_destination());
  EXPECT_EQ(Find(t, {.port = 81}), 1);
  EXPECT_EQ(Find(t, {.port = 81, .sni = "b.com"}), 2);
  EXPECT_EQ(Find(t, {.port = 80, .sni = "a.com"}), 0);
  // A chain names port 80, so no other one is looked at.
  EXPECT_EQ(Find(t, {.port = 80, .sni = "b.com"}), FilterChainMatch::kNone);
}

TEST(FilterChainMatchTest, LongestPrefix) {
  Table t = Compile({"prefix_ranges {address_prefix: '10.0.0.0' prefix_len {value: 8}}",
                     "prefix_ranges {address_prefix: '10.1.0.0' prefix_len {value: 16}}",
                     "prefix_ranges {address_prefix: '10.1.2.3' prefix_len {value: 32}}"
                     " prefix_ranges {address_prefix: 'fd00::' prefix_len {value: 9}}",
                     "prefix_ranges {address_prefix: '::ffff:11.0.0.0' prefix_len {value: 104}}"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_EQ(Find(t, {.to = "10.9.9.9"}), 0);
  EXPECT_EQ(Find(t, {.to = "10.1.9.9"}), 1);
  EXPECT_EQ(Find(t, {.to = "10.1.2.3"}), 2);
  EXPECT_EQ(Find(t, {.to = "fd12::1"}), 2);
  EXPECT_EQ(Find(t, {.to = "fd80::1"}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.to = "11.1.1.1"}), 3);
  EXPECT_EQ(Find(t, {.to = "12.1.1.1"}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.to = ""}), FilterChainMatch::kNone);
}

TEST(FilterChainMatchTest, ServerNames) {
  Table t = Compile({"server_names: 'www.Example.com'", "server_names: '*.example.com'",
                     "server_names: '*.com'", "server_names: ['*.a.org', 'a.org']"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_EQ(Find(t, {.sni = "www.example.com"}), 0);
  EXPECT_EQ(Find(t, {.sni = "x.example.com"}), 1);
  EXPECT_EQ(Find(t, {.sni = "x.y.example.com"}), 1);
  EXPECT_EQ(Find(t, {.sni = "example.com"}), 2);
  EXPECT_EQ(Find(t, {.sni = "com"}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.sni = "a.org"}), 3);
  EXPECT_EQ(Find(t, {.sni = ""}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.sni = "."}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.sni = "www.example.com."}), FilterChainMatch::kNone);
}

TEST(FilterChainMatchTest, TransportAndApplicationProtocol) {
  Table t = Compile({"transport_protocol: 'tls'", "transport_protocol: 'raw_buffer'",
                     "transport_protocol: 'tls' application_protocols: ['h2', 'istio']",
                     "application_protocols: 'http/1.1'"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_EQ(Find(t, {.transport = "tls"}), 0);
  EXPECT_EQ(Find(t, {}), 1);
  EXPECT_EQ(Find(t, {.transport = "tls", .alpn = {"x", "istio"}}), 2);
  EXPECT_EQ(Find(t, {.transport = "tls", .alpn = {"x"}}), 0);
  // raw_buffer is named by a chain, which has no application protocols: no way back.
  EXPECT_EQ(Find(t, {.alpn = {"http/1.1"}}), 1);
  EXPECT_EQ(Find(t, {.transport = "quic", .alpn = {"http/1.1"}}), 3);
}

TEST(FilterChainMatchTest, SourceTypes) {
  Table t = Compile({"source_type: SAME_IP_OR_LOOPBACK", "source_type: EXTERNAL source_ports: [7, 8]",
                     "destination_port {value: 5}"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_EQ(Find(t, {.from = "127.0.0.5"}), 0);
  EXPECT_EQ(Find(t, {.to = "10.0.0.1", .from = "10.0.0.1"}), 0);
  EXPECT_EQ(Find(t, {.from = ""}), 0);
  EXPECT_EQ(Find(t, {.to = "::1", .from = "::1"}), 0);
  EXPECT_EQ(Find(t, {.source_port = 8}), 1);
  EXPECT_EQ(Find(t, {.source_port = 9}), FilterChainMatch::kNone);
  EXPECT_EQ(Find(t, {.port = 5, .source_port = 9}), 2);
}

TEST(FilterChainMatchTest, DirectSourceAndSource) {
  Table t = Compile(
      {"direct_source_prefix_ranges {address_prefix: '10.0.0.0' prefix_len {value: 8}}",
       "source_prefix_ranges {address_prefix: '1.0.0.0' prefix_len {value: 8}}", ""});
  ASSERT_NE(t.table, nullptr) << t.errors;
  EXPECT_EQ(Find(t, {.from = "1.1.1.1", .direct = "10.0.0.1"}), 0);
  EXPECT_EQ(Find(t, {.from = "1.1.1.1", .direct = "2.0.0.1"}), 1);
  EXPECT_EQ(Find(t, {.from = "2.1.1.1", .direct = "2.0.0.1"}), 2);
}

TEST(FilterChainMatchTest, WhatInspectionCanChange) {
  Table t = Compile({"destination_port {value: 25}", "destination_port {value: 443} server_names: 'a'",
                     "destination_port {value: 15} application_protocols: 'h2c'",
                     "destination_port {value: 15}", "destination_port {value: 16} transport_protocol: 'tls'"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  auto needs = [&](uint16_t port) { return t.table->Needs(Connection{.port = port}.Fields()); };
  EXPECT_EQ(needs(25), FilterChainMatch::kNothing);  // server-first protocols don't wait
  EXPECT_EQ(needs(443), FilterChainMatch::kTls);
  EXPECT_EQ(needs(15), FilterChainMatch::kApplicationProtocol);
  EXPECT_EQ(needs(16), FilterChainMatch::kTls);
  EXPECT_EQ(needs(1), FilterChainMatch::kNothing);
  EXPECT_EQ(t.table->needs(), FilterChainMatch::kTls | FilterChainMatch::kApplicationProtocol);
}

TEST(FilterChainMatchTest, Refusals) {
  struct Case {
    std::vector<std::string> chains;
    const char* want;
  } cases[] = {
      {{"", ""}, "filter_chains[1].filter_chain_match: matches the same connections as filter_chains[0]: each connection must have one most specific chain\n"},
      {{"server_names: ['a', 'b']", "server_names: ['c', 'B']"}, "filter_chains[1].filter_chain_match: matches the same connections as filter_chains[0]: each connection must have one most specific chain\n"},
      {{"prefix_ranges {address_prefix: '0.0.0.0'}", ""}, "filter_chains[1].filter_chain_match: matches the same connections as filter_chains[0]: each connection must have one most specific chain\n"},
      {{"destination_port {value: 0}"}, "filter_chains[0].filter_chain_match.destination_port: 0: expected 1 to 65535\n"},
      {{"source_ports: [1, 65536]"}, "filter_chains[0].filter_chain_match.source_ports[1]: 65536: expected 1 to 65535\n"},
      {{"prefix_ranges {address_prefix: 'x'}"}, "filter_chains[0].filter_chain_match.prefix_ranges[0].address_prefix: \"x\": expected an IP address\n"},
      {{"source_prefix_ranges {address_prefix: '1.2.3.4' prefix_len {value: 33}}"}, "filter_chains[0].filter_chain_match.source_prefix_ranges[0].prefix_len: 33: expected 0 to 32\n"},
      {{"server_names: '*'"}, "filter_chains[0].filter_chain_match.server_names[0]: \"*\": expected a name, or *. in front of one; leave server_names out to match every name\n"},
      {{"server_names: 'a.*.com'"}, "filter_chains[0].filter_chain_match.server_names[0]: \"a.*.com\": expected a name, or *. in front of one; leave server_names out to match every name\n"},
      {{"source_type: 7"}, "filter_chains[0].filter_chain_match.source_type: 7: expected ANY, SAME_IP_OR_LOOPBACK or EXTERNAL\n"},
      {{"address_suffix: '1' suffix_len {value: 1}"}, "filter_chains[0].filter_chain_match.address_suffix: not supported: use prefix_ranges\nfilter_chains[0].filter_chain_match.suffix_len: not supported: use prefix_ranges\n"},
  };
  for (const Case& c : cases) {
    Table t = Compile(c.chains);
    EXPECT_EQ(t.table, nullptr);
    EXPECT_EQ(t.errors, c.want);
  }
}

TEST(FilterChainMatchTest, TooManyCombinations) {
  Match m;
  for (int i = 1; i <= 2000; ++i) {
    m.add_source_ports(static_cast<uint32_t>(i));
    m.add_server_names("n" + std::to_string(i));
  }
  std::vector<api::SourceError> found;
  Errors errors(&found);
  EXPECT_EQ(FilterChainMatch::Compile({{&m, "", "c"}}, &errors), nullptr);
  EXPECT_EQ(Lines(found),
            "c.filter_chain_match: matches too many combinations: fewer names, ranges or ports in one chain\n");
}

TEST(FilterChainMatchTest, Trace) {
  Table t = Compile({"server_names: 'a.com'", "server_names: '*.com' transport_protocol: 'tls'",
                     "destination_port {value: 443}"});
  ASSERT_NE(t.table, nullptr) << t.errors;
  ChainTrace trace;
  Connection c{.port = 81, .sni = "b.com", .transport = "tls"};
  EXPECT_EQ(t.table->Find(c.Fields(), &trace), 1);
  ASSERT_EQ(trace.steps.size(), 9u);
  EXPECT_EQ(trace.steps[0].criterion, "destination_port");
  EXPECT_EQ(trace.steps[0].looked_up, "81");
  EXPECT_EQ(trace.steps[0].chosen, "any");
  EXPECT_EQ(trace.steps[2].looked_up, "b.com");
  EXPECT_EQ(trace.steps[2].chosen, "*.com");
  ASSERT_EQ(trace.considered.size(), 3u);
  EXPECT_EQ(trace.considered[0].why_not, "server_names a.com is not the most specific match of b.com");
  EXPECT_EQ(trace.considered[1].why_not, "");
  EXPECT_EQ(trace.considered[2].why_not, "destination_port 443 is not the most specific match of 81");

  ChainTrace none;
  EXPECT_EQ(t.table->Find(Connection{.port = 81, .sni = "b.com"}.Fields(), &none),
            FilterChainMatch::kNone);
  EXPECT_EQ(none.steps.back().criterion, "transport_protocol");
  EXPECT_EQ(none.steps.back().chosen, "");
  EXPECT_EQ(none.considered[1].why_not, "transport_protocol tls does not match raw_buffer");
}

// ---- against a linear reference, which keeps at each criterion the chains that have its most specific
// value ----

int SpecificityOfNetwork(const google::protobuf::RepeatedPtrField<envoy::config::core::v3::CidrRange>& ranges,
                         const std::string& ip) {
  if (ranges.empty()) return 0;
  int best = -1;
  IpBytes address = *IpBytes::Parse(ip);
  for (const auto& r : ranges) {
    IpBytes range = *IpBytes::Parse(r.address_prefix());
    if (range.size != address.size) continue;
    int bits = static_cast<int>(r.prefix_len().value());
    bool same = true;
    for (int i = 0; i < bits; ++i) {
      auto bit = [i](const IpBytes& b) { return b.bytes[static_cast<size_t>(i / 8)] >> (7 - i % 8) & 1; };
      same = same && bit(range) == bit(address);
    }
    if (same) best = std::max(best, bits);
  }
  return best;
}

// Greater is more specific; -1: does not match.
int Specificity(const Match& m, int criterion, const Connection& c) {
  auto exact = [](bool says_nothing, bool matches) { return says_nothing ? 0 : matches ? 1 : -1; };
  switch (criterion) {
    case 0:
      return exact(!m.has_destination_port(), m.destination_port().value() == c.port);
    case 1:
      return SpecificityOfNetwork(m.prefix_ranges(), c.to);
    case 2: {
      if (m.server_names().empty()) return 0;
      int best = -1;
      for (const std::string& name : m.server_names()) {
        if (name == c.sni) best = 1000;
        if (name[0] == '*' && c.sni.size() > name.size() - 1 &&
            c.sni.compare(c.sni.size() - (name.size() - 1), std::string::npos, name, 1) == 0) {
          best = std::max(best, static_cast<int>(name.size()));
        }
      }
      return best;
    }
    case 3:
      return exact(m.transport_protocol().empty(), m.transport_protocol() == c.transport);
    case 4: {
      if (m.application_protocols().empty()) return 0;
      for (size_t i = 0; i < c.alpn.size(); ++i) {  // the client's order counts
        const auto& a = m.application_protocols();
        if (std::find(a.begin(), a.end(), c.alpn[i]) != a.end()) return 100 - static_cast<int>(i);
      }
      return -1;
    }
    case 5:
      return SpecificityOfNetwork(m.direct_source_prefix_ranges(), c.direct);
    case 6: {
      bool local = c.from.rfind("127.", 0) == 0 || c.from == c.to;
      return exact(m.source_type() == Match::ANY,
                   local == (m.source_type() == Match::SAME_IP_OR_LOOPBACK));
    }
    case 7:
      return SpecificityOfNetwork(m.source_prefix_ranges(), c.from);
    default:
      return exact(m.source_ports().empty(),
                   std::find(m.source_ports().begin(), m.source_ports().end(), c.source_port) !=
                       m.source_ports().end());
  }
}

int Reference(const std::vector<Match>& chains, const Connection& c) {
  std::vector<int> left;
  for (size_t i = 0; i < chains.size(); ++i) left.push_back(static_cast<int>(i));
  for (int criterion = 0; criterion < 9; ++criterion) {
    int best = -1;
    for (int i : left) best = std::max(best, Specificity(chains[static_cast<size_t>(i)], criterion, c));
    if (best < 0) return FilterChainMatch::kNone;
    std::erase_if(left, [&](int i) { return Specificity(chains[static_cast<size_t>(i)], criterion, c) != best; });
  }
  return left.size() == 1 ? left[0] : -2;
}

TEST(FilterChainMatchTest, AgreesWithTheLinearReference) {
  std::mt19937 random(4711);
  auto one_of = [&](const std::vector<std::string>& v) { return v[random() % v.size()]; };
  auto chance = [&](unsigned n) { return random() % n == 0; };
  const std::vector<std::string> ips = {"10.0.0.1", "10.0.1.1", "10.1.0.1", "127.0.0.1", "11.0.0.1"};
  const std::vector<std::string> names = {"a.com", "b.a.com", "c.b.a.com", "org", "x.org"};
  const std::vector<std::string> patterns = {"a.com", "b.a.com", "*.a.com", "*.com", "*.org", "x.org", "*.b.a.com"};
  const std::vector<std::string> protocols = {"h2", "http/1.1", "istio", "x"};
  int compiled = 0, matched = 0, unmatched = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<Match> chains;
    const size_t count = 1 + random() % 6;
    for (size_t i = 0; i < count; ++i) {
      Match m;
      auto range = [&](envoy::config::core::v3::CidrRange* r) {
        r->set_address_prefix(one_of(ips));
        r->mutable_prefix_len()->set_value(std::vector<uint32_t>{8, 16, 24, 32}[random() % 4]);
      };
      if (chance(3)) m.mutable_destination_port()->set_value(80 + random() % 2);
      for (unsigned n = chance(3) ? 1 + random() % 2 : 0; n > 0; --n) range(m.add_prefix_ranges());
      for (unsigned n = chance(2) ? 1 + random() % 3 : 0; n > 0; --n) m.add_server_names(one_of(patterns));
      if (chance(3)) m.set_transport_protocol(chance(2) ? "tls" : "raw_buffer");
      for (unsigned n = chance(3) ? 1 + random() % 2 : 0; n > 0; --n) m.add_application_protocols(one_of(protocols));
      if (chance(5)) range(m.add_direct_source_prefix_ranges());
      if (chance(4)) m.set_source_type(chance(2) ? Match::EXTERNAL : Match::SAME_IP_OR_LOOPBACK);
      if (chance(4)) range(m.add_source_prefix_ranges());
      if (chance(5)) m.add_source_ports(1 + random() % 2);
      chains.push_back(m);
    }
    std::vector<FilterChainMatch::Chain> list;
    for (const Match& m : chains) list.push_back({&m, "", ""});
    std::vector<api::SourceError> found;
    Errors errors(&found);
    auto table = FilterChainMatch::Compile(list, &errors);
    if (table == nullptr) continue;  // two that overlap
    ++compiled;
    for (int i = 0; i < 20; ++i) {
      Connection c;
      c.to = one_of(ips);
      c.port = static_cast<uint16_t>(80 + random() % 3);
      if (!chance(4)) c.sni = one_of(names);
      if (chance(2)) c.transport = "tls";
      for (unsigned n = random() % 3; n > 0; --n) c.alpn.push_back(one_of(protocols));
      c.from = one_of(ips);
      c.direct = chance(2) ? c.from : one_of(ips);
      c.source_port = static_cast<uint16_t>(1 + random() % 3);
      ChainTrace trace;
      int got = table->Find(c.Fields(), &trace);
      ASSERT_EQ(got, Reference(chains, c)) << "round " << round;
      (got == FilterChainMatch::kNone ? unmatched : matched)++;
      // The trace names the chain, and a reason for every other one.
      for (size_t j = 0; j < trace.considered.size(); ++j) {
        ASSERT_EQ(trace.considered[j].why_not.empty(), static_cast<int>(j) == got) << "round " << round;
      }
      // What inspection can't change, it does not change.
      uint8_t needs = table->Needs(c.Fields());
      Connection other = c;
      if (!(needs & FilterChainMatch::kTls)) {
        other.sni = one_of(names);
        other.transport = chance(2) ? "tls" : "raw_buffer";
      }
      if (!(needs & FilterChainMatch::kApplicationProtocol)) other.alpn = {one_of(protocols)};
      ASSERT_EQ(table->Find(other.Fields()), got) << "round " << round;
    }
  }
  EXPECT_GT(compiled, 1000);
  EXPECT_GT(matched, 5000);
  EXPECT_GT(unmatched, 5000);
}

}  // namespace
}  // namespace weft::decide
