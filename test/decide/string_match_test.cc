#include "dataplane/decide/string_match.h"

#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

StringMatch Make(const std::string& text) {
  std::vector<api::SourceError> list;
  Errors errors(&list);
  RegexPool regexes;
  StringMatch match = StringMatch::Compile(FromText<envoy::type::matcher::v3::StringMatcher>(text), "m", &regexes, &errors);
  EXPECT_FALSE(errors.any()) << Lines(list);
  return match;
}

std::string ErrorsOf(const std::string& text) {
  std::vector<api::SourceError> list;
  Errors errors(&list);
  RegexPool regexes;
  StringMatch::Compile(FromText<envoy::type::matcher::v3::StringMatcher>(text), "m", &regexes, &errors);
  return Lines(list);
}

TEST(StringMatchTest, Table) {
  struct Case {
    const char* matcher;
    const char* value;
    bool matches;
  } cases[] = {
      {"exact: 'Jason'", "Jason", true},
      {"exact: 'Jason'", "jason", false},
      {"exact: 'Jason'", "Jason2", false},
      {"exact: 'Jason' ignore_case: true", "jASON", true},
      {"exact: 'Jason' ignore_case: true", "jASO", false},
      {"exact: ''", "", true},
      {"exact: ''", "x", false},
      {"prefix: 'ab'", "abc", true},
      {"prefix: 'ab'", "ab", true},
      {"prefix: 'ab'", "a", false},
      {"prefix: 'AB' ignore_case: true", "abC", true},
      {"suffix: 'bc'", "abc", true},
      {"suffix: 'bc'", "c", false},
      {"suffix: 'BC' ignore_case: true", "abc", true},
      {"contains: 'b'", "abc", true},
      {"contains: 'B'", "abc", false},
      {"contains: 'B' ignore_case: true", "abc", true},
      {"contains: 'abcd' ignore_case: true", "abc", false},
      {"safe_regex { regex: 'v[0-9]+' }", "v12", true},
      {"safe_regex { regex: 'v[0-9]+' }", "xv12", false},
      {"safe_regex { regex: 'v[0-9]+' }", "v12x", false},
      {"safe_regex { regex: 'a|ab' }", "ab", true},
      {"safe_regex { regex: 'V' } ignore_case: true", "v", false},  // no effect on expressions, as in Envoy
  };
  for (const Case& c : cases) EXPECT_EQ(Make(c.matcher).Matches(c.value), c.matches) << c.matcher << " on " << c.value;
}

TEST(StringMatchTest, Errors) {
  EXPECT_EQ(ErrorsOf(""), "m: one of exact, prefix, suffix, contains, safe_regex is missing\n");
  EXPECT_EQ(ErrorsOf("prefix: ''"), "m.prefix: must not be empty (it would match every value)\n");
  EXPECT_EQ(ErrorsOf("safe_regex { regex: '(' }"),
            "m.safe_regex.regex: \"(\" is not a regular expression (RE2): missing ): (\n");
  EXPECT_EQ(ErrorsOf("safe_regex { }"), "m.safe_regex.regex: a regular expression is missing\n");
}

TEST(StringMatchTest, EqualExpressionsAreCompiledOnce) {
  RegexPool pool;
  Errors errors(nullptr);
  envoy::type::matcher::v3::RegexMatcher regex;
  regex.set_regex("a+");
  EXPECT_EQ(pool.Get(regex, "x", &errors), pool.Get(regex, "y", &errors));
}

TEST(StringMatchTest, Describe) {
  EXPECT_EQ(Make("prefix: 'Ab' ignore_case: true").Describe(), "has prefix \"ab\" (any case)");
  EXPECT_EQ(Make("safe_regex { regex: 'a+' }").Describe(), "matches \"a+\"");
}

}  // namespace
}  // namespace weft::decide
