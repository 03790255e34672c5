#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/base/clock.h"

namespace weft::tls {

// Bytes that are part of a configuration, or a file that is read now and again when it changes.
struct Source {
  std::string file;  // empty: `bytes`
  std::string bytes;
  std::string field;  // path in the configuration, for messages

  bool set() const { return !field.empty(); }
};

// One certificate of ours. PEM throughout, the staple is DER.
struct CertificateSpec {
  Source chain, key, password, ocsp_staple;
};

// One of several ways to be the expected peer.
struct SanMatcher {
  enum class Type : uint8_t { kAny, kEmail, kDns, kUri, kIpAddress, kOtherName };
  Type type = Type::kAny;
  std::function<bool(std::string_view)> matches;  // thread-safe
  std::string exact;  // of an exact DNS matcher: a wildcard in the certificate stands for one label
  std::string oid;    // of kOtherName, in dots
};

// A SPIFFE trust domain and who may sign for it.
struct TrustDomainSpec {
  std::string name;
  Source bundle;
};

using Sha256 = std::array<uint8_t, 32>;

// A SHA-256 as people write it: 64 hexadecimal digits, colons between them or not; or base64.
std::optional<Sha256> ParseHexSha256(std::string_view text);
std::optional<Sha256> ParseBase64Sha256(std::string_view text);

// How the peer's certificate is judged.
struct ValidationSpec {
  Source trusted_ca;
  std::vector<TrustDomainSpec> trust_domains;           // instead of trusted_ca
  std::vector<SanMatcher> sans;                         // empty: anybody
  std::vector<Sha256> certificate_hashes, spki_hashes;  // one of all of them; empty: any
  Source crl;
  bool only_leaf_crl = false;
  bool allow_expired = false;
  bool accept_untrusted = false;  // goes on, and the peer counts as not validated
  int max_depth = -1;             // intermediates; -1: the library's limit
  std::string digest_input;       // equal when nothing here differs but the contents of files
};

enum class TlsVersion : uint8_t { kAuto, k12, k13 };
enum class StaplePolicy : uint8_t { kLenient, kStrict, kMust };

// One side of one configuration, as values: what config/compile_tls makes of DownstreamTlsContext
// and UpstreamTlsContext.
struct ContextSpec {
  bool server = false;
  std::vector<CertificateSpec> certificates;
  bool has_validation = false;
  ValidationSpec validation;
  TlsVersion min_version = TlsVersion::kAuto, max_version = TlsVersion::kAuto;
  std::string ciphers, groups, signature_algorithms;  // lists with colons; empty: the defaults
  bool fips_202205 = false;
  std::vector<std::string> alpn;  // best first
  std::string params_field;       // path of tls_params, for messages

  // Server.
  bool require_client_certificate = false, require_sni = false;
  std::vector<Source> ticket_keys;
  bool tickets = true, stateful_sessions = true;
  MonoNanos session_timeout = 0;  // 0: the default
  StaplePolicy staple_policy = StaplePolicy::kLenient;
  bool prefer_client_ciphers = false;

  // Client.
  std::string sni;
  bool auto_host_sni = false;     // the endpoint's hostname
  bool auto_sni_san = false;      // the certificate must be for the name that was sent
  // The certificate must be for the name that the dial asks for, which is the only one that is sent;
  // a dial without a name fails.
  bool dialed_name_only = false;
  uint32_t max_session_keys = 1;  // an endpoint; 0: no resumption
  bool enforce_rsa_key_usage = true;
};

// What is wrong, and where.
struct SpecError {
  std::string field, message;
};

using ReadFile = std::function<absl::StatusOr<std::string>(const std::string& path)>;

}  // namespace weft::tls
