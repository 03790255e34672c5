#pragma once

#include <cstdint>
#include <string>

namespace weft {
class Arena;
}
namespace weft::http {
class HeaderMap;
}
namespace weft::net {
class Transport;
}

namespace weft::proxy {

// What becomes of x-forwarded-client-cert: forward_client_cert_details and
// set_current_client_cert_details of
// envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager. Without a
// client certificate only kAlwaysForwardOnly lets the field pass.
struct ClientCertForwarding {
  enum class Mode : uint8_t {
    kSanitize,
    kForwardOnly,
    kAppendForward,
    kSanitizeSet,
    kAlwaysForwardOnly
  };
  Mode mode = Mode::kSanitize;
  bool cert = false, chain = false, subject = false, uri = false, dns = false;
};

// Changes the field of one request. `scratch` keeps its storage between calls.
void ForwardClientCert(const ClientCertForwarding& how, const net::Transport& downstream,
                       http::HeaderMap& headers, Arena& arena, std::string& scratch);

}  // namespace weft::proxy
