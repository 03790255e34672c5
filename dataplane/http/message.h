#pragma once

#include <cstdint>
#include <string_view>

#include "dataplane/http/header_map.h"

namespace weft::http {

enum class Protocol : uint8_t { kHttp10, kHttp11, kHttp2 };
std::string_view ProtocolName(Protocol p);  // "HTTP/1.1"

inline constexpr int64_t kUnknownLength = -1;

// A request's head. `authority` is the Host field (or the absolute target's authority), which is
// not in `headers`. `path` includes the query. All views follow HeaderMap's rule of life.
struct RequestHead {
  std::string_view method;
  std::string_view scheme = "http";
  std::string_view authority;
  std::string_view path;
  HeaderMap headers;
  Protocol protocol = Protocol::kHttp11;
  // Body bytes announced by Content-Length; kUnknownLength with a body of unknown length.
  int64_t content_length = 0;
  bool has_body = false;
  // The sender waits for 100 Continue (RFC 9110 section 10.1.1).
  bool expect_continue = false;
  // The protocols that Upgrade offers and Connection nominates (RFC 9110 section 7.8), or :protocol
  // of an extended CONNECT (RFC 8441), which is a GET here; empty when there is none.
  std::string_view upgrade;

  bool is_connect() const { return method == "CONNECT"; }
  // Asks for a tunnel: has_body is false, and yet there is a pipe for what comes after the head. See
  // stream.h.
  bool wants_tunnel() const { return !upgrade.empty() || is_connect(); }
  void Clear();
  // As HeaderMap's, with all other views.
  void Rebase(const char* from, size_t size, const char* to);
};

struct ResponseHead {
  int status = 0;
  HeaderMap headers;
  Protocol protocol = Protocol::kHttp11;
  // As in RequestHead. A response to HEAD and 304 may announce a length without a body.
  int64_t content_length = 0;
  bool has_body = false;
  // The length stands in the head although there is no body (HEAD, 304).
  bool length_without_body = false;
  // Opens the tunnel that the request asked for: 101, or 2xx to CONNECT. has_body is true and
  // content_length unknown; both bodies are raw bytes.
  bool tunnel = false;
  // With 101: the protocol that was chosen.
  std::string_view upgrade;

  void Clear();
  void Rebase(const char* from, size_t size, const char* to);
};

// How names of header fields are written on HTTP/1.
enum class HeaderCase : uint8_t {
  kAsReceived,  // as they came; those that the proxy adds are in lower case
  kProper,      // Content-Type
};

// "OK" for 200, "Unknown" for codes without a registered phrase.
std::string_view ReasonPhrase(int status);

// Removes the hop-by-hop fields of RFC 9110 section 7.6.1 and what Connection nominates, except a
// nominated field whose loss would change meaning at this hop only. `te: trailers` survives.
// Framing fields are the serializer's.
void RemoveHopByHop(HeaderMap& headers);

// Framing and routing fields that a trailer section may not carry (RFC 9110 section 6.5.1): both
// codecs drop them.
bool ForbiddenInTrailers(HeaderId id);

// Whether a comma-separated list field holds `token` (case does not count).
bool ListHasToken(std::string_view list, std::string_view token);

}  // namespace weft::http
