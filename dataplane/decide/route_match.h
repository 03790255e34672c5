#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/substitution/stream_fields.h"
#include "dataplane/decide/string_match.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace weft::decide {

using ::weft::HeaderSource;

// What routing may look at. `path` has its query; CONNECT has an empty one.
// Owner: the caller, on its stack. All views are borrowed for the time of the call.
struct RequestView {
  std::string_view method, scheme, authority, path;
  const HeaderSource* headers = nullptr;

  // Pseudo headers included; "host" is the authority.
  std::optional<std::string_view> Header(std::string_view lower_case_name) const;
};

// The path without query and fragment, and the query without "?".
struct SplitPath {
  std::string_view path, query;
};
SplitPath Split(std::string_view path_with_query);

// envoy.config.route.v3.HeaderMatcher, compiled.
class HeaderMatch {
 public:
  static HeaderMatch Compile(const envoy::config::route::v3::HeaderMatcher& matcher, const std::string& path,
                             RegexPool* regexes, Errors* errors);
  bool Matches(const RequestView& request) const;
  std::string Describe() const;

 private:
  enum class Kind : uint8_t { kPresent, kRange, kString };
  std::string name_;
  Kind kind_ = Kind::kPresent;
  bool present_ = true;
  bool invert_ = false;
  bool missing_is_empty_ = false;
  int64_t range_begin_ = 0, range_end_ = 0;
  StringMatch text_;
};

// envoy.config.route.v3.QueryParameterMatcher, compiled. Names and values are compared as they are on the wire, without
// percent-decoding, as Envoy does.
class QueryMatch {
 public:
  static QueryMatch Compile(const envoy::config::route::v3::QueryParameterMatcher& matcher, const std::string& path,
                            RegexPool* regexes, Errors* errors);
  bool Matches(std::string_view query) const;
  std::string Describe() const;

 private:
  std::string name_;
  bool has_text_ = false;
  bool present_ = true;
  StringMatch text_;
};

// First value of a query parameter.
std::optional<std::string_view> QueryParameter(std::string_view query, std::string_view name);

// envoy.config.route.v3.RouteMatch, compiled: the conditions of one route.
// Owner: its Route. Thread: immutable, any.
class RouteMatcher {
 public:
  enum class PathKind : uint8_t { kPrefix, kExact, kSeparatedPrefix, kRegex, kConnect };

  static RouteMatcher Compile(const envoy::config::route::v3::RouteMatch& match, const std::string& path,
                              RegexPool* regexes, Errors* errors);

  // All conditions. `random` is this route's own number (for runtime_fraction).
  bool Matches(const RequestView& request, const SplitPath& path, uint64_t random) const {
    return KindMatches(request) && PathMatches(path.path) && OthersMatch(request, path.query, random);
  }
  bool PathMatches(std::string_view path) const;
  // The first condition that does not hold, in words; empty when all hold.
  std::string WhyNot(const RequestView& request, const SplitPath& path, uint64_t random) const;
  // "prefix /api".
  std::string DescribePath() const;

  PathKind path_kind() const { return path_kind_; }
  bool case_sensitive() const { return case_sensitive_; }
  // The prefix or path (in lower case when case does not count); the expression for kRegex.
  const std::string& path_text() const { return path_text_; }
  // Every path that can match begins with these bytes.
  const std::string& required_prefix() const { return path_kind_ == PathKind::kRegex ? regex_prefix_ : path_text_; }
  // How many bytes of `path`, which matches, are replaced by a prefix rewrite: Envoy replaces the whole path for exact
  // and regex routes.
  size_t MatchedLength(std::string_view path) const;

 private:
  // CONNECT has no path: connect_matcher takes it, and nothing else does.
  bool KindMatches(const RequestView& request) const {
    return (path_kind_ == PathKind::kConnect) == (request.method == "CONNECT");
  }
  bool OthersMatch(const RequestView& request, std::string_view query, uint64_t random) const;
  bool FractionMatches(uint64_t random) const { return !has_fraction_ || random % denominator_ < numerator_; }

  PathKind path_kind_ = PathKind::kPrefix;
  bool case_sensitive_ = true;
  bool has_fraction_ = false;
  uint32_t numerator_ = 0, denominator_ = 100;
  std::string path_text_;
  std::string regex_prefix_;
  std::shared_ptr<const RE2> regex_;
  std::vector<HeaderMatch> headers_;
  std::vector<QueryMatch> queries_;
};

}  // namespace weft::decide
