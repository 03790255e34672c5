#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/tls/spec.h"

namespace weft::tls {

// What is read out of an X.509 certificate, once. Owner: shared by the connections and caches that
// saw it. Thread: immutable, any.
struct CertificateInfo {
  std::vector<std::string> uri_sans, dns_sans, email_sans, ip_sans;
  std::vector<std::pair<std::string, std::string>> other_sans;  // OID in dots, value
  std::string subject, issuer;                                  // RFC 2253
  std::string common_name;
  std::string serial, sha256;  // lower-case hexadecimal
  int64_t not_after = 0;       // Unix seconds
  Sha256 hash{}, spki_hash{};
  bool ecdsa = false;

  // Null when the bytes are no certificate.
  static std::shared_ptr<const CertificateInfo> Parse(std::string_view der);
};

// The host name that a certificate's name (which may begin with "*.") stands for; RFC 6125 section
// 6.4.3: the wildcard is the whole left-most label.
bool DnsNameMatches(std::string_view pattern, std::string_view host);

// A certificate of ours with its key, ready for connections.
struct Credential {
  bssl::UniquePtr<SSL_CREDENTIAL> credential;
  bssl::UniquePtr<SSL_CREDENTIAL> unstapled;  // the same without its staple, when it has one
  std::shared_ptr<const CertificateInfo> info;
  std::vector<std::string> names;  // host names that it is for
  bool has_staple = false;
  int64_t staple_expires = 0;  // Unix seconds
  bool must_staple = false;    // RFC 7633
};

// The DER forms in a PEM text; an empty vector, and a message, when there is none or one is broken.
std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> ReadPemChain(std::string_view pem,
                                                         CRYPTO_BUFFER_POOL* pool,
                                                         std::string* why);

// Contents of one CertificateSpec's sources.
struct CertificateText {
  std::string chain, key, password, ocsp_staple;
};
std::optional<Credential> MakeCredential(const CertificateSpec& spec, const CertificateText& text,
                                         CRYPTO_BUFFER_POOL* pool, std::vector<SpecError>* errors);

}  // namespace weft::tls
