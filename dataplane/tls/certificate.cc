#include "dataplane/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/x509.h>
#include <strings.h>

#include <algorithm>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/ocsp.h"

namespace weft::tls {
namespace {

std::string ToText(const ASN1_STRING* s) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
          static_cast<size_t>(ASN1_STRING_length(s))};
}

std::string NameText(const X509_NAME* name) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  const uint8_t* data;
  size_t size;
  if (!BIO_mem_contents(bio.get(), &data, &size)) return {};
  return {reinterpret_cast<const char*>(data), size};
}

std::string IpText(const ASN1_STRING* s) {
  char buf[INET6_ADDRSTRLEN];
  int family = ASN1_STRING_length(s) == 4 ? AF_INET : ASN1_STRING_length(s) == 16 ? AF_INET6 : 0;
  if (family == 0 || inet_ntop(family, ASN1_STRING_get0_data(s), buf, sizeof(buf)) == nullptr)
    return {};
  return buf;
}

std::string OidText(const ASN1_OBJECT* o) {
  char buf[128];
  int n = OBJ_obj2txt(buf, sizeof(buf), o, 1);
  return n > 0 && n < static_cast<int>(sizeof(buf)) ? std::string(buf) : std::string();
}

// A name with a NUL inside is nobody's name.
void AddText(std::string text, std::vector<std::string>* out) {
  if (!text.empty() && text.find('\0') == std::string::npos) out->push_back(std::move(text));
}

void ReadSans(const X509* x, CertificateInfo* out) {
  bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr) return;
  for (const GENERAL_NAME* n : names.get()) {
    switch (n->type) {
      case GEN_URI:
        AddText(ToText(n->d.uniformResourceIdentifier), &out->uri_sans);
        break;
      case GEN_DNS:
        AddText(ToText(n->d.dNSName), &out->dns_sans);
        break;
      case GEN_EMAIL:
        AddText(ToText(n->d.rfc822Name), &out->email_sans);
        break;
      case GEN_IPADD:
        AddText(IpText(n->d.iPAddress), &out->ip_sans);
        break;
      case GEN_OTHERNAME: {
        const ASN1_TYPE* v = n->d.otherName->value;
        if (v->type == V_ASN1_UTF8STRING || v->type == V_ASN1_IA5STRING ||
            v->type == V_ASN1_PRINTABLESTRING || v->type == V_ASN1_OCTET_STRING) {
          out->other_sans.emplace_back(OidText(n->d.otherName->type_id),
                                       ToText(v->value.asn1_string));
        }
        break;
      }
      default:
        break;
    }
  }
}

int PasswordCallback(char* buf, int size, int, void* arg) {
  const auto* password = static_cast<const std::string*>(arg);
  if (password->empty() || password->size() > static_cast<size_t>(size)) return -1;
  std::copy(password->begin(), password->end(), buf);
  return static_cast<int>(password->size());
}

bssl::UniquePtr<BIO> MemoryBio(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
}

// Does the certificate ask to be refused without a staple (RFC 7633, status_request = 5)?
bool MustStaple(const X509* x) {
  bssl::UniquePtr<ASN1_OBJECT> oid(OBJ_txt2obj("1.3.6.1.5.5.7.1.24", 1));
  int at = X509_get_ext_by_OBJ(x, oid.get(), -1);
  if (at < 0) return false;
  const ASN1_OCTET_STRING* data = X509_EXTENSION_get_data(X509_get_ext(x, at));
  CBS in, list;
  CBS_init(&in, ASN1_STRING_get0_data(data), static_cast<size_t>(ASN1_STRING_length(data)));
  if (!CBS_get_asn1(&in, &list, CBS_ASN1_SEQUENCE)) return false;
  uint64_t feature;
  while (CBS_len(&list) > 0 && CBS_get_asn1_uint64(&list, &feature)) {
    if (feature == 5) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<const CertificateInfo> CertificateInfo::Parse(std::string_view der) {
  bssl::UniquePtr<CRYPTO_BUFFER> buffer(
      CRYPTO_BUFFER_new(reinterpret_cast<const uint8_t*>(der.data()), der.size(), nullptr));
  bssl::UniquePtr<X509> x(X509_parse_from_buffer(buffer.get()));
  if (x == nullptr) return nullptr;
  auto out = std::make_shared<CertificateInfo>();
  ReadSans(x.get(), out.get());
  out->subject = NameText(X509_get_subject_name(x.get()));
  out->issuer = NameText(X509_get_issuer_name(x.get()));
  const X509_NAME* subject = X509_get_subject_name(x.get());
  int cn = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (cn >= 0)
    out->common_name = ToText(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, cn)));
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x.get());
  out->serial = Hex(ASN1_STRING_get0_data(serial), static_cast<size_t>(ASN1_STRING_length(serial)));
  out->hash = Digest(der);
  out->sha256 = Hex(out->hash.data(), out->hash.size());
  ASN1_TIME_to_posix_nonstandard(X509_get0_notAfter(x.get()), &out->not_after);
  uint8_t* spki = nullptr;
  int spki_size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x.get()), &spki);
  if (spki_size > 0) {
    out->spki_hash = Digest({reinterpret_cast<const char*>(spki), static_cast<size_t>(spki_size)});
    OPENSSL_free(spki);
  }
  const EVP_PKEY* key = X509_get0_pubkey(x.get());
  out->ecdsa = key != nullptr && EVP_PKEY_id(key) == EVP_PKEY_EC;
  return out;
}

bool DnsNameMatches(std::string_view pattern, std::string_view host) {
  auto equal = [](std::string_view a, std::string_view b) {
    return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
  };
  if (!pattern.starts_with("*.")) return equal(pattern, host);
  size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  std::string_view rest = pattern.substr(1);
  // "*.com" would be everybody.
  return rest.find('.', 1) != std::string_view::npos && equal(rest, host.substr(dot));
}

std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> ReadPemChain(std::string_view pem,
                                                         CRYPTO_BUFFER_POOL* pool,
                                                         std::string* why) {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> out;
  bssl::UniquePtr<BIO> bio = MemoryBio(pem);
  for (;;) {
    char *name = nullptr, *header = nullptr;
    uint8_t* data = nullptr;
    long size = 0;  // NOLINT: BoringSSL's type
    if (!PEM_read_bio(bio.get(), &name, &header, &data, &size)) break;
    bssl::UniquePtr<char> free_name(name), free_header(header);
    bssl::UniquePtr<uint8_t> free_data(data);
    std::string_view kind(name);
    if (kind != "CERTIFICATE" && kind != "X509 CERTIFICATE") continue;
    bssl::UniquePtr<CRYPTO_BUFFER> buffer(CRYPTO_BUFFER_new(data, static_cast<size_t>(size), pool));
    bssl::UniquePtr<X509> x(X509_parse_from_buffer(buffer.get()));
    if (x == nullptr) {
      *why = StrCat("certificate ", out.size() + 1, " is malformed: ", LastError("no X.509"));
      out.clear();
      return out;
    }
    out.push_back(std::move(buffer));
  }
  LastError("");
  if (out.empty()) *why = "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)";
  return out;
}

std::optional<Credential> MakeCredential(const CertificateSpec& spec, const CertificateText& text,
                                         CRYPTO_BUFFER_POOL* pool, std::vector<SpecError>* errors) {
  auto fail = [errors](const Source& source, std::string message) {
    errors->push_back({source.field, source.file.empty() ? std::move(message)
                                                         : StrCat(source.file, ": ", message)});
    return std::nullopt;
  };
  std::string why;
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain = ReadPemChain(text.chain, pool, &why);
  if (chain.empty()) return fail(spec.chain, why);
  Credential out;
  out.info = CertificateInfo::Parse(View(chain[0].get()));
  bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(chain[0].get()));

  bssl::UniquePtr<BIO> bio = MemoryBio(text.key);
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, PasswordCallback,
                                                        const_cast<std::string*>(&text.password)));
  if (key == nullptr) {
    std::string reason = LastError("no key in PEM form");
    return fail(spec.key, StrCat("no private key can be read: ", reason,
                                 text.password.empty() ? "" : " (is the password right?)"));
  }
  if (!X509_check_private_key(leaf.get(), key.get())) {
    LastError("");
    return fail(spec.key, "does not belong to the first certificate of certificate_chain");
  }
  if (EVP_PKEY_id(key.get()) == EVP_PKEY_RSA && EVP_PKEY_bits(key.get()) < 2048) {
    return fail(spec.key,
                StrCat("RSA key of ", EVP_PKEY_bits(key.get()), " bits: expected 2048 or more"));
  }
  if (EVP_PKEY_id(key.get()) == EVP_PKEY_EC && EVP_PKEY_bits(key.get()) < 256) {
    return fail(spec.key, StrCat("ECDSA key of ", EVP_PKEY_bits(key.get()),
                                 " bits: expected P-256, P-384 or P-521"));
  }

  std::vector<CRYPTO_BUFFER*> buffers;
  for (const auto& b : chain) buffers.push_back(b.get());
  auto make = [&](bssl::UniquePtr<SSL_CREDENTIAL>* to) {
    to->reset(SSL_CREDENTIAL_new_x509());
    return SSL_CREDENTIAL_set1_cert_chain(to->get(), buffers.data(), buffers.size()) &&
           SSL_CREDENTIAL_set1_private_key(to->get(), key.get());
  };
  if (!make(&out.credential)) {
    return fail(spec.chain, StrCat("can't be used: ", LastError("refused by the library")));
  }
  out.names = out.info->dns_sans;
  if (out.names.empty() && !out.info->common_name.empty())
    out.names.push_back(out.info->common_name);
  out.must_staple = MustStaple(leaf.get());

  if (spec.ocsp_staple.set()) {
    std::optional<OcspResponse> response = ParseOcspResponse(text.ocsp_staple, &why);
    if (!response) return fail(spec.ocsp_staple, why);
    std::string_view serial = out.info->serial;
    while (serial.size() > 2 && serial.starts_with("00")) serial.remove_prefix(2);
    if (response->serial != serial) {
      return fail(spec.ocsp_staple,
                  StrCat("is about certificate ", response->serial, ", not ", serial));
    }
    if (response->status == OcspResponse::Status::kRevoked) {
      return fail(spec.ocsp_staple, "says that the certificate is revoked");
    }
    bssl::UniquePtr<CRYPTO_BUFFER> staple(CRYPTO_BUFFER_new(
        reinterpret_cast<const uint8_t*>(text.ocsp_staple.data()), text.ocsp_staple.size(), pool));
    SSL_CREDENTIAL_set1_ocsp_response(out.credential.get(), staple.get());
    make(&out.unstapled);
    out.has_staple = true;
    out.staple_expires = response->next_update != 0 ? response->next_update : INT64_MAX;
  }
  return out;
}

}  // namespace weft::tls
