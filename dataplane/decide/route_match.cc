#include "dataplane/decide/route_match.h"

#include <charconv>

#include "dataplane/base/strings.h"
#include "dataplane/decide/header_mutation.h"

namespace weft::decide {
namespace {

namespace route = envoy::config::route::v3;

bool StartsWith(std::string_view path, std::string_view prefix, bool case_sensitive) {
  if (path.size() < prefix.size()) return false;
  std::string_view head = path.substr(0, prefix.size());
  return case_sensitive ? head == prefix : EqualsIgnoreCase(head, prefix);
}

// What every full match of `regex` begins with. RE2 answers this for anchored expressions only.
std::string RequiredPrefix(const std::string& regex) {
  RE2::Options options;
  options.set_log_errors(false);
  RE2 anchored("^(?:" + regex + ")", options);
  std::string min, max;
  if (!anchored.ok() || !anchored.PossibleMatchRange(&min, &max, 64)) return "";
  size_t n = 0;
  while (n < min.size() && n < max.size() && min[n] == max[n]) ++n;
  return min.substr(0, n);
}

}  // namespace

std::optional<std::string_view> RequestView::Header(std::string_view name) const {
  if (!name.empty() && name[0] == ':') {
    std::string_view v;
    if (name == ":method") v = method;
    if (name == ":path") v = path;
    if (name == ":authority") v = authority;
    if (name == ":scheme") v = scheme;
    if (v.empty()) return std::nullopt;
    return v;
  }
  if (name == "host" && !authority.empty()) return authority;
  return headers == nullptr ? std::nullopt : headers->Get(name);
}

SplitPath Split(std::string_view path_with_query) {
  size_t end = path_with_query.find_first_of("?#");
  if (end == std::string_view::npos) return {path_with_query, {}};
  SplitPath out{path_with_query.substr(0, end), {}};
  if (path_with_query[end] == '?') {
    out.query = path_with_query.substr(end + 1);
    out.query = out.query.substr(0, out.query.find('#'));
  }
  return out;
}

HeaderMatch HeaderMatch::Compile(const route::HeaderMatcher& matcher, const std::string& path, RegexPool* regexes,
                                 Errors* errors) {
  HeaderMatch out;
  out.name_ = AsciiLower(matcher.name());
  std::string_view bare = out.name_;
  if (!bare.empty() && bare[0] == ':') bare.remove_prefix(1);
  if (!IsHeaderName(bare)) errors->Add(path + ".name", StrCat("\"", matcher.name(), "\" is not a header name"));
  out.invert_ = matcher.invert_match();
  out.missing_is_empty_ = matcher.treat_missing_header_as_empty();
  switch (matcher.header_match_specifier_case()) {
    case route::HeaderMatcher::kRangeMatch:
      out.kind_ = Kind::kRange;
      out.range_begin_ = matcher.range_match().start();
      out.range_end_ = matcher.range_match().end();
      break;
    case route::HeaderMatcher::kStringMatch:
      out.kind_ = Kind::kString;
      out.text_ = StringMatch::Compile(matcher.string_match(), path + ".string_match", regexes, errors);
      break;
    case route::HeaderMatcher::kPresentMatch:
      out.present_ = matcher.present_match();
      break;
    case route::HeaderMatcher::HEADER_MATCH_SPECIFIER_NOT_SET:
      break;
  }
  return out;
}

bool HeaderMatch::Matches(const RequestView& request) const {
  std::optional<std::string_view> value = request.Header(name_);
  if (kind_ == Kind::kPresent) return (value.has_value() == present_) != invert_;
  if (!value.has_value()) {
    // A header that is not there matches no value, and not the inverse of one either.
    if (!missing_is_empty_) return false;
    value = std::string_view();
  }
  if (kind_ == Kind::kString) return text_.Matches(*value) != invert_;
  int64_t n = 0;
  auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), n);
  bool in_range = error == std::errc() && end == value->data() + value->size() && n >= range_begin_ && n < range_end_;
  return in_range != invert_;
}

std::string HeaderMatch::Describe() const {
  std::string what;
  switch (kind_) {
    case Kind::kPresent:
      what = present_ ? "is present" : "is absent";
      break;
    case Kind::kRange:
      what = StrCat("is in [", range_begin_, ",", range_end_, ")");
      break;
    case Kind::kString:
      what = text_.Describe();
      break;
  }
  return invert_ ? StrCat("not (header ", name_, " ", what, ")") : StrCat("header ", name_, " ", what);
}

std::optional<std::string_view> QueryParameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    size_t end = query.find('&');
    std::string_view pair = query.substr(0, end);
    size_t equals = pair.find('=');
    if (pair.substr(0, equals) == name) {
      return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    }
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
  return std::nullopt;
}

QueryMatch QueryMatch::Compile(const route::QueryParameterMatcher& matcher, const std::string& path, RegexPool* regexes,
                               Errors* errors) {
  QueryMatch out;
  out.name_ = matcher.name();
  if (out.name_.empty()) errors->Add(path + ".name", "is missing");
  switch (matcher.query_parameter_match_specifier_case()) {
    case route::QueryParameterMatcher::kStringMatch:
      out.has_text_ = true;
      out.text_ = StringMatch::Compile(matcher.string_match(), path + ".string_match", regexes, errors);
      break;
    case route::QueryParameterMatcher::kPresentMatch:
      out.present_ = matcher.present_match();
      break;
    case route::QueryParameterMatcher::QUERY_PARAMETER_MATCH_SPECIFIER_NOT_SET:
      break;
  }
  return out;
}

bool QueryMatch::Matches(std::string_view query) const {
  std::optional<std::string_view> value = QueryParameter(query, name_);
  if (!has_text_) return value.has_value() == present_;
  return value.has_value() && text_.Matches(*value);
}

std::string QueryMatch::Describe() const {
  return StrCat("query parameter ", name_, " ", has_text_ ? text_.Describe() : present_ ? "is present" : "is absent");
}

RouteMatcher RouteMatcher::Compile(const route::RouteMatch& match, const std::string& path, RegexPool* regexes,
                                   Errors* errors) {
  RouteMatcher out;
  out.case_sensitive_ = !match.has_case_sensitive() || match.case_sensitive().value();
  auto text = [&](PathKind kind, const std::string& value) {
    out.path_kind_ = kind;
    out.path_text_ = out.case_sensitive_ ? value : AsciiLower(value);
  };
  switch (match.path_specifier_case()) {
    case route::RouteMatch::kPrefix:
      text(PathKind::kPrefix, match.prefix());
      break;
    case route::RouteMatch::kPath:
      text(PathKind::kExact, match.path());
      break;
    case route::RouteMatch::kPathSeparatedPrefix: {
      const std::string& value = match.path_separated_prefix();
      text(PathKind::kSeparatedPrefix, value);
      if (value.empty() || value.find_first_of("?#") != std::string::npos || value.back() == '/') {
        errors->Add(path + ".path_separated_prefix",
                    StrCat("\"", value, "\": expected a path without ?, # and a slash at the end"));
      }
      break;
    }
    case route::RouteMatch::kSafeRegex:
      out.path_kind_ = PathKind::kRegex;
      out.case_sensitive_ = true;  // the expression itself says otherwise with (?i)
      out.path_text_ = match.safe_regex().regex();
      out.regex_ = regexes->Get(match.safe_regex(), path + ".safe_regex", errors);
      if (out.regex_ != nullptr) out.regex_prefix_ = RequiredPrefix(out.path_text_);
      break;
    case route::RouteMatch::kConnectMatcher:
      out.path_kind_ = PathKind::kConnect;
      break;
    case route::RouteMatch::PATH_SPECIFIER_NOT_SET:
      errors->Add(path, "one of prefix, path, safe_regex, path_separated_prefix, connect_matcher is missing");
      break;
  }
  if (match.has_runtime_fraction()) {
    const auto& fraction = match.runtime_fraction().default_value();
    static constexpr uint32_t kDenominators[] = {100, 10'000, 1'000'000};
    if (fraction.denominator() < 0 || fraction.denominator() > 2) {
      errors->Add(path + ".runtime_fraction.default_value.denominator",
                  StrCat("unknown value ", static_cast<int>(fraction.denominator())));
    } else {
      out.has_fraction_ = true;
      out.numerator_ = fraction.numerator();
      out.denominator_ = kDenominators[fraction.denominator()];
    }
  }
  out.headers_.reserve(static_cast<size_t>(match.headers_size()));
  for (int i = 0; i < match.headers_size(); ++i) {
    out.headers_.push_back(HeaderMatch::Compile(match.headers(i), StrCat(path, ".headers[", i, "]"), regexes, errors));
  }
  out.queries_.reserve(static_cast<size_t>(match.query_parameters_size()));
  for (int i = 0; i < match.query_parameters_size(); ++i) {
    out.queries_.push_back(QueryMatch::Compile(match.query_parameters(i), StrCat(path, ".query_parameters[", i, "]"),
                                               regexes, errors));
  }
  return out;
}

bool RouteMatcher::PathMatches(std::string_view path) const {
  switch (path_kind_) {
    case PathKind::kPrefix:
      return !path.empty() && StartsWith(path, path_text_, case_sensitive_);
    case PathKind::kExact:
      return path.size() == path_text_.size() && StartsWith(path, path_text_, case_sensitive_);
    case PathKind::kSeparatedPrefix:
      return StartsWith(path, path_text_, case_sensitive_) &&
             (path.size() == path_text_.size() || path[path_text_.size()] == '/');
    case PathKind::kRegex:
      return !path.empty() && RE2::FullMatch(re2::StringPiece(path.data(), path.size()), *regex_);
    case PathKind::kConnect:
      return path.empty();
  }
  return false;
}

bool RouteMatcher::OthersMatch(const RequestView& request, std::string_view query, uint64_t random) const {
  if (!FractionMatches(random)) return false;
  for (const HeaderMatch& h : headers_) {
    if (!h.Matches(request)) return false;
  }
  for (const QueryMatch& q : queries_) {
    if (!q.Matches(query)) return false;
  }
  return true;
}

std::string RouteMatcher::DescribePath() const {
  if (path_kind_ == PathKind::kConnect) return "connect_matcher";
  static constexpr const char* kNames[] = {"prefix", "path", "path_separated_prefix", "safe_regex"};
  return StrCat(kNames[static_cast<int>(path_kind_)], " \"", path_text_, "\"", case_sensitive_ ? "" : " (any case)");
}

std::string RouteMatcher::WhyNot(const RequestView& request, const SplitPath& path, uint64_t random) const {
  if (!KindMatches(request)) {
    return path_kind_ == PathKind::kConnect ? "connect_matcher takes CONNECT only"
                                            : "only connect_matcher takes CONNECT";
  }
  if (!PathMatches(path.path)) return StrCat(DescribePath(), " does not match \"", path.path, "\"");
  if (!FractionMatches(random)) {
    return StrCat("outside runtime_fraction ", numerator_, "/", denominator_, " (", random % denominator_, ")");
  }
  for (const HeaderMatch& h : headers_) {
    if (!h.Matches(request)) return StrCat(h.Describe(), ": does not hold");
  }
  for (const QueryMatch& q : queries_) {
    if (!q.Matches(path.query)) return StrCat(q.Describe(), ": does not hold");
  }
  return "";
}

size_t RouteMatcher::MatchedLength(std::string_view path) const {
  return path_kind_ == PathKind::kPrefix || path_kind_ == PathKind::kSeparatedPrefix ? path_text_.size() : path.size();
}

}  // namespace weft::decide
