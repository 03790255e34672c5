#include "dataplane/proxy/forwarded_client_cert.h"

#include "dataplane/base/arena.h"
#include "dataplane/base/strings.h"
#include "dataplane/http/header_map.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/net/transport.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kField = "x-forwarded-client-cert";

// A value in double quotes. Whoever had its certificate signed chose the text: it must not end the
// value, nor the field line.
void AppendQuoted(std::string_view value, std::string* out) {
  out->push_back('"');
  for (char c : value) {
    if (c == '"' || c == '\\') out->push_back('\\');
    unsigned char u = static_cast<unsigned char>(c);
    out->push_back(u < 0x20 || u == 0x7f ? '?' : c);
  }
  out->push_back('"');
}

void Separate(std::string* out) {
  if (!out->empty() && out->back() != ',') out->push_back(';');
}

// Names go without quotes, as in Envoy, unless they hold what would be read as the next pair or
// element.
void AppendPair(std::string_view key, std::string_view value, std::string* out) {
  Separate(out);
  StrAppend(out, key, "=");
  bool plain = true;
  for (char c : value) {
    unsigned char u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u == 0x7f || c == '"' || c == '\\' || c == ',' || c == ';') plain = false;
  }
  if (plain) {
    out->append(value);
  } else {
    AppendQuoted(value, out);
  }
}

void AppendElement(const ClientCertForwarding& how, const net::TlsInfo& tls, std::string* out) {
  for (const std::string& uri : tls.local_uri_sans()) AppendPair("By", uri, out);
  AppendPair("Hash", tls.peer_sha256(), out);
  auto quoted = [&](std::string_view key, std::string_view value) {
    Separate(out);
    StrAppend(out, key, "=");
    AppendQuoted(value, out);
  };
  if (how.cert) quoted("Cert", tls.peer_pem_url_encoded());
  if (how.chain) quoted("Chain", tls.peer_chain_pem_url_encoded());
  if (how.subject) quoted("Subject", tls.peer_subject());
  if (how.uri) {
    for (const std::string& uri : tls.peer_uri_sans()) AppendPair("URI", uri, out);
    if (tls.peer_uri_sans().empty()) AppendPair("URI", "", out);
  }
  if (how.dns) {
    for (const std::string& name : tls.peer_dns_sans()) AppendPair("DNS", name, out);
  }
}

}  // namespace

void ForwardClientCert(const ClientCertForwarding& how, const net::Transport& downstream,
                       http::HeaderMap& headers, Arena& arena, std::string& scratch) {
  using Mode = ClientCertForwarding::Mode;
  if (how.mode == Mode::kAlwaysForwardOnly) return;
  const net::TlsInfo* tls = downstream.tls();
  if (how.mode == Mode::kSanitize || tls == nullptr || tls->peer_sha256().empty()) {
    headers.Remove(kField);
    return;
  }
  if (how.mode == Mode::kForwardOnly) return;
  scratch.clear();
  if (how.mode == Mode::kAppendForward) {
    for (const http::Header& h : headers) {
      if (http::EqualsIgnoreCase(h.name, kField) && !h.value.empty())
        StrAppend(&scratch, h.value, ",");
    }
  }
  std::string element;
  AppendElement(how, *tls, &element);
  scratch += element;
  headers.Set(kField, arena.Copy(scratch));
}

}  // namespace weft::proxy
