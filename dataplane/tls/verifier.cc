#include "dataplane/tls/verifier.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/stack.h>

#include <algorithm>
#include <ctime>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"

namespace weft::tls {
namespace {

constexpr size_t kMaxKnown = 4096;

int64_t ToUnix(const ASN1_TIME* t) {
  int64_t out = 0;
  if (t == nullptr || !ASN1_TIME_to_posix_nonstandard(t, &out)) return INT64_MAX;
  return out;
}

std::string At(const Source& source, std::string message) {
  return source.file.empty() ? message : StrCat(source.file, ": ", message);
}

// The trust domain of a SPIFFE ID, empty when it is none.
std::string_view TrustDomainOf(std::string_view uri) {
  constexpr std::string_view kScheme = "spiffe://";
  if (!uri.starts_with(kScheme)) return {};
  uri.remove_prefix(kScheme.size());
  return uri.substr(0, uri.find('/'));
}

}  // namespace

std::unique_ptr<Verifier> Verifier::Make(const ValidationSpec& spec, const ValidationText& text,
                                         bool peer_is_client, std::vector<SpecError>* errors) {
  size_t before = errors->size();
  std::unique_ptr<Verifier> v(new Verifier(spec, peer_is_client));
  if (spec.trusted_ca.set()) v->ca_ = v->MakeStore(spec.trusted_ca, text.trusted_ca, errors);
  for (size_t i = 0; i < spec.trust_domains.size(); ++i) {
    v->domains_.push_back({spec.trust_domains[i].name,
                           v->MakeStore(spec.trust_domains[i].bundle, text.bundles[i], errors)});
  }
  if (spec.crl.set()) {
    if (v->ca_ != nullptr) v->AddCrls(v->ca_.get(), text.crl, errors);
    for (Domain& d : v->domains_) {
      if (d.store != nullptr) v->AddCrls(d.store.get(), text.crl, errors);
    }
  }
  std::string all = StrCat(spec.digest_input, "|", text.trusted_ca, "|", text.crl);
  for (const std::string& b : text.bundles) StrAppend(&all, "|", b);
  v->digest_ = Digest(all);
  return errors->size() == before ? std::move(v) : nullptr;
}

bssl::UniquePtr<X509_STORE> Verifier::MakeStore(const Source& source, std::string_view text,
                                                std::vector<SpecError>* errors) {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
  bssl::UniquePtr<STACK_OF(X509_INFO)> items(
      PEM_X509_INFO_read_bio(bio.get(), nullptr, nullptr, nullptr));
  size_t certificates = 0;
  if (items != nullptr) {
    for (X509_INFO* item : items.get()) {
      if (item->x509 != nullptr) {
        ++certificates;
        X509_STORE_add_cert(store.get(), item->x509);
        uint8_t* der = nullptr;
        int size = i2d_X509_NAME(X509_get_subject_name(item->x509), &der);
        if (size > 0) {
          std::string name(reinterpret_cast<char*>(der), static_cast<size_t>(size));
          OPENSSL_free(der);
          if (std::find(authority_names_.begin(), authority_names_.end(), name) ==
              authority_names_.end()) {
            authority_names_.push_back(std::move(name));
          }
        }
      }
      if (item->crl != nullptr) {  // beside the certificates, as in a bundle
        X509_STORE_add_crl(store.get(), item->crl);
        has_crl_ = true;
        crl_until_ = std::min(crl_until_, ToUnix(X509_CRL_get0_nextUpdate(item->crl)));
      }
    }
  }
  std::string why = LastError("");
  if (items == nullptr || certificates == 0) {
    errors->push_back(
        {source.field,
         At(source, items == nullptr && !why.empty() && !text.empty()
                        ? StrCat("malformed PEM: ", why)
                        : "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")});
    return nullptr;
  }
  return store;
}

void Verifier::AddCrls(X509_STORE* store, std::string_view text, std::vector<SpecError>* errors) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
  size_t count = 0;
  for (;;) {
    bssl::UniquePtr<X509_CRL> crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
    if (crl == nullptr) break;
    ++count;
    crl_until_ = std::min(crl_until_, ToUnix(X509_CRL_get0_nextUpdate(crl.get())));
    X509_STORE_add_crl(store, crl.get());
  }
  uint32_t error = ERR_peek_last_error();
  bool clean = count > 0 && ERR_GET_LIB(error) == ERR_LIB_PEM &&
               ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  std::string why = LastError("");
  has_crl_ = true;
  if (!clean) {
    errors->push_back(
        {spec_.crl.field,
         At(spec_.crl, count == 0 ? "has no revocation list in PEM form (-----BEGIN X509 CRL-----)"
                                  : StrCat("malformed revocation list: ", why))});
  }
}

const X509_STORE* Verifier::StoreFor(const CertificateInfo& leaf, std::string* why) const {
  if (domains_.empty()) return ca_.get();
  // SPIFFE X509-SVID section 5: exactly one URI, in the trust domain of the authority.
  if (leaf.uri_sans.size() != 1 || TrustDomainOf(leaf.uri_sans[0]).empty()) {
    *why = "the certificate has not exactly one SPIFFE ID";
    return nullptr;
  }
  std::string_view domain = TrustDomainOf(leaf.uri_sans[0]);
  for (const Domain& d : domains_) {
    if (d.name == domain) return d.store.get();
  }
  *why = StrCat("trust domain ", domain, " is not trusted");
  return nullptr;
}

int64_t Verifier::CheckChain(const STACK_OF(CRYPTO_BUFFER) * chain, const X509_STORE* store,
                             std::string* why) const {
  bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0)));
  bssl::UniquePtr<STACK_OF(X509)> untrusted(sk_X509_new_null());
  for (size_t i = 1; i < sk_CRYPTO_BUFFER_num(chain); ++i) {
    bssl::UniquePtr<X509> x(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i)));
    if (x == nullptr) {
      *why = "malformed certificate in the chain";
      return 0;
    }
    bssl::PushToStack(untrusted.get(), std::move(x));
  }
  bssl::UniquePtr<X509_STORE_CTX> ctx(X509_STORE_CTX_new());
  if (leaf == nullptr ||
      !X509_STORE_CTX_init(ctx.get(), const_cast<X509_STORE*>(store), leaf.get(),
                           untrusted.get()) ||
      !X509_STORE_CTX_set_default(ctx.get(), peer_is_client_ ? "ssl_client" : "ssl_server")) {
    *why = "malformed certificate";
    return 0;
  }
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  // An intermediate that is configured as an authority is one.
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;  // NOLINT
  if (has_crl_)
    flags |= X509_V_FLAG_CRL_CHECK | (spec_.only_leaf_crl ? 0 : X509_V_FLAG_CRL_CHECK_ALL);
  if (spec_.allow_expired) flags |= X509_V_FLAG_NO_CHECK_TIME;
  X509_VERIFY_PARAM_set_flags(param, flags);
  if (spec_.max_depth >= 0) X509_VERIFY_PARAM_set_depth(param, spec_.max_depth);
  if (X509_verify_cert(ctx.get()) != 1) {
    *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get()));
    LastError("");
    return 0;
  }
  if (spec_.allow_expired) return has_crl_ ? crl_until_ : INT64_MAX;
  int64_t until = has_crl_ ? crl_until_ : INT64_MAX;
  for (const X509* x : X509_STORE_CTX_get0_chain(ctx.get()))
    until = std::min(until, ToUnix(X509_get0_notAfter(x)));
  return until;
}

bool Verifier::SanMatches(const CertificateInfo& leaf) const {
  using Type = SanMatcher::Type;
  for (const SanMatcher& m : spec_.sans) {
    auto any = [&m](const std::vector<std::string>& values) {
      return std::any_of(values.begin(), values.end(),
                         [&m](const std::string& v) { return m.matches(v); });
    };
    bool is_any = m.type == Type::kAny;
    if ((is_any || m.type == Type::kUri) && any(leaf.uri_sans)) return true;
    if ((is_any || m.type == Type::kEmail) && any(leaf.email_sans)) return true;
    if ((is_any || m.type == Type::kIpAddress) && any(leaf.ip_sans)) return true;
    if (is_any || m.type == Type::kDns) {
      if (any(leaf.dns_sans)) return true;
      if (!m.exact.empty() &&
          std::any_of(leaf.dns_sans.begin(), leaf.dns_sans.end(),
                      [&m](const std::string& v) { return DnsNameMatches(v, m.exact); })) {
        return true;
      }
    }
    if (m.type == Type::kOtherName) {
      for (const auto& [oid, value] : leaf.other_sans) {
        if (oid == m.oid && m.matches(value)) return true;
      }
    }
  }
  return false;
}

bool Verifier::Pinned(const CertificateInfo& leaf) const {
  auto has = [](const std::vector<Sha256>& all, const Sha256& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
  };
  return has(spec_.certificate_hashes, leaf.hash) || has(spec_.spki_hashes, leaf.spki_hash);
}

Verdict Verifier::Verify(const STACK_OF(CRYPTO_BUFFER) * chain,
                         std::string_view expected_host) const {
  Verdict v;
  auto fail = [&](net::HandshakeFailure failure, std::string detail) {
    v.ok = spec_.accept_untrusted;
    v.failure = failure;
    v.detail = std::move(detail);
    return v;
  };
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) {
    v.failure = net::HandshakeFailure::kNoCertificate;
    v.detail = "the peer showed no certificate";
    return v;
  }
  std::string all;
  for (const CRYPTO_BUFFER* b : chain) {
    StrAppend(&all, CRYPTO_BUFFER_len(b), ":");
    all.append(View(b));
  }
  const Sha256 key = Digest(all);
  const int64_t now = time(nullptr);
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = known_.find(key);
    if (it != known_.end() && it->second.until > now) v.peer = it->second.peer;
  }
  if (v.peer == nullptr) {
    v.peer = CertificateInfo::Parse(View(sk_CRYPTO_BUFFER_value(chain, 0)));
    if (v.peer == nullptr) {
      v.failure = net::HandshakeFailure::kVerify;
      v.detail = "malformed certificate";
      return v;
    }
    int64_t until = v.peer->not_after;
    if (checks_chain()) {
      std::string why;
      const X509_STORE* store = StoreFor(*v.peer, &why);
      until = store == nullptr ? 0 : CheckChain(chain, store, &why);
      if (until == 0) return fail(net::HandshakeFailure::kVerify, why);
    }
    std::lock_guard<std::mutex> lock(mu_);
    if (known_.size() >= kMaxKnown) known_.clear();
    known_.insert_or_assign(key, Known{until, v.peer});
  }
  if (!spec_.sans.empty() && !SanMatches(*v.peer)) {
    return fail(net::HandshakeFailure::kSan,
                "no subject alternative name of the certificate is one that is expected");
  }
  if (!expected_host.empty() &&
      std::none_of(v.peer->dns_sans.begin(), v.peer->dns_sans.end(),
                   [&](const std::string& n) { return DnsNameMatches(n, expected_host); }) &&
      std::find(v.peer->ip_sans.begin(), v.peer->ip_sans.end(), expected_host) ==
          v.peer->ip_sans.end()) {
    return fail(net::HandshakeFailure::kSan, StrCat("the certificate is not for ", expected_host));
  }
  bool pins = !spec_.certificate_hashes.empty() || !spec_.spki_hashes.empty();
  if (pins && !Pinned(*v.peer)) {
    return fail(net::HandshakeFailure::kHash, "the certificate is none of those that are pinned");
  }
  v.ok = true;
  v.validated = checks_chain() || pins;
  return v;
}

}  // namespace weft::tls
