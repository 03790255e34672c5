// What TlsTransport tells of its handshake.
#include <openssl/base64.h>
#include <openssl/pool.h>
#include <openssl/stack.h>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/state.h"
#include "dataplane/tls/tls_transport.h"

namespace weft::tls {
namespace {

const std::vector<std::string>& None() {
  static const auto* const none = new std::vector<std::string>;
  return *none;
}

// As encodeURIComponent does it.
void AppendUrlEncoded(std::string_view text, std::string* out) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (unsigned char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out->push_back(static_cast<char>(c));
    } else {
      out->push_back('%');
      out->push_back(kDigits[c >> 4]);
      out->push_back(kDigits[c & 15]);
    }
  }
}

std::string ToPem(std::string_view der) {
  std::string base64(der.size() * 4 / 3 + 8, 0);
  base64.resize(EVP_EncodeBlock(reinterpret_cast<uint8_t*>(base64.data()),
                                reinterpret_cast<const uint8_t*>(der.data()), der.size()));
  std::string out = "-----BEGIN CERTIFICATE-----\n";
  for (size_t i = 0; i < base64.size(); i += 64) out.append(base64, i, 64).push_back('\n');
  return out + "-----END CERTIFICATE-----\n";
}

}  // namespace

// For logs and header values: several names of a certificate become one text.
std::string_view TlsTransport::Get(Value value) const {
  auto joined = [this](const std::vector<std::string>& names,
                       std::string Text::*member) -> std::string_view {
    if (names.empty()) return {};
    if (names.size() == 1) return names[0];
    if (text_ == nullptr) text_ = std::make_unique<Text>();
    std::string& out = *text_.*member;
    if (out.empty()) {
      for (const std::string& n : names) StrAppend(&out, out.empty() ? "" : ",", n);
    }
    return out;
  };
  switch (value) {
    case Value::kVersion:
      return version();
    case Value::kCipher:
      return cipher();
    case Value::kPeerUriSan:
      return joined(peer_uri_sans(), &Text::peer_uris);
    case Value::kPeerDnsSan:
      return joined(peer_dns_sans(), &Text::peer_names);
    case Value::kPeerSubject:
      return peer_subject();
    case Value::kPeerIssuer:
      return peer_issuer();
    case Value::kPeerSerial:
      return peer_serial();
    case Value::kPeerFingerprint256:
      return peer_sha256();
    case Value::kPeerCert:
      return peer_pem_url_encoded();
    case Value::kLocalUriSan:
      return joined(local_uri_sans(), &Text::local_uris);
    case Value::kLocalSubject:
      return local_subject();
  }
  return {};
}

std::string_view TlsTransport::version() const { return SSL_get_version(ssl_.get()); }

std::string_view TlsTransport::cipher() const {
  const SSL_CIPHER* c = SSL_get_current_cipher(ssl_.get());
  return c == nullptr ? std::string_view() : SSL_CIPHER_get_name(c);
}

std::string_view TlsTransport::group() const {
  const char* name = SSL_get_group_name(SSL_get_group_id(ssl_.get()));
  return name == nullptr ? std::string_view() : name;
}

std::string_view TlsTransport::alpn() const {
  const uint8_t* data;
  unsigned size;
  SSL_get0_alpn_selected(ssl_.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

std::string_view TlsTransport::sni() const {
  const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string_view() : name;
}

bool TlsTransport::resumed() const { return SSL_session_reused(ssl_.get()) != 0; }

std::string_view TlsTransport::peer_identity() const {
  if (!verdict_.validated || verdict_.peer == nullptr) return {};
  for (const std::string& uri : verdict_.peer->uri_sans) {
    if (uri.starts_with("spiffe://")) return uri;
  }
  return {};
}

const std::vector<std::string>& TlsTransport::peer_uri_sans() const {
  return verdict_.peer == nullptr ? None() : verdict_.peer->uri_sans;
}
const std::vector<std::string>& TlsTransport::peer_dns_sans() const {
  return verdict_.peer == nullptr ? None() : verdict_.peer->dns_sans;
}
std::string_view TlsTransport::peer_subject() const {
  return verdict_.peer == nullptr ? std::string_view() : verdict_.peer->subject;
}
std::string_view TlsTransport::peer_issuer() const {
  return verdict_.peer == nullptr ? std::string_view() : verdict_.peer->issuer;
}
std::string_view TlsTransport::peer_serial() const {
  return verdict_.peer == nullptr ? std::string_view() : verdict_.peer->serial;
}
std::string_view TlsTransport::peer_sha256() const {
  return verdict_.peer == nullptr ? std::string_view() : verdict_.peer->sha256;
}

std::string TlsTransport::PemOf(const CRYPTO_BUFFER* certificate) const {
  std::string out;
  AppendUrlEncoded(ToPem(View(certificate)), &out);
  return out;
}

std::string_view TlsTransport::peer_pem_url_encoded() const {
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return {};
  if (text_ == nullptr) text_ = std::make_unique<Text>();
  if (text_->pem.empty()) text_->pem = PemOf(sk_CRYPTO_BUFFER_value(chain, 0));
  return text_->pem;
}

std::string_view TlsTransport::peer_chain_pem_url_encoded() const {
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
  if (chain == nullptr) return {};
  if (text_ == nullptr) text_ = std::make_unique<Text>();
  if (text_->chain_pem.empty()) {
    for (const CRYPTO_BUFFER* b : chain) text_->chain_pem += PemOf(b);
  }
  return text_->chain_pem;
}

const std::vector<std::string>& TlsTransport::local_uri_sans() const {
  return local_ == nullptr ? None() : local_->uri_sans;
}
std::string_view TlsTransport::local_subject() const {
  return local_ == nullptr ? std::string_view() : local_->subject;
}

std::string TlsTransport::session_key() const {
  std::string key(sni());
  key.push_back('\0');
  return key += inner_->peer_address().ToString();
}

}  // namespace weft::tls
