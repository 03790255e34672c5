#include "dataplane/http/header_map.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace weft::http {
namespace {

constexpr std::string_view kHeaderNames[] = {
    "",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "date",
    "server",
    "via",
    "content-type",
    "user-agent",
    "cookie",
    "location",
    "grpc-status",
    "grpc-message",
    "grpc-timeout",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "x-envoy-upstream-service-time",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-attempt-count",
    "x-envoy-original-path",
    "x-envoy-original-host",
    "x-envoy-overloaded",
    "x-envoy-immediate-health-check-fail",
};
static_assert(std::size(kHeaderNames) == static_cast<size_t>(HeaderId::kCount));

constexpr char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// Hash over length, first and last letter: spreads the names above well enough that a probe
// compares one or two.
constexpr size_t kBuckets = 256;
constexpr size_t Hash(std::string_view n) {
  return (n.size() * 37 + static_cast<unsigned char>(Lower(n.front())) * 5 +
          static_cast<unsigned char>(Lower(n[n.size() / 2])) * 3 +
          static_cast<unsigned char>(Lower(n.back()))) %
         kBuckets;
}
constexpr std::array<uint8_t, kBuckets> MakeTable() {
  std::array<uint8_t, kBuckets> t{};
  for (size_t i = 1; i < std::size(kHeaderNames); ++i) {
    size_t h = Hash(kHeaderNames[i]);
    while (t[h] != 0) h = (h + 1) % kBuckets;
    t[h] = static_cast<uint8_t>(i);
  }
  return t;
}
constexpr std::array<uint8_t, kBuckets> kTable = MakeTable();

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

HeaderId IdentifyHeader(std::string_view name) {
  if (name.empty()) return HeaderId::kOther;
  for (size_t h = Hash(name); kTable[h] != 0; h = (h + 1) % kBuckets) {
    if (EqualsIgnoreCase(name, kHeaderNames[kTable[h]])) return static_cast<HeaderId>(kTable[h]);
  }
  return HeaderId::kOther;
}

std::string_view HeaderName(HeaderId id) { return kHeaderNames[static_cast<size_t>(id)]; }

const Header* HeaderMap::Find(HeaderId id) const {
  if ((present_ & Bit(id)) == 0) return nullptr;
  for (const Header& h : headers_) {
    if (h.id == id) return &h;
  }
  return nullptr;
}

const Header* HeaderMap::Find(std::string_view name) const {
  HeaderId id = IdentifyHeader(name);
  if (id != HeaderId::kOther) return Find(id);
  for (const Header& h : headers_) {
    if (h.id == HeaderId::kOther && EqualsIgnoreCase(h.name, name)) return &h;
  }
  return nullptr;
}

size_t HeaderMap::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(headers_.begin(), headers_.end(), [&](const Header& h) {
    return EqualsIgnoreCase(h.name, name);
  }));
}

std::optional<std::string_view> HeaderMap::Get(HeaderId id) const {
  const Header* h = Find(id);
  return h == nullptr ? std::nullopt : std::optional(h->value);
}

std::optional<std::string_view> HeaderMap::Get(std::string_view name) const {
  const Header* h = Find(name);
  return h == nullptr ? std::nullopt : std::optional(h->value);
}

size_t HeaderMap::Remove(HeaderId id) {
  if ((present_ & Bit(id)) == 0) return 0;
  present_ &= ~Bit(id);
  return std::erase_if(headers_, [id](const Header& h) { return h.id == id; });
}

size_t HeaderMap::Remove(std::string_view name) {
  HeaderId id = IdentifyHeader(name);
  if (id != HeaderId::kOther) return Remove(id);
  return std::erase_if(headers_, [&](const Header& h) {
    return h.id == HeaderId::kOther && EqualsIgnoreCase(h.name, name);
  });
}

void HeaderMap::Set(HeaderId id, std::string_view value) {
  if (Header* h = const_cast<Header*>(Find(id))) {
    h->value = value;
    size_t first = static_cast<size_t>(h - headers_.data());
    size_t i = 0;
    std::erase_if(headers_, [&](const Header& x) { return i++ > first && x.id == id; });
    return;
  }
  Add(id, value);
}

void HeaderMap::Set(std::string_view name, std::string_view value) {
  HeaderId id = IdentifyHeader(name);
  if (id != HeaderId::kOther) return Set(id, value);
  if (Header* h = const_cast<Header*>(Find(name))) {
    h->value = value;
    size_t first = static_cast<size_t>(h - headers_.data());
    size_t i = 0;
    std::erase_if(headers_,
                  [&](const Header& x) { return i++ > first && EqualsIgnoreCase(x.name, name); });
    return;
  }
  Add(id, name, value);
}

void HeaderMap::Rebase(const char* from, size_t size, const char* to) {
  auto move = [&](std::string_view& v) {
    if (v.data() >= from && v.data() < from + size) v = {to + (v.data() - from), v.size()};
  };
  for (Header& h : headers_) {
    move(h.name);
    move(h.value);
  }
}

size_t HeaderMap::ByteSize() const {
  size_t n = 0;
  for (const Header& h : headers_) n += h.name.size() + h.value.size();
  return n;
}

}  // namespace weft::http
