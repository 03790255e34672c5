#pragma once

#include <openssl/base.h>
#include <openssl/pool.h>
#include <openssl/x509.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/net/security.h"
#include "dataplane/tls/certificate.h"
#include "dataplane/tls/spec.h"

namespace weft::tls {

// What became of a peer's certificate.
struct Verdict {
  bool ok = false;         // the connection may go on
  bool validated = false;  // the certificate passed
  net::HandshakeFailure failure = net::HandshakeFailure::kVerify;
  std::string detail;  // when it did not pass
  std::shared_ptr<const CertificateInfo> peer;
};

// Contents of the files of a ValidationSpec.
struct ValidationText {
  std::string trusted_ca, crl;
  std::vector<std::string> bundles;  // as trust_domains
};

// Judges peers' certificates by one ValidationSpec. A chain that was found good is remembered until
// it, or a revocation list, expires: its signatures are not computed again for the next connection
// of the same peer. Names are compared each time. Owner: a context's state. Thread: any.
class Verifier {
 public:
  static std::unique_ptr<Verifier> Make(const ValidationSpec& spec, const ValidationText& text,
                                        bool peer_is_client, std::vector<SpecError>* errors);

  // `expected_host`: the certificate must be for it too; empty: not asked.
  Verdict Verify(const STACK_OF(CRYPTO_BUFFER) * chain, std::string_view expected_host) const;

  // DER forms of the subjects of the authorities, for a server to name them.
  const std::vector<std::string>& authority_names() const { return authority_names_; }
  bool checks_chain() const { return ca_ != nullptr || !domains_.empty(); }
  // Changes when the trust does.
  const Sha256& digest() const { return digest_; }

 private:
  struct Known {
    int64_t until;  // Unix seconds
    std::shared_ptr<const CertificateInfo> peer;
  };
  struct Domain {
    std::string name;
    bssl::UniquePtr<X509_STORE> store;
  };
  explicit Verifier(const ValidationSpec& spec, bool peer_is_client)
      : spec_(spec), peer_is_client_(peer_is_client) {}
  bssl::UniquePtr<X509_STORE> MakeStore(const Source& source, std::string_view text,
                                        std::vector<SpecError>* errors);
  void AddCrls(X509_STORE* store, std::string_view text, std::vector<SpecError>* errors);
  const X509_STORE* StoreFor(const CertificateInfo& leaf, std::string* why) const;
  // When the chain's validity ends; 0, and why, when it has none.
  int64_t CheckChain(const STACK_OF(CRYPTO_BUFFER) * chain, const X509_STORE* store,
                     std::string* why) const;
  bool SanMatches(const CertificateInfo& leaf) const;
  bool Pinned(const CertificateInfo& leaf) const;

  const ValidationSpec& spec_;
  const bool peer_is_client_;
  bssl::UniquePtr<X509_STORE> ca_;
  std::vector<Domain> domains_;
  bool has_crl_ = false;
  int64_t crl_until_ = INT64_MAX;
  std::vector<std::string> authority_names_;
  Sha256 digest_{};
  mutable std::mutex mu_;  // guards known_
  mutable std::map<Sha256, Known> known_;
};

}  // namespace weft::tls
