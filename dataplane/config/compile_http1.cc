#include "dataplane/config/compile_http1.h"

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
using envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;

// Names leave as they came unless proper_case_words is set, so preserve_case is what happens anyway.
http::HeaderCase CompileHeaderCase(const core::Http1ProtocolOptions::HeaderKeyFormat& format,
                                   const std::string& path, const CompileEnv& env,
                                   decide::Errors* errors) {
  using Format = core::Http1ProtocolOptions::HeaderKeyFormat;
  switch (format.header_format_case()) {
    case Format::kProperCaseWords:
      return http::HeaderCase::kProper;
    case Format::kStatefulFormatter: {
      const std::string at = path + ".stateful_formatter.typed_config";
      const google::protobuf::Any& any = format.stateful_formatter().typed_config();
      if (any.type_url() != api::kPreserveCaseType) {
        errors->Add(at, StrCat(any.type_url().empty() ? "no formatter"
                                                      : api::MessageNameOf(any.type_url()),
                               " is not supported: expected ",
                               api::MessageNameOf(api::kPreserveCaseType)));
        break;
      }
      PreserveCaseFormatterConfig config;
      if (!UnpackAny(any, &config, at, env, errors)) break;
      RefuseIf(config.forward_reason_phrase(), at + ".forward_reason_phrase",
               "not supported: a status code has its registered phrase", errors);
      RefuseIf(config.formatter_type_on_envoy_headers() != PreserveCaseFormatterConfig::DEFAULT,
               at + ".formatter_type_on_envoy_headers",
               "not supported: expected DEFAULT (or proper_case_words for all fields)", errors);
      break;
    }
    case Format::HEADER_FORMAT_NOT_SET:
      errors->Add(path, "is empty: expected proper_case_words or stateful_formatter");
      break;
  }
  return http::HeaderCase::kAsReceived;
}

// What both sides refuse.
void CheckCommon(const core::Http1ProtocolOptions& o, const std::string& path,
                 decide::Errors* errors) {
  RefuseIf(o.allow_chunked_length(), path + ".allow_chunked_length",
           "not supported: a message with Content-Length and Transfer-Encoding has two ends, and the "
           "peers of a connection may differ on which counts (RFC 9112 section 6.1)",
           errors);
  RefuseIf(o.override_stream_error_on_invalid_http_message().value(),
           path + ".override_stream_error_on_invalid_http_message",
           "not supported: a connection with an invalid message is closed", errors);
  // enable_trailers: trailers are always passed on.
}

// A Host field that a client may leave out (RFC 9112 section 3.2).
bool IsHost(const std::string& host) {
  for (unsigned char c : host) {
    if (c <= 0x20 || c >= 0x7f || c == '/' || c == '?' || c == '#' || c == '@' || c == '"' ||
        c == '<' || c == '>' || c == '\\') {
      return false;
    }
  }
  return true;
}

}  // namespace

void CompileDownstreamHttp1(const core::Http1ProtocolOptions& o, const std::string& path,
                            const CompileEnv& env, proxy::HttpManagerSpec* spec,
                            decide::Errors* errors) {
  RefuseIf(o.has_allow_absolute_url() && !o.allow_absolute_url().value(),
           path + ".allow_absolute_url", "false is not supported: absolute targets are always read",
           errors);
  spec->accept_http_10 = o.accept_http_10();
  spec->default_host_for_http_10 = o.default_host_for_http_10();
  if (!IsHost(o.default_host_for_http_10())) {
    errors->Add(path + ".default_host_for_http_10",
                StrCat("\"", o.default_host_for_http_10(), "\" is not a host"));
  }
  if (o.has_header_key_format()) {
    spec->header_case = CompileHeaderCase(o.header_key_format(), path + ".header_key_format", env,
                                          errors);
  }
  CheckCommon(o, path, errors);
}

void CompileUpstreamHttp1(const core::Http1ProtocolOptions& o, const std::string& path,
                          const CompileEnv& env, upstream::ClusterSpec* spec,
                          decide::Errors* errors) {
  RefuseIf(o.has_allow_absolute_url(), path + ".allow_absolute_url",
           "has a meaning for listeners only", errors);
  RefuseIf(o.accept_http_10(), path + ".accept_http_10", "has a meaning for listeners only", errors);
  RefuseIf(!o.default_host_for_http_10().empty(), path + ".default_host_for_http_10",
           "has a meaning for listeners only", errors);
  if (o.has_header_key_format()) {
    spec->header_case = CompileHeaderCase(o.header_key_format(), path + ".header_key_format", env,
                                          errors);
  }
  CheckCommon(o, path, errors);
}

void CompileUpgrades(
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager,
    const std::string& path, proxy::HttpManagerSpec* spec, decide::Errors* errors) {
  for (int i = 0; i < manager.upgrade_configs_size(); ++i) {
    const auto& u = manager.upgrade_configs(i);
    spec->upgrades.Add(u.upgrade_type(), !u.has_enabled() || u.enabled().value(),
                       StrCat(path, ".upgrade_configs[", i, "]"), errors);
  }
}

}  // namespace weft::config
