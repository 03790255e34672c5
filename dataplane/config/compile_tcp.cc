// What a listener has beside HTTP: listener filters and the TCP proxy.
#include <algorithm>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_listener.h"
#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb.h"
#include "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace weft::config {
namespace {

namespace filter = envoy::extensions::filters::listener;
using envoy::config::core::v3::ProxyProtocolConfig;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
using Kind = ListenerFilterSpec::Kind;
using TlsInspector = filter::tls_inspector::v3::TlsInspector;
using HttpInspector = filter::http_inspector::v3::HttpInspector;
using ProxyProtocol = filter::proxy_protocol::v3::ProxyProtocol;
using OriginalDst = filter::original_dst::v3::OriginalDst;

void CompileTlsInspector(const TlsInspector& m, const std::string& path, ListenerFilterSpec* out,
                         decide::Errors* errors) {
  out->kind = Kind::kTlsInspector;
  RefuseIf(m.enable_ja3_fingerprinting().value(), path + ".enable_ja3_fingerprinting",
           "not supported", errors);
  RefuseIf(m.enable_ja4_fingerprinting().value(), path + ".enable_ja4_fingerprinting",
           "not supported", errors);
  // initial_read_buffer_size is a hint: the first read takes what there is, up to 16 KB.
  if (m.has_initial_read_buffer_size()) {
    uint32_t n = m.initial_read_buffer_size().value();
    RefuseIf(n < 256 || n > 64 * 1024, path + ".initial_read_buffer_size",
             StrCat(n, ": expected 256 to 65536"), errors);
  }
  if (m.has_max_client_hello_size()) {
    out->max_client_hello_bytes = m.max_client_hello_size().value();
    RefuseIf(out->max_client_hello_bytes < 256 || out->max_client_hello_bytes > 64 * 1024,
             path + ".max_client_hello_size",
             StrCat(out->max_client_hello_bytes, ": expected 256 to 65536"), errors);
  }
  out->close_on_client_hello_error = m.close_connection_on_client_hello_parsing_errors();
}

void CompileProxyProtocol(const ProxyProtocol& m, const std::string& path, ListenerFilterSpec* out,
                          decide::Errors* errors) {
  out->kind = Kind::kProxyProtocol;
  RefuseIf(m.rules_size() > 0, path + ".rules",
           "not supported: type-length-value fields are skipped", errors);
  RefuseIf(m.has_pass_through_tlvs(), path + ".pass_through_tlvs",
           "not supported: type-length-value fields are not passed on", errors);
  out->allow_without_proxy_protocol = m.allow_requests_without_proxy_protocol();
  out->stat_prefix = m.stat_prefix();
  for (int i = 0; i < m.disallowed_versions_size(); ++i) {
    switch (m.disallowed_versions(i)) {
      case ProxyProtocolConfig::V1:
        out->allow_v1 = false;
        break;
      case ProxyProtocolConfig::V2:
        out->allow_v2 = false;
        break;
      default:
        errors->Add(StrCat(path, ".disallowed_versions[", i, "]"), "expected V1 or V2");
    }
  }
  RefuseIf(!out->allow_v1 && !out->allow_v2, path + ".disallowed_versions",
           "leaves no version: leave the filter out", errors);
}

}  // namespace

void CompileListenerFilters(const Listener& l, const std::string& path, const CompileEnv& env,
                            ListenerSpec* spec, decide::Errors* errors) {
  auto at = [&](std::string_view field) { return JoinPath(path, field); };
  spec->use_original_dst = l.use_original_dst().value();
  for (int i = 0; i < l.listener_filters_size(); ++i) {
    const auto& f = l.listener_filters(i);
    const std::string where = StrCat(at("listener_filters"), "[", i, "].typed_config");
    if (!f.has_typed_config()) {
      errors->Add(where, "is missing");
      continue;
    }
    const google::protobuf::Any& any = f.typed_config();
    const std::string_view type = api::MessageNameOf(any.type_url());
    ListenerFilterSpec out;
    if (type == TlsInspector::descriptor()->full_name()) {
      TlsInspector m;
      if (!UnpackAny(any, &m, where, env, errors)) continue;
      CompileTlsInspector(m, where, &out, errors);
    } else if (type == ProxyProtocol::descriptor()->full_name()) {
      ProxyProtocol m;
      if (!UnpackAny(any, &m, where, env, errors)) continue;
      CompileProxyProtocol(m, where, &out, errors);
    } else if (type == HttpInspector::descriptor()->full_name()) {
      HttpInspector m;
      if (!UnpackAny(any, &m, where, env, errors)) continue;
      out.kind = Kind::kHttpInspector;
    } else if (type == OriginalDst::descriptor()->full_name()) {
      OriginalDst m;
      if (!UnpackAny(any, &m, where, env, errors)) continue;
      out.kind = Kind::kOriginalDst;
    } else {
      errors->Add(where, StrCat("listener filter ", type,
                                " is not supported: expected TlsInspector, HttpInspector, "
                                "ProxyProtocol or OriginalDst"));
      continue;
    }
    const bool twice =
        std::any_of(spec->listener_filters.begin(), spec->listener_filters.end(),
                    [&](const ListenerFilterSpec& other) { return other.kind == out.kind; });
    RefuseIf(twice, StrCat(at("listener_filters"), "[", i, "]"),
             StrCat("a second ", type, ": expected one"), errors);
    spec->listener_filters.push_back(std::move(out));
  }
  // As in Envoy: the flag alone brings the filter that finds the address.
  const bool has_original_dst =
      std::any_of(spec->listener_filters.begin(), spec->listener_filters.end(),
                  [](const ListenerFilterSpec& f) { return f.kind == Kind::kOriginalDst; });
  if (spec->use_original_dst && !has_original_dst) {
    ListenerFilterSpec f;
    f.kind = Kind::kOriginalDst;
    spec->listener_filters.insert(spec->listener_filters.begin(), std::move(f));
  }
  if (l.has_listener_filters_timeout()) {
    spec->listener_filters_timeout =
        CompileDuration(l.listener_filters_timeout(), at("listener_filters_timeout"), false, errors);
  }
  spec->continue_on_listener_filters_timeout = l.continue_on_listener_filters_timeout();
}

std::shared_ptr<const proxy::TcpProxySpec> CompileTcpProxy(const TcpProxy& m,
                                                           const std::string& path,
                                                           const CompileEnv& env,
                                                           decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  auto spec = std::make_shared<proxy::TcpProxySpec>();
  auto at = [&](const char* field) { return StrCat(path, ".", field); };
  if (m.stat_prefix().empty()) own.Add(at("stat_prefix"), "is missing");
  spec->stat_prefix = m.stat_prefix();
  switch (m.cluster_specifier_case()) {
    case TcpProxy::kCluster:
      if (m.cluster().empty()) own.Add(at("cluster"), "is empty");
      spec->clusters.push_back({m.cluster(), 1});
      break;
    case TcpProxy::kWeightedClusters: {
      uint64_t sum = 0;
      for (int i = 0; i < m.weighted_clusters().clusters_size(); ++i) {
        const auto& c = m.weighted_clusters().clusters(i);
        const std::string where = StrCat(at("weighted_clusters.clusters"), "[", i, "]");
        if (c.name().empty()) own.Add(where + ".name", "is missing");
        RefuseIf(c.weight() == 0, where + ".weight", "0: expected 1 or more", &own);
        RefuseIf(c.has_metadata_match(), where + ".metadata_match", "not supported", &own);
        sum += c.weight();
        spec->clusters.push_back({c.name(), sum});
      }
      RefuseIf(spec->clusters.empty(), at("weighted_clusters.clusters"), "is empty", &own);
      RefuseIf(sum > UINT32_MAX, at("weighted_clusters.clusters"),
               StrCat("weights add up to ", sum, ": expected at most 4294967295"), &own);
      break;
    }
    case TcpProxy::CLUSTER_SPECIFIER_NOT_SET:
      own.Add(path, "has no cluster: expected cluster or weighted_clusters");
      break;
  }
  RefuseIf(m.has_metadata_match(), at("metadata_match"), "not supported", &own);
  // Neither is implemented upstream either.
  RefuseIf(m.has_downstream_idle_timeout(), at("downstream_idle_timeout"),
           "not supported: use idle_timeout", &own);
  RefuseIf(m.has_upstream_idle_timeout(), at("upstream_idle_timeout"),
           "not supported: use idle_timeout", &own);
  if (m.has_idle_timeout()) {
    spec->idle_timeout = CompileDuration(m.idle_timeout(), at("idle_timeout"), false, &own);
  }
  if (m.has_max_downstream_connection_duration()) {
    spec->max_downstream_connection_duration =
        CompileDuration(m.max_downstream_connection_duration(),
                        at("max_downstream_connection_duration"), true, &own);
  }
  if (m.has_max_connect_attempts()) {
    spec->max_connect_attempts = m.max_connect_attempts().value();
    RefuseIf(spec->max_connect_attempts == 0, at("max_connect_attempts"), "0: expected 1 or more",
             &own);
  }
  spec->access_logs = CompileAccessLogs(m.access_log(), at("access_log"), env, &own);
  auto interval = [&](const google::protobuf::Duration& d, const std::string& where) {
    spec->access_log_flush_interval = CompileDuration(d, where, true, &own);
    RefuseIf(spec->access_log_flush_interval > 0 && spec->access_log_flush_interval < kMillisecond,
             where, "expected 1 ms or more", &own);
  };
  if (m.has_access_log_flush_interval()) {
    interval(m.access_log_flush_interval(), at("access_log_flush_interval"));
  }
  spec->flush_access_log_on_connected = m.flush_access_log_on_connected();
  if (m.has_access_log_options()) {
    const auto& o = m.access_log_options();
    RefuseIf(m.has_access_log_flush_interval() || m.flush_access_log_on_connected(),
             at("access_log_options"),
             "comes with access_log_flush_interval or flush_access_log_on_connected: expected one "
             "of the two spellings",
             &own);
    if (o.has_access_log_flush_interval()) {
      interval(o.access_log_flush_interval(), at("access_log_options.access_log_flush_interval"));
    }
    spec->flush_access_log_on_connected |= o.flush_access_log_on_connected();
  }
  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message))
              : errors->Add(std::move(e.path), std::move(e.message));
  }
  return api::HasError(found) ? nullptr : spec;
}

}  // namespace weft::config
