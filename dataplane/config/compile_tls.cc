#include "dataplane/config/compile_tls.h"

namespace weft::config {

namespace core = envoy::config::core::v3;

std::shared_ptr<const net::TransportSecurity> CompileDownstreamTls(
    const core::TransportSocket& socket, const std::string& path, const CompileEnv&,
    decide::Errors* errors) {
  CheckTransportSocket(socket, path, errors);
  return nullptr;
}

std::shared_ptr<const net::TransportSecurity> CompileUpstreamTls(
    const core::TransportSocket& socket, const std::string& path, const CompileEnv&,
    decide::Errors* errors) {
  CheckTransportSocket(socket, path, errors);
  return nullptr;
}

}  // namespace weft::config
