#include "dataplane/config/compile_tls.h"

#include <algorithm>
#include <utility>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "dataplane/tls/context.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
namespace v3 = envoy::extensions::transport_sockets::tls::v3;

constexpr std::string_view kNoSds =
    "secret discovery (SDS) is not supported: expected the secret inline or as a file";

// One compilation, with what all its steps need.
class Compiler {
 public:
  Compiler(const CompileEnv& env, decide::Errors* errors) : env_(env), errors_(errors) {
    env_.refuse_unknown_fields = true;
  }

  std::shared_ptr<const net::TransportSecurity> Downstream(const google::protobuf::Any& any,
                                                           const std::string& path);
  std::shared_ptr<const net::TransportSecurity> Upstream(const google::protobuf::Any& any,
                                                         const std::string& path,
                                                         bool dialed_name_only);

 private:
  void Common(const v3::CommonTlsContext& m, const std::string& path);
  void Parameters(const v3::TlsParameters& m, const std::string& path);
  tls::TlsVersion Version(v3::TlsParameters::TlsProtocol v, const std::string& path);
  void Certificate(const v3::TlsCertificate& m, const std::string& path);
  void Validation(const v3::CertificateValidationContext& m, const std::string& path);
  void Spiffe(const core::TypedExtensionConfig& m, const std::string& path);
  void San(tls::SanMatcher::Type type, const std::string& oid,
           const envoy::type::matcher::v3::StringMatcher& matcher, const std::string& path);
  tls::Source Read(const core::DataSource& source, const std::string& path);
  std::shared_ptr<const net::TransportSecurity> Make();
  void Refuse(bool set, std::string path, std::string_view message) {
    RefuseIf(set, std::move(path), message, errors_);
  }

  CompileEnv env_;
  decide::Errors* const errors_;
  decide::RegexPool regexes_;
  tls::ContextSpec spec_;
};

tls::Source Compiler::Read(const core::DataSource& source, const std::string& path) {
  tls::Source out;
  out.field = path;
  if (source.specifier_case() == core::DataSource::kFilename) {
    out.file = source.filename();
    Refuse(out.file.empty(), path + ".filename", "is empty");
    return out;
  }
  core::DataSource plain = source;
  plain.clear_watched_directory();
  if (auto text = ReadDataSource(plain, path, env_, errors_)) out.bytes = *std::move(text);
  return out;
}

tls::TlsVersion Compiler::Version(v3::TlsParameters::TlsProtocol v, const std::string& path) {
  switch (v) {
    case v3::TlsParameters::TLS_AUTO:
      return tls::TlsVersion::kAuto;
    case v3::TlsParameters::TLSv1_2:
      return tls::TlsVersion::k12;
    case v3::TlsParameters::TLSv1_3:
      return tls::TlsVersion::k13;
    default:
      errors_->Add(path, StrCat(v3::TlsParameters::TlsProtocol_Name(v),
                                " is not supported (RFC 8996): expected TLSv1_2 or TLSv1_3"));
      return tls::TlsVersion::kAuto;
  }
}

std::string Join(const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::string out;
  for (const std::string& n : names) StrAppend(&out, out.empty() ? "" : ":", n);
  return out;
}

void Compiler::Parameters(const v3::TlsParameters& m, const std::string& path) {
  spec_.min_version =
      Version(m.tls_minimum_protocol_version(), path + ".tls_minimum_protocol_version");
  spec_.max_version =
      Version(m.tls_maximum_protocol_version(), path + ".tls_maximum_protocol_version");
  Refuse(spec_.min_version == tls::TlsVersion::k13 && spec_.max_version == tls::TlsVersion::k12,
         path + ".tls_maximum_protocol_version", "is below tls_minimum_protocol_version");
  spec_.ciphers = Join(m.cipher_suites());
  spec_.groups = Join(m.ecdh_curves());
  spec_.signature_algorithms = Join(m.signature_algorithms());
  for (int i = 0; i < m.compliance_policies_size(); ++i) {
    Refuse(m.compliance_policies(i) != v3::TlsParameters::FIPS_202205,
           StrCat(path, ".compliance_policies[", i, "]"), "unknown policy: expected FIPS_202205");
    spec_.fips_202205 = true;
  }
}

void Compiler::Certificate(const v3::TlsCertificate& m, const std::string& path) {
  tls::CertificateSpec c;
  Refuse(m.has_pkcs12(), path + ".pkcs12",
         "not supported: expected certificate_chain and private_key in PEM form");
  Refuse(m.has_private_key_provider(), path + ".private_key_provider",
         "not supported: expected private_key");
  Refuse(m.signed_certificate_timestamp_size() > 0, path + ".signed_certificate_timestamp",
         "not supported: certificate authorities embed them in the certificate");
  if (!m.has_certificate_chain()) {
    errors_->Add(path + ".certificate_chain", "is missing");
  } else {
    c.chain = Read(m.certificate_chain(), path + ".certificate_chain");
  }
  if (!m.has_private_key()) {
    errors_->Add(path + ".private_key", "is missing");
  } else {
    c.key = Read(m.private_key(), path + ".private_key");
  }
  if (m.has_password()) c.password = Read(m.password(), path + ".password");
  if (m.has_ocsp_staple()) {
    Refuse(m.ocsp_staple().specifier_case() == core::DataSource::kInlineString,
           path + ".ocsp_staple.inline_string",
           "a DER form is not text: expected filename or inline_bytes");
    c.ocsp_staple = Read(m.ocsp_staple(), path + ".ocsp_staple");
  }
  spec_.certificates.push_back(std::move(c));
}

void Compiler::San(tls::SanMatcher::Type type, const std::string& oid,
                   const envoy::type::matcher::v3::StringMatcher& matcher,
                   const std::string& path) {
  tls::SanMatcher m;
  m.type = type;
  m.oid = oid;
  if (matcher.match_pattern_case() == envoy::type::matcher::v3::StringMatcher::kExact)
    m.exact = matcher.exact();
  auto match = std::make_shared<const decide::StringMatch>(
      decide::StringMatch::Compile(matcher, path, &regexes_, errors_));
  m.matches = [match](std::string_view value) { return match->Matches(value); };
  spec_.validation.sans.push_back(std::move(m));
}

void Compiler::Spiffe(const core::TypedExtensionConfig& m, const std::string& path) {
  const std::string at = path + ".typed_config";
  if (m.typed_config().type_url() != api::kSpiffeValidatorType) {
    errors_->Add(
        at,
        StrCat("validator ",
               m.has_typed_config() ? api::MessageNameOf(m.typed_config().type_url()) : m.name(),
               " is not supported: expected ", api::MessageNameOf(api::kSpiffeValidatorType)));
    return;
  }
  v3::SPIFFECertValidatorConfig config;
  if (!UnpackAny(m.typed_config(), &config, at, env_, errors_)) return;
  Refuse(config.has_trust_bundles(), at + ".trust_bundles",
         "not supported: expected trust_domains");
  Refuse(config.trust_domains().empty(), at + ".trust_domains",
         "is empty: expected at least one trust domain");
  for (int i = 0; i < config.trust_domains_size(); ++i) {
    const auto& d = config.trust_domains(i);
    const std::string in = StrCat(at, ".trust_domains[", i, "]");
    Refuse(d.name().empty() || d.name().find('/') != std::string::npos, in + ".name",
           "expected the name of a trust domain, such as cluster.local");
    for (int j = 0; j < i; ++j) {
      Refuse(config.trust_domains(j).name() == d.name(), in + ".name",
             StrCat("\"", d.name(), "\" is there twice"));
    }
    if (!d.has_trust_bundle()) {
      errors_->Add(in + ".trust_bundle", "is missing");
      continue;
    }
    spec_.validation.trust_domains.push_back(
        {d.name(), Read(d.trust_bundle(), in + ".trust_bundle")});
  }
}

void Compiler::Validation(const v3::CertificateValidationContext& m, const std::string& path) {
  tls::ValidationSpec& v = spec_.validation;
  spec_.has_validation = true;
  Refuse(m.has_ca_certificate_provider_instance(), path + ".ca_certificate_provider_instance",
         "not supported: expected trusted_ca");
  Refuse(m.require_signed_certificate_timestamp().value(),
         path + ".require_signed_certificate_timestamp", "not supported");
  if (m.has_trusted_ca() && m.has_system_root_certs()) {
    errors_->Add(path + ".system_root_certs", "excludes trusted_ca");
  } else if (m.has_trusted_ca()) {
    v.trusted_ca = Read(m.trusted_ca(), path + ".trusted_ca");
  } else if (m.has_system_root_certs()) {
    v.trusted_ca.file = "/etc/ssl/certs/ca-certificates.crt";
    v.trusted_ca.field = path + ".system_root_certs";
  }
  for (int i = 0; i < m.verify_certificate_hash_size(); ++i) {
    auto hash = tls::ParseHexSha256(m.verify_certificate_hash(i));
    if (hash) v.certificate_hashes.push_back(*hash);
    Refuse(!hash, StrCat(path, ".verify_certificate_hash[", i, "]"),
           StrCat("\"", m.verify_certificate_hash(i),
                  "\": expected a SHA-256 as 64 hexadecimal digits"));
  }
  for (int i = 0; i < m.verify_certificate_spki_size(); ++i) {
    auto hash = tls::ParseBase64Sha256(m.verify_certificate_spki(i));
    if (hash) v.spki_hashes.push_back(*hash);
    Refuse(!hash, StrCat(path, ".verify_certificate_spki[", i, "]"),
           StrCat("\"", m.verify_certificate_spki(i),
                  "\": expected a SHA-256 in base64, 44 characters"));
  }
  using Type = tls::SanMatcher::Type;
  for (int i = 0; i < m.match_typed_subject_alt_names_size(); ++i) {
    const v3::SubjectAltNameMatcher& san = m.match_typed_subject_alt_names(i);
    const std::string at = StrCat(path, ".match_typed_subject_alt_names[", i, "]");
    Type type = Type::kAny;
    switch (san.san_type()) {
      case v3::SubjectAltNameMatcher::EMAIL:
        type = Type::kEmail;
        break;
      case v3::SubjectAltNameMatcher::DNS:
        type = Type::kDns;
        break;
      case v3::SubjectAltNameMatcher::URI:
        type = Type::kUri;
        break;
      case v3::SubjectAltNameMatcher::IP_ADDRESS:
        type = Type::kIpAddress;
        break;
      case v3::SubjectAltNameMatcher::OTHER_NAME:
        type = Type::kOtherName;
        Refuse(san.oid().empty(), at + ".oid",
               "is missing: OTHER_NAME needs one, such as 1.3.6.1.4.1.311.20.2.3");
        break;
      default:
        errors_->Add(at + ".san_type",
                     "is missing: expected EMAIL, DNS, URI, IP_ADDRESS or OTHER_NAME");
        continue;
    }
    San(type, san.oid(), san.matcher(), at + ".matcher");
  }
  for (int i = 0; i < m.match_subject_alt_names_size(); ++i) {
    San(Type::kAny, "", m.match_subject_alt_names(i),
        StrCat(path, ".match_subject_alt_names[", i, "]"));
  }
  if (m.has_crl()) v.crl = Read(m.crl(), path + ".crl");
  v.only_leaf_crl = m.only_verify_leaf_cert_crl();
  v.allow_expired = m.allow_expired_certificate();
  v.accept_untrusted =
      m.trust_chain_verification() == v3::CertificateValidationContext::ACCEPT_UNTRUSTED;
  if (m.has_max_verify_depth()) {
    Refuse(m.max_verify_depth().value() > 100, path + ".max_verify_depth", "expected 0 to 100");
    v.max_depth = static_cast<int>(std::min(m.max_verify_depth().value(), 100u));
  }
  if (m.has_custom_validator_config())
    Spiffe(m.custom_validator_config(), path + ".custom_validator_config");

  bool authority = v.trusted_ca.set() || m.has_custom_validator_config();
  Refuse(!authority && !v.sans.empty(), path + ".trusted_ca",
         "is missing: names of a certificate that nobody vouches for mean nothing");
  Refuse(!authority && m.has_crl(), path + ".crl", "needs trusted_ca");
  Refuse(!authority && v.allow_expired, path + ".allow_expired_certificate", "needs trusted_ca");
  m.SerializeToString(&v.digest_input);
}

void Compiler::Common(const v3::CommonTlsContext& m, const std::string& path) {
  Refuse(m.tls_certificate_sds_secret_configs_size() > 0,
         path + ".tls_certificate_sds_secret_configs", kNoSds);
  Refuse(m.has_validation_context_sds_secret_config(),
         path + ".validation_context_sds_secret_config", kNoSds);
  Refuse(m.has_tls_certificate_provider_instance(), path + ".tls_certificate_provider_instance",
         "not supported: expected tls_certificates");
  Refuse(m.has_custom_tls_certificate_selector(), path + ".custom_tls_certificate_selector",
         "not supported");
  Refuse(m.has_custom_handshaker(), path + ".custom_handshaker", "not supported");
  Refuse(m.has_key_log(), path + ".key_log", "not supported: session keys are never written");
  spec_.params_field = path + ".tls_params";
  if (m.has_tls_params()) Parameters(m.tls_params(), path + ".tls_params");
  for (int i = 0; i < m.tls_certificates_size(); ++i) {
    Certificate(m.tls_certificates(i), StrCat(path, ".tls_certificates[", i, "]"));
  }
  if (m.has_validation_context()) {
    Validation(m.validation_context(), path + ".validation_context");
  } else if (m.has_combined_validation_context()) {
    const auto& c = m.combined_validation_context();
    const std::string at = path + ".combined_validation_context";
    Refuse(c.has_validation_context_sds_secret_config(),
           at + ".validation_context_sds_secret_config", kNoSds);
    if (c.has_default_validation_context())
      Validation(c.default_validation_context(), at + ".default_validation_context");
  }
  for (int i = 0; i < m.alpn_protocols_size(); ++i) {
    const std::string& p = m.alpn_protocols(i);
    Refuse(p.empty() || p.size() > 255, StrCat(path, ".alpn_protocols[", i, "]"),
           "expected 1 to 255 bytes");
    spec_.alpn.push_back(p);
  }
}

std::shared_ptr<const net::TransportSecurity> Compiler::Make() {
  tls::ReadFile read = env_.read_file;
  if (!read) read = [](const std::string& path) { return ReadSmallFile(path); };
  std::vector<tls::SpecError> wrong;
  std::shared_ptr<tls::Context> context =
      tls::Context::Make(std::move(spec_), std::move(read), &wrong);
  for (tls::SpecError& e : wrong) errors_->Add(std::move(e.field), std::move(e.message));
  if (context != nullptr && env_.watch_tls) env_.watch_tls(context);
  return context;
}

std::shared_ptr<const net::TransportSecurity> Compiler::Downstream(const google::protobuf::Any& any,
                                                                   const std::string& path) {
  v3::DownstreamTlsContext m;
  if (!UnpackAny(any, &m, path, env_, errors_)) return nullptr;
  bool failed = errors_->any();
  spec_.server = true;
  Common(m.common_tls_context(), path + ".common_tls_context");
  Refuse(m.common_tls_context().tls_certificates().empty() &&
             m.common_tls_context().tls_certificate_sds_secret_configs().empty(),
         path + ".common_tls_context.tls_certificates", "is empty: a server needs a certificate");
  spec_.require_client_certificate = m.require_client_certificate().value();
  Refuse(spec_.require_client_certificate && !spec_.has_validation,
         path + ".common_tls_context.validation_context",
         "is missing: require_client_certificate needs something to judge certificates by");
  spec_.require_sni = m.require_sni().value();
  Refuse(m.has_session_ticket_keys_sds_secret_config(),
         path + ".session_ticket_keys_sds_secret_config", kNoSds);
  const std::string keys = path + ".session_ticket_keys.keys";
  for (int i = 0; i < m.session_ticket_keys().keys_size(); ++i) {
    spec_.ticket_keys.push_back(Read(m.session_ticket_keys().keys(i), StrCat(keys, "[", i, "]")));
  }
  Refuse(m.has_session_ticket_keys() && m.session_ticket_keys().keys().empty(), keys, "is empty");
  spec_.tickets = !m.disable_stateless_session_resumption();
  spec_.stateful_sessions = !m.disable_stateful_session_resumption();
  if (m.has_session_timeout()) {
    spec_.session_timeout =
        CompileDuration(m.session_timeout(), path + ".session_timeout", true, errors_);
  }
  switch (m.ocsp_staple_policy()) {
    case v3::DownstreamTlsContext::STRICT_STAPLING:
      spec_.staple_policy = tls::StaplePolicy::kStrict;
      break;
    case v3::DownstreamTlsContext::MUST_STAPLE:
      spec_.staple_policy = tls::StaplePolicy::kMust;
      break;
    default:
      break;
  }
  spec_.prefer_client_ciphers = m.prefer_client_ciphers();
  // full_scan_certs_on_sni_mismatch: a name that no certificate has always gets what the client's
  // algorithms allow.
  return failed || errors_->any() ? nullptr : Make();
}

std::shared_ptr<const net::TransportSecurity> Compiler::Upstream(const google::protobuf::Any& any,
                                                                 const std::string& path,
                                                                 bool dialed_name_only) {
  v3::UpstreamTlsContext m;
  if (!UnpackAny(any, &m, path, env_, errors_)) return nullptr;
  bool failed = errors_->any();
  Common(m.common_tls_context(), path + ".common_tls_context");
  Refuse(m.common_tls_context().tls_certificates_size() > 1,
         path + ".common_tls_context.tls_certificates",
         "has more than one: a client shows one certificate");
  Refuse(m.allow_renegotiation(), path + ".allow_renegotiation",
         "not supported: renegotiation is never allowed");
  Refuse(m.has_enforce_rsa_key_usage() && !m.enforce_rsa_key_usage().value(),
         path + ".enforce_rsa_key_usage", "false is not supported: key usage is always enforced");
  Refuse(m.sni().size() > 255, path + ".sni", "expected at most 255 bytes");
  spec_.sni = m.sni();
  spec_.auto_host_sni = m.auto_host_sni();
  spec_.auto_sni_san = m.auto_sni_san_validation();
  Refuse(spec_.auto_sni_san && !spec_.validation.trusted_ca.set() &&
             spec_.validation.trust_domains.empty(),
         path + ".auto_sni_san_validation", "needs a validation_context with trusted_ca");
  spec_.dialed_name_only = dialed_name_only;
  Refuse(dialed_name_only && !spec_.validation.trusted_ca.set() &&
             spec_.validation.trust_domains.empty(),
         path + ".common_tls_context.validation_context",
         "needs trusted_ca: auto_san_validation of the cluster means nothing without it");
  if (m.has_max_session_keys()) spec_.max_session_keys = m.max_session_keys().value();
  return failed || errors_->any() ? nullptr : Make();
}

std::shared_ptr<const net::TransportSecurity> Compile(const core::TransportSocket& socket,
                                                      const std::string& path,
                                                      const CompileEnv& env, decide::Errors* errors,
                                                      bool downstream,
                                                      bool dialed_name_only = false) {
  const std::string_view expected = downstream ? api::kDownstreamTlsType : api::kUpstreamTlsType;
  const std::string at = path + ".typed_config";
  if (!socket.has_typed_config()) {
    RefuseIf(!socket.name().empty() && socket.name() != "envoy.transport_sockets.raw_buffer", at,
             "is missing", errors);
    return nullptr;
  }
  const std::string& type = socket.typed_config().type_url();
  if (type == api::kRawBufferType) return nullptr;
  if (type != expected) {
    errors->Add(at, StrCat("transport socket ", api::MessageNameOf(type),
                           " is not supported here: expected ", api::MessageNameOf(expected),
                           " or ", api::MessageNameOf(api::kRawBufferType)));
    return nullptr;
  }
  // Errors of this message alone decide about it.
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  Compiler compiler(env, &own);
  auto out = downstream ? compiler.Downstream(socket.typed_config(), at)
                        : compiler.Upstream(socket.typed_config(), at, dialed_name_only);
  for (api::SourceError& e : found) {
    if (e.warning) {
      errors->Warn(std::move(e.path), std::move(e.message));
    } else {
      errors->Add(std::move(e.path), std::move(e.message));
    }
  }
  return out;
}

}  // namespace

std::shared_ptr<const net::TransportSecurity> CompileDownstreamTls(
    const core::TransportSocket& socket, const std::string& path, const CompileEnv& env,
    decide::Errors* errors) {
  return Compile(socket, path, env, errors, true);
}

std::shared_ptr<const net::TransportSecurity> CompileUpstreamTls(
    const core::TransportSocket& socket, const std::string& path, const CompileEnv& env,
    bool dialed_name_only, decide::Errors* errors) {
  return Compile(socket, path, env, errors, false, dialed_name_only);
}

}  // namespace weft::config
