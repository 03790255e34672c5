#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::net {

// An IPv4, IPv6 or Unix socket address: a value. Host names are not addresses; see upstream/dns for
// those.
class Address {
 public:
  Address() = default;
  static Address FromSockaddr(const sockaddr* sa, socklen_t len);
  // `ip` as a literal ("127.0.0.1", "::1"), port 0 to 65535. nullopt when `ip` is not an IP
  // literal.
  static std::optional<Address> FromIp(std::string_view ip, uint32_t port);
  // Absolute path, or "@name" in the abstract namespace. nullopt when longer than the kernel allows
  // (107 bytes).
  static std::optional<Address> FromPath(std::string_view path);
  // "127.0.0.1:80", "[::1]:80".
  static std::optional<Address> Parse(std::string_view host_port);

  bool valid() const { return length_ != 0; }
  bool is_unix() const { return valid() && storage_.sa.sa_family == AF_UNIX; }
  bool is_v6() const { return valid() && storage_.sa.sa_family == AF_INET6; }
  bool is_wildcard() const;
  int family() const { return storage_.sa.sa_family; }
  const sockaddr* sa() const { return &storage_.sa; }
  socklen_t length() const { return length_; }
  uint16_t port() const;
  void set_port(uint16_t port);
  // "127.0.0.1:80", "[::1]:80", or the path.
  std::string ToString() const;
  // "127.0.0.1", "::1", or the path.
  std::string Ip() const;
  // Writes Ip() into `out` (at least kMaxIp bytes); returns its length. No allocation.
  size_t FormatIp(char* out) const;
  static constexpr size_t kMaxIp = 110;

  bool operator==(const Address& o) const;

 private:
  union {
    sockaddr_un un;  // the largest first: it is what {} clears
    sockaddr sa;
    sockaddr_in in;
    sockaddr_in6 in6;
  } storage_ = {};
  socklen_t length_ = 0;
};

}  // namespace weft::net
