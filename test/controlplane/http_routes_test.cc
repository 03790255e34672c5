// What VirtualServices mean for requests: rules are generated, compiled as the proxy does, and asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/ingest/read.h"
#include "controlplane/translate/mesh_graph.h"
#include "dataplane/decide/rewrite.h"
#include "dataplane/decide/route_table.h"
#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

using decide::RouteTable;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Headers : public HeaderSource {
 public:
  explicit Headers(std::map<std::string, std::string> values) : values_(std::move(values)) {}
  std::optional<std::string_view> Get(std::string_view name) const override {
    auto it = values_.find(std::string(name));
    if (it == values_.end()) return std::nullopt;
    return it->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

struct Request {
  std::string path = "/";
  std::string authority = "reviews:9080";
  std::string method = "GET";
  std::map<std::string, std::string> headers;
};

class HttpRoutesTest : public ::testing::Test {
 protected:
  HttpRoutesTest() { Put(testing::RegistryYaml() + testing::ReviewsRuleYaml()); }

  void Put(const std::string& text) {
    const ReadObjectsResult read = ReadObjects(text, "f.yaml");
    ASSERT_THAT(read.errors, IsEmpty());
    for (const ReadObject& object : read.objects) {
      ASSERT_NE(object.object, nullptr) << api::ToString(object.errors);
      graph_.Put(*object.object);
    }
  }
  void PutRoutes(const std::string& http, const std::string& host = "reviews") {
    Put("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + host + "}\nspec:\n  hosts: [" +
        host + "]\n  http:\n" + http);
  }
  std::shared_ptr<const RouteTable> Table(const std::string& name = "9080", const std::string& ns = "default") {
    const std::string scope = name.find(':') == std::string::npos ? "ns/" + ns : "";
    const ResourcePtr resource = graph_.resource.Get({{ResourceType::kRoute, scope, name}, nullptr});
    if (resource == nullptr) return nullptr;
    envoy::config::route::v3::RouteConfiguration config;
    EXPECT_TRUE(config.ParseFromString(resource->value));
    std::vector<api::SourceError> errors;
    auto table = RouteTable::Compile(config, &errors);
    EXPECT_NE(table, nullptr) << api::ToString(errors);
    return table;
  }
  // Where the request goes: a cluster, a status, or "none".
  std::string Ask(const Request& request, uint64_t random = 0, const std::string& name = "9080") {
    const auto table = Table(name);
    const Headers headers(request.headers);
    const decide::RequestView view{request.method, "http", request.authority, request.path, &headers};
    const decide::RouteMatch match = table->Match(view, random, nullptr);
    if (match.route == nullptr) return match.vhost == nullptr ? "no host" : "no route";
    if (const auto& direct = match.route->action.direct_response) return std::to_string(direct->status) + " " + direct->body;
    if (const auto& redirect = match.route->action.redirect) {
      std::string location;
      decide::AppendRedirectLocation(*match.route, view, &location);
      return std::to_string(redirect->status) + " " + location;
    }
    return std::string(match.cluster);
  }
  std::string Subset(const Request& request) {
    const std::string cluster = Ask(request);
    const size_t at = cluster.find("|v");
    return at == std::string::npos ? cluster : cluster.substr(at + 1, 2);
  }

  MeshGraph graph_{MeshOptions()};
};

std::string To(const std::string& subset) { return "route: [{destination: {host: reviews, subset: " + subset + "}}]"; }

TEST_F(HttpRoutesTest, HostsAndPorts) {
  const std::string reviews = "outbound|9080||reviews.default.svc.cluster.local";
  for (const char* authority : {"reviews", "reviews:9080", "reviews.default", "reviews.default.svc:9080",
                                "reviews.default.svc.cluster.local", "REVIEWS.default.svc.cluster.local:9080"}) {
    EXPECT_EQ(Ask({.authority = authority}), reviews) << authority;
    EXPECT_EQ(Ask({.authority = authority}, 0, "http_proxy"), reviews) << authority;
  }
  EXPECT_EQ(Ask({.authority = "anything"}, 0, "reviews.default.svc.cluster.local:9080"), reviews);
  EXPECT_EQ(Ask({.authority = "unknown"}), "no host");
  EXPECT_EQ(Ask({.authority = "reviews:9081"}), "no host");
}

TEST_F(HttpRoutesTest, TheForwardProxyTakesEveryPort) {
  Put(testing::ServiceYaml("web", "default", 80) + testing::ServiceYaml("multi", "default", 8080));
  EXPECT_EQ(Ask({.authority = "web"}, 0, "http_proxy"), "outbound|80||web.default.svc.cluster.local");
  EXPECT_EQ(Ask({.authority = "web:80"}, 0, "http_proxy"), "outbound|80||web.default.svc.cluster.local");
  EXPECT_EQ(Ask({.authority = "multi:8080"}, 0, "http_proxy"), "outbound|8080||multi.default.svc.cluster.local");
  EXPECT_EQ(Ask({.authority = "multi"}, 0, "9080"), "no host") << "it has no port 9080";
}

TEST_F(HttpRoutesTest, Uri) {
  PutRoutes("  - {match: [{uri: {exact: /exact}}], " + To("v1") + "}\n  - {match: [{uri: {prefix: /pre}}], " + To("v2") +
            "}\n  - {match: [{uri: {regex: '/r[0-9]+'}}], " + To("v3") + "}\n");
  EXPECT_EQ(Subset({.path = "/exact"}), "v1");
  EXPECT_EQ(Subset({.path = "/exact?q=1"}), "v1");
  EXPECT_EQ(Subset({.path = "/exact/more"}), "no route");
  EXPECT_EQ(Subset({.path = "/prefix"}), "v2");
  EXPECT_EQ(Subset({.path = "/PREfix"}), "no route");
  EXPECT_EQ(Subset({.path = "/r12"}), "v3");
  EXPECT_EQ(Subset({.path = "/r12x"}), "no route") << "a regex takes the whole path";
  EXPECT_EQ(Subset({.path = "/"}), "no route") << "a VirtualService without a rule for all has none";
}

TEST_F(HttpRoutesTest, IgnoreUriCase) {
  PutRoutes("  - {match: [{uri: {prefix: /API}, ignoreUriCase: true}], " + To("v1") + "}\n");
  EXPECT_EQ(Subset({.path = "/api/x"}), "v1");
}

TEST_F(HttpRoutesTest, HeadersMethodsQueriesAuthority) {
  PutRoutes("  - {match: [{headers: {end-user: {exact: jason}}, method: {exact: GET}}], " + To("v2") +
            "}\n  - {match: [{headers: {x-any: {}}}], " + To("v3") + "}\n  - {match: [{queryParams: {v: {exact: '3'}}}], " + To("v3") +
            "}\n  - {match: [{authority: {prefix: reviews.default}}], " + To("v3") + "}\n  - {" + To("v1") + "}\n");
  EXPECT_EQ(Subset({.headers = {{"end-user", "jason"}}}), "v2");
  EXPECT_EQ(Subset({.method = "POST", .headers = {{"end-user", "jason"}}}), "v1");
  EXPECT_EQ(Subset({.headers = {{"end-user", "jasons"}}}), "v1");
  EXPECT_EQ(Subset({.headers = {{"x-any", ""}}}), "v3");
  EXPECT_EQ(Subset({.path = "/?v=3"}), "v3");
  EXPECT_EQ(Subset({.path = "/?v=4"}), "v1");
  EXPECT_EQ(Subset({.authority = "reviews.default:9080"}), "v3");
  EXPECT_EQ(Subset({}), "v1");
}

TEST_F(HttpRoutesTest, WithoutHeaders) {
  PutRoutes("  - {match: [{withoutHeaders: {x-a: {exact: '1'}, x-b: {}}}], " + To("v1") + "}\n  - {" + To("v2") + "}\n");
  EXPECT_EQ(Subset({}), "v1");
  EXPECT_EQ(Subset({.headers = {{"x-a", "2"}}}), "v1");
  EXPECT_EQ(Subset({.headers = {{"x-a", "1"}}}), "v2");
  EXPECT_EQ(Subset({.headers = {{"x-b", "anything"}}}), "v2");
}

TEST_F(HttpRoutesTest, ConditionsOfOneMatchAreAndedMatchesAreOred) {
  PutRoutes("  - {match: [{uri: {prefix: /a}, method: {exact: PUT}}, {uri: {prefix: /b}}], " + To("v1") + "}\n");
  EXPECT_EQ(Subset({.path = "/a"}), "no route");
  EXPECT_EQ(Subset({.path = "/a", .method = "PUT"}), "v1");
  EXPECT_EQ(Subset({.path = "/b"}), "v1");
}

TEST_F(HttpRoutesTest, APortInAMatchIsTheServices) {
  PutRoutes("  - {match: [{port: 9999}], " + To("v1") + "}\n  - {match: [{port: 9080}], " + To("v2") + "}\n");
  EXPECT_EQ(Subset({}), "v2");
}

TEST_F(HttpRoutesTest, WeightsSplitTraffic) {
  Put(testing::ReviewsRoutesYaml(30, 70));
  std::map<std::string, int> counts;
  for (uint64_t i = 0; i < 1000; ++i) ++counts[Ask({}, i * 0x9e3779b97f4a7c15ull)];
  EXPECT_NEAR(counts["outbound|9080|v1|reviews.default.svc.cluster.local"], 300, 60);
  EXPECT_NEAR(counts["outbound|9080|v3|reviews.default.svc.cluster.local"], 700, 60);
  Put(testing::ReviewsRoutesYaml(0, 100));
  EXPECT_EQ(Subset({}), "v3");
  EXPECT_EQ(Table()->virtual_hosts()[2].routes[0].action.kind, decide::RouteAction::Kind::kCluster);
}

TEST_F(HttpRoutesTest, OneDestinationTakesAllWhateverItsWeight) {
  PutRoutes("  - route: [{destination: {host: reviews, subset: v2}, weight: 0}]\n");
  EXPECT_EQ(Subset({}), "v2");
}

TEST_F(HttpRoutesTest, OtherServicesAndPorts) {
  Put("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: two}\nspec:\n  hosts: [two.example.com, '*.wild.example']\n"
      "  resolution: STATIC\n  ports: [{number: 80, name: a, protocol: HTTP}, {number: 81, name: b, protocol: HTTP}]\n"
      "  endpoints: [{address: 127.0.0.9}]\n");
  PutRoutes("  - {match: [{uri: {prefix: /81}}], route: [{destination: {host: two.example.com, port: {number: 81}}}]}\n"
            "  - {match: [{uri: {prefix: /wild}}], route: [{destination: {host: a.wild.example, port: {number: 80}}}]}\n"
            "  - {match: [{uri: {prefix: /gone}}], route: [{destination: {host: gone}}]}\n"
            "  - {route: [{destination: {host: ratings}}]}\n");
  EXPECT_EQ(Ask({.path = "/81"}), "outbound|81||two.example.com");
  EXPECT_EQ(Ask({.path = "/wild"}), "outbound|80||*.wild.example");
  EXPECT_EQ(Ask({.path = "/gone"}), "outbound|9080||gone.default.svc.cluster.local");
  EXPECT_EQ(Ask({.path = "/"}), "outbound|9080||ratings.default.svc.cluster.local");
}

TEST_F(HttpRoutesTest, RedirectsAndDirectResponses) {
  PutRoutes("  - {match: [{uri: {exact: /a}}], redirect: {uri: /b, authority: other.example, redirectCode: 302}}\n"
            "  - {match: [{uri: {prefix: /p}}], redirect: {prefixRewrite: /q, scheme: https, port: 8443}}\n"
            "  - {match: [{uri: {prefix: /d}}], directResponse: {status: 418, body: {string: teapot}}}\n");
  EXPECT_EQ(Ask({.path = "/a"}), "302 http://other.example/b");
  EXPECT_EQ(Ask({.path = "/p/x?y=1", .authority = "reviews"}), "301 https://reviews:8443/q/x?y=1");
  EXPECT_EQ(Ask({.path = "/d"}), "418 teapot");
}

TEST_F(HttpRoutesTest, RewriteTimeoutRetries) {
  PutRoutes("  - rewrite: {uri: /v2, authority: h.example}\n    timeout: 3s\n    retries: {attempts: 5, perTryTimeout: 1s, "
            "retryOn: '5xx,503'}\n    " + To("v1") + "\n");
  const auto table = Table();
  const auto& action = table->virtual_hosts()[2].routes[0].action;
  EXPECT_EQ(action.prefix_rewrite, "/v2");
  EXPECT_EQ(action.host_rewrite_literal, "h.example");
  EXPECT_EQ(action.timeout, 3 * kSecond);
  EXPECT_EQ(action.retry->num_retries, 5u);
  EXPECT_EQ(action.retry->per_try_timeout, kSecond);
  EXPECT_THAT(action.retry->retriable_status_codes, ElementsAre(503u));
  EXPECT_TRUE(action.retry->Has(decide::RetryOn::k5xx));
  EXPECT_TRUE(action.retry->Has(decide::RetryOn::kRetriableStatusCodes));
}

TEST_F(HttpRoutesTest, NoRetriesWhenSwitchedOff) {
  PutRoutes("  - retries: {attempts: 0}\n    " + To("v1") + "\n");
  EXPECT_EQ(Table()->virtual_hosts()[2].routes[0].action.retry, nullptr);
  EXPECT_NE(Table()->virtual_hosts()[1].routes[0].action.retry, nullptr) << "by default what is harmless is repeated";
  EXPECT_EQ(Table()->virtual_hosts()[1].routes[0].action.timeout, 0);
}

TEST_F(HttpRoutesTest, HeadersAreChanged) {
  PutRoutes("  - headers: {request: {set: {a: '1', Host: h.example}, add: {b: '2'}, remove: [c]}, response: {set: {d: '4'}}}\n    "
            "route:\n    - {destination: {host: reviews, subset: v1}, weight: 1, headers: {request: {set: {e: '5'}}}}\n"
            "    - {destination: {host: reviews, subset: v2}, weight: 1}\n");
  const auto table = Table();
  const auto& route = table->virtual_hosts()[2].routes[0];
  EXPECT_EQ(route.action.host_rewrite_literal, "h.example");
  EXPECT_EQ(route.modifications.request_mutations.size(), 3u);
  EXPECT_EQ(route.modifications.response_mutations.size(), 1u);
  EXPECT_EQ(route.action.weighted[0].modifications.request_mutations.size(), 1u);
  EXPECT_EQ(route.action.weighted[1].modifications.request_mutations.size(), 0u);
}

TEST_F(HttpRoutesTest, AWildcardVirtualServiceGivesWayToAnExactOne) {
  Put("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: all}\nspec:\n  hosts: ['*.default.svc.cluster.local']\n"
      "  http: [{directResponse: {status: 503}}]\n");
  EXPECT_EQ(Ask({}), "503 ");
  EXPECT_EQ(Ask({.authority = "ratings"}), "503 ");
  PutRoutes("  - {" + To("v1") + "}\n");
  EXPECT_EQ(Subset({}), "v1");
  EXPECT_EQ(Ask({.authority = "ratings"}), "503 ");
}

// Two services that would answer to the same name: the first keeps it, and Envoy gets no domain twice.
TEST_F(HttpRoutesTest, NoDomainTwice) {
  Put("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: odd}\nspec:\n  hosts: [reviews.default, zz.example]\n"
      "  resolution: STATIC\n  ports: [{number: 9080, name: a, protocol: HTTP}]\n  endpoints: [{address: 127.0.0.9}]\n");
  EXPECT_EQ(Ask({.authority = "zz.example"}), "outbound|9080||zz.example");
  EXPECT_EQ(Ask({.authority = "reviews.default"}), "outbound|9080||reviews.default");
  EXPECT_EQ(Ask({.authority = "reviews"}), "outbound|9080||reviews.default.svc.cluster.local");
}

}  // namespace
}  // namespace weft::ctl
