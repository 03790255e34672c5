#include "dataplane/net/client_hello.h"

#include <algorithm>
#include <utility>

namespace weft::net {
namespace {

constexpr size_t kRecordHeader = 5, kMessageHeader = 4, kMaxRecord = 16384;
constexpr uint8_t kHandshake = 22, kClientHello = 1;
constexpr uint16_t kServerNameExtension = 0, kAlpnExtension = 16, kVersionsExtension = 43;

uint8_t Byte(std::string_view s, size_t at) { return static_cast<uint8_t>(s[at]); }
size_t Number(std::string_view s, size_t at, int bytes) {
  size_t n = 0;
  for (int i = 0; i < bytes; ++i) n = n << 8 | Byte(s, at + static_cast<size_t>(i));
  return n;
}

// Takes pieces off the front; `ok` turns false for good at the first that is not there.
struct Reader {
  std::string_view rest;
  bool ok = true;

  std::string_view Take(size_t n) {
    if (n > rest.size()) ok = false;
    if (!ok) return {};
    std::string_view out = rest.substr(0, n);
    rest.remove_prefix(n);
    return out;
  }
  size_t TakeNumber(int bytes) {
    std::string_view s = Take(static_cast<size_t>(bytes));
    return ok ? Number(s, 0, bytes) : 0;
  }
  // A vector with a length in front, of `least` to `most` bytes.
  std::string_view Vector(int length_bytes, size_t least, size_t most) {
    size_t n = TakeNumber(length_bytes);
    if (n < least || n > most) ok = false;
    return Take(n);
  }
};

bool ParseServerName(std::string_view in, std::string* out) {
  Reader extension{in};
  Reader list{extension.Vector(2, 1, SIZE_MAX)};
  if (!extension.ok || !extension.rest.empty()) return false;
  while (!list.rest.empty()) {
    const size_t type = list.TakeNumber(1);
    std::string_view name = list.Vector(2, 1, SIZE_MAX);
    if (!list.ok) return false;
    if (type != 0) continue;
    // RFC 6066 section 3: one name of a type; a DNS name in ASCII.
    if (!out->empty() || name.size() > 255) return false;
    for (char c : name) {
      if (c <= ' ' || c >= 0x7f) return false;
      out->push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
    }
  }
  return true;
}

bool ParseAlpn(std::string_view in, std::vector<std::string>* out) {
  Reader extension{in};
  Reader list{extension.Vector(2, 2, SIZE_MAX)};
  if (!extension.ok || !extension.rest.empty()) return false;
  while (!list.rest.empty()) {
    std::string_view name = list.Vector(1, 1, 255);
    if (!list.ok) return false;
    out->emplace_back(name);
  }
  return true;
}

bool ParseVersions(std::string_view in, uint16_t* highest) {
  Reader extension{in};
  Reader list{extension.Vector(1, 2, 254)};
  if (!extension.ok || !extension.rest.empty() || list.rest.size() % 2 != 0) return false;
  *highest = 0;
  while (!list.rest.empty()) {
    uint16_t v = static_cast<uint16_t>(list.TakeNumber(2));
    if ((v & 0x0f0f) == 0x0a0a) continue;  // RFC 8701: means nothing
    *highest = std::max(*highest, v);
  }
  return true;
}

}  // namespace

ClientHelloParser::Result ClientHelloParser::Feed(std::string_view in) {
  for (;;) {
    std::string_view record = in.substr(std::min(record_, in.size()));
    const bool first = record_ == 0;
    const Result bad = first ? Result::kNotTls : Result::kMalformed;
    if (!record.empty() && Byte(record, 0) != kHandshake) return bad;
    if (record.size() > 1 && Byte(record, 1) != 3) return bad;  // major version of all of TLS
    if (record.size() < kRecordHeader) break;
    const size_t length = Number(record, 3, 2);
    if (length == 0 || length > kMaxRecord) return bad;
    std::string_view fragment = record.substr(kRecordHeader, length);
    if (first && !fragment.empty() && Byte(fragment, 0) != kClientHello) return Result::kNotTls;
    // A message that is too large is known to be so from its header.
    if (first && fragment.size() >= kMessageHeader && Number(fragment, 1, 3) > max_bytes_) {
      return Result::kTooLarge;
    }
    if (fragment.size() < length) break;
    record_ += kRecordHeader + length;
    std::string_view message = fragment;
    if (!first || length < kMessageHeader || length < kMessageHeader + Number(fragment, 1, 3)) {
      assembled_.append(fragment);
      message = assembled_;
    }
    if (message.size() < kMessageHeader) continue;
    const size_t size = Number(message, 1, 3);
    if (size > max_bytes_) return Result::kTooLarge;
    if (message.size() < kMessageHeader + size) continue;
    Result r = ParseMessage(message.substr(kMessageHeader, size));
    assembled_.clear();
    assembled_.shrink_to_fit();
    return r;
  }
  return in.size() >= max_bytes_ ? Result::kTooLarge : Result::kMore;
}

ClientHelloParser::Result ClientHelloParser::ParseMessage(std::string_view body) {
  Reader r{body};
  hello_.highest_version = static_cast<uint16_t>(r.TakeNumber(2));
  r.Take(32);                      // random
  r.Vector(1, 0, 32);              // session id
  r.Vector(2, 2, 65534);           // cipher suites
  r.Vector(1, 1, 255);             // compression methods
  if (!r.ok) return Result::kMalformed;
  if (r.rest.empty()) return Result::kDone;  // no extensions
  Reader list{r.Vector(2, 0, 65535)};
  if (!r.ok || !r.rest.empty()) return Result::kMalformed;
  bool name = false, alpn = false, versions = false;
  while (!list.rest.empty()) {
    const size_t type = list.TakeNumber(2);
    std::string_view data = list.Vector(2, 0, 65535);
    if (!list.ok) return Result::kMalformed;
    // An extension comes once (RFC 8446 section 4.2).
    bool good = true;
    if (type == kServerNameExtension) {
      good = !std::exchange(name, true) && ParseServerName(data, &hello_.server_name);
    } else if (type == kAlpnExtension) {
      good = !std::exchange(alpn, true) && ParseAlpn(data, &hello_.protocols);
    } else if (type == kVersionsExtension) {
      good = !std::exchange(versions, true) && ParseVersions(data, &hello_.highest_version);
    }
    if (!good) return Result::kMalformed;
  }
  return Result::kDone;
}

}  // namespace weft::net
