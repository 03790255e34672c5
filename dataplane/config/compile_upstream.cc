#include "dataplane/config/compile_upstream.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_http1.h"
#include "dataplane/config/compile_http2.h"
#include "dataplane/config/compile_transport.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
using envoy::config::cluster::v3::Cluster;
using envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
using upstream::ClusterSpec;
using upstream::UpstreamProtocol;

void CompileCommonHttp(const core::HttpProtocolOptions& o, const std::string& path,
                       ClusterSpec* spec, decide::Errors* errors) {
  if (o.has_idle_timeout()) {
    spec->idle_timeout = CompileDuration(o.idle_timeout(), path + ".idle_timeout", false, errors);
  }
  if (o.has_max_connection_duration()) {
    spec->max_connection_duration = CompileDuration(
        o.max_connection_duration(), path + ".max_connection_duration", false, errors);
  }
  if (o.has_max_requests_per_connection()) {
    spec->max_requests_per_connection = o.max_requests_per_connection().value();
  }
  if (o.has_max_response_headers_kb()) {
    uint32_t kb = o.max_response_headers_kb().value();
    if (kb < 1 || kb > 8192) {
      errors->Add(path + ".max_response_headers_kb", StrCat(kb, ": expected 1 to 8192"));
    }
    spec->max_response_head_bytes = kb * 1024;
  }
  if (o.has_max_headers_count()) {
    spec->max_response_headers = o.max_headers_count().value();
    RefuseIf(spec->max_response_headers == 0, path + ".max_headers_count", "0: expected 1 or more", errors);
  }
  RefuseIf(o.has_max_stream_duration(), path + ".max_stream_duration", "not supported for clusters",
           errors);
  RefuseIf(o.headers_with_underscores_action() != core::HttpProtocolOptions::ALLOW,
           path + ".headers_with_underscores_action", "has a meaning for listeners only", errors);
}

void CompileAutoSni(const core::UpstreamHttpProtocolOptions& o, const std::string& path,
                    ClusterSpec* spec, decide::Errors* errors) {
  spec->auto_sni = o.auto_sni();
  spec->sni_header = o.override_auto_sni_header();
  for (char& c : spec->sni_header) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  RefuseIf(o.auto_san_validation() && !o.auto_sni(), path + ".auto_san_validation",
           "needs auto_sni: it is the name that was sent that the certificate must be for", errors);
  RefuseIf(o.auto_san_validation() && spec->security == nullptr, path + ".auto_san_validation",
           "needs a transport_socket with TLS", errors);
  RefuseIf(!o.override_auto_sni_header().empty() && !o.auto_sni(),
           path + ".override_auto_sni_header", "has a meaning with auto_sni only", errors);
}

// The parts of HttpProtocolOptions that each way of choosing the protocol repeats.
template <typename Config>
void CompileBoth(const Config& config, const std::string& path, const CompileEnv& env,
                 ClusterSpec* spec, decide::Errors* errors) {
  if (config.has_http_protocol_options()) {
    CompileUpstreamHttp1(config.http_protocol_options(), path + ".http_protocol_options", env, spec,
                         errors);
  }
  if (config.has_http2_protocol_options()) {
    spec->http2 = std::make_shared<const http::h2::SessionOptions>(CompileHttp2(
        config.http2_protocol_options(), path + ".http2_protocol_options",
        upstream::DefaultHttp2(), errors));
  }
}

void CompileHttpOptions(const HttpProtocolOptions& o, const std::string& at, const CompileEnv& env,
                        ClusterSpec* spec, decide::Errors* errors) {
  if (o.has_common_http_protocol_options()) {
    CompileCommonHttp(o.common_http_protocol_options(), at + ".common_http_protocol_options", spec,
                      errors);
  }
  if (o.has_upstream_http_protocol_options()) {
    CompileAutoSni(o.upstream_http_protocol_options(), at + ".upstream_http_protocol_options", spec,
                   errors);
  }
  switch (o.upstream_protocol_options_case()) {
    case HttpProtocolOptions::kExplicitHttpConfig: {
      const auto& config = o.explicit_http_config();
      CompileBoth(config, at + ".explicit_http_config", env, spec, errors);
      if (config.has_http2_protocol_options()) {
        spec->protocol = UpstreamProtocol::kHttp2;
      } else if (!config.has_http_protocol_options()) {
        errors->Add(at + ".explicit_http_config",
                    "is missing: expected http_protocol_options or http2_protocol_options");
      }
      break;
    }
    case HttpProtocolOptions::kUseDownstreamProtocolConfig:
      spec->protocol = UpstreamProtocol::kDownstream;
      CompileBoth(o.use_downstream_protocol_config(), at + ".use_downstream_protocol_config", env,
                  spec, errors);
      break;
    case HttpProtocolOptions::kAutoConfig:
      spec->protocol = UpstreamProtocol::kAuto;
      CompileBoth(o.auto_config(), at + ".auto_config", env, spec, errors);
      RefuseIf(spec->security == nullptr, at + ".auto_config",
               "needs a transport_socket with TLS: the protocol is chosen by ALPN", errors);
      break;
    case HttpProtocolOptions::UPSTREAM_PROTOCOL_OPTIONS_NOT_SET:
      errors->Add(at,
                  "has no protocol: expected explicit_http_config, use_downstream_protocol_config "
                  "or auto_config");
      break;
  }
}

// The older spelling, one field each.
void CompileOldHttpOptions(const Cluster& c, const std::string& path, const CompileEnv& env,
                           ClusterSpec* spec, decide::Errors* errors) {
  auto at = [&](std::string_view field) { return JoinPath(path, field); };
  if (c.has_common_http_protocol_options()) {
    CompileCommonHttp(c.common_http_protocol_options(), at("common_http_protocol_options"), spec,
                      errors);
  }
  if (c.has_upstream_http_protocol_options()) {
    CompileAutoSni(c.upstream_http_protocol_options(), at("upstream_http_protocol_options"), spec,
                   errors);
  }
  CompileBoth(c, path, env, spec, errors);
  if (!Cluster::ClusterProtocolSelection_IsValid(c.protocol_selection())) {
    errors->Add(at("protocol_selection"),
                StrCat(static_cast<int>(c.protocol_selection()), " is no protocol selection"));
  } else if (c.protocol_selection() == Cluster::USE_DOWNSTREAM_PROTOCOL) {
    spec->protocol = UpstreamProtocol::kDownstream;
  } else if (c.has_http2_protocol_options()) {
    spec->protocol = UpstreamProtocol::kHttp2;
  }
}

void CompileProtocol(const Cluster& c, const std::string& path, const CompileEnv& env,
                     ClusterSpec* spec, decide::Errors* errors) {
  if (c.has_max_requests_per_connection()) {
    spec->max_requests_per_connection = c.max_requests_per_connection().value();
  }
  const std::string options = JoinPath(path, "typed_extension_protocol_options");
  bool typed = false;
  for (const auto& [key, any] : c.typed_extension_protocol_options()) {
    const std::string at = StrCat(options, "[\"", key, "\"]");
    if (key != api::kHttpProtocolOptionsKey) {
      errors->Add(at, StrCat("not supported: expected the key ", api::kHttpProtocolOptionsKey));
      continue;
    }
    typed = true;
    HttpProtocolOptions http;
    if (UnpackAny(any, &http, at, env, errors)) CompileHttpOptions(http, at, env, spec, errors);
  }
  if (!typed) {
    CompileOldHttpOptions(c, path, env, spec, errors);
    return;
  }
  auto twice = [&](bool set, std::string_view field) {
    RefuseIf(set, JoinPath(path, field),
             "set together with typed_extension_protocol_options: leave one of them out", errors);
  };
  twice(c.has_common_http_protocol_options(), "common_http_protocol_options");
  twice(c.has_upstream_http_protocol_options(), "upstream_http_protocol_options");
  twice(c.has_http_protocol_options(), "http_protocol_options");
  twice(c.has_http2_protocol_options(), "http2_protocol_options");
  twice(c.protocol_selection() != Cluster::USE_CONFIGURED_PROTOCOL, "protocol_selection");
}

void CompileKeepAlive(const core::TcpKeepalive& k, const std::string& path, net::KeepAlive* out,
                      decide::Errors* errors) {
  out->on = true;
  auto number = [&](bool set, uint32_t value, const char* name, uint32_t max) {
    if (set && (value < 1 || value > max)) {
      errors->Add(StrCat(path, ".", name), StrCat(value, ": expected 1 to ", max));
    }
    return set ? value : 0;
  };
  // The kernel's own bounds (tcp(7)).
  out->probes =
      number(k.has_keepalive_probes(), k.keepalive_probes().value(), "keepalive_probes", 127);
  out->time_s = number(k.has_keepalive_time(), k.keepalive_time().value(), "keepalive_time", 32767);
  out->interval_s = number(k.has_keepalive_interval(), k.keepalive_interval().value(),
                           "keepalive_interval", 32767);
}

void CompileDialing(const Cluster& c, const std::string& path, const CompileEnv& env,
                    ClusterSpec* spec, decide::Errors* errors) {
  std::optional<net::DialOptions> dialing;
  if (c.has_upstream_bind_config()) {
    CompileBindConfig(c.upstream_bind_config(), JoinPath(path, "upstream_bind_config"),
                      &dialing.emplace(), errors);
  } else if (env.upstream_bind != nullptr) {
    dialing = *env.upstream_bind;
  }
  if (c.upstream_connection_options().has_tcp_keepalive()) {
    if (!dialing) dialing.emplace();
    CompileKeepAlive(c.upstream_connection_options().tcp_keepalive(),
                     JoinPath(path, "upstream_connection_options.tcp_keepalive"),
                     &dialing->keep_alive, errors);
  }
  if (dialing) spec->dialing = std::make_shared<const net::DialOptions>(*std::move(dialing));
}

void CompilePreconnect(const Cluster& c, const std::string& path, ClusterSpec* spec,
                       decide::Errors* errors) {
  const Cluster::PreconnectPolicy& p = c.preconnect_policy();
  const std::string at = JoinPath(path, "preconnect_policy");
  if (p.has_per_upstream_preconnect_ratio()) {
    double ratio = p.per_upstream_preconnect_ratio().value();
    if (!(ratio >= 1 && ratio <= 3)) {
      errors->Add(at + ".per_upstream_preconnect_ratio", StrCat(ratio, ": expected 1 to 3"));
    }
    spec->preconnect_ratio = ratio;
  }
  RefuseIf(p.has_predictive_preconnect_ratio() && p.predictive_preconnect_ratio().value() != 1,
           at + ".predictive_preconnect_ratio",
           "not supported: expected 1, or use per_upstream_preconnect_ratio", errors);
}

}  // namespace

void CompileBindConfig(const core::BindConfig& bind, const std::string& path,
                       net::DialOptions* options, decide::Errors* errors) {
  if (bind.has_source_address()) {
    core::Address address;
    *address.mutable_socket_address() = bind.source_address();
    std::vector<api::SourceError> found;
    decide::Errors own(&found);
    // A port is optional here.
    if (address.socket_address().port_specifier_case() ==
        core::SocketAddress::PORT_SPECIFIER_NOT_SET) {
      address.mutable_socket_address()->set_port_value(0);
    }
    auto compiled = CompileAddress(address, path, 0, &own);
    if (compiled) options->source = *compiled;
    for (api::SourceError& e : found) {
      size_t at = e.path.find(".socket_address", path.size());
      if (at != std::string::npos) e.path.replace(at, strlen(".socket_address"), ".source_address");
      errors->Add(std::move(e.path), std::move(e.message));
    }
  }
  options->freebind = bind.freebind().value();
  for (int i = 0; i < bind.socket_options_size(); ++i) {
    const core::SocketOption& o = bind.socket_options(i);
    const std::string at = StrCat(path, ".socket_options[", i, "]");
    net::SocketOption out;
    auto number = [&](int64_t v, const char* field) {
      if (v < INT32_MIN || v > INT32_MAX) {
        errors->Add(StrCat(at, ".", field), StrCat(v, ": expected a number of 32 bits"));
      }
      return static_cast<int>(v);
    };
    out.level = number(o.level(), "level");
    out.name = number(o.name(), "name");
    out.description = o.description();
    switch (o.value_case()) {
      case core::SocketOption::kIntValue: {
        int v = number(o.int_value(), "int_value");
        out.value.assign(reinterpret_cast<const char*>(&v), sizeof(v));
        break;
      }
      case core::SocketOption::kBufValue:
        out.value = o.buf_value();
        break;
      case core::SocketOption::VALUE_NOT_SET:
        errors->Add(at, "has no value: expected int_value or buf_value");
        break;
    }
    switch (o.state()) {
      case core::SocketOption::STATE_PREBIND:
        break;
      case core::SocketOption::STATE_BOUND:
        out.after_bind = true;
        break;
      case core::SocketOption::STATE_LISTENING:
        errors->Add(at + ".state", "STATE_LISTENING has a meaning for listeners only");
        break;
      default:
        errors->Add(at + ".state", StrCat(static_cast<int>(o.state()), " is no socket state"));
    }
    options->socket_options.push_back(std::move(out));
  }
}

namespace {

// Whether a server's certificate must be for the host that the request asks for.
bool ValidatesRequestedName(const Cluster& c) {
  auto it = c.typed_extension_protocol_options().find(std::string(api::kHttpProtocolOptionsKey));
  if (it == c.typed_extension_protocol_options().end())
    return c.upstream_http_protocol_options().auto_san_validation();
  HttpProtocolOptions http;  // what is wrong with it is said elsewhere
  return it->second.UnpackTo(&http) && http.upstream_http_protocol_options().auto_san_validation();
}

}  // namespace

void CompileConnections(const Cluster& c, const std::string& path, const CompileEnv& env,
                        ClusterSpec* spec, decide::Errors* errors) {
  if (c.has_transport_socket()) {
    spec->security =
        CompileUpstreamTransport(c.transport_socket(), JoinPath(path, "transport_socket"), env,
                                 ValidatesRequestedName(c), errors);
  }
  CompileProtocol(c, path, env, spec, errors);
  CompileDialing(c, path, env, spec, errors);
  CompilePreconnect(c, path, spec, errors);
}

}  // namespace weft::config
