#include "dataplane/config/compile_listener.h"

#include <set>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_http1.h"
#include "dataplane/config/compile_http2.h"
#include "dataplane/filters/grpc_web/grpc_web.h"
#include "dataplane/filters/header_mutation/header_mutation.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb.h"
#include "envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
namespace hm = envoy::extensions::filters::http::header_mutation::v3;
using hcm::HttpConnectionManager;

std::string TypeOf(const google::protobuf::Any& any) { return std::string(api::MessageNameOf(any.type_url())); }

// A filter's configuration on a route; decide keeps what comes back with the route.
std::shared_ptr<const void> CompileRouteFilter(const std::string& filter_name, const google::protobuf::Any& any,
                                               const std::string& path, const CompileEnv& env, decide::Errors* errors) {
  if (any.type_url() == api::kHeaderMutationPerRouteType) {
    hm::HeaderMutationPerRoute m;
    if (!UnpackAny(any, &m, path, env, errors)) return nullptr;
    return filters::HeaderMutations::Compile(m.mutations(), path + ".mutations", errors);
  }
  errors->Add(path, StrCat(TypeOf(any), " is not supported on a route: expected ",
                           api::MessageNameOf(api::kHeaderMutationPerRouteType)));
  return nullptr;
}

void CompileCommonHttp(const core::HttpProtocolOptions& o, const std::string& path, proxy::HttpManagerSpec* spec,
                       decide::Errors* errors) {
  if (o.has_idle_timeout()) spec->idle_timeout = CompileDuration(o.idle_timeout(), path + ".idle_timeout", false, errors);
  if (o.has_max_headers_count()) {
    spec->max_request_headers = o.max_headers_count().value();
    RefuseIf(spec->max_request_headers == 0, path + ".max_headers_count", "0: expected 1 or more", errors);
  }
  if (o.has_max_stream_duration()) {
    spec->max_stream_duration = CompileDuration(o.max_stream_duration(), path + ".max_stream_duration", false, errors);
  }
  if (o.has_max_requests_per_connection()) spec->max_requests_per_connection = o.max_requests_per_connection().value();
  RefuseIf(o.has_max_connection_duration(), path + ".max_connection_duration", "not supported", errors);
  RefuseIf(o.has_max_response_headers_kb(), path + ".max_response_headers_kb", "has a meaning for clusters only", errors);
  if (o.headers_with_underscores_action() != core::HttpProtocolOptions::ALLOW) {
    errors->Add(path + ".headers_with_underscores_action", "not supported: expected ALLOW");
  }
}

void CompileClientCert(const HttpConnectionManager& m, const std::string& path,
                       proxy::ClientCertForwarding* out, decide::Errors* errors) {
  using Mode = proxy::ClientCertForwarding::Mode;
  switch (m.forward_client_cert_details()) {
    case HttpConnectionManager::SANITIZE:
      out->mode = Mode::kSanitize;
      break;
    case HttpConnectionManager::FORWARD_ONLY:
      out->mode = Mode::kForwardOnly;
      break;
    case HttpConnectionManager::APPEND_FORWARD:
      out->mode = Mode::kAppendForward;
      break;
    case HttpConnectionManager::SANITIZE_SET:
      out->mode = Mode::kSanitizeSet;
      break;
    case HttpConnectionManager::ALWAYS_FORWARD_ONLY:
      out->mode = Mode::kAlwaysForwardOnly;
      break;
    default:
      errors->Add(path + ".forward_client_cert_details",
                  StrCat(static_cast<int>(m.forward_client_cert_details()), " is no way to forward"));
  }
  const auto& details = m.set_current_client_cert_details();
  out->subject = details.subject().value();
  out->cert = details.cert();
  out->chain = details.chain();
  out->uri = details.uri();
  out->dns = details.dns();
}

// False when there was an error.
void CompileFilters(const HttpConnectionManager& m, const std::string& path, const CompileEnv& env,
                    proxy::HttpManagerSpec* spec, decide::Errors* errors) {
  std::set<std::string> names;
  bool router = false;
  for (int i = 0; i < m.http_filters_size(); ++i) {
    const hcm::HttpFilter& f = m.http_filters(i);
    const std::string at = StrCat(path, ".http_filters[", i, "]");
    const std::string typed = at + ".typed_config";
    if (f.name().empty()) errors->Add(at + ".name", "is missing");
    RefuseIf(!f.name().empty() && !names.insert(f.name()).second, at + ".name",
             StrCat("\"", f.name(), "\" is the name of another filter too"), errors);
    RefuseIf(f.disabled(), at + ".disabled", "not supported: leave the filter out", errors);
    if (router) {
      errors->Add(at, "comes after the router, which ends the chain");
      continue;
    }
    if (!f.has_typed_config()) {
      errors->Add(typed, "is missing");
      continue;
    }
    if (f.typed_config().type_url() == api::kRouterType) {
      router = true;
      envoy::extensions::filters::http::router::v3::Router r;
      if (!UnpackAny(f.typed_config(), &r, typed, env, errors)) continue;
      RefuseIf(r.has_dynamic_stats() && !r.dynamic_stats().value(), typed + ".dynamic_stats", "false is not supported",
               errors);
      spec->suppress_envoy_headers = r.suppress_envoy_headers();
    } else if (f.typed_config().type_url() == api::kHeaderMutationType) {
      hm::HeaderMutation config;
      if (!UnpackAny(f.typed_config(), &config, typed, env, errors)) continue;
      auto filter = filters::HeaderMutationFilter::Compile(f.name(), config, typed, errors);
      if (filter != nullptr) spec->filters.push_back(std::move(filter));
    } else if (f.typed_config().type_url() == api::kGrpcWebType) {
      envoy::extensions::filters::http::grpc_web::v3::GrpcWeb config;
      if (!UnpackAny(f.typed_config(), &config, typed, env, errors)) continue;
      spec->filters.push_back(std::make_shared<filters::GrpcWebFilter>(f.name()));
    } else if (f.is_optional()) {
      errors->Warn(typed, StrCat("filter ", TypeOf(f.typed_config()), " is not supported: left out, as it is optional"));
    } else {
      errors->Add(typed, StrCat("filter ", TypeOf(f.typed_config()), " is not supported"));
    }
  }
  if (!router) {
    errors->Add(path + ".http_filters", StrCat("the last filter must be the router (", api::MessageNameOf(api::kRouterType), ")"));
  }
}

}  // namespace

std::shared_ptr<const decide::RouteTable> CompileRoutes(const envoy::config::route::v3::RouteConfiguration& routes,
                                                        const std::string& path, bool check_clusters,
                                                        const CompileEnv& env, decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  CheckUnknownFields(routes, "", env, &own);
  decide::CompileOptions options;
  options.filter_config = [&env](const std::string& filter, const google::protobuf::Any& any, const std::string& at,
                                 decide::Errors* e) { return CompileRouteFilter(filter, any, at, env, e); };
  options.read_file = env.read_file ? env.read_file : ReadSmallFile;
  if (check_clusters) options.cluster_exists = env.cluster_exists;
  std::shared_ptr<const decide::RouteTable> table;
  if (check_clusters && !routes.has_validate_clusters()) {  // Envoy's default for routes inside a listener
    auto checked = routes;
    checked.mutable_validate_clusters()->set_value(true);
    table = decide::RouteTable::Compile(checked, &found, options);
  } else {
    table = decide::RouteTable::Compile(routes, &found, options);
  }
  for (api::SourceError& e : found) {
    std::string at = JoinPath(path, e.path);
    e.warning ? errors->Warn(std::move(at), std::move(e.message)) : errors->Add(std::move(at), std::move(e.message));
  }
  return api::HasError(found) ? nullptr : table;
}

std::optional<CompiledHttpManager> CompileHttpManager(const HttpConnectionManager& m, const std::string& path,
                                                      const CompileEnv& env, decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  CompiledHttpManager out;
  auto spec = std::make_shared<proxy::HttpManagerSpec>();
  auto duration = [&](const google::protobuf::Duration& d, const char* field) {
    return CompileDuration(d, StrCat(path, ".", field), false, &own);
  };
  auto at = [&](const char* field) { return StrCat(path, ".", field); };

  switch (m.codec_type()) {
    case HttpConnectionManager::AUTO:
      spec->codec = proxy::Codec::kAuto;
      break;
    case HttpConnectionManager::HTTP1:
      spec->codec = proxy::Codec::kHttp1;
      break;
    case HttpConnectionManager::HTTP2:
      spec->codec = proxy::Codec::kHttp2;
      break;
    default:
      own.Add(at("codec_type"),
              HttpConnectionManager::CodecType_IsValid(m.codec_type())
                  ? StrCat(HttpConnectionManager::CodecType_Name(m.codec_type()),
                           " is not supported: expected AUTO, HTTP1 or HTTP2")
                  : StrCat(static_cast<int>(m.codec_type()), " is no codec type"));
  }
  if (m.stat_prefix().empty()) own.Add(at("stat_prefix"), "is missing");
  spec->stat_prefix = m.stat_prefix();

  switch (m.route_specifier_case()) {
    case HttpConnectionManager::kRds:
      if (m.rds().route_config_name().empty()) own.Add(at("rds.route_config_name"), "is missing");
      if (!m.rds().has_config_source()) {
        own.Add(at("rds.config_source"), "is missing: expected ads: {}");
      } else {
        CheckConfigSource(m.rds().config_source(), at("rds.config_source"), &own);
        out.rds_timeout = InitialFetchTimeout(m.rds().config_source(), at("rds.config_source"), &own);
      }
      out.rds_name = spec->rds_name = m.rds().route_config_name();
      break;
    case HttpConnectionManager::kRouteConfig:
      spec->routes = CompileRoutes(m.route_config(), at("route_config"), true, env, &own);
      break;
    case HttpConnectionManager::ROUTE_SPECIFIER_NOT_SET:
      own.Add(path, "has no routes: expected route_config or rds");
      break;
  }
  CompileFilters(m, path, env, spec.get(), &own);
  if (m.has_common_http_protocol_options()) {
    CompileCommonHttp(m.common_http_protocol_options(), at("common_http_protocol_options"), spec.get(), &own);
  }
  if (m.has_http_protocol_options()) {
    CompileDownstreamHttp1(m.http_protocol_options(), at("http_protocol_options"), env, spec.get(), &own);
  }
  if (m.has_http2_protocol_options()) {
    spec->http2 = CompileHttp2(m.http2_protocol_options(), at("http2_protocol_options"), spec->http2, &own);
  }
  if (!m.server_name().empty()) spec->server_name = m.server_name();
  switch (m.server_header_transformation()) {
    case HttpConnectionManager::OVERWRITE:
      spec->server_header = proxy::ServerHeader::kOverwrite;
      break;
    case HttpConnectionManager::APPEND_IF_ABSENT:
      spec->server_header = proxy::ServerHeader::kAppendIfAbsent;
      break;
    case HttpConnectionManager::PASS_THROUGH:
      spec->server_header = proxy::ServerHeader::kPassThrough;
      break;
    default:
      own.Add(at("server_header_transformation"),
              StrCat(static_cast<int>(m.server_header_transformation()), " is no transformation"));
  }
  if (m.has_max_request_headers_kb()) {
    uint32_t kb = m.max_request_headers_kb().value();
    if (kb < 1 || kb > 8192) own.Add(at("max_request_headers_kb"), StrCat(kb, ": expected 1 to 8192"));
    spec->max_request_head_bytes = kb * 1024;
  }
  if (m.has_stream_idle_timeout()) spec->stream_idle_timeout = duration(m.stream_idle_timeout(), "stream_idle_timeout");
  if (m.has_request_timeout()) spec->request_timeout = duration(m.request_timeout(), "request_timeout");
  if (m.has_request_headers_timeout()) {
    spec->request_headers_timeout = duration(m.request_headers_timeout(), "request_headers_timeout");
  }
  if (m.has_drain_timeout()) spec->drain_timeout = duration(m.drain_timeout(), "drain_timeout");
  if (m.has_delayed_close_timeout()) {
    spec->delayed_close_timeout = duration(m.delayed_close_timeout(), "delayed_close_timeout");
  }
  spec->access_logs = CompileAccessLogs(m.access_log(), at("access_log"), env, &own);
  spec->use_remote_address = m.use_remote_address().value();
  RefuseIf(m.xff_num_trusted_hops() != 0, at("xff_num_trusted_hops"), "not supported: expected 0", &own);
  spec->skip_xff_append = m.skip_xff_append();
  CompileClientCert(m, path, &spec->client_cert, &own);
  spec->via = m.via();
  if (m.has_generate_request_id()) spec->generate_request_id = m.generate_request_id().value();
  spec->preserve_external_request_id = m.preserve_external_request_id();
  CompileUpgrades(m, path, spec.get(), &own);
  spec->normalize_path = m.normalize_path().value();
  spec->merge_slashes = m.merge_slashes();

  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message)) : errors->Add(std::move(e.path), std::move(e.message));
  }
  if (api::HasError(found)) return std::nullopt;
  out.spec = std::move(spec);
  return out;
}

}  // namespace weft::config
