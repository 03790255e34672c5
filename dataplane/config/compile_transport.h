#pragma once

#include <memory>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/net/security.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::config {

// transport_socket of a cluster: raw_buffer (null), TLS, or a PROXY header
// (envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport) in front of
// either. Null after an error, too. `dialed_name_only`: the certificate must be for the name that a
// connection is dialled for (auto_san_validation).
std::shared_ptr<const net::TransportSecurity> CompileUpstreamTransport(
    const envoy::config::core::v3::TransportSocket& socket, const std::string& path,
    const CompileEnv& env, bool dialed_name_only, decide::Errors* errors);

}  // namespace weft::config
