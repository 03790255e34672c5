#include <re2/re2.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <set>

#include "api/cpp/suggest.h"
#include "controlplane/model/validate_internal.h"
#include "dataplane/base/strings.h"
#include "dataplane/base/substitution/format.h"
#include "dataplane/decide/header_mutation.h"

// Rules of https://istio.io/latest/docs/reference/config/networking/virtual-service/ that a VirtualService must keep by
// itself.
namespace weft::ctl {

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> out;
  for (size_t begin = 0, end = 0; end != std::string_view::npos; begin = end + 1) {
    end = text.find(',', begin);
    std::string_view word = text.substr(begin, end == std::string_view::npos ? end : end - begin);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    out.emplace_back(word);
  }
  return out;
}

namespace validate_internal {
namespace {

namespace istio = ::istio::networking::v1alpha3;

// Envoy's limit for bodies of direct responses that the generators ask for.
constexpr size_t kMaxDirectResponseBody = 1 << 20;

void CheckRegex(const std::string& path, const std::string& regex, Issues& issues) {
  if (regex.empty()) return issues.Error(path, "must not be empty");
  if (regex.size() > 1024) return issues.Error(path, "is longer than 1024 characters");
  RE2::Options options;
  options.set_log_errors(false);
  const RE2 compiled(regex, options);
  if (!compiled.ok()) issues.Error(path, StrCat("not a regular expression (RE2): ", compiled.error()));
}

// `required`: one of exact, prefix and regex must be there, and not be empty.
void CheckString(const std::string& path, const istio::StringMatch& match, bool required, Issues& issues) {
  switch (match.match_type_case()) {
    case istio::StringMatch::kExact:
      if (required && match.exact().empty()) issues.Error(path + ".exact", "must not be empty");
      break;
    case istio::StringMatch::kPrefix:
      if (match.prefix().empty()) issues.Error(path + ".prefix", "must not be empty");
      break;
    case istio::StringMatch::kRegex:
      CheckRegex(path + ".regex", match.regex(), issues);
      break;
    case istio::StringMatch::MATCH_TYPE_NOT_SET:
      if (required) issues.Error(path, "expected one of exact, prefix and regex");
      break;
  }
}

bool IsHost(std::string_view name) { return EqualsIgnoreCase(name, "host") || name == ":authority"; }

void CheckMatch(const istio::HTTPMatchRequest& match, const std::string& path, Issues& issues) {
  if (match.has_uri()) CheckString(path + ".uri", match.uri(), true, issues);
  if (match.has_scheme()) CheckString(path + ".scheme", match.scheme(), true, issues);
  if (match.has_method()) CheckString(path + ".method", match.method(), true, issues);
  if (match.has_authority()) CheckString(path + ".authority", match.authority(), true, issues);
  if (match.port() != 0) issues.Port(path + ".port", match.port());
  auto headers = [&](const char* field, const auto& map) {
    for (const auto& [name, value] : map) {
      const std::string at = StrCat(path, ".", field, "[\"", name, "\"]");
      if (!decide::IsHeaderName(name)) issues.Error(at, "not the name of a header");
      if (IsHost(name)) issues.Error(at, "match on `authority` instead");
      CheckString(at, value, false, issues);
    }
  };
  headers("headers", match.headers());
  headers("withoutHeaders", match.without_headers());
  for (const auto& [name, value] : match.query_params()) {
    const std::string at = StrCat(path, ".queryParams[\"", name, "\"]");
    if (name.empty()) issues.Error(at, "a query parameter needs a name");
    CheckString(at, value, false, issues);
  }
  if (match.ignore_uri_case() && match.uri().has_regex()) {
    issues.Warning(path + ".ignoreUriCase", "has no effect on a regex: write (?i) at its beginning");
  }
}

// Text that becomes part of a request line, a Host or a Location.
void CheckText(const std::string& path, std::string_view text, Issues& issues) {
  for (unsigned char c : text) {
    if (c <= ' ' || c == 0x7f) return issues.Error(path, "holds a space or a control character");
  }
}

void CheckHeaderValue(const std::string& path, const std::string& value, Issues& issues) {
  const auto format = Format::Compile(value);
  if (!format.ok()) {
    issues.Error(path, StrCat(std::string(format.status().message()), " (a percent sign is written %%)"));
  } else if (format->has_line_break()) {
    issues.Error(path, "a header's value has no line ends and no NUL");
  }
}

void CheckHeaders(const istio::Headers& headers, const std::string& path, Issues& issues) {
  auto operations = [&](const char* side, const istio::Headers::HeaderOperations& ops) {
    const bool request = std::string_view(side) == "request";
    auto name = [&](const std::string& at, const std::string& header) {
      if (IsHost(header)) {
        issues.Error(at, "the host can only be set, on a request");
      } else if (!decide::IsHeaderName(header)) {
        issues.Error(at, "not the name of a header");
      } else if (decide::IsProtectedHeader(header)) {
        issues.Error(at, "belongs to one connection and is set by the proxy alone");
      }
    };
    const std::string at = StrCat(path, ".", side);
    for (const auto& [header, value] : ops.set()) {
      const std::string field = StrCat(at, ".set[\"", header, "\"]");
      if (request && IsHost(header)) {
        CheckText(field, value, issues);
      } else {
        name(field, header);
        CheckHeaderValue(field, value, issues);
      }
    }
    for (const auto& [header, value] : ops.add()) {
      const std::string field = StrCat(at, ".add[\"", header, "\"]");
      name(field, header);
      CheckHeaderValue(field, value, issues);
    }
    for (int i = 0; i < ops.remove_size(); ++i) name(StrCat(at, ".remove[", i, "]"), ops.remove(i));
  };
  operations("request", headers.request());
  operations("response", headers.response());
}

void CheckDestination(const istio::Destination& destination, const std::string& path, Issues& issues) {
  issues.Host(path + ".host", destination.host(), /*wildcard=*/false);
  if (destination.has_port()) issues.Port(path + ".port.number", destination.port().number());
}

void CheckRoute(const istio::HTTPRoute& http, const std::string& path, Issues& issues) {
  int64_t total = 0;
  for (int i = 0; i < http.route_size(); ++i) {
    const istio::HTTPRouteDestination& route = http.route(i);
    const std::string at = StrCat(path, ".route[", i, "]");
    if (!route.has_destination()) issues.Error(at + ".destination", "a destination is required");
    else CheckDestination(route.destination(), at + ".destination", issues);
    if (route.weight() < 0) issues.Error(at + ".weight", StrCat("expected 0 or more, got ", route.weight()));
    total += route.weight();
    CheckHeaders(route.headers(), at + ".headers", issues);
  }
  // A single destination takes everything, whatever its weight.
  if (http.route_size() > 1 && total <= 0) {
    issues.Error(path + ".route", "the weights of the destinations add up to 0: nothing would get any traffic");
  }
  // Envoy's sum of weights is a uint32.
  if (total > 0xffffffffLL) issues.Error(path + ".route", "the weights add up to more than 4294967295");
}

void CheckRedirect(const istio::HTTPRedirect& redirect, const std::string& path, Issues& issues) {
  static const auto& codes = *new std::set<uint32_t>{0, 301, 302, 303, 307, 308};
  if (!codes.contains(redirect.redirect_code())) {
    issues.Error(path + ".redirectCode", StrCat("expected 301, 302, 303, 307 or 308, got ", redirect.redirect_code()));
  }
  if (redirect.has_port()) issues.Port(path + ".port", redirect.port());
  CheckText(path + ".uri", redirect.uri(), issues);
  CheckText(path + ".prefixRewrite", redirect.prefix_rewrite(), issues);
  CheckText(path + ".authority", redirect.authority(), issues);
  if (!redirect.uri().empty() && !redirect.prefix_rewrite().empty()) {
    issues.Error(path + ".prefixRewrite", "can't stand beside uri");
  }
  if (!redirect.scheme().empty() && redirect.scheme() != "http" && redirect.scheme() != "https") {
    issues.Error(path + ".scheme", StrCat("expected \"http\" or \"https\", got \"", redirect.scheme(), "\""));
  }
  if (redirect.uri().empty() && redirect.prefix_rewrite().empty() && redirect.authority().empty() &&
      redirect.scheme().empty() && redirect.redirect_port_case() == istio::HTTPRedirect::REDIRECT_PORT_NOT_SET) {
    issues.Error(path, "leads back to where it came from: give uri, authority, scheme or port");
  }
}

void CheckRetries(const istio::HTTPRetry& retries, const std::string& path, Issues& issues) {
  static const auto& known = *new std::vector<std::string>{
      "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
      "refused-stream", "retriable-status-codes", "cancelled",
      "deadline-exceeded", "internal", "resource-exhausted", "unavailable"};
  if (retries.attempts() < 0) {
    issues.Error(path + ".attempts", StrCat("expected 0 or more, got ", retries.attempts()));
  } else if (retries.attempts() == 0 && (retries.has_per_try_timeout() || !retries.retry_on().empty() || retries.has_backoff())) {
    issues.Error(path + ".attempts", "0 means no retries: the settings beside it have no effect");
  }
  if (retries.has_per_try_timeout()) issues.Duration(path + ".perTryTimeout", retries.per_try_timeout(), /*zero=*/true);
  if (retries.has_backoff()) issues.Duration(path + ".backoff", retries.backoff(), /*zero=*/false);
  if (retries.retry_on().empty()) return;
  for (const std::string& word : SplitList(retries.retry_on())) {
    int code = 0;
    const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), code);
    if (failed == std::errc() && end == word.data() + word.size() && code >= 100 && code < 600) continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    const std::string nearest = api::Nearest(word, known);
    issues.Error(path + ".retryOn",
                 StrCat("\"", word, "\" is neither a condition nor a status code",
                              nearest.empty() ? "" : StrCat(" (did you mean \"", nearest, "\"?)")));
  }
}

void CheckHttpRoute(const istio::HTTPRoute& http, const std::string& path, Issues& issues) {
  for (int i = 0; i < http.match_size(); ++i) {
    CheckMatch(http.match(i), StrCat(path, ".match[", i, "]"), issues);
  }
  const int actions = (http.route_size() > 0) + http.has_redirect() + http.has_direct_response();
  if (actions != 1) {
    issues.Error(path, actions == 0 ? "one of route, redirect and directResponse is required"
                                    : "only one of route, redirect and directResponse is possible");
  }
  CheckRoute(http, path, issues);
  if (http.has_redirect()) CheckRedirect(http.redirect(), path + ".redirect", issues);
  if (http.has_direct_response()) {
    const auto& direct = http.direct_response();
    if (direct.status() < 200 || direct.status() > 599) {
      issues.Error(path + ".directResponse.status", StrCat("expected 200 to 599, got ", direct.status()));
    }
    if (std::max(direct.body().string().size(), direct.body().bytes().size()) > kMaxDirectResponseBody) {
      issues.Error(path + ".directResponse.body", "is larger than 1 MiB");
    }
  }
  if (http.has_rewrite()) {
    if (http.route_size() == 0) issues.Error(path + ".rewrite", "has no effect without route");
    if (http.rewrite().uri().empty() && http.rewrite().authority().empty() && !http.rewrite().has_uri_regex_rewrite()) {
      issues.Error(path + ".rewrite", "one of uri and authority is required");
    }
    CheckText(path + ".rewrite.uri", http.rewrite().uri(), issues);
    CheckText(path + ".rewrite.authority", http.rewrite().authority(), issues);
  }
  if (http.has_timeout()) issues.Duration(path + ".timeout", http.timeout(), /*zero=*/true);
  if (http.has_retries()) CheckRetries(http.retries(), path + ".retries", issues);
  CheckHeaders(http.headers(), path + ".headers", issues);
}

}  // namespace

void CheckVirtualService(const istio::VirtualService& spec, Issues& issues) {
  if (spec.hosts().empty()) issues.Error("spec.hosts", "at least one host is required");
  std::set<std::string> hosts;
  for (int i = 0; i < spec.hosts_size(); ++i) {
    const std::string path = StrCat("spec.hosts[", i, "]");
    issues.Host(path, spec.hosts(i), /*wildcard=*/true);
    if (spec.hosts(i) == "*") issues.Error(path, "\"*\" is not possible for sidecars (gateway \"mesh\"): name the hosts");
    if (!hosts.insert(spec.hosts(i)).second) issues.Error(path, StrCat("\"", spec.hosts(i), "\" is there twice"));
  }
  for (int i = 0; i < spec.gateways_size(); ++i) {
    if (spec.gateways(i) != "mesh") {
      issues.Error(StrCat("spec.gateways[", i, "]"),
                   StrCat("\"", spec.gateways(i), "\": gateways are not supported by this version: only \"mesh\""));
    }
  }
  if (spec.http().empty() && spec.tcp().empty() && spec.tls().empty()) {
    issues.Error("spec.http", "at least one rule is required");
  }
  std::optional<int> takes_all;
  for (int i = 0; i < spec.http_size(); ++i) {
    const std::string path = StrCat("spec.http[", i, "]");
    CheckHttpRoute(spec.http(i), path, issues);
    if (takes_all.has_value()) {
      issues.Warning(path, StrCat("is never reached: spec.http[", *takes_all, "] has no match and takes everything"));
    } else if (spec.http(i).match().empty()) {
      takes_all = i;
    }
  }
  issues.ShareEverywhere("spec.exportTo", spec.export_to());
}

}  // namespace validate_internal
}  // namespace weft::ctl
