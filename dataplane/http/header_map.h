#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace weft::http {

// Fields that the proxy itself looks at. Everything else is kOther and is found by name.
enum class HeaderId : uint8_t {
  kOther,
  kHost,
  kContentLength,
  kTransferEncoding,
  kConnection,
  kKeepAlive,
  kProxyConnection,
  kTe,
  kTrailer,
  kUpgrade,
  kExpect,
  kDate,
  kServer,
  kVia,
  kContentType,
  kUserAgent,
  kCookie,
  kLocation,
  kGrpcStatus,
  kGrpcMessage,
  kGrpcTimeout,
  kXForwardedFor,
  kXForwardedProto,
  kXForwardedHost,
  kXRequestId,
  kXEnvoyUpstreamServiceTime,
  kXEnvoyExpectedRqTimeoutMs,
  kXEnvoyAttemptCount,
  kXEnvoyOriginalPath,
  kXEnvoyOriginalHost,
  kXEnvoyOverloaded,
  kXEnvoyImmediateHealthCheckFail,
  kCount,
};

// The id of a field name in any case, kOther when it is none of the above.
HeaderId IdentifyHeader(std::string_view name);
// Lower-case name of a known field.
std::string_view HeaderName(HeaderId id);

// Compares field names: case does not count (RFC 9110 section 5.1).
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

struct Header {
  std::string_view name, value;
  HeaderId id = HeaderId::kOther;
};

// Fields of one message, in order, as views: into a pinned read buffer, an arena, or static text.
// The map owns no bytes; who adds a field keeps them alive as long as the message. Case of names is
// kept. Owner: a message head. Thread: the worker's.
class HeaderMap {
 public:
  size_t size() const { return headers_.size(); }
  bool empty() const { return headers_.empty(); }
  auto begin() const { return headers_.begin(); }
  auto end() const { return headers_.end(); }
  auto begin() { return headers_.begin(); }
  auto end() { return headers_.end(); }
  const Header& operator[](size_t i) const { return headers_[i]; }

  void Add(std::string_view name, std::string_view value) {
    Add(IdentifyHeader(name), name, value);
  }
  void Add(HeaderId id, std::string_view name, std::string_view value) {
    headers_.push_back({name, value, id});
    present_ |= Bit(id);
  }
  void Add(HeaderId id, std::string_view value) { Add(id, HeaderName(id), value); }
  // Replaces the first field of that name and removes the others; adds one when there is none.
  void Set(std::string_view name, std::string_view value);
  void Set(HeaderId id, std::string_view value);
  size_t Remove(std::string_view name);
  size_t Remove(HeaderId id);

  bool Has(HeaderId id) const { return (present_ & Bit(id)) != 0 && Find(id) != nullptr; }
  const Header* Find(HeaderId id) const;
  const Header* Find(std::string_view name) const;
  size_t Count(std::string_view name) const;
  // First value, or nullopt.
  std::optional<std::string_view> Get(HeaderId id) const;
  std::optional<std::string_view> Get(std::string_view name) const;

  void Clear() {
    headers_.clear();
    present_ = 0;
  }
  void Swap(HeaderMap& o) {
    headers_.swap(o.headers_);
    std::swap(present_, o.present_);
  }
  // Moves views that point into [from, from + size) to the same offset in `to`: the read buffer has
  // moved.
  void Rebase(const char* from, size_t size, const char* to);
  // Sum of name and value lengths.
  size_t ByteSize() const;

 private:
  static uint64_t Bit(HeaderId id) { return uint64_t{1} << static_cast<int>(id); }
  std::vector<Header> headers_;
  uint64_t present_ = 0;  // may hold bits of removed fields, never lacks one
};

static_assert(static_cast<int>(HeaderId::kCount) <= 64);

}  // namespace weft::http
