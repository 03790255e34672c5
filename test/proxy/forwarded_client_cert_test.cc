#include "dataplane/proxy/forwarded_client_cert.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "dataplane/base/arena.h"
#include "dataplane/http/header_map.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/net/transport.h"

namespace weft::proxy {
namespace {

using Mode = ClientCertForwarding::Mode;

struct FakeTls final : net::TlsInfo {
  std::string_view Get(Value) const override { return {}; }
  std::string_view version() const override { return "TLSv1.3"; }
  std::string_view cipher() const override { return {}; }
  std::string_view alpn() const override { return {}; }
  std::string_view sni() const override { return {}; }
  bool resumed() const override { return false; }
  bool peer_validated() const override { return true; }
  const std::vector<std::string>& peer_uri_sans() const override { return uris; }
  const std::vector<std::string>& peer_dns_sans() const override { return names; }
  std::string_view peer_subject() const override { return subject; }
  std::string_view peer_issuer() const override { return {}; }
  std::string_view peer_serial() const override { return {}; }
  std::string_view peer_sha256() const override { return hash; }
  std::string_view peer_pem_url_encoded() const override { return "pem"; }
  std::string_view peer_chain_pem_url_encoded() const override { return "chain"; }
  const std::vector<std::string>& local_uri_sans() const override { return local; }
  std::string_view local_subject() const override { return {}; }
  std::vector<std::string> uris = {"spiffe://a"}, names = {"a.test", "b.test"},
                           local = {"spiffe://us"};
  std::string subject = "CN=a", hash = "beef";
};

struct FakeConnection final : net::Transport {
  void set_handler(Handler*) override {}
  ssize_t Read(const iovec*, int) override { return -EAGAIN; }
  ssize_t Write(const iovec*, int) override { return -EAGAIN; }
  void WantWrite() override {}
  void SetReading(bool) override {}
  void ShutdownWrite() override {}
  void SetResetOnClose() override {}
  const net::Address& local_address() override { return address; }
  const net::Address& peer_address() const override { return address; }
  const net::TlsInfo* tls() const override { return info; }
  net::Address address;
  const net::TlsInfo* info = nullptr;
};

class ForwardedClientCertTest : public ::testing::Test {
 protected:
  // The field as it goes on, "-" when there is none; the client sent `sent`, if anything.
  std::string Result(const ClientCertForwarding& how, const char* sent = nullptr) {
    http::HeaderMap h;
    if (sent != nullptr) h.Add("X-Forwarded-Client-Cert", sent);
    std::string scratch;
    ForwardClientCert(how, connection_, h, arena_, scratch);
    EXPECT_LE(h.Count("x-forwarded-client-cert"), 1u);
    auto v = h.Get("x-forwarded-client-cert");
    return v ? std::string(*v) : "-";
  }
  Arena arena_;
  FakeTls tls_;
  FakeConnection connection_;
};

TEST_F(ForwardedClientCertTest, WithoutCertificateOnlyOneModeLetsItPass) {
  for (Mode m : {Mode::kSanitize, Mode::kForwardOnly, Mode::kAppendForward, Mode::kSanitizeSet}) {
    connection_.info = nullptr;
    EXPECT_EQ(Result({.mode = m}, "forged"), "-");
    tls_.hash = "";  // TLS, and no client certificate
    connection_.info = &tls_;
    EXPECT_EQ(Result({.mode = m}, "forged"), "-");
  }
  EXPECT_EQ(Result({.mode = Mode::kAlwaysForwardOnly}, "as it was"), "as it was");
}

TEST_F(ForwardedClientCertTest, Modes) {
  connection_.info = &tls_;
  EXPECT_EQ(Result({.mode = Mode::kSanitize}, "old"), "-");
  EXPECT_EQ(Result({.mode = Mode::kForwardOnly}, "old"), "old");
  EXPECT_EQ(Result({.mode = Mode::kForwardOnly}), "-");
  EXPECT_EQ(Result({.mode = Mode::kSanitizeSet}, "old"), "By=spiffe://us;Hash=beef");
  EXPECT_EQ(Result({.mode = Mode::kAppendForward}, "old"), "old,By=spiffe://us;Hash=beef");
  EXPECT_EQ(Result({.mode = Mode::kAppendForward}), "By=spiffe://us;Hash=beef");
}

TEST_F(ForwardedClientCertTest, Details) {
  connection_.info = &tls_;
  ClientCertForwarding all{Mode::kSanitizeSet, true, true, true, true, true};
  EXPECT_EQ(Result(all),
            "By=spiffe://us;Hash=beef;Cert=\"pem\";Chain=\"chain\";Subject=\"CN=a\";URI=spiffe://"
            "a;DNS=a.test;DNS=b.test");
  tls_.uris.clear();
  tls_.names.clear();
  tls_.subject = "";
  EXPECT_EQ(Result({.mode = Mode::kSanitizeSet, .subject = true, .uri = true, .dns = true}),
            "By=spiffe://us;Hash=beef;Subject=\"\";URI=");
}

TEST_F(ForwardedClientCertTest, WhatAPeerChoseDoesNotEndItsValue) {
  connection_.info = &tls_;
  tls_.uris = {"spiffe://a,By=spiffe://admin;URI=x"};
  tls_.subject = "CN=\"x\";URI=\r\nspiffe://admin";
  EXPECT_EQ(Result({.mode = Mode::kSanitizeSet, .subject = true, .uri = true}),
            "By=spiffe://us;Hash=beef;Subject=\"CN=\\\"x\\\";URI=??spiffe://admin\";"
            "URI=\"spiffe://a,By=spiffe://admin;URI=x\"");
}

}  // namespace
}  // namespace weft::proxy
