#include "dataplane/config/compile_transport.h"

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_tls.h"
#include "dataplane/net/proxy_protocol.h"
#include "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb.h"

namespace weft::config {
namespace {

using envoy::config::core::v3::ProxyProtocolConfig;
using envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;

}  // namespace

std::shared_ptr<const net::TransportSecurity> CompileUpstreamTransport(
    const envoy::config::core::v3::TransportSocket& socket, const std::string& path,
    const CompileEnv& env, bool dialed_name_only, decide::Errors* errors) {
  const auto& any = socket.typed_config();
  if (api::MessageNameOf(any.type_url()) !=
      ProxyProtocolUpstreamTransport::descriptor()->full_name()) {
    return CompileUpstreamTls(socket, path, env, dialed_name_only, errors);
  }
  const std::string at = path + ".typed_config";
  ProxyProtocolUpstreamTransport m;
  if (!UnpackAny(any, &m, at, env, errors)) return nullptr;
  if (m.config().version() != ProxyProtocolConfig::V1 &&
      m.config().version() != ProxyProtocolConfig::V2) {
    errors->Add(at + ".config.version",
                StrCat(static_cast<int>(m.config().version()), ": expected V1 or V2"));
  }
  RefuseIf(m.config().has_pass_through_tlvs(), at + ".config.pass_through_tlvs",
           "not supported: type-length-value fields are not passed on", errors);
  // allow_unspecified_address: a connection without addresses is always told as UNKNOWN or LOCAL.
  if (!m.has_transport_socket()) {
    errors->Add(at + ".transport_socket", "is missing: expected raw_buffer or TLS");
    return nullptr;
  }
  const std::string_view inner = api::MessageNameOf(m.transport_socket().typed_config().type_url());
  if (inner == ProxyProtocolUpstreamTransport::descriptor()->full_name()) {
    errors->Add(at + ".transport_socket", "a PROXY header within another one");
    return nullptr;
  }
  auto below = CompileUpstreamTls(m.transport_socket(), at + ".transport_socket", env,
                                  dialed_name_only, errors);
  const int version = m.config().version() == ProxyProtocolConfig::V1 ? 1 : 2;
  return std::make_shared<net::ProxyProtocolSecurity>(version, std::move(below));
}

}  // namespace weft::config
