#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/tls/certificate.h"
#include "dataplane/tls/session_cache.h"
#include "dataplane/tls/spec.h"
#include "dataplane/tls/ticket_keys.h"
#include "dataplane/tls/verifier.h"

namespace weft::tls {

class TlsTransport;

// A context at one moment: the library's own context, our certificates, the trust. Owner: shared by
// the context and the connections that began with it. Thread: immutable, any; sessions and ticket
// keys guard themselves.
class State {
 public:
  struct Text {
    std::vector<CertificateText> certificates;
    ValidationText validation;
    std::vector<std::string> ticket_keys;
  };
  // `previous` may be null: its ticket keys live on when trust is the same.
  static std::shared_ptr<State> Make(std::shared_ptr<const ContextSpec> spec, const Text& text,
                                     const State* previous, std::vector<SpecError>* errors);
  ~State();

  SSL_CTX* ctx() const { return ctx_.get(); }
  const ContextSpec& spec() const { return *spec_; }
  const Verifier* verifier() const { return verifier_.get(); }
  // What the peer's certificate is worth. `sni`: the server name of the handshake.
  Verdict Judge(const STACK_OF(CRYPTO_BUFFER) * chain, std::string_view sni) const;
  SessionCache& sessions() const { return sessions_; }
  int64_t first_expiry() const;
  // The certificate that we show: the only one, or what the handshake of `ssl` chose so far; null:
  // none, or not known.
  std::shared_ptr<const CertificateInfo> LocalCertificate(const SSL* ssl) const;

  static const State& Of(const SSL* ssl);

 private:
  explicit State(std::shared_ptr<const ContextSpec> spec)
      : spec_(std::move(spec)), sessions_(spec_->max_session_keys) {}
  bool SetParameters(std::vector<SpecError>* errors);
  bool SetCertificates(const Text& text, std::vector<SpecError>* errors);
  bool SetValidation(const Text& text, std::vector<SpecError>* errors);
  bool SetSessions(const Text& text, const State* previous, std::vector<SpecError>* errors);
  int ChooseCertificate(SSL* ssl) const;

  const std::shared_ptr<const ContextSpec> spec_;
  bssl::UniquePtr<CRYPTO_BUFFER_POOL> pool_;
  bssl::UniquePtr<SSL_CTX> ctx_;
  std::vector<Credential> credentials_;  // ECDSA first
  std::unique_ptr<Verifier> verifier_;
  std::shared_ptr<TicketKeys> ticket_keys_;
  Sha256 trust_{};
  std::string alpn_wire_;
  mutable SessionCache sessions_;
};

}  // namespace weft::tls
