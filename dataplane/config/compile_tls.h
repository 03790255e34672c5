#pragma once

#include <memory>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/net/security.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::config {

// A transport_socket of a filter chain (DownstreamTlsContext) or a cluster (UpstreamTlsContext).
// Null for raw_buffer, and after an error. An empty transport_socket message is raw_buffer too.
// Unlike elsewhere, a field of a TLS message that our protos lack is always an error: what it asks
// for might be what keeps somebody out.
std::shared_ptr<const net::TransportSecurity> CompileDownstreamTls(
    const envoy::config::core::v3::TransportSocket& socket, const std::string& path,
    const CompileEnv& env, decide::Errors* errors);
// `dialed_name_only`: tls::ContextSpec's.
std::shared_ptr<const net::TransportSecurity> CompileUpstreamTls(
    const envoy::config::core::v3::TransportSocket& socket, const std::string& path,
    const CompileEnv& env, bool dialed_name_only, decide::Errors* errors);

}  // namespace weft::config
