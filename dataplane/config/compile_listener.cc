#include "dataplane/config/compile_listener.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_tls.h"
#include "dataplane/decide/filter_chain_match.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;

// Equal messages give equal bytes, whatever the order of their maps.
std::string CanonicalBytes(const google::protobuf::Message& message) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return out;
}

// Null when there was an error.
std::shared_ptr<FilterChainSpec> CompileChain(const FilterChain& chain, const std::string& path,
                                              const CompileEnv& env, CompiledListener* out,
                                              decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  auto spec = std::make_shared<FilterChainSpec>();
  spec->name = chain.name();
  if (chain.has_transport_socket()) {
    spec->security = CompileDownstreamTls(chain.transport_socket(), path + ".transport_socket", env, &own);
  }
  if (chain.has_transport_socket_connect_timeout()) {
    spec->transport_socket_connect_timeout =
        CompileDuration(chain.transport_socket_connect_timeout(),
                        path + ".transport_socket_connect_timeout", false, &own);
  }
  for (int i = 0; i < chain.filters_size(); ++i) {
    const auto& f = chain.filters(i);
    const std::string filter = StrCat(path, ".filters[", i, "]");
    const std::string at = filter + ".typed_config";
    if (spec->http != nullptr || spec->tcp != nullptr) {
      own.Add(filter, StrCat("comes after the ",
                             spec->http != nullptr ? "HTTP connection manager" : "TCP proxy",
                             ", which ends the chain"));
      continue;
    }
    if (!f.has_typed_config()) {
      own.Add(at, "is missing");
      continue;
    }
    const std::string_view type = api::MessageNameOf(f.typed_config().type_url());
    if (type == HttpConnectionManager::descriptor()->full_name()) {
      HttpConnectionManager manager;
      if (!UnpackAny(f.typed_config(), &manager, at, env, &own)) continue;
      auto http = CompileHttpManager(manager, at, env, &own);
      if (!http) continue;
      spec->http = http->spec;
      if (!http->rds_name.empty()) out->rds[http->rds_name] = http->rds_timeout;
    } else if (type == TcpProxy::descriptor()->full_name()) {
      TcpProxy proxy;
      if (!UnpackAny(f.typed_config(), &proxy, at, env, &own)) continue;
      spec->tcp = CompileTcpProxy(proxy, at, env, &own);
    } else {
      own.Add(at, StrCat("network filter ", type, " is not supported: expected ",
                         HttpConnectionManager::descriptor()->full_name(), " or ",
                         TcpProxy::descriptor()->full_name()));
    }
  }
  RefuseIf(chain.filters_size() == 0, path + ".filters",
           "is empty: expected an HTTP connection manager or a TCP proxy", &own);
  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message))
              : errors->Add(std::move(e.path), std::move(e.message));
  }
  return api::HasError(found) ? nullptr : spec;
}

void CompileChains(const Listener& l, const std::string& path, const CompileEnv& env,
                   ListenerSpec* spec, CompiledListener* out, decide::Errors* errors) {
  auto at = [&](std::string_view field) { return JoinPath(path, field); };
  if (l.filter_chains_size() == 0 && !l.has_default_filter_chain()) {
    errors->Add(at("filter_chains"), "is empty: expected at least one chain");
  }
  // What chains take from their listener.
  Listener around = l;
  around.clear_filter_chains();
  around.clear_default_filter_chain();
  const std::string common = CanonicalBytes(around);
  auto compile = [&](const FilterChain& chain, const std::string& where) {
    auto compiled = CompileChain(chain, where, env, out, errors);
    if (compiled != nullptr) compiled->version = HashOf(common + CanonicalBytes(chain));
    return compiled;
  };
  std::vector<decide::FilterChainMatch::Chain> matches;
  for (int i = 0; i < l.filter_chains_size(); ++i) {
    const FilterChain& chain = l.filter_chains(i);
    const std::string where = StrCat(at("filter_chains"), "[", i, "]");
    matches.push_back({&chain.filter_chain_match(), chain.name(), where});
    spec->chains.push_back(compile(chain, where));
  }
  if (l.has_default_filter_chain()) {
    RefuseIf(l.default_filter_chain().filter_chain_match().ByteSizeLong() != 0,
             at("default_filter_chain.filter_chain_match"),
             "has no meaning: the default chain takes what no other chain matches", errors);
    spec->default_chain = compile(l.default_filter_chain(), at("default_filter_chain"));
  }
  if (matches.empty()) return;
  auto table = decide::FilterChainMatch::Compile(matches, errors);
  if (table != nullptr && !table->trivial()) spec->match = std::move(table);
}

}  // namespace

std::optional<CompiledListener> CompileListener(const Listener& l, const std::string& path,
                                                const CompileEnv& env, decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  CompiledListener out;
  auto spec = std::make_shared<ListenerSpec>();
  auto at = [&](std::string_view field) { return JoinPath(path, field); };

  CheckUnknownFields(l, path, env, &own);
  auto address = CompileAddress(l.address(), at("address"), 0, &own);
  if (address) spec->address = *address;
  for (int i = 0; i < l.additional_addresses_size(); ++i) {
    auto more = CompileAddress(l.additional_addresses(i).address(),
                               StrCat(at("additional_addresses"), "[", i, "].address"), 0, &own);
    if (more) spec->additional_addresses.push_back(*more);
  }
  spec->name = l.name().empty() && address ? address->ToString() : l.name();
  spec->stat_prefix = l.stat_prefix();
  if (l.has_per_connection_buffer_limit_bytes()) {
    spec->buffer_limit = l.per_connection_buffer_limit_bytes().value();
  }
  if (l.has_tcp_backlog_size()) {
    spec->backlog = l.tcp_backlog_size().value();
    RefuseIf(spec->backlog == 0 || spec->backlog > 0x7fffffff, at("tcp_backlog_size"),
             StrCat(spec->backlog, ": expected 1 to 2147483647"), &own);
  }
  if (l.has_connection_balance_config()) {
    spec->exact_balance = l.connection_balance_config().has_exact_balance();
    RefuseIf(!spec->exact_balance, at("connection_balance_config"), "expected exact_balance: {}", &own);
  }
  if (l.has_enable_reuse_port()) spec->reuse_port = l.enable_reuse_port().value();
  if (l.has_bind_to_port()) spec->bind_to_port = l.bind_to_port().value();
  spec->freebind = l.freebind().value();
  CompileListenerFilters(l, path, env, spec.get(), &own);
  if (!core::TrafficDirection_IsValid(l.traffic_direction())) {
    own.Add(at("traffic_direction"),
            StrCat(static_cast<int>(l.traffic_direction()), " is no direction"));
  }
  RefuseIf(l.access_log_size() > 0, at("access_log"),
           "not supported: set access_log of the HTTP connection manager or TCP proxy", &own);
  CompileChains(l, path, env, spec.get(), &out, &own);

  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message))
              : errors->Add(std::move(e.path), std::move(e.message));
  }
  if (api::HasError(found)) return std::nullopt;
  spec->version = HashOf(l.SerializeAsString());
  out.spec = std::move(spec);
  return out;
}

}  // namespace weft::config
