#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "dataplane/tls/certificate.h"
#include "dataplane/tls/ocsp.h"
#include "dataplane/tls/reloader.h"
#include "test/tls/pair.h"

namespace weft::tls::testing {
namespace {

class FilesTest : public PairTest {
 protected:
  FilesTest() {
    std::string pattern = ::testing::TempDir() + "weft-tls-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }
  Source File(const std::string& name) { return {folder_ + "/" + name, "", name}; }
  void Put(const std::string& name, std::string_view text) {
    std::ofstream(folder_ + "/." + name) << text;
    std::filesystem::rename(folder_ + "/." + name, folder_ + "/" + name);
  }
  static absl::StatusOr<std::string> Read(const std::string& path) {
    std::ifstream in(path);
    if (!in) return absl::NotFoundError("cannot read " + path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  ContextSpec Spec() {
    ContextSpec s;
    s.server = true;
    s.certificates.push_back({File("crt"), File("key"), {}, {}});
    s.has_validation = s.require_client_certificate = true;
    s.validation.trusted_ca = File("ca");
    return s;
  }
  std::string folder_;
};

TEST_F(FilesTest, ChangedFilesReplaceTheStateAndBrokenOnesDoNot) {
  Put("crt", kServer);
  Put("key", kServerKey);
  Put("ca", kCa);
  auto s = MakeContext(Spec(), Read), c = MakeContext(ClientSpec());
  std::vector<std::string> said;
  Reloader reloader(loop_, [&](bool failed, const std::string& m) {
    said.push_back((failed ? "failed: " : "ok: ") + m);
  });
  reloader.Watch(s);
  auto serial = [&] {
    Connect(*c, *s);
    server_->Write("x");
    EXPECT_TRUE(Until([&] { return client_->received == "x"; }));
    return std::string(client_->transport->tls()->peer_serial());
  };
  reloader.CheckNow();
  EXPECT_TRUE(said.empty());
  EXPECT_EQ(serial(), "1001");
  std::unique_ptr<End> old_client = std::move(client_), old_server = std::move(server_);

  Put("crt", kRenewed);  // its key is still on the way
  reloader.CheckNow();
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("does not belong"), std::string::npos) << said[0];
  EXPECT_EQ(serial(), "1001");
  reloader.CheckNow();
  EXPECT_EQ(said.size(), 1u);  // told once
  Put("key", kRenewedKey);
  reloader.CheckNow();
  ASSERT_EQ(said.size(), 2u);
  EXPECT_TRUE(said[1].starts_with("ok: ")) << said[1];
  EXPECT_EQ(s->generation(), 1u);
  ContextSpec fresh = ClientSpec();
  c = MakeContext(fresh);  // without sessions
  EXPECT_EQ(serial(), "1002");
  // Who is connected stays so.
  EXPECT_EQ(old_client->Write("still"), 5);
  EXPECT_TRUE(Until([&] { return old_server->received == "still"; }));
  Put("crt", kRenewed);  // another file, the same bytes
  reloader.CheckNow();
  EXPECT_EQ(said.size(), 2u);
  std::filesystem::remove(folder_ + "/ca");
  reloader.CheckNow();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_NE(said[2].find("ca.filename: cannot read"), std::string::npos) << said[2];
  EXPECT_EQ(serial(), "1002");
}

TEST_F(FilesTest, SessionsEndWithTheTrustTheyWereMadeUnder) {
  Put("crt", kServer);
  Put("key", kServerKey);
  Put("ca", kCa);
  auto s = MakeContext(Spec(), Read), c = MakeContext(ClientSpec());
  auto once = [&] {
    Connect(*c, *s);
    server_->Write("x");
    EXPECT_TRUE(Until([&] { return client_->received == "x"; }));
    return server_->resumed;
  };
  std::string why;
  EXPECT_FALSE(once());
  EXPECT_TRUE(once());
  // A renewed certificate of the same names leaves sessions alone.
  Put("crt", kRenewed);
  Put("key", kRenewedKey);
  EXPECT_EQ(s->Check(&why), Context::Change::kReloaded) << why;
  EXPECT_TRUE(once());
  // Another trust does not, even one that would let the client in.
  Put("ca", std::string(kCa) + kOtherCa);
  EXPECT_EQ(s->Check(&why), Context::Change::kReloaded) << why;
  EXPECT_FALSE(once());
  EXPECT_TRUE(once());
  Put("ca", kOtherCa);
  EXPECT_EQ(s->Check(&why), Context::Change::kReloaded) << why;
  Begin(*c, *s);
  ASSERT_TRUE(Until([&] { return !server_->failure.empty(); }));
  EXPECT_EQ(server_->counted, static_cast<int>(net::HandshakeFailure::kVerify));
}

TEST(ContextTest, ErrorsNameTheField) {
  auto errors_of = [](ContextSpec s) {
    std::vector<SpecError> errors;
    EXPECT_EQ(Context::Make(std::move(s), nullptr, &errors), nullptr);
    std::string out;
    for (const SpecError& e : errors) out += e.field + ": " + e.message + "\n";
    return out;
  };
  ContextSpec s = ServerSpec();
  s.certificates[0].key = Inline(kClientKey, "key");
  EXPECT_NE(errors_of(s).find("key: does not belong to the first certificate"), std::string::npos)
      << errors_of(s);
  s = ServerSpec();
  s.certificates[0].chain = Inline("nothing", "chain");
  EXPECT_NE(errors_of(s).find("chain: has no certificate in PEM form"), std::string::npos)
      << errors_of(s);
  s = ServerSpec();
  s.certificates[0].ocsp_staple = Inline("nonsense", "staple");
  EXPECT_NE(errors_of(s).find("staple: not an OCSP response"), std::string::npos) << errors_of(s);
  s = ServerSpec();
  s.params_field = "params";
  s.ciphers = "NOPE";
  s.groups = "NEITHER";
  EXPECT_NE(errors_of(s).find("params.cipher_suites: \"NOPE\""), std::string::npos) << errors_of(s);
  EXPECT_NE(errors_of(s).find("params.ecdh_curves: \"NEITHER\""), std::string::npos)
      << errors_of(s);
  s = ServerSpec();
  s.ticket_keys.push_back(Inline("short", "keys[0]"));
  EXPECT_NE(errors_of(s).find("keys[0]: has 5 bytes: expected 80"), std::string::npos)
      << errors_of(s);
}

TEST(DigestTest, AsPeopleWriteThem) {
  const std::string hex(64, 'a');
  EXPECT_TRUE(ParseHexSha256(hex));
  EXPECT_TRUE(ParseHexSha256("AA" + std::string(":aa") + hex.substr(4).substr(0, 0) + [] {
    std::string out;
    for (int i = 0; i < 30; ++i) out += ":0F";
    return out;
  }()));
  for (const char* bad : {"", "aa", "zz", ":aa", "aa:"}) EXPECT_FALSE(ParseHexSha256(bad)) << bad;
  EXPECT_FALSE(ParseHexSha256(hex + "aa"));
  EXPECT_FALSE(ParseHexSha256(hex + ":"));
  auto base64 = ParseBase64Sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");  // of nothing
  auto same = ParseHexSha256("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  ASSERT_TRUE(base64 && same);
  EXPECT_EQ(*base64, *same);
  EXPECT_FALSE(
      ParseBase64Sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="));  // bits behind the end
  EXPECT_FALSE(ParseBase64Sha256("short="));
}

TEST(DnsNameTest, WildcardsStandForOneLabel) {
  EXPECT_TRUE(DnsNameMatches("a.test", "A.TEST"));
  EXPECT_TRUE(DnsNameMatches("*.a.test", "b.a.test"));
  EXPECT_FALSE(DnsNameMatches("*.a.test", "a.test"));
  EXPECT_FALSE(DnsNameMatches("*.a.test", "c.b.a.test"));
  EXPECT_FALSE(DnsNameMatches("*.test", "a.test"));
  EXPECT_FALSE(DnsNameMatches("*.a.test", ".a.test"));
  EXPECT_FALSE(DnsNameMatches("a.test", "ba.test"));
}

TEST(OcspTest, WhatAResponseSays) {
  std::string hex = kServerOcsp, der, why;
  for (size_t i = 0; i < hex.size(); i += 2)
    der.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  auto r = ParseOcspResponse(der, &why);
  ASSERT_TRUE(r) << why;
  EXPECT_EQ(r->status, OcspResponse::Status::kGood);
  EXPECT_EQ(r->serial, "1001");
  EXPECT_GT(r->next_update, r->this_update);
  for (size_t n = 0; n < der.size(); ++n)
    EXPECT_FALSE(ParseOcspResponse(der.substr(0, n), &why)) << n;
  EXPECT_FALSE(ParseOcspResponse(der + "x", &why));
  EXPECT_FALSE(ParseOcspResponse(std::string("\x30\x03\x0a\x01\x06", 5), &why));
  EXPECT_EQ(why, "an OCSP response that reports an error");
}

}  // namespace
}  // namespace weft::tls::testing
