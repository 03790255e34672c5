#include "dataplane/tls/state.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/stack.h>

#include <algorithm>
#include <ctime>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/tls_transport.h"

namespace weft::tls {
namespace {

// TLS 1.2: forward secrecy and authenticated encryption only. AES in hardware comes before ChaCha
// unless the client prefers that.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
// X25519 first; its hybrid with ML-KEM is there for peers that put it first.
constexpr char kGroups[] = "X25519:X25519MLKEM768:P-256:P-384";

uint16_t ToLibrary(TlsVersion v, uint16_t automatic) {
  return v == TlsVersion::k12 ? TLS1_2_VERSION : v == TlsVersion::k13 ? TLS1_3_VERSION : automatic;
}

}  // namespace

const State& State::Of(const SSL* ssl) {
  return *static_cast<const State*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

State::~State() = default;

std::shared_ptr<State> State::Make(std::shared_ptr<const ContextSpec> spec, const Text& text,
                                   const State* previous, std::vector<SpecError>* errors) {
  std::shared_ptr<State> s(new State(std::move(spec)));
  s->pool_.reset(CRYPTO_BUFFER_POOL_new());
  s->ctx_.reset(SSL_CTX_new(TLS_with_buffers_method()));
  SSL_CTX_set_app_data(s->ctx_.get(), s.get());
  SSL_CTX_set1_buffer_pool(s->ctx_.get(), s->pool_.get());
  SSL_CTX_set_mode(s->ctx_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  bool ok = s->SetParameters(errors);
  ok &= s->SetCertificates(text, errors);
  ok &= s->SetValidation(text, errors);
  ok = ok && s->SetSessions(text, previous, errors);
  return ok ? s : nullptr;
}

bool State::SetParameters(std::vector<SpecError>* errors) {
  SSL_CTX* ctx = ctx_.get();
  size_t before = errors->size();
  auto fail = [&](const char* field, std::string_view value, const char* what) {
    LastError("");
    errors->push_back({StrCat(spec_->params_field, ".", field), StrCat("\"", value, "\": ", what)});
  };
  SSL_CTX_set_min_proto_version(ctx, ToLibrary(spec_->min_version, TLS1_2_VERSION));
  SSL_CTX_set_max_proto_version(ctx, ToLibrary(spec_->max_version, TLS1_3_VERSION));
  if (!SSL_CTX_set_strict_cipher_list(ctx,
                                      spec_->ciphers.empty() ? kCiphers : spec_->ciphers.c_str())) {
    fail("cipher_suites", spec_->ciphers,
         "expected names of TLS 1.2 ciphers such as ECDHE-RSA-AES128-GCM-SHA256");
  }
  if (!SSL_CTX_set1_groups_list(ctx, spec_->groups.empty() ? kGroups : spec_->groups.c_str())) {
    fail("ecdh_curves", spec_->groups,
         "expected names out of X25519, X25519MLKEM768, P-256, P-384, P-521");
  }
  if (!spec_->signature_algorithms.empty() &&
      !SSL_CTX_set1_sigalgs_list(ctx, spec_->signature_algorithms.c_str())) {
    fail("signature_algorithms", spec_->signature_algorithms,
         "expected names such as ecdsa_secp256r1_sha256");
  }
  if (spec_->fips_202205 &&
      !SSL_CTX_set_compliance_policy(ctx, ssl_compliance_policy_fips_202205)) {
    fail("compliance_policies", "FIPS_202205", "refused by the library");
  }
  if (spec_->server && !spec_->prefer_client_ciphers)
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);

  for (const std::string& p : spec_->alpn) {
    alpn_wire_.push_back(static_cast<char>(p.size()));
    alpn_wire_.append(p);
  }
  if (!alpn_wire_.empty() && spec_->server) {
    SSL_CTX_set_alpn_select_cb(
        ctx,
        [](SSL*, const uint8_t** out, uint8_t* out_size, const uint8_t* in, unsigned in_size,
           void* arg) {
          const std::string& ours = static_cast<State*>(arg)->alpn_wire_;
          int r = SSL_select_next_proto(const_cast<uint8_t**>(out), out_size,
                                        reinterpret_cast<const uint8_t*>(ours.data()),
                                        static_cast<unsigned>(ours.size()), in, in_size);
          return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
        },
        this);
  } else if (!alpn_wire_.empty()) {
    SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const uint8_t*>(alpn_wire_.data()),
                            alpn_wire_.size());
  }
  return errors->size() == before;
}

bool State::SetCertificates(const Text& text, std::vector<SpecError>* errors) {
  size_t before = errors->size();
  for (size_t i = 0; i < spec_->certificates.size(); ++i) {
    std::optional<Credential> c =
        MakeCredential(spec_->certificates[i], text.certificates[i], pool_.get(), errors);
    if (!c) continue;
    if (spec_->staple_policy == StaplePolicy::kMust && !c->has_staple) {
      errors->push_back({spec_->certificates[i].chain.field,
                         "ocsp_staple is missing: ocsp_staple_policy is MUST_STAPLE"});
    }
    credentials_.push_back(*std::move(c));
  }
  if (errors->size() != before) return false;
  std::stable_sort(
      credentials_.begin(), credentials_.end(),
      [](const Credential& a, const Credential& b) { return a.info->ecdsa && !b.info->ecdsa; });
  bool choose = credentials_.size() > 1 || spec_->require_sni ||
                std::any_of(credentials_.begin(), credentials_.end(),
                            [](const Credential& c) { return c.has_staple || c.must_staple; });
  if (spec_->server && choose) {
    SSL_CTX_set_cert_cb(
        ctx_.get(),
        [](SSL* ssl, void* arg) { return static_cast<State*>(arg)->ChooseCertificate(ssl); }, this);
    return true;
  }
  for (const Credential& c : credentials_) SSL_CTX_add1_credential(ctx_.get(), c.credential.get());
  return true;
}

// Certificates for the name that the client asked for come first, in their order; a client that
// asks for no name, or for one that no certificate has, gets what its algorithms allow.
int State::ChooseCertificate(SSL* ssl) const {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  std::string_view sni = name == nullptr ? std::string_view() : name;
  if (sni.empty() && spec_->require_sni) return 0;
  const int64_t now = time(nullptr);
  auto usable = [&](const Credential& c) {
    if (!c.has_staple) return spec_->staple_policy == StaplePolicy::kLenient || !c.must_staple;
    return spec_->staple_policy == StaplePolicy::kLenient || c.staple_expires > now;
  };
  auto add = [&](const Credential& c) {
    // A stale staple is worse than none: clients refuse it.
    bool stale = c.has_staple && c.staple_expires <= now;
    return SSL_add1_credential(ssl, stale ? c.unstapled.get() : c.credential.get()) == 1;
  };
  auto matches = [&](const Credential& c) {
    return !sni.empty() && std::any_of(c.names.begin(), c.names.end(), [&](const std::string& n) {
      return DnsNameMatches(n, sni);
    });
  };
  for (const Credential& c : credentials_) {
    if (matches(c) && usable(c) && !add(c)) return 0;
  }
  for (const Credential& c : credentials_) {
    if (!matches(c) && usable(c) && !add(c)) return 0;
  }
  return 1;
}

bool State::SetValidation(const Text& text, std::vector<SpecError>* errors) {
  if (!spec_->has_validation) {
    // The library has no verification of its own here: without a callback it would refuse
    // everybody.
    SSL_CTX_set_custom_verify(ctx_.get(), SSL_VERIFY_NONE,
                              [](SSL*, uint8_t*) { return ssl_verify_ok; });
    return true;
  }
  verifier_ = Verifier::Make(spec_->validation, text.validation, spec_->server, errors);
  if (verifier_ == nullptr) return false;
  int mode = SSL_VERIFY_PEER;
  if (spec_->server && spec_->require_client_certificate) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_custom_verify(ctx_.get(), mode, [](SSL* ssl, uint8_t* out_alert) {
    auto* transport = static_cast<TlsTransport*>(SSL_get_app_data(ssl));
    const State& state = State::Of(ssl);
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    transport->verdict_ = state.Judge(SSL_get0_peer_certificates(ssl),
                                      name == nullptr ? std::string_view() : name);
    if (transport->verdict_.ok) return ssl_verify_ok;
    *out_alert = transport->verdict_.failure == net::HandshakeFailure::kVerify
                     ? SSL_AD_BAD_CERTIFICATE
                     : SSL_AD_CERTIFICATE_UNKNOWN;
    return ssl_verify_invalid;
  });
  if (spec_->server) {
    bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> names(sk_CRYPTO_BUFFER_new_null());
    for (const std::string& n : verifier_->authority_names()) {
      bssl::PushToStack(names.get(),
                        bssl::UniquePtr<CRYPTO_BUFFER>(CRYPTO_BUFFER_new(
                            reinterpret_cast<const uint8_t*>(n.data()), n.size(), pool_.get())));
    }
    SSL_CTX_set0_client_CAs(ctx_.get(), names.release());
  }
  return true;
}

Verdict State::Judge(const STACK_OF(CRYPTO_BUFFER) * chain, std::string_view sni) const {
  if (spec_->dialed_name_only && sni.empty()) {
    Verdict v;
    v.failure = net::HandshakeFailure::kSan;
    v.detail = "there is no name that the certificate could be for";
    return v;
  }
  const bool named = spec_->auto_sni_san || spec_->dialed_name_only;
  return verifier_->Verify(chain, named ? sni : std::string_view());
}

bool State::SetSessions(const Text& text, const State* previous, std::vector<SpecError>* errors) {
  SSL_CTX* ctx = ctx_.get();
  if (!spec_->server) {
    if (spec_->max_session_keys == 0) {
      SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
      SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
      return true;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) {
      auto* transport = static_cast<TlsTransport*>(SSL_get_app_data(ssl));
      if (SSL_SESSION_is_resumable(session)) {
        State::Of(ssl).sessions_.Put(transport->session_key(),
                                     bssl::UniquePtr<SSL_SESSION>(session));
        return 1;
      }
      return 0;
    });
    return true;
  }

  // Sessions are of one trust and one set of names (RFC 8446 section 4.6.1): a ticket that was made
  // under another one is not known here, whoever holds its key.
  std::string all = spec_->require_client_certificate ? "required" : "optional";
  if (verifier_ != nullptr) {
    all.append(reinterpret_cast<const char*>(verifier_->digest().data()),
               verifier_->digest().size());
  }
  for (const Credential& c : credentials_) {
    for (const std::string& n : c.names) StrAppend(&all, "|", n);
  }
  trust_ = Digest(all);
  SSL_CTX_set_session_id_context(ctx, trust_.data(), trust_.size());

  if (!spec_->ticket_keys.empty()) {
    for (size_t i = 0; i < text.ticket_keys.size(); ++i) {
      if (text.ticket_keys[i].size() != TicketKeys::kKeyBytes) {
        errors->push_back({spec_->ticket_keys[i].field,
                           StrCat("has ", text.ticket_keys[i].size(), " bytes: expected ",
                                  TicketKeys::kKeyBytes, " (openssl rand 80)")});
        return false;
      }
    }
    ticket_keys_ = std::make_shared<TicketKeys>(text.ticket_keys);
  } else if (previous != nullptr && previous->trust_ == trust_ &&
             previous->ticket_keys_ != nullptr) {
    ticket_keys_ = previous->ticket_keys_;
  } else {
    ticket_keys_ = std::make_shared<TicketKeys>();
  }
  if (spec_->tickets) {
    SSL_CTX_set_tlsext_ticket_key_cb(ctx, [](SSL* ssl, uint8_t* name, uint8_t* iv,
                                             EVP_CIPHER_CTX* cipher, HMAC_CTX* mac, int encrypt) {
      return State::Of(ssl).ticket_keys_->Use(name, iv, cipher, mac, encrypt != 0);
    });
    // Each one costs the peer's chain on the wire; a client that resumes gets a new one.
    SSL_CTX_set_num_tickets(ctx, 1);
  } else {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  }
  SSL_CTX_set_session_cache_mode(
      ctx, spec_->stateful_sessions ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
  SSL_CTX_sess_set_cache_size(ctx, 4096);

  // No longer than our own certificates last.
  int64_t seconds = spec_->session_timeout != 0 ? spec_->session_timeout / kSecond
                                                : int64_t{SSL_DEFAULT_SESSION_TIMEOUT};
  for (const Credential& c : credentials_)
    seconds = std::min(seconds, c.info->not_after - time(nullptr));
  uint32_t timeout = static_cast<uint32_t>(std::clamp<int64_t>(seconds, 1, UINT32_MAX));
  SSL_CTX_set_timeout(ctx, timeout);
  SSL_CTX_set_session_psk_dhe_timeout(ctx, timeout);
  return true;
}

std::shared_ptr<const CertificateInfo> State::LocalCertificate(const SSL* ssl) const {
  if (credentials_.size() == 1) return credentials_[0].info;
  const SSL_CREDENTIAL* chosen = ssl == nullptr ? nullptr : SSL_get0_selected_credential(ssl);
  for (const Credential& c : credentials_) {
    if (chosen != nullptr && (c.credential.get() == chosen || c.unstapled.get() == chosen))
      return c.info;
  }
  return nullptr;
}

int64_t State::first_expiry() const {
  int64_t first = INT64_MAX;
  for (const Credential& c : credentials_) first = std::min(first, c.info->not_after);
  return first;
}

}  // namespace weft::tls
