#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/substitution/stream_fields.h"

namespace weft::net {

// What a handshake settled about one connection, for routing, authorization, forwarded headers and
// logs. Values that need work are made at the first call and kept. Owner: the transport. Thread: its
// own.
class TlsInfo : public TlsSource {
 public:
  virtual std::string_view version() const = 0;  // "TLSv1.3"
  virtual std::string_view cipher() const = 0;   // "TLS_AES_128_GCM_SHA256"
  virtual std::string_view alpn() const = 0;     // "h2"; empty: none agreed
  virtual std::string_view sni() const = 0;
  virtual bool resumed() const = 0;
  // True when the peer showed a certificate that passed validation.
  virtual bool peer_validated() const = 0;

  // Of the peer's certificate; empty without one.
  virtual const std::vector<std::string>& peer_uri_sans() const = 0;
  virtual const std::vector<std::string>& peer_dns_sans() const = 0;
  virtual std::string_view peer_subject() const = 0;  // RFC 2253
  virtual std::string_view peer_issuer() const = 0;   // RFC 2253
  virtual std::string_view peer_serial() const = 0;   // lower-case hexadecimal
  virtual std::string_view peer_sha256() const = 0;   // of the DER form, lower-case hexadecimal
  virtual std::string_view peer_pem_url_encoded() const = 0;
  virtual std::string_view peer_chain_pem_url_encoded() const = 0;
  // Of our own certificate.
  virtual const std::vector<std::string>& local_uri_sans() const = 0;
  virtual std::string_view local_subject() const = 0;
};

}  // namespace weft::net
