#include "dataplane/tls/counters.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/base/strings.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/tls/tls_transport.h"

namespace weft::tls {
namespace {

class Counters final : public net::SecurityCounters {
 public:
  Counters(observe::Shard& shard, const observe::ScopeId& scope) : shard_(shard), scope_(scope) {
    auto get = [&](const char* name) { return shard.GetCounter({scope, name}); };
    handshake_ = get("ssl.handshake");
    session_reused_ = get("ssl.session_reused");
    no_certificate_ = get("ssl.no_certificate");
    connection_error_ = get("ssl.connection_error");
    fail_verify_error_ = get("ssl.fail_verify_error");
    fail_verify_san_ = get("ssl.fail_verify_san");
    fail_verify_cert_hash_ = get("ssl.fail_verify_cert_hash");
    fail_verify_no_cert_ = get("ssl.fail_verify_no_cert");
  }

  void OnHandshake(const net::Transport& transport) override {
    const auto& tls = static_cast<const TlsTransport&>(transport);
    handshake_->Inc();
    if (tls.resumed()) session_reused_->Inc();
    if (tls.peer_sha256().empty()) no_certificate_->Inc();
    Named(&versions_, "ssl.versions", "envoy_ssl_version", tls.version())->Inc();
    Named(&ciphers_, "ssl.ciphers", "envoy_ssl_cipher", tls.cipher())->Inc();
    if (!tls.group().empty()) Named(&curves_, "ssl.curves", "envoy_ssl_curve", tls.group())->Inc();
  }

  void OnFailure(net::HandshakeFailure why) override {
    switch (why) {
      case net::HandshakeFailure::kConnection:
        return;  // as Envoy: somebody who went away is no error of ours
      case net::HandshakeFailure::kTls:
        return connection_error_->Inc();
      case net::HandshakeFailure::kNoCertificate:
        return fail_verify_no_cert_->Inc();
      case net::HandshakeFailure::kVerify:
        return fail_verify_error_->Inc();
      case net::HandshakeFailure::kSan:
        return fail_verify_san_->Inc();
      case net::HandshakeFailure::kHash:
        return fail_verify_cert_hash_->Inc();
    }
  }

 private:
  using List = std::vector<std::pair<std::string, observe::Counter*>>;  // a handful

  observe::Counter* Named(List* list, const char* prefix, const char* tag, std::string_view value) {
    for (auto& [name, counter] : *list) {
      if (name == value) return counter;
    }
    observe::Counter* c = shard_.GetCounter(
        {scope_, StrCat(prefix, ".", value), prefix, {{tag, std::string(value)}}});
    list->emplace_back(std::string(value), c);
    return c;
  }

  observe::Shard& shard_;
  const observe::ScopeId scope_;
  observe::Counter *handshake_, *session_reused_, *no_certificate_, *connection_error_,
      *fail_verify_error_, *fail_verify_san_, *fail_verify_cert_hash_, *fail_verify_no_cert_;
  List versions_, ciphers_, curves_;
};

}  // namespace

std::unique_ptr<net::SecurityCounters> MakeCounters(observe::Shard& shard,
                                                    const observe::ScopeId& scope) {
  return std::make_unique<Counters>(shard, scope);
}

}  // namespace weft::tls
