#include "dataplane/decide/route_table.h"

#include <cmath>
#include <map>
#include <random>

#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

// Bookinfo's routing in short: by header, by weight, the rest.
constexpr char kBookinfo[] = R"(
  name: '9080'
  virtual_hosts {
    name: 'reviews.default.svc.cluster.local:9080'
    domains: 'reviews.default.svc.cluster.local' domains: 'reviews.default.svc.cluster.local:9080'
    domains: 'reviews' domains: 'reviews:9080'
    routes {
      name: 'jason'
      match { prefix: '/' headers { name: 'end-user' string_match { exact: 'jason' } } }
      route { cluster: 'outbound|9080|v2|reviews' }
    }
    routes {
      name: 'rest'
      match { prefix: '/reviews' }
      route { weighted_clusters {
        clusters { name: 'outbound|9080|v1|reviews' weight { value: 1 } }
        clusters { name: 'never' weight { value: 0 } }
        clusters { name: 'outbound|9080|v3|reviews' weight { value: 3 } }
      } }
    }
  }
  virtual_hosts {
    name: 'allow_any' domains: '*'
    routes { match { path: '/old' } redirect { path_redirect: '/new' response_code: FOUND } }
    routes { match { path: '/teapot' } direct_response { status: 418 body { inline_string: 'short' } } }
    routes { match { prefix: '/by-header' } route { cluster_header: 'X-Cluster' } }
  }
)";

TEST(RouteTableTest, HeaderThenWeights) {
  auto table = CompileText(kBookinfo);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->name(), "9080");
  MapHeaders jason{{"end-user", "jason"}}, nobody;
  RequestView request{.method = "GET", .scheme = "http", .authority = "reviews:9080", .path = "/reviews/0", .headers = &jason};
  RouteMatch m = table->Match(request, 0, nullptr);
  ASSERT_NE(m.route, nullptr);
  EXPECT_EQ(m.route->name, "jason");
  EXPECT_EQ(m.cluster, "outbound|9080|v2|reviews");
  EXPECT_EQ(m.vhost->name, "reviews.default.svc.cluster.local:9080");
  EXPECT_EQ(m.weighted, nullptr);

  request.headers = &nobody;
  std::map<std::string, int> counts;
  for (uint64_t random = 0; random < 400; ++random) {
    m = table->Match(request, random, nullptr);
    ASSERT_NE(m.weighted, nullptr);
    EXPECT_EQ(m.weighted->cluster, m.cluster);
    ++counts[std::string(m.cluster)];
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{{"outbound|9080|v1|reviews", 100}, {"outbound|9080|v3|reviews", 300}}));

  request.path = "/other";
  m = table->Match(request, 0, nullptr);
  EXPECT_NE(m.vhost, nullptr);
  EXPECT_EQ(m.route, nullptr) << "a virtual host without a route that matches is an end, not a fall-through";
  EXPECT_EQ(m.cluster, "");
}

TEST(RouteTableTest, RedirectDirectResponseAndClusterHeader) {
  auto table = CompileText(kBookinfo);
  RouteMatch m = table->Match({.authority = "x", .path = "/old"}, 0, nullptr);
  ASSERT_NE(m.route, nullptr);
  EXPECT_EQ(m.route->action.kind, RouteAction::Kind::kRedirect);
  EXPECT_EQ(m.route->action.redirect->status, 302);
  m = table->Match({.authority = "", .path = "/teapot"}, 0, nullptr);
  ASSERT_NE(m.route, nullptr);
  EXPECT_EQ(m.route->action.direct_response->status, 418);
  EXPECT_EQ(m.route->action.direct_response->body, "short");
  MapHeaders headers{{"x-cluster", "from header"}};
  m = table->Match({.authority = "x", .path = "/by-header", .headers = &headers}, 0, nullptr);
  EXPECT_EQ(m.cluster, "from header");
  m = table->Match({.authority = "x", .path = "/by-header"}, 0, nullptr);
  ASSERT_NE(m.route, nullptr);
  EXPECT_EQ(m.cluster, "");
}

TEST(RouteTableTest, NoVirtualHost) {
  auto table = CompileText("virtual_hosts { name: 'a' domains: 'a' }");
  RouteMatch m = table->Match({.authority = "b", .path = "/"}, 0, nullptr);
  EXPECT_EQ(m.vhost, nullptr);
  EXPECT_EQ(m.route, nullptr);
  EXPECT_EQ(CompileText("")->Match({.authority = "b", .path = "/"}, 0, nullptr).vhost, nullptr);
}

TEST(RouteTableTest, PortsOfHosts) {
  const std::string hosts = "virtual_hosts { name: 'a' domains: 'a' } virtual_hosts { name: 'a80' domains: 'a:80' }";
  auto literal = CompileText(hosts);
  EXPECT_EQ(literal->Match({.authority = "a:80", .path = "/"}, 0, nullptr).vhost->name, "a80");
  EXPECT_EQ(literal->Match({.authority = "a:81", .path = "/"}, 0, nullptr).vhost, nullptr);
  auto ignoring = CompileText(hosts + " ignore_port_in_host_matching: true");
  EXPECT_EQ(ignoring->Match({.authority = "a:80", .path = "/"}, 0, nullptr).vhost->name, "a");
  EXPECT_EQ(ignoring->Match({.authority = "A:81", .path = "/"}, 0, nullptr).vhost->name, "a");
}

TEST(RouteTableTest, WeightFromAHeader) {
  auto table = CompileText(R"(virtual_hosts { name: 'a' domains: '*' routes { match { prefix: '/' } route {
      weighted_clusters { header_name: 'X-Pick' clusters { name: 'a' weight { value: 1 } }
                          clusters { name: 'b' weight { value: 1 } } } } } })");
  MapHeaders zero{{"x-pick", "0"}}, one{{"x-pick", "1"}}, bad{{"x-pick", "one"}};
  for (uint64_t random = 0; random < 4; ++random) {
    EXPECT_EQ(table->Match({.path = "/", .headers = &zero}, random, nullptr).cluster, "a");
    EXPECT_EQ(table->Match({.path = "/", .headers = &one}, random, nullptr).cluster, "b");
    EXPECT_EQ(table->Match({.path = "/", .headers = &bad}, random, nullptr).cluster, random % 2 == 0 ? "a" : "b");
  }
}

TEST(RouteTableTest, FractionsOfRoutesAreIndependent) {
  // Half, then half of what is left, then weights: 50 %, 25 %, and 12.5 % for each cluster.
  auto table = CompileText(R"(virtual_hosts { name: 'a' domains: '*'
    routes { match { prefix: '/' runtime_fraction { default_value { numerator: 50 } } } route { cluster: 'first' } }
    routes { match { prefix: '/' runtime_fraction { default_value { numerator: 50 } } } route { cluster: 'second' } }
    routes { match { prefix: '/' } route { weighted_clusters { clusters { name: 'a' weight { value: 50 } }
                                                               clusters { name: 'b' weight { value: 50 } } } } } })");
  std::mt19937_64 random(1);
  std::map<std::string, double> share;
  constexpr int kRequests = 40000;
  for (int i = 0; i < kRequests; ++i) share[std::string(table->Match({.path = "/"}, random(), nullptr).cluster)] += 1.0 / kRequests;
  EXPECT_NEAR(share["first"], 0.5, 0.015);
  EXPECT_NEAR(share["second"], 0.25, 0.015);
  EXPECT_NEAR(share["a"], 0.125, 0.015);
  EXPECT_NEAR(share["b"], 0.125, 0.015);
}

TEST(RouteTableTest, OrderOfMutations) {
  const std::string config = R"(
    request_headers_to_add { header { key: 'l' value: 'table' } }
    virtual_hosts { name: 'a' domains: '*'
      request_headers_to_add { header { key: 'l' value: 'vhost' } }
      routes { match { prefix: '/' }
        request_headers_to_add { header { key: 'l' value: 'route' } }
        response_headers_to_remove: 'server'
        route { weighted_clusters { clusters { name: 'c' weight { value: 1 }
          request_headers_to_add { header { key: 'l' value: 'cluster' } } } } } } })";
  auto order = [](const std::string& text) {
    auto table = CompileText(text);
    RouteMatch m = table->Match({.path = "/"}, 0, nullptr);
    std::string out;
    table->ForEachRequestMutations(m, [&](const std::vector<HeaderMutation>& list) {
      for (const HeaderMutation& h : list) out += h.value + " ";
    });
    int removals = 0;
    table->ForEachResponseMutations(m, [&](const std::vector<HeaderMutation>& list) { removals += static_cast<int>(list.size()); });
    EXPECT_EQ(removals, 1);
    return out;
  };
  EXPECT_EQ(order(config), "cluster route vhost table ");
  EXPECT_EQ(order(config + " most_specific_header_mutations_wins: true"), "table vhost route cluster ");
}

TEST(RouteTableTest, FilterConfigs) {
  auto config = FromText<envoy::config::route::v3::RouteConfiguration>(R"(
    virtual_hosts { name: 'a' domains: '*'
      typed_per_filter_config { key: 'f' value { type_url: 't/vhost' } }
      typed_per_filter_config { key: 'g' value { type_url: 't/vhost' } }
      routes { match { prefix: '/r' } route { cluster: 'c' }
        typed_per_filter_config { key: 'f' value { type_url: 't/route' } } }
      routes { match { prefix: '/' } route { cluster: 'c' } } })");
  std::vector<api::SourceError> errors;
  auto table = RouteTable::Compile(config, &errors);
  RouteMatch r = table->Match({.path = "/r"}, 0, nullptr), other = table->Match({.path = "/"}, 0, nullptr);
  EXPECT_EQ(table->FindFilterConfig(r, "f")->raw.type_url(), "t/route");
  EXPECT_EQ(table->FindFilterConfig(r, "g")->raw.type_url(), "t/vhost");
  EXPECT_EQ(table->FindFilterConfig(other, "f")->raw.type_url(), "t/vhost");
  EXPECT_EQ(table->FindFilterConfig(other, "h"), nullptr);

  // With a compiler, what it made is kept in place of the wire form, and its errors have the path.
  std::vector<std::string> paths;
  CompileOptions options;
  options.filter_config = [&](const std::string& name, const google::protobuf::Any& any, const std::string& path,
                              Errors* sink) -> std::shared_ptr<const void> {
    paths.push_back(path);
    if (any.type_url() == "t/route") sink->Add(path, "unknown type");
    return std::make_shared<const std::string>(any.type_url());
  };
  EXPECT_EQ(RouteTable::Compile(config, &errors, options), nullptr);
  EXPECT_EQ(Lines(errors), "virtual_hosts[0].routes[0].typed_per_filter_config[\"f\"]: unknown type\n");
  EXPECT_EQ(paths.size(), 3u);
  config.mutable_virtual_hosts(0)->mutable_routes(0)->clear_typed_per_filter_config();
  table = RouteTable::Compile(config, &errors, options);
  ASSERT_NE(table, nullptr);
  r = table->Match({.path = "/r"}, 0, nullptr);
  EXPECT_EQ(*static_cast<const std::string*>(table->FindFilterConfig(r, "f")->compiled.get()), "t/vhost");
}

TEST(RouteTableTest, Trace) {
  auto table = CompileText(kBookinfo);
  Trace trace;
  RequestView request{.authority = "REVIEWS", .path = "/reviews/0"};
  RouteMatch m = table->Match(request, 1, &trace);
  EXPECT_EQ(m.cluster, table->Match(request, 1, nullptr).cluster);
  EXPECT_EQ(trace.host_looked_up, "REVIEWS");
  EXPECT_EQ(trace.virtual_host, "reviews.default.svc.cluster.local:9080");
  EXPECT_EQ(trace.domain, "reviews");
  ASSERT_EQ(trace.considered.size(), 2u);
  EXPECT_EQ(trace.considered[0].route, "jason");
  EXPECT_EQ(trace.considered[0].why_not, "header end-user is \"jason\": does not hold");
  EXPECT_EQ(trace.considered[1].route, "rest");
  EXPECT_EQ(trace.considered[1].match, "prefix \"/reviews\"");
  EXPECT_EQ(trace.considered[1].why_not, "");
  EXPECT_EQ(trace.outcome, "cluster outbound|9080|v3|reviews (weight 3 of 4)");

  auto outcome = [&](RequestView r) {
    Trace t;
    table->Match(r, 0, &t);
    return t.outcome;
  };
  EXPECT_EQ(outcome({.authority = "x", .path = "/old"}), "redirect 302");
  EXPECT_EQ(outcome({.authority = "x", .path = "/teapot"}), "direct response 418");
  EXPECT_EQ(outcome({.authority = "x", .path = "/none"}), "no route matches");
  EXPECT_EQ(outcome({.authority = "x", .path = "/by-header"}), "no cluster: header x-cluster is not there");
  Trace none;
  CompileText("")->Match({.authority = "x", .path = "/"}, 0, &none);
  EXPECT_EQ(none.outcome, "no virtual host has a domain that matches");
}

// The index has to find what a look at every route in order finds; the traced way is that look.
TEST(RouteTableTest, IndexAgreesWithLinearScan) {
  std::mt19937_64 random(42);
  auto pick = [&](std::initializer_list<const char*> of) { return *(of.begin() + random() % of.size()); };
  int matched = 0, unmatched = 0, indexed = 0;
  for (int round = 0; round < 150; ++round) {
    auto segment = [&] { return std::string(pick({"/a", "/b", "/ab", "/A", "/", "/v1", "a", ""})); };
    auto path = [&] {
      std::string s;
      for (size_t n = 1 + random() % 4; n > 0; --n) s += segment();
      return s;
    };
    envoy::config::route::v3::RouteConfiguration config;
    auto* vhost = config.add_virtual_hosts();
    vhost->set_name("v");
    vhost->add_domains("*");
    const size_t routes = 1 + random() % 60;
    for (size_t i = 0; i < routes; ++i) {
      auto* route = vhost->add_routes();
      route->set_name(std::to_string(i));
      route->mutable_route()->set_cluster("c");
      auto* match = route->mutable_match();
      switch (random() % 5) {
        case 0:
        case 1:
          match->set_prefix(path());
          break;
        case 2:
          match->set_path(path());
          break;
        case 3: {
          std::string p = "/x" + path();
          while (p.back() == '/') p.pop_back();
          match->set_path_separated_prefix(random() % 2 == 0 ? p.substr(2).empty() || p.substr(2).back() == '/' ? p : p.substr(2) : p);
          break;
        }
        case 4:
          match->mutable_safe_regex()->set_regex(path() + pick({".*", "[a-z]*", "(a|b)/?", "", "?", "|/b.*", "*x"}));
          break;
      }
      if (random() % 4 == 0) match->mutable_case_sensitive()->set_value(false);
      if (random() % 4 == 0) match->add_headers()->set_name("h");
      if (random() % 6 == 0) {
        match->mutable_runtime_fraction()->mutable_default_value()->set_numerator(static_cast<uint32_t>(random() % 101));
      }
    }
    std::vector<api::SourceError> errors;
    auto table = RouteTable::Compile(config, &errors);
    if (table == nullptr) continue;  // an expression such as "a**"
    if (routes > 8) ++indexed;
    for (int i = 0; i < 100; ++i) {
      MapHeaders with{{"h", "1"}}, without;
      std::string p = path();
      if (random() % 5 == 0) p += "?q";
      RequestView request{.authority = "x", .path = p, .headers = random() % 2 == 0 ? &with : &without};
      const uint64_t r = random();
      Trace trace;
      const Route* linear = table->Match(request, r, &trace).route;
      const Route* fast = table->Match(request, r, nullptr).route;
      ASSERT_EQ(fast, linear) << p << " fast " << (fast ? fast->name : "none") << " linear " << (linear ? linear->name : "none")
                              << "\n" << config.DebugString();
      ++(linear == nullptr ? unmatched : matched);
    }
  }
  EXPECT_GT(matched, 1000);
  EXPECT_GT(unmatched, 100);
  EXPECT_GT(indexed, 20);
}

TEST(RouteTableTest, DeepPrefixChainsStillMatchInOrder) {
  envoy::config::route::v3::RouteConfiguration config;
  auto* vhost = config.add_virtual_hosts();
  vhost->set_name("v");
  vhost->add_domains("*");
  std::string path;
  for (int i = 0; i < 200; ++i) {
    path += "/x";
    auto* route = vhost->add_routes();
    route->set_name(std::to_string(i));
    route->mutable_match()->set_prefix(path);
    if (i < 199) route->mutable_match()->add_headers()->set_name("never");
    route->mutable_route()->set_cluster("c");
  }
  std::vector<api::SourceError> errors;
  auto table = RouteTable::Compile(config, &errors);
  EXPECT_EQ(table->Match({.path = path}, 0, nullptr).route->name, "199");
}

}  // namespace
}  // namespace weft::decide
