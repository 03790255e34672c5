// RouteConfiguration -> RouteTable.
#include <cstdlib>
#include <utility>

#include "dataplane/base/strings.h"
#include "dataplane/decide/route_table.h"

namespace weft::decide {

namespace pb = envoy::config::route::v3;

namespace {

// Below this, looking at each route is as fast as the index.
constexpr size_t kIndexedRoutes = 8;
constexpr size_t kDefaultMaxBody = 4096;
constexpr size_t kMaxMaxBody = 16 * 1024 * 1024;

int RedirectStatus(pb::RedirectAction::RedirectResponseCode code) {
  switch (code) {
    case pb::RedirectAction::FOUND:
      return 302;
    case pb::RedirectAction::SEE_OTHER:
      return 303;
    case pb::RedirectAction::TEMPORARY_REDIRECT:
      return 307;
    case pb::RedirectAction::PERMANENT_REDIRECT:
      return 308;
    default:
      return 301;
  }
}

int NotFoundStatus(pb::RouteAction::ClusterNotFoundResponseCode code) {
  switch (code) {
    case pb::RouteAction::NOT_FOUND:
      return 404;
    case pb::RouteAction::INTERNAL_SERVER_ERROR:
      return 500;
    default:
      return 503;
  }
}

}  // namespace

// One run over one configuration.
// Owner: Compile, on its stack. Thread: its.
class RouteCompiler {
 public:
  RouteCompiler(const pb::RouteConfiguration& config, std::vector<api::SourceError>* errors,
                const CompileOptions& options)
      : config_(config), errors_(errors), options_(options) {}

  std::shared_ptr<const RouteTable> Run();

 private:
  template <typename Proto>
  void CompileModifications(const Proto& proto, const std::string& path, Modifications* out);
  void CompileVirtualHost(const pb::VirtualHost& proto, uint32_t number, const std::string& path, VirtualHost* out);
  void CompileRoute(const pb::Route& proto, const std::string& path, Route* out);
  void CompileAction(const pb::RouteAction& proto, const std::string& path, RouteAction* out);
  void CompileWeighted(const pb::WeightedCluster& proto, const std::string& path, RouteAction* out);
  void CompileRedirect(const pb::RedirectAction& proto, const std::string& path, RouteAction* out);
  void CompileDirectResponse(const pb::DirectResponseAction& proto, const std::string& path, RouteAction* out);
  std::string ReadBody(const envoy::config::core::v3::DataSource& source, const std::string& path);
  void CheckCluster(const std::string& name, const std::string& path);
  void CheckText(const std::string& value, const std::string& path);
  static void BuildIndex(VirtualHost* vhost);

  const pb::RouteConfiguration& config_;
  Errors errors_;
  const CompileOptions& options_;
  RegexPool regexes_;
  std::shared_ptr<RouteTable> table_{new RouteTable};
};

std::shared_ptr<const RouteTable> RouteTable::Compile(const pb::RouteConfiguration& config,
                                                      std::vector<api::SourceError>* errors,
                                                      const CompileOptions& options) {
  return RouteCompiler(config, errors, options).Run();
}

std::shared_ptr<const RouteTable> RouteCompiler::Run() {
  table_->name_ = config_.name();
  table_->ignore_port_ = config_.ignore_port_in_host_matching();
  table_->most_specific_wins_ = config_.most_specific_header_mutations_wins();
  if (config_.max_direct_response_body_size_bytes().value() > kMaxMaxBody) {
    errors_.Add("max_direct_response_body_size_bytes", StrCat("at most ", kMaxMaxBody));
  }
  CompileModifications(config_, "", &table_->modifications_);
  table_->virtual_hosts_.resize(static_cast<size_t>(config_.virtual_hosts_size()));
  for (int i = 0; i < config_.virtual_hosts_size(); ++i) {
    CompileVirtualHost(config_.virtual_hosts(i), static_cast<uint32_t>(i), StrCat("virtual_hosts[", i, "]"),
                       &table_->virtual_hosts_[static_cast<size_t>(i)]);
  }
  table_->hosts_.Seal();
  if (errors_.any()) return nullptr;
  return table_;
}

template <typename Proto>
void RouteCompiler::CompileModifications(const Proto& proto, const std::string& path, Modifications* out) {
  const std::string dot = path.empty() ? "" : path + ".";
  CompileMutations(proto.request_headers_to_add(), proto.request_headers_to_remove(), dot + "request_headers_to_add",
                   dot + "request_headers_to_remove", &errors_, &out->request_mutations);
  CompileMutations(proto.response_headers_to_add(), proto.response_headers_to_remove(), dot + "response_headers_to_add",
                   dot + "response_headers_to_remove", &errors_, &out->response_mutations);
  for (const auto& [name, any] : proto.typed_per_filter_config()) {
    FilterConfig config;
    config.filter_name = name;
    if (options_.filter_config) {
      config.compiled =
          options_.filter_config(name, any, StrCat(dot, "typed_per_filter_config[\"", name, "\"]"), &errors_);
    } else {
      config.raw = any;
    }
    out->filter_configs.push_back(std::move(config));
  }
}

void RouteCompiler::CheckCluster(const std::string& name, const std::string& path) {
  if (name.empty()) {
    errors_.Add(path, "a cluster name is missing");
  } else if (config_.validate_clusters().value() && options_.cluster_exists && !options_.cluster_exists(name)) {
    errors_.Add(path, StrCat("there is no cluster \"", name, "\" (validate_clusters is set)"));
  }
}

// What goes into a request line or a header as it is.
void RouteCompiler::CheckText(const std::string& value, const std::string& path) {
  for (unsigned char c : value) {
    if (c <= 0x20 || c == 0x7f) {
      errors_.Add(path, StrCat("\"", value, "\" holds a space or control character"));
      return;
    }
  }
}

void RouteCompiler::CompileVirtualHost(const pb::VirtualHost& proto, uint32_t number, const std::string& path,
                                       VirtualHost* out) {
  out->name = proto.name();
  if (proto.name().empty()) errors_.Add(path + ".name", "is missing");
  if (proto.domains().empty()) errors_.Add(path + ".domains", "at least one domain is needed (\"*\" takes every host)");
  for (int i = 0; i < proto.domains_size(); ++i) {
    const std::string& domain = proto.domains(i);
    const std::string field = StrCat(path, ".domains[", i, "]");
    out->domains.push_back(domain);
    if (domain.empty()) {
      errors_.Add(field, "is empty");
      continue;
    }
    switch (table_->hosts_.Add(domain, number)) {
      case VirtualHostIndex::AddResult::kOk:
        break;
      case VirtualHostIndex::AddResult::kDuplicate:
        errors_.Add(field, StrCat("\"", domain, "\" is in this configuration already; a domain belongs to one virtual host"));
        break;
      case VirtualHostIndex::AddResult::kBadWildcard:
        errors_.Add(field, StrCat("\"", domain, "\": one * is allowed, at the beginning or at the end"));
        break;
    }
  }
  CompileModifications(proto, path, &out->modifications);
  out->routes.resize(static_cast<size_t>(proto.routes_size()));
  for (int i = 0; i < proto.routes_size(); ++i) {
    CompileRoute(proto.routes(i), StrCat(path, ".routes[", i, "]"), &out->routes[static_cast<size_t>(i)]);
  }
  BuildIndex(out);
}

void RouteCompiler::BuildIndex(VirtualHost* vhost) {
  if (vhost->routes.size() <= kIndexedRoutes) return;
  std::vector<RouteIndex::Key> keys, folded;
  for (size_t i = 0; i < vhost->routes.size(); ++i) {
    const RouteMatcher& match = vhost->routes[i].match;
    (match.case_sensitive() ? keys : folded)
        .push_back({match.required_prefix(), static_cast<uint32_t>(i), match.path_kind() == RouteMatcher::PathKind::kExact});
  }
  vhost->index.Build(std::move(keys), false);
  vhost->folded_index.Build(std::move(folded), true);
}

void RouteCompiler::CompileRoute(const pb::Route& proto, const std::string& path, Route* out) {
  out->name = proto.name();
  if (!proto.has_match()) {
    errors_.Add(path + ".match", "is missing");
  } else {
    out->match = RouteMatcher::Compile(proto.match(), path + ".match", &regexes_, &errors_);
  }
  CompileModifications(proto, path, &out->modifications);
  switch (proto.action_case()) {
    case pb::Route::kRoute:
      CompileAction(proto.route(), path + ".route", &out->action);
      break;
    case pb::Route::kRedirect:
      CompileRedirect(proto.redirect(), path + ".redirect", &out->action);
      break;
    case pb::Route::kDirectResponse:
      CompileDirectResponse(proto.direct_response(), path + ".direct_response", &out->action);
      break;
    case pb::Route::ACTION_NOT_SET:
      errors_.Add(path, "one of route, redirect, direct_response is missing");
      break;
  }
}

void RouteCompiler::CompileAction(const pb::RouteAction& proto, const std::string& path, RouteAction* out) {
  switch (proto.cluster_specifier_case()) {
    case pb::RouteAction::kCluster:
      out->kind = RouteAction::Kind::kCluster;
      out->cluster = proto.cluster();
      CheckCluster(proto.cluster(), path + ".cluster");
      break;
    case pb::RouteAction::kClusterHeader:
      out->kind = RouteAction::Kind::kClusterHeader;
      out->cluster = AsciiLower(proto.cluster_header());
      if (!IsHeaderName(out->cluster.starts_with(':') ? std::string_view(out->cluster).substr(1) : out->cluster)) {
        errors_.Add(path + ".cluster_header", StrCat("\"", proto.cluster_header(), "\" is not a header name"));
      }
      break;
    case pb::RouteAction::kWeightedClusters:
      CompileWeighted(proto.weighted_clusters(), path + ".weighted_clusters", out);
      break;
    case pb::RouteAction::CLUSTER_SPECIFIER_NOT_SET:
      errors_.Add(path, "one of cluster, cluster_header, weighted_clusters is missing");
      break;
  }
  out->cluster_not_found_status = NotFoundStatus(proto.cluster_not_found_response_code());
  out->prefix_rewrite = proto.prefix_rewrite();
  CheckText(proto.prefix_rewrite(), path + ".prefix_rewrite");
  out->host_rewrite_literal = proto.host_rewrite_literal();
  CheckText(proto.host_rewrite_literal(), path + ".host_rewrite_literal");
  if (proto.has_timeout()) out->timeout = CompileDuration(proto.timeout(), path + ".timeout", &errors_);
  if (proto.has_idle_timeout()) {
    out->idle_timeout = CompileDuration(proto.idle_timeout(), path + ".idle_timeout", &errors_);
  }
  if (proto.has_max_stream_duration() || proto.has_max_grpc_timeout()) {
    auto limits = std::make_unique<DurationLimits>();
    auto duration = [&](const google::protobuf::Duration& d, std::string_view field) {
      return CompileDuration(d, StrCat(path, ".", field), &errors_);
    };
    if (proto.has_max_grpc_timeout()) limits->max_grpc_timeout = duration(proto.max_grpc_timeout(), "max_grpc_timeout");
    limits->grpc_timeout_offset = duration(proto.grpc_timeout_offset(), "grpc_timeout_offset");
    if (proto.has_max_stream_duration()) {
      const auto& m = proto.max_stream_duration();
      limits->has_max_stream_duration = true;
      if (m.has_max_stream_duration()) {
        limits->max_stream_duration = duration(m.max_stream_duration(), "max_stream_duration.max_stream_duration");
      }
      if (m.has_grpc_timeout_header_max()) {
        limits->grpc_timeout_header_max =
            duration(m.grpc_timeout_header_max(), "max_stream_duration.grpc_timeout_header_max");
      }
      limits->grpc_timeout_header_offset =
          duration(m.grpc_timeout_header_offset(), "max_stream_duration.grpc_timeout_header_offset");
    }
    out->duration = std::move(limits);
  } else if (proto.has_grpc_timeout_offset()) {
    errors_.Add(path + ".grpc_timeout_offset", "has a meaning together with max_grpc_timeout only");
  }
  if (proto.has_retry_policy()) {
    out->retry = CompileRetryPolicy(proto.retry_policy(), path + ".retry_policy", &errors_);
  }
  for (int i = 0; i < proto.upgrade_configs_size(); ++i) {
    const auto& upgrade = proto.upgrade_configs(i);
    const std::string at = StrCat(path, ".upgrade_configs[", i, "]");
    out->upgrades.Add(upgrade.upgrade_type(), !upgrade.has_enabled() || upgrade.enabled().value(), at, &errors_);
    if (!upgrade.has_connect_config()) continue;
    if (!EqualsIgnoreCase(upgrade.upgrade_type(), "connect")) {
      errors_.Add(at + ".connect_config", "is for the upgrade type CONNECT only");
    }
    if (upgrade.connect_config().allow_post()) {
      errors_.Add(at + ".connect_config.allow_post", "not supported: expected clients that send CONNECT");
    }
    out->upgrades.set_connect_ends();
  }
}

void RouteCompiler::CompileWeighted(const pb::WeightedCluster& proto, const std::string& path, RouteAction* out) {
  out->kind = RouteAction::Kind::kWeightedClusters;
  out->weight_header = AsciiLower(proto.header_name());
  if (!out->weight_header.empty() && !IsHeaderName(out->weight_header)) {
    errors_.Add(path + ".header_name", StrCat("\"", proto.header_name(), "\" is not a header name"));
  }
  if (proto.clusters().empty()) errors_.Add(path + ".clusters", "at least one is needed");
  out->weighted.resize(static_cast<size_t>(proto.clusters_size()));
  for (int i = 0; i < proto.clusters_size(); ++i) {
    const auto& cluster = proto.clusters(i);
    const std::string field = StrCat(path, ".clusters[", i, "]");
    WeightedCluster& made = out->weighted[static_cast<size_t>(i)];
    made.cluster = cluster.name();
    CheckCluster(cluster.name(), field + ".name");
    if (!cluster.has_weight()) errors_.Add(field + ".weight", "is missing");
    out->total_weight += cluster.weight().value();
    made.upper = out->total_weight;
    made.host_rewrite_literal = cluster.host_rewrite_literal();
    CheckText(cluster.host_rewrite_literal(), field + ".host_rewrite_literal");
    CompileModifications(cluster, field, &made.modifications);
  }
  // As in Envoy: a number that 32 bits hold.
  if (out->total_weight == 0 && !proto.clusters().empty()) {
    errors_.Add(path + ".clusters", "the weights sum to 0: no cluster could be chosen");
  }
  if (out->total_weight > UINT32_MAX) {
    errors_.Add(path + ".clusters", StrCat("the weights sum to ", out->total_weight, "; at most ", UINT32_MAX));
  }
}

void RouteCompiler::CompileRedirect(const pb::RedirectAction& proto, const std::string& path, RouteAction* out) {
  auto redirect = std::make_unique<Redirect>();
  if (proto.scheme_rewrite_specifier_case() == pb::RedirectAction::kSchemeRedirect) {
    redirect->scheme = AsciiLower(proto.scheme_redirect());
    CheckText(redirect->scheme, path + ".scheme_redirect");
  } else if (proto.https_redirect()) {
    redirect->scheme = "https";
  }
  redirect->host = proto.host_redirect();
  CheckText(redirect->host, path + ".host_redirect");
  redirect->port = proto.port_redirect();
  if (redirect->port > 65535) errors_.Add(path + ".port_redirect", StrCat(redirect->port, " is not a port"));
  redirect->path = proto.path_redirect();
  CheckText(redirect->path, path + ".path_redirect");
  redirect->prefix_rewrite = proto.prefix_rewrite();
  CheckText(redirect->prefix_rewrite, path + ".prefix_rewrite");
  if (proto.response_code() < 0 || proto.response_code() > pb::RedirectAction::PERMANENT_REDIRECT) {
    errors_.Add(path + ".response_code", StrCat("unknown value ", static_cast<int>(proto.response_code())));
  }
  redirect->status = RedirectStatus(proto.response_code());
  redirect->strip_query = proto.strip_query();
  out->kind = RouteAction::Kind::kRedirect;
  out->redirect = std::move(redirect);
}

void RouteCompiler::CompileDirectResponse(const pb::DirectResponseAction& proto, const std::string& path,
                                          RouteAction* out) {
  auto response = std::make_unique<DirectResponse>();
  if (proto.status() < 200 || proto.status() > 599) {
    errors_.Add(path + ".status", StrCat(proto.status(), ": expected 200 to 599"));
  }
  response->status = static_cast<int>(proto.status());
  if (proto.has_body()) response->body = ReadBody(proto.body(), path + ".body");
  const size_t max = config_.has_max_direct_response_body_size_bytes()
                         ? config_.max_direct_response_body_size_bytes().value()
                         : kDefaultMaxBody;
  if (response->body.size() > max) {
    errors_.Add(path + ".body", StrCat(response->body.size(), " bytes; at most ", max,
                                       " (max_direct_response_body_size_bytes)"));
  }
  out->kind = RouteAction::Kind::kDirectResponse;
  out->direct_response = std::move(response);
}

std::string RouteCompiler::ReadBody(const envoy::config::core::v3::DataSource& source, const std::string& path) {
  using envoy::config::core::v3::DataSource;
  switch (source.specifier_case()) {
    case DataSource::kInlineString:
      return source.inline_string();
    case DataSource::kInlineBytes:
      return source.inline_bytes();
    case DataSource::kEnvironmentVariable: {
      const char* value = std::getenv(source.environment_variable().c_str());
      if (value != nullptr) return value;
      errors_.Add(path + ".environment_variable",
                  StrCat("the environment has no \"", source.environment_variable(), "\""));
      return "";
    }
    case DataSource::kFilename: {
      if (!options_.read_file) {
        errors_.Add(path + ".filename", "files are not read here; use inline_string");
        return "";
      }
      absl::StatusOr<std::string> text = options_.read_file(source.filename());
      if (text.ok()) return *std::move(text);
      errors_.Add(path + ".filename", std::string(text.status().message()));
      return "";
    }
    case DataSource::SPECIFIER_NOT_SET:
      errors_.Add(path, "one of inline_string, inline_bytes, filename, environment_variable is missing");
      return "";
  }
  return "";
}

}  // namespace weft::decide
