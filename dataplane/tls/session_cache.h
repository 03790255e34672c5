#pragma once

#include <openssl/ssl.h>

#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::tls {

// A client's sessions by endpoint and server name, newest first, a few an endpoint and bounded in
// all. It belongs to one state of a context, so that sessions end with the trust that they were
// made under. Owner: the state. Thread: any.
class SessionCache {
 public:
  explicit SessionCache(uint32_t per_endpoint) : per_endpoint_(per_endpoint) {}

  void Put(std::string_view key, bssl::UniquePtr<SSL_SESSION> session);
  // Null when there is none. A session of TLS 1.3 is given out once (RFC 8446 appendix C.4).
  bssl::UniquePtr<SSL_SESSION> Get(std::string_view key);
  size_t size() const;

 private:
  static constexpr size_t kMaxEndpoints = 1024;
  struct Entry {
    std::string key;
    std::deque<bssl::UniquePtr<SSL_SESSION>> sessions;
  };
  const uint32_t per_endpoint_;
  mutable std::mutex mu_;  // guards both; taken once or twice a handshake
  std::list<Entry> used_;  // latest first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
};

}  // namespace weft::tls
