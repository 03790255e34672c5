#include <cstdlib>

#include "dataplane/decide/route_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

using testing::HasSubstr;
using Proto = envoy::config::route::v3::RouteConfiguration;

std::string ErrorsOf(const std::string& text, const CompileOptions& options = {}) {
  std::vector<api::SourceError> errors;
  auto table = RouteTable::Compile(FromText<Proto>(text), &errors, options);
  EXPECT_EQ(table == nullptr, api::HasError(errors));
  return Lines(errors);
}

// One route in one virtual host.
std::string Route(const std::string& action) {
  return "virtual_hosts { name: 'v' domains: '*' routes { match { prefix: '/' } " + action + " } }";
}

const RouteAction& ActionOf(const std::shared_ptr<const RouteTable>& table) {
  return table->virtual_hosts()[0].routes[0].action;
}

TEST(RouteCompileTest, Defaults) {
  auto table = CompileText(Route("route { cluster: 'c' }"));
  const RouteAction& a = ActionOf(table);
  EXPECT_EQ(a.kind, RouteAction::Kind::kCluster);
  EXPECT_EQ(a.timeout, 15 * kSecond);
  EXPECT_FALSE(a.idle_timeout.has_value());
  EXPECT_EQ(a.retry, nullptr);
  EXPECT_EQ(a.cluster_not_found_status, 503);
}

TEST(RouteCompileTest, Fields) {
  auto table = CompileText(Route(R"(route {
    cluster: 'c' timeout { seconds: 0 } idle_timeout { nanos: 5000000 } prefix_rewrite: '/new' host_rewrite_literal: 'h'
    cluster_not_found_response_code: NOT_FOUND
    retry_policy { retry_on: '5xx' num_retries { value: 3 } per_try_timeout { seconds: 2 } } })"));
  const RouteAction& a = ActionOf(table);
  EXPECT_EQ(a.timeout, 0);
  EXPECT_EQ(a.idle_timeout, 5 * kMillisecond);
  EXPECT_EQ(a.prefix_rewrite, "/new");
  EXPECT_EQ(a.host_rewrite_literal, "h");
  EXPECT_EQ(a.cluster_not_found_status, 404);
  ASSERT_NE(a.retry, nullptr);
  EXPECT_EQ(a.retry->num_retries, 3u);
  EXPECT_EQ(a.retry->per_try_timeout, 2 * kSecond);
}

TEST(RouteCompileTest, VirtualHostErrors) {
  EXPECT_EQ(ErrorsOf("virtual_hosts { }"),
            "virtual_hosts[0].name: is missing\n"
            "virtual_hosts[0].domains: at least one domain is needed (\"*\" takes every host)\n");
  EXPECT_EQ(ErrorsOf("virtual_hosts { name: 'a' domains: 'x' domains: '' } virtual_hosts { name: 'b' domains: 'X' domains: 'a*b' }"),
            "virtual_hosts[0].domains[1]: is empty\n"
            "virtual_hosts[1].domains[0]: \"X\" is in this configuration already; a domain belongs to one virtual host\n"
            "virtual_hosts[1].domains[1]: \"a*b\": one * is allowed, at the beginning or at the end\n");
}

TEST(RouteCompileTest, RouteErrors) {
  EXPECT_EQ(ErrorsOf("virtual_hosts { name: 'v' domains: '*' routes { } }"),
            "virtual_hosts[0].routes[0].match: is missing\n"
            "virtual_hosts[0].routes[0]: one of route, redirect, direct_response is missing\n");
  EXPECT_EQ(ErrorsOf(Route("route { }")),
            "virtual_hosts[0].routes[0].route: one of cluster, cluster_header, weighted_clusters is missing\n");
  EXPECT_EQ(ErrorsOf(Route("route { cluster: '' }")), "virtual_hosts[0].routes[0].route.cluster: a cluster name is missing\n");
  EXPECT_EQ(ErrorsOf(Route("route { cluster_header: 'a b' }")),
            "virtual_hosts[0].routes[0].route.cluster_header: \"a b\" is not a header name\n");
  EXPECT_EQ(ErrorsOf(Route("route { cluster: 'c' timeout { seconds: -1 } }")),
            "virtual_hosts[0].routes[0].route.timeout: a duration of -1 s and 0 ns: expected 0 or more, at most 100 years\n");
  EXPECT_EQ(ErrorsOf(Route("route { cluster: 'c' prefix_rewrite: '/a b' host_rewrite_literal: 'h\\r\\n' }")),
            "virtual_hosts[0].routes[0].route.prefix_rewrite: \"/a b\" holds a space or control character\n"
            "virtual_hosts[0].routes[0].route.host_rewrite_literal: \"h\r\n\" holds a space or control character\n");
  // All are reported, not only the first.
  EXPECT_EQ(ErrorsOf("virtual_hosts { name: 'v' domains: '*' routes { match { safe_regex { regex: '(' } } route { cluster: 'a' } } "
                     "routes { match { prefix: '/' headers { name: 'h' string_match { } } } route { cluster: 'a' } } }"),
            "virtual_hosts[0].routes[0].match.safe_regex.regex: \"(\" is not a regular expression (RE2): missing ): (\n"
            "virtual_hosts[0].routes[1].match.headers[0].string_match: one of exact, prefix, suffix, contains, safe_regex is missing\n");
}

TEST(RouteCompileTest, WeightErrors) {
  EXPECT_EQ(ErrorsOf(Route("route { weighted_clusters { } }")),
            "virtual_hosts[0].routes[0].route.weighted_clusters.clusters: at least one is needed\n");
  EXPECT_EQ(ErrorsOf(Route("route { weighted_clusters { clusters { name: 'a' } } }")),
            "virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].weight: is missing\n"
            "virtual_hosts[0].routes[0].route.weighted_clusters.clusters: the weights sum to 0: no cluster could be chosen\n");
  EXPECT_THAT(ErrorsOf(Route("route { weighted_clusters { clusters { name: 'a' weight { value: 4294967295 } } "
                             "clusters { name: 'b' weight { value: 1 } } } }")),
              HasSubstr("the weights sum to 4294967296; at most 4294967295"));
  EXPECT_EQ(ErrorsOf(Route("route { weighted_clusters { clusters { name: 'a' weight { value: 1 } "
                           "request_headers_to_add { header { key: 'host' value: 'x' } } } } }"))
                .substr(0, 103),
            "virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].request_headers_to_add[0].header.key: \"h");
}

TEST(RouteCompileTest, RedirectErrors) {
  EXPECT_EQ(ErrorsOf(Route("redirect { port_redirect: 70000 path_redirect: '/a b' }")),
            "virtual_hosts[0].routes[0].redirect.port_redirect: 70000 is not a port\n"
            "virtual_hosts[0].routes[0].redirect.path_redirect: \"/a b\" holds a space or control character\n");
  struct Case {
    const char* code;
    int status;
  } cases[] = {{"MOVED_PERMANENTLY", 301}, {"FOUND", 302}, {"SEE_OTHER", 303}, {"TEMPORARY_REDIRECT", 307}, {"PERMANENT_REDIRECT", 308}};
  for (const Case& c : cases) {
    EXPECT_EQ(ActionOf(CompileText(Route(std::string("redirect { response_code: ") + c.code + " }"))).redirect->status, c.status);
  }
}

TEST(RouteCompileTest, DirectResponse) {
  EXPECT_EQ(ErrorsOf(Route("direct_response { status: 100 }")),
            "virtual_hosts[0].routes[0].direct_response.status: 100: expected 200 to 599\n");
  EXPECT_EQ(ErrorsOf(Route("direct_response { status: 200 body { } }")),
            "virtual_hosts[0].routes[0].direct_response.body: one of inline_string, inline_bytes, filename, environment_variable is missing\n");
  EXPECT_EQ(ErrorsOf(Route("direct_response { status: 200 body { filename: '/x' } }")),
            "virtual_hosts[0].routes[0].direct_response.body.filename: files are not read here; use inline_string\n");
  EXPECT_EQ(ErrorsOf(Route("direct_response { status: 200 body { environment_variable: 'WEFT_NO_SUCH' } }")),
            "virtual_hosts[0].routes[0].direct_response.body.environment_variable: the environment has no \"WEFT_NO_SUCH\"\n");
  const std::string big = Route("direct_response { status: 200 body { inline_string: '" + std::string(4097, 'x') + "' } }");
  EXPECT_EQ(ErrorsOf(big),
            "virtual_hosts[0].routes[0].direct_response.body: 4097 bytes; at most 4096 (max_direct_response_body_size_bytes)\n");
  EXPECT_EQ(ErrorsOf(big + " max_direct_response_body_size_bytes { value: 5000 }"), "");

  CompileOptions options;
  options.read_file = [](const std::string& name) -> absl::StatusOr<std::string> {
    if (name == "/page") return std::string("from a file");
    return absl::NotFoundError(name + ": no such file");
  };
  std::vector<api::SourceError> errors;
  auto table = RouteTable::Compile(FromText<Proto>(Route("direct_response { status: 200 body { filename: '/page' } }")), &errors, options);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(ActionOf(table).direct_response->body, "from a file");
  EXPECT_EQ(ErrorsOf(Route("direct_response { status: 200 body { filename: '/none' } }"), options),
            "virtual_hosts[0].routes[0].direct_response.body.filename: /none: no such file\n");
  setenv("WEFT_BODY", "from the environment", 1);
  table = CompileText(Route("direct_response { status: 200 body { environment_variable: 'WEFT_BODY' } }"));
  EXPECT_EQ(ActionOf(table).direct_response->body, "from the environment");
}

TEST(RouteCompileTest, ValidateClusters) {
  CompileOptions options;
  options.cluster_exists = [](std::string_view name) { return name == "known"; };
  EXPECT_EQ(ErrorsOf(Route("route { cluster: 'other' }"), options), "") << "only when it is asked for";
  EXPECT_EQ(ErrorsOf(Route("route { cluster: 'other' }") + " validate_clusters { value: true }", options),
            "virtual_hosts[0].routes[0].route.cluster: there is no cluster \"other\" (validate_clusters is set)\n");
  EXPECT_EQ(ErrorsOf(Route("route { cluster: 'known' }") + " validate_clusters { value: true }", options), "");
}

TEST(RouteCompileTest, WarningsDoNotRefuse) {
  EXPECT_THAT(ErrorsOf(Route("route { cluster: 'c' retry_policy { retry_on: 'sometimes' } }")),
              HasSubstr("warning: virtual_hosts[0].routes[0].route.retry_policy.retry_on: \"sometimes\""));
}

}  // namespace
}  // namespace weft::decide
