#include "dataplane/decide/rewrite.h"

#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

std::shared_ptr<const RouteTable> OneRoute(const std::string& route) {
  return CompileText("virtual_hosts { name: 'v' domains: '*' routes { " + route + " } }");
}

std::string Rewrite(const std::string& match, std::string_view path, std::string_view prefix_rewrite) {
  auto table = OneRoute("match { " + match + " } route { cluster: 'c' }");
  std::string out;
  AppendRewrittenPath(table->virtual_hosts()[0].routes[0].match, path, prefix_rewrite, &out);
  return out;
}

std::string Location(const std::string& match, const std::string& redirect, const RequestView& request) {
  auto table = OneRoute("match { " + match + " } redirect { " + redirect + " }");
  std::string out;
  AppendRedirectLocation(table->virtual_hosts()[0].routes[0], request, &out);
  return out;
}

TEST(RewriteTest, Paths) {
  EXPECT_EQ(Rewrite("prefix: '/api'", "/api/v1?x=1", "/"), "//v1?x=1");
  EXPECT_EQ(Rewrite("prefix: '/api/'", "/api/v1?x=1", "/"), "/v1?x=1");
  EXPECT_EQ(Rewrite("prefix: '/'", "/a", "/b/"), "/b/a");
  EXPECT_EQ(Rewrite("prefix: '/API' case_sensitive { value: false }", "/api/x", "/new"), "/new/x");
  EXPECT_EQ(Rewrite("path: '/api'", "/api?x", "/new"), "/new?x");
  EXPECT_EQ(Rewrite("path_separated_prefix: '/api'", "/api/x", "/v2"), "/v2/x");
  EXPECT_EQ(Rewrite("path_separated_prefix: '/api'", "/api", "/v2"), "/v2");
  EXPECT_EQ(Rewrite("safe_regex { regex: '/a.*' }", "/abc?q#f", "/new"), "/new?q#f");
}

TEST(RedirectTest, Locations) {
  RequestView r{.method = "GET", .scheme = "http", .authority = "example.com", .path = "/a/b?x=1"};
  EXPECT_EQ(Location("prefix: '/'", "https_redirect: true", r), "https://example.com/a/b?x=1");
  EXPECT_EQ(Location("prefix: '/'", "scheme_redirect: 'HTTPS'", r), "https://example.com/a/b?x=1");
  EXPECT_EQ(Location("prefix: '/'", "host_redirect: 'new.org'", r), "http://new.org/a/b?x=1");
  EXPECT_EQ(Location("prefix: '/'", "port_redirect: 8443", r), "http://example.com:8443/a/b?x=1");
  EXPECT_EQ(Location("prefix: '/'", "path_redirect: '/new'", r), "http://example.com/new?x=1");
  EXPECT_EQ(Location("prefix: '/'", "path_redirect: '/new?y=2'", r), "http://example.com/new?y=2");
  EXPECT_EQ(Location("prefix: '/'", "path_redirect: '/new' strip_query: true", r), "http://example.com/new");
  EXPECT_EQ(Location("prefix: '/'", "strip_query: true", r), "http://example.com/a/b");
  EXPECT_EQ(Location("prefix: '/a'", "prefix_rewrite: '/z'", r), "http://example.com/z/b?x=1");
  EXPECT_EQ(Location("prefix: '/a'", "prefix_rewrite: '/z' strip_query: true", r), "http://example.com/z/b");
  r.scheme = "";
  EXPECT_EQ(Location("prefix: '/'", "host_redirect: 'h'", r), "http://h/a/b?x=1");
}

TEST(RedirectTest, PortsOfTheRequest) {
  RequestView r{.scheme = "http", .authority = "example.com:80", .path = "/"};
  EXPECT_EQ(Location("prefix: '/'", "https_redirect: true", r), "https://example.com/");
  EXPECT_EQ(Location("prefix: '/'", "port_redirect: 81", r), "http://example.com:81/");
  EXPECT_EQ(Location("prefix: '/'", "path_redirect: '/x'", r), "http://example.com:80/x");
  r.authority = "example.com:8080";
  EXPECT_EQ(Location("prefix: '/'", "https_redirect: true", r), "https://example.com:8080/");
  r.authority = "[::1]:80";
  EXPECT_EQ(Location("prefix: '/'", "https_redirect: true", r), "https://[::1]/");
  r.scheme = "https";
  r.authority = "example.com:443";
  EXPECT_EQ(Location("prefix: '/'", "scheme_redirect: 'http'", r), "http://example.com/");
}

}  // namespace
}  // namespace weft::decide
