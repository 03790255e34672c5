#include "dataplane/decide/route_match.h"

#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

using Proto = envoy::config::route::v3::RouteMatch;

RouteMatcher Make(const std::string& text) {
  std::vector<api::SourceError> list;
  Errors errors(&list);
  RegexPool regexes;
  RouteMatcher m = RouteMatcher::Compile(FromText<Proto>(text), "match", &regexes, &errors);
  EXPECT_TRUE(list.empty()) << Lines(list);
  return m;
}

std::string ErrorsOf(const std::string& text) {
  std::vector<api::SourceError> list;
  Errors errors(&list);
  RegexPool regexes;
  RouteMatcher::Compile(FromText<Proto>(text), "match", &regexes, &errors);
  return Lines(list);
}

bool Matches(const RouteMatcher& m, const RequestView& request, uint64_t random = 0) {
  SplitPath path = Split(request.path);
  bool matches = m.Matches(request, path, random);
  EXPECT_EQ(m.WhyNot(request, path, random).empty(), matches) << "the trace has to agree";
  return matches;
}

TEST(SplitTest, Table) {
  EXPECT_EQ(Split("/a?b=c").path, "/a");
  EXPECT_EQ(Split("/a?b=c").query, "b=c");
  EXPECT_EQ(Split("/a?b=c#d?e").query, "b=c");
  EXPECT_EQ(Split("/a#x?b").path, "/a");
  EXPECT_EQ(Split("/a#x?b").query, "");
  EXPECT_EQ(Split("/a").path, "/a");
  EXPECT_EQ(Split("?q").path, "");
  EXPECT_EQ(Split("/a?b?c").query, "b?c");
}

TEST(RouteMatcherTest, Paths) {
  struct Case {
    const char* match;
    const char* path;
    bool want;
  } cases[] = {
      {"prefix: '/'", "/", true},
      {"prefix: '/'", "*", false},
      {"prefix: '/'", "", false},
      {"prefix: ''", "", false},  // CONNECT has no path
      {"prefix: ''", "*", true},
      {"prefix: '/api'", "/api", true},
      {"prefix: '/api'", "/apis/x", true},
      {"prefix: '/api'", "/ap", false},
      {"prefix: '/api'", "/API", false},
      {"prefix: '/API' case_sensitive { value: false }", "/apiX", true},
      {"prefix: '/api'", "/x?p=/api", false},
      {"prefix: '/a?b'", "/a?b", false},  // the query is not looked at
      {"path: '/api'", "/api", true},
      {"path: '/api'", "/api?x=1", true},
      {"path: '/api'", "/api#f", true},
      {"path: '/api'", "/api/", false},
      {"path: '/Api'", "/api", false},
      {"path: '/Api' case_sensitive { value: false }", "/aPI", true},
      {"path: '/Api' case_sensitive { value: true }", "/aPI", false},
      {"path_separated_prefix: '/api/dev'", "/api/dev", true},
      {"path_separated_prefix: '/api/dev'", "/api/dev?x", true},
      {"path_separated_prefix: '/api/dev'", "/api/dev/v1", true},
      {"path_separated_prefix: '/api/dev'", "/api/developer", false},
      {"path_separated_prefix: '/api/dev'", "/api/de", false},
      {"path_separated_prefix: '/API' case_sensitive { value: false }", "/api/x", true},
      {"safe_regex { regex: '/b[io]t' }", "/bit", true},
      {"safe_regex { regex: '/b[io]t' }", "/bit?x", true},
      {"safe_regex { regex: '/b[io]t' }", "/bite", false},
      {"safe_regex { regex: '/b[io]t' } case_sensitive { value: false }", "/BIT", false},
      {"safe_regex { regex: '(?i)/b[io]t' }", "/BIT", true},
  };
  for (const Case& c : cases) EXPECT_EQ(Matches(Make(c.match), {.path = c.path}), c.want) << c.match << " on " << c.path;
}

TEST(RouteMatcherTest, RequiredPrefixOfExpressions) {
  struct Case {
    const char* regex;
    const char* prefix;
  } cases[] = {
      {"/api/v[0-9]+", "/api/v"}, {"/api/(a|b)", "/api/"}, {"/a|/b", "/"},  {"(?i)/x", "/"}, {".*", ""},
      {"/é*x", "/"},              {"/ab?c", "/a"},         {"/ab*", "/a"},
  };
  for (const Case& c : cases) {
    std::string prefix = Make(std::string("safe_regex { regex: '") + c.regex + "' }").required_prefix();
    // RE2 may say less than is true, never more.
    EXPECT_TRUE(std::string(c.prefix).starts_with(prefix)) << c.regex << ": " << prefix;
  }
  EXPECT_EQ(Make("safe_regex { regex: '/api/v[0-9]+' }").required_prefix(), "/api/v") << "worth an index";
}

TEST(RouteMatcherTest, Headers) {
  MapHeaders headers{{"end-user", "jason"}, {"n", "15"}, {"empty", ""}};
  RequestView request{.method = "GET", .scheme = "http", .authority = "a:80", .path = "/p?q=1", .headers = &headers};
  struct Case {
    const char* header;
    bool want;
  } cases[] = {
      {"name: 'end-user' string_match { exact: 'jason' }", true},
      {"name: 'END-USER' string_match { exact: 'jason' }", true},
      {"name: 'end-user' string_match { exact: 'jason' } invert_match: true", false},
      {"name: 'end-user' string_match { exact: 'other' } invert_match: true", true},
      // What is not there matches no value and no inverse of one.
      {"name: 'none' string_match { exact: 'x' }", false},
      {"name: 'none' string_match { exact: 'x' } invert_match: true", false},
      {"name: 'none' string_match { exact: '' } treat_missing_header_as_empty: true", true},
      {"name: 'none' string_match { exact: 'x' } invert_match: true treat_missing_header_as_empty: true", true},
      {"name: 'end-user'", true},
      {"name: 'none'", false},
      {"name: 'empty'", true},
      {"name: 'end-user' invert_match: true", false},
      {"name: 'none' invert_match: true", true},
      {"name: 'none' present_match: true", false},
      {"name: 'none' present_match: false", true},
      {"name: 'none' present_match: false invert_match: true", false},
      {"name: 'end-user' present_match: false", false},
      {"name: 'end-user' present_match: false invert_match: true", true},
      {"name: 'n' range_match { start: 10 end: 16 }", true},
      {"name: 'n' range_match { start: 10 end: 15 }", false},  // half open
      {"name: 'n' range_match { start: 15 end: 16 }", true},
      {"name: 'end-user' range_match { start: 0 end: 100 }", false},
      {"name: 'end-user' range_match { start: 0 end: 100 } invert_match: true", true},
      {"name: ':method' string_match { exact: 'GET' }", true},
      {"name: ':path' string_match { suffix: 'q=1' }", true},
      {"name: ':authority' string_match { prefix: 'a' }", true},
      {"name: 'host' string_match { prefix: 'a' }", true},
      {"name: ':scheme' string_match { exact: 'https' }", false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(Make(std::string("prefix: '/' headers { ") + c.header + " }"), request), c.want) << c.header;
  }
  EXPECT_TRUE(Matches(Make("prefix: '/' headers { name: 'n' } headers { name: 'empty' }"), request));
  EXPECT_FALSE(Matches(Make("prefix: '/' headers { name: 'n' } headers { name: 'none' }"), request)) << "all must hold";
  request.headers = nullptr;
  EXPECT_FALSE(Matches(Make("prefix: '/' headers { name: 'n' }"), request));
}

TEST(RouteMatcherTest, QueryParameters) {
  struct Case {
    const char* matcher;
    const char* path;
    bool want;
  } cases[] = {
      {"name: 'a' string_match { exact: '1' }", "/?a=1", true},
      {"name: 'a' string_match { exact: '1' }", "/?b=2&a=1&c", true},
      {"name: 'a' string_match { exact: '1' }", "/?a=2&a=1", false},  // the first counts
      {"name: 'a' string_match { exact: '1' }", "/?aa=1", false},
      {"name: 'a' string_match { exact: '1' }", "/?a=1#x", true},
      {"name: 'a' string_match { exact: '1' }", "/", false},
      {"name: 'a' string_match { exact: '' }", "/?a", true},
      {"name: 'a' string_match { exact: '' }", "/?a=", true},
      {"name: 'a' string_match { prefix: 'x=' }", "/?a=x=y", true},
      {"name: 'a'", "/?a", true},
      {"name: 'a'", "/?b", false},
      {"name: 'a' present_match: true", "/?b&a=", true},
      {"name: 'a' present_match: false", "/?b", true},
      {"name: 'a' present_match: false", "/?a", false},
      {"name: 'a'", "/#?a", false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(Make(std::string("prefix: '/' query_parameters { ") + c.matcher + " }"), {.path = c.path}), c.want)
        << c.matcher << " on " << c.path;
  }
}

TEST(RouteMatcherTest, Fraction) {
  RouteMatcher m = Make("prefix: '/' runtime_fraction { default_value { numerator: 3 denominator: TEN_THOUSAND } }");
  EXPECT_TRUE(Matches(m, {.path = "/"}, 2));
  EXPECT_FALSE(Matches(m, {.path = "/"}, 3));
  EXPECT_FALSE(Matches(m, {.path = "/"}, 9999));
  EXPECT_TRUE(Matches(m, {.path = "/"}, 10002));
  RouteMatcher none = Make("prefix: '/' runtime_fraction { default_value { numerator: 0 } }");
  RouteMatcher all = Make("prefix: '/' runtime_fraction { default_value { numerator: 100 } }");
  for (uint64_t r = 0; r < 200; ++r) {
    EXPECT_FALSE(Matches(none, {.path = "/"}, r));
    EXPECT_TRUE(Matches(all, {.path = "/"}, r));
  }
}

TEST(RouteMatcherTest, ConnectIsForConnectMatcherAlone) {
  RouteMatcher connect = Make("connect_matcher {}"), prefix = Make("prefix: '/'"), regex = Make("safe_regex { regex: '.*' }");
  EXPECT_TRUE(Matches(connect, {.method = "CONNECT", .path = ""}));
  EXPECT_FALSE(Matches(connect, {.method = "GET", .path = "/"}));
  EXPECT_FALSE(Matches(prefix, {.method = "CONNECT", .path = ""}));
  EXPECT_FALSE(Matches(regex, {.method = "CONNECT", .path = ""}));
  EXPECT_EQ(connect.DescribePath(), "connect_matcher");
}

TEST(RouteMatcherTest, WhyNotSaysWhich) {
  MapHeaders headers{{"end-user", "jason"}};
  RequestView request{.path = "/api?x=1", .headers = &headers};
  auto why = [&](const std::string& match) { return Make(match).WhyNot(request, Split(request.path), 77); };
  EXPECT_EQ(why("prefix: '/other'"), "prefix \"/other\" does not match \"/api\"");
  EXPECT_EQ(why("path: '/API' case_sensitive { value: false } headers { name: 'end-user' string_match { exact: 'x' } }"),
            "header end-user is \"x\": does not hold");
  EXPECT_EQ(why("prefix: '/' headers { name: 'end-user' invert_match: true }"),
            "not (header end-user is present): does not hold");
  EXPECT_EQ(why("prefix: '/' query_parameters { name: 'y' }"), "query parameter y is present: does not hold");
  EXPECT_EQ(why("prefix: '/' runtime_fraction { default_value { numerator: 10 } }"),
            "outside runtime_fraction 10/100 (77)");
  EXPECT_EQ(why("prefix: '/'"), "");
}

TEST(RouteMatcherTest, Errors) {
  EXPECT_EQ(ErrorsOf(""), "match: one of prefix, path, safe_regex, path_separated_prefix, connect_matcher is missing\n");
  EXPECT_EQ(ErrorsOf("path_separated_prefix: '/a/'"),
            "match.path_separated_prefix: \"/a/\": expected a path without ?, # and a slash at the end\n");
  EXPECT_EQ(ErrorsOf("safe_regex { regex: '[' }"),
            "match.safe_regex.regex: \"[\" is not a regular expression (RE2): missing ]: [\n");
  EXPECT_EQ(ErrorsOf("prefix: '/' headers { } headers { name: 'a b' } query_parameters { }"),
            "match.headers[0].name: \"\" is not a header name\nmatch.headers[1].name: \"a b\" is not a header name\n"
            "match.query_parameters[0].name: is missing\n");
}

}  // namespace
}  // namespace weft::decide
