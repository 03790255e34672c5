#include "dataplane/tls/context.h"

#include <sys/stat.h>

#include <algorithm>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/state.h"
#include "dataplane/tls/tls_transport.h"

namespace weft::tls {

// Follows links: an update by exchanging a link to a directory, as Kubernetes does it, changes the
// inode.
struct Context::Stamp {
  bool there = false;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  int64_t changed_ns = 0;
  bool operator==(const Stamp&) const = default;
};

struct Context::Files {
  State::Text text;
  std::string digest;
};

namespace {

template <typename F>
void ForEachSource(const ContextSpec& spec, F&& f) {
  for (const CertificateSpec& c : spec.certificates) {
    for (const Source* s : {&c.chain, &c.key, &c.password, &c.ocsp_staple}) f(*s);
  }
  f(spec.validation.trusted_ca);
  f(spec.validation.crl);
  for (const TrustDomainSpec& d : spec.validation.trust_domains) f(d.bundle);
  for (const Source& s : spec.ticket_keys) f(s);
}

}  // namespace

Context::Context(ContextSpec spec, ReadFile read)
    : spec_(std::make_shared<const ContextSpec>(std::move(spec))), read_(std::move(read)) {}

Context::~Context() = default;

std::shared_ptr<Context> Context::Make(ContextSpec spec, ReadFile read,
                                       std::vector<SpecError>* errors) {
  std::shared_ptr<Context> c(new Context(std::move(spec), std::move(read)));
  c->stamps_ = c->StampAll();
  Files files;
  if (!c->ReadAll(&files, errors)) return nullptr;
  c->state_ = c->Build(files, errors);
  c->digest_ = std::move(files.digest);
  return c->state_ == nullptr ? nullptr : c;
}

std::vector<std::string> Context::files() const {
  std::vector<std::string> out;
  ForEachSource(*spec_, [&out](const Source& s) {
    if (!s.file.empty()) out.push_back(s.file);
  });
  return out;
}

std::vector<Context::Stamp> Context::StampAll() const {
  std::vector<Stamp> out;
  ForEachSource(*spec_, [&out](const Source& s) {
    if (s.file.empty()) return;
    Stamp stamp;
    struct stat st;
    if (stat(s.file.c_str(), &st) == 0) {
      stamp = {true, st.st_dev, st.st_ino, st.st_size,
               std::max(int64_t{st.st_mtim.tv_sec} * kSecond + st.st_mtim.tv_nsec,
                        int64_t{st.st_ctim.tv_sec} * kSecond + st.st_ctim.tv_nsec)};
    }
    out.push_back(stamp);
  });
  return out;
}

bool Context::ReadAll(Files* out, std::vector<SpecError>* errors) const {
  size_t before = errors->size();
  std::string all;
  auto get = [&](const Source& s) -> std::string {
    std::string text = s.bytes;
    if (!s.file.empty()) {
      auto read = read_(s.file);
      if (!read.ok()) {
        errors->push_back({s.field + ".filename", std::string(read.status().message())});
        return {};
      }
      text = *std::move(read);
    }
    StrAppend(&all, text.size(), ":", text);
    return text;
  };
  for (const CertificateSpec& c : spec_->certificates) {
    CertificateText t;
    t.chain = get(c.chain);
    t.key = get(c.key);
    t.password = get(c.password);
    while (!t.password.empty() && (t.password.back() == '\n' || t.password.back() == '\r'))
      t.password.pop_back();
    t.ocsp_staple = get(c.ocsp_staple);
    out->text.certificates.push_back(std::move(t));
  }
  out->text.validation.trusted_ca = get(spec_->validation.trusted_ca);
  out->text.validation.crl = get(spec_->validation.crl);
  for (const TrustDomainSpec& d : spec_->validation.trust_domains)
    out->text.validation.bundles.push_back(get(d.bundle));
  for (const Source& s : spec_->ticket_keys) out->text.ticket_keys.push_back(get(s));
  Sha256 digest = Digest(all);
  out->digest.assign(reinterpret_cast<const char*>(digest.data()), digest.size());
  return errors->size() == before;
}

std::shared_ptr<const State> Context::Build(const Files& files, std::vector<SpecError>* errors) {
  return State::Make(spec_, files.text, Current().get(), errors);
}

std::shared_ptr<const State> Context::Current() const {
  std::lock_guard<std::mutex> lock(mu_);
  return state_;
}

Context::Change Context::Check(std::string* why) {
  std::vector<Stamp> now = StampAll();
  if (now == stamps_) return Change::kNone;
  stamps_ = std::move(now);
  std::vector<SpecError> errors;
  Files files;
  std::shared_ptr<const State> fresh;
  if (ReadAll(&files, &errors)) {
    if (files.digest == digest_) return Change::kNone;
    fresh = Build(files, &errors);
  }
  if (fresh == nullptr) {
    why->clear();
    for (const SpecError& e : errors)
      StrAppend(why, why->empty() ? "" : "; ", e.field, ": ", e.message);
    return Change::kFailed;
  }
  digest_ = std::move(files.digest);
  std::lock_guard<std::mutex> lock(mu_);
  state_ = std::move(fresh);
  ++generation_;
  return Change::kReloaded;
}

int64_t Context::first_expiry() const { return Current()->first_expiry(); }

uint64_t Context::generation() const {
  std::lock_guard<std::mutex> lock(mu_);
  return generation_;
}

std::unique_ptr<net::Handshake> Context::Begin(event::Loop& loop, buffer::Slab& slab,
                                               std::unique_ptr<net::Transport> transport,
                                               const net::HandshakeOptions& options,
                                               net::Handshake::Handler* handler) const {
  auto tls = std::make_unique<TlsTransport>(loop, slab, std::move(transport), Current());
  return std::make_unique<TlsHandshake>(loop, std::move(tls), options, handler);
}

}  // namespace weft::tls
