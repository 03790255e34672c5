#include "controlplane/translate/http_routes.h"

#include <charconv>
#include <map>

#include "api/cpp/names.h"
#include "controlplane/model/hosts.h"
#include "controlplane/model/validate.h"
#include "controlplane/translate/generators.h"
#include "dataplane/base/strings.h"

// Istio's http rules as Envoy's routes:
// https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
namespace weft::ctl {
namespace {

namespace istio = ::istio::networking::v1alpha3;
namespace envoy_route = ::envoy::config::route::v3;
using envoy::config::core::v3::HeaderValueOption;
using envoy::type::matcher::v3::StringMatcher;

// Without `retries` Istio repeats what can be repeated without harm.
constexpr char kDefaultRetryOn[] = "connect-failure,refused-stream,unavailable,cancelled";
constexpr uint32_t kDefaultRetries = 2;

// --- Match

void SetString(const istio::StringMatch& match, StringMatcher* out) {
  switch (match.match_type_case()) {
    case istio::StringMatch::kExact: out->set_exact(match.exact()); break;
    case istio::StringMatch::kPrefix: out->set_prefix(match.prefix()); break;
    case istio::StringMatch::kRegex: out->mutable_safe_regex()->set_regex(match.regex()); break;
    case istio::StringMatch::MATCH_TYPE_NOT_SET: break;
  }
}

void AddHeader(const std::string& name, const istio::StringMatch& match, bool invert, envoy_route::RouteMatch* out) {
  auto* header = out->add_headers();
  header->set_name(name);
  header->set_invert_match(invert);
  if (match.match_type_case() == istio::StringMatch::MATCH_TYPE_NOT_SET) {
    header->set_present_match(true);
  } else {
    SetString(match, header->mutable_string_match());
    // A header that is not there does not have the value either. (Envoy's inverted match of an absent header is false.)
    header->set_treat_missing_header_as_empty(invert);
  }
}

template <typename V>
std::map<std::string, V> Sorted(const google::protobuf::Map<std::string, V>& map) {
  return {map.begin(), map.end()};
}

envoy_route::RouteMatch ToMatch(const istio::HTTPMatchRequest& match) {
  envoy_route::RouteMatch out;
  switch (match.uri().match_type_case()) {
    case istio::StringMatch::kExact: out.set_path(match.uri().exact()); break;
    case istio::StringMatch::kRegex: out.mutable_safe_regex()->set_regex(match.uri().regex()); break;
    case istio::StringMatch::kPrefix: out.set_prefix(match.uri().prefix()); break;
    case istio::StringMatch::MATCH_TYPE_NOT_SET: out.set_prefix("/"); break;
  }
  if (match.ignore_uri_case() && !match.uri().has_regex()) out.mutable_case_sensitive()->set_value(false);
  for (const auto& [name, value] : Sorted(match.headers())) AddHeader(name, value, false, &out);
  for (const auto& [name, value] : Sorted(match.without_headers())) AddHeader(name, value, true, &out);
  if (match.has_method()) AddHeader(":method", match.method(), false, &out);
  if (match.has_authority()) AddHeader(":authority", match.authority(), false, &out);
  if (match.has_scheme()) AddHeader(":scheme", match.scheme(), false, &out);
  for (const auto& [name, value] : Sorted(match.query_params())) {
    auto* parameter = out.add_query_parameters();
    parameter->set_name(name);
    if (value.match_type_case() == istio::StringMatch::MATCH_TYPE_NOT_SET) {
      parameter->set_present_match(true);
    } else {
      SetString(value, parameter->mutable_string_match());
    }
  }
  return out;
}

// --- Headers

bool IsHost(std::string_view name) { return EqualsIgnoreCase(name, "host") || name == ":authority"; }

// The host that `request.set` asks for; empty: none.
std::string HostOf(const istio::Headers& headers) {
  for (const auto& [name, value] : Sorted(headers.request().set())) {
    if (IsHost(name)) return value;
  }
  return "";
}

template <typename Adds>
void AddHeaderOperations(const istio::Headers::HeaderOperations& operations, Adds* adds,
                         google::protobuf::RepeatedPtrField<std::string>* removes) {
  auto add = [&](const std::string& name, const std::string& value, HeaderValueOption::HeaderAppendAction action) {
    auto* option = adds->Add();
    option->mutable_header()->set_key(name);
    option->mutable_header()->set_value(value);
    option->set_append_action(action);
  };
  for (const auto& [name, value] : Sorted(operations.set())) {
    if (!IsHost(name)) add(name, value, HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD);
  }
  for (const auto& [name, value] : Sorted(operations.add())) add(name, value, HeaderValueOption::APPEND_IF_EXISTS_OR_ADD);
  for (const std::string& name : operations.remove()) *removes->Add() = name;
}

// `out` is a Route or a ClusterWeight: they have the same four fields.
template <typename Out>
void SetHeaders(const istio::Headers& headers, Out* out) {
  AddHeaderOperations(headers.request(), out->mutable_request_headers_to_add(), out->mutable_request_headers_to_remove());
  AddHeaderOperations(headers.response(), out->mutable_response_headers_to_add(),
                      out->mutable_response_headers_to_remove());
}

// --- Action

void SetRetries(const istio::HTTPRoute& http, envoy_route::RouteAction* action) {
  const istio::HTTPRetry& retries = http.retries();
  if (http.has_retries() && retries.attempts() == 0) return;  // switched off
  auto* policy = action->mutable_retry_policy();
  policy->mutable_num_retries()->set_value(http.has_retries() ? static_cast<uint32_t>(retries.attempts())
                                                              : kDefaultRetries);
  if (retries.per_try_timeout().seconds() > 0 || retries.per_try_timeout().nanos() > 0) {
    *policy->mutable_per_try_timeout() = retries.per_try_timeout();
  }
  if (retries.has_backoff()) {
    auto* back_off = policy->mutable_retry_back_off();
    *back_off->mutable_base_interval() = retries.backoff();
    // Ten times the base, which is also Envoy's default relation.
    *back_off->mutable_max_interval() =
        ToDuration(std::chrono::milliseconds((retries.backoff().seconds() * 1000 + retries.backoff().nanos() / 1000000) * 10));
  }
  if (retries.retry_on().empty()) {
    policy->set_retry_on(kDefaultRetryOn);
    return;
  }
  // Istio takes status codes among the conditions; Envoy has a list for them.
  std::string conditions;
  bool codes = false, codes_asked = false;
  for (const std::string& word : SplitList(retries.retry_on())) {
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), code);
    if (error == std::errc() && end == word.data() + word.size()) {
      policy->add_retriable_status_codes(code);
      codes = true;
      continue;
    }
    codes_asked |= word == "retriable-status-codes";
    StrAppend(&conditions, conditions.empty() ? "" : ",", word);
  }
  if (codes && !codes_asked) StrAppend(&conditions, conditions.empty() ? "" : ",", "retriable-status-codes");
  policy->set_retry_on(conditions);
}

// Everything that the rules of one VirtualService are translated for.
struct Context {
  const RouteRules& rules;
  uint32_t port;  // of the service that was called
  Reader& reader;
  const MeshGraph& mesh;
};

std::string ClusterOf(const istio::Destination& destination, const Context& context) {
  const std::string host = FullHost(destination.host(), context.rules.object.ns, context.mesh.mesh().domain_suffix);
  const auto service = ServiceFor(host, context.reader, context.mesh);
  uint32_t port = destination.port().number();
  if (port == 0) port = service != nullptr && service->ports.size() == 1 ? service->ports.front().number : context.port;
  // A service that has gone away since: its cluster does not exist, requests get a 503 that says so.
  return api::OutboundCluster(static_cast<uint16_t>(port), destination.subset(), service == nullptr ? host : service->host);
}

void SetClusters(const istio::HTTPRoute& http, const Context& context, envoy_route::Route* route) {
  auto* action = route->mutable_route();
  std::vector<const istio::HTTPRouteDestination*> destinations;
  for (const istio::HTTPRouteDestination& destination : http.route()) {
    if (destination.weight() > 0 || http.route_size() == 1) destinations.push_back(&destination);
  }
  if (destinations.size() == 1) {
    action->set_cluster(ClusterOf(destinations.front()->destination(), context));
    SetHeaders(destinations.front()->headers(), route);
    if (const std::string host = HostOf(destinations.front()->headers()); !host.empty()) {
      action->set_host_rewrite_literal(host);
    }
    return;
  }
  for (const istio::HTTPRouteDestination* destination : destinations) {
    auto* cluster = action->mutable_weighted_clusters()->add_clusters();
    cluster->set_name(ClusterOf(destination->destination(), context));
    cluster->mutable_weight()->set_value(static_cast<uint32_t>(destination->weight()));
    SetHeaders(destination->headers(), cluster);
    if (const std::string host = HostOf(destination->headers()); !host.empty()) cluster->set_host_rewrite_literal(host);
  }
}

void SetRoute(const istio::HTTPRoute& http, const Context& context, envoy_route::Route* route) {
  SetClusters(http, context, route);
  auto* action = route->mutable_route();
  // 0: none. Envoy's default of 15 s would surprise people who set nothing.
  *action->mutable_timeout() = http.timeout();
  SetRetries(http, action);
  if (!http.rewrite().uri().empty()) action->set_prefix_rewrite(http.rewrite().uri());
  std::string host = http.rewrite().authority();
  if (host.empty()) host = HostOf(http.headers());
  if (!host.empty()) action->set_host_rewrite_literal(host);
}

void SetRedirect(const istio::HTTPRedirect& redirect, const Context& context, envoy_route::RedirectAction* out) {
  out->set_host_redirect(redirect.authority());
  if (!redirect.scheme().empty()) out->set_scheme_redirect(redirect.scheme());
  if (redirect.has_port()) {
    out->set_port_redirect(redirect.port());
  } else if (redirect.has_derive_port() && redirect.derive_port() == istio::HTTPRedirect::FROM_REQUEST_PORT) {
    out->set_port_redirect(context.port);
  }
  if (!redirect.prefix_rewrite().empty()) {
    out->set_prefix_rewrite(redirect.prefix_rewrite());
  } else if (!redirect.uri().empty()) {
    out->set_path_redirect(redirect.uri());
  }
  switch (redirect.redirect_code()) {
    case 302: out->set_response_code(envoy_route::RedirectAction::FOUND); break;
    case 303: out->set_response_code(envoy_route::RedirectAction::SEE_OTHER); break;
    case 307: out->set_response_code(envoy_route::RedirectAction::TEMPORARY_REDIRECT); break;
    case 308: out->set_response_code(envoy_route::RedirectAction::PERMANENT_REDIRECT); break;
    default: out->set_response_code(envoy_route::RedirectAction::MOVED_PERMANENTLY); break;
  }
}

// A rule without its match.
envoy_route::Route ToRoute(const istio::HTTPRoute& http, const Context& context) {
  envoy_route::Route out;
  out.set_name(http.name());
  if (http.has_redirect()) {
    SetRedirect(http.redirect(), context, out.mutable_redirect());
  } else if (http.has_direct_response()) {
    auto* direct = out.mutable_direct_response();
    direct->set_status(http.direct_response().status());
    if (http.direct_response().body().has_string()) {
      direct->mutable_body()->set_inline_string(http.direct_response().body().string());
    } else if (http.direct_response().body().has_bytes()) {
      direct->mutable_body()->set_inline_bytes(http.direct_response().body().bytes());
    }
  } else {
    SetRoute(http, context, &out);
  }
  SetHeaders(http.headers(), &out);
  return out;
}

envoy_route::Route DefaultRoute(const std::string& host, uint32_t port) {
  envoy_route::Route out;
  out.set_name("default");
  out.mutable_match()->set_prefix("/");
  auto* action = out.mutable_route();
  action->set_cluster(api::OutboundCluster(static_cast<uint16_t>(port), "", host));
  action->mutable_timeout();
  SetRetries(istio::HTTPRoute(), action);
  return out;
}

}  // namespace

std::vector<envoy_route::Route> HttpRoutesFor(const std::string& host, uint32_t port, Reader& reader,
                                              const MeshGraph& mesh) {
  const std::shared_ptr<const RouteRules>& rules = reader.Get(mesh.rules, host);
  if (rules == nullptr) return {DefaultRoute(host, port)};
  const Context context{*rules, port, reader, mesh};
  std::vector<envoy_route::Route> out;
  for (const istio::HTTPRoute& http : rules->spec->http()) {
    const envoy_route::Route route = ToRoute(http, context);
    if (http.match().empty()) {
      out.push_back(route);
      out.back().mutable_match()->set_prefix("/");
      break;  // whatever follows is never reached
    }
    for (const istio::HTTPMatchRequest& match : http.match()) {
      if (match.port() != 0 && match.port() != port) continue;
      out.push_back(route);
      *out.back().mutable_match() = ToMatch(match);
      if (!match.name().empty()) out.back().set_name(http.name().empty() ? match.name() : StrCat(http.name(), ".", match.name()));
    }
  }
  return out;
}

}  // namespace weft::ctl
