#include "dataplane/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace weft::net {

Address Address::FromSockaddr(const sockaddr* sa, socklen_t len) {
  Address a;
  a.length_ = std::min<socklen_t>(len, sizeof(a.storage_));
  memcpy(&a.storage_, sa, a.length_);
  return a;
}

std::optional<Address> Address::FromIp(std::string_view ip, uint32_t port) {
  if (port > 65535) return std::nullopt;
  char buf[INET6_ADDRSTRLEN + 1];
  if (ip.size() >= sizeof(buf) || ip.find('\0') != std::string_view::npos) return std::nullopt;
  memcpy(buf, ip.data(), ip.size());
  buf[ip.size()] = 0;
  Address a;
  if (inet_pton(AF_INET, buf, &a.storage_.in.sin_addr) == 1) {
    a.storage_.in.sin_family = AF_INET;
    a.storage_.in.sin_port = htons(static_cast<uint16_t>(port));
    a.length_ = sizeof(sockaddr_in);
    return a;
  }
  if (inet_pton(AF_INET6, buf, &a.storage_.in6.sin6_addr) == 1) {
    a.storage_.in6.sin6_family = AF_INET6;
    a.storage_.in6.sin6_port = htons(static_cast<uint16_t>(port));
    a.length_ = sizeof(sockaddr_in6);
    return a;
  }
  return std::nullopt;
}

std::optional<Address> Address::FromPath(std::string_view path) {
  Address a;
  if (path.empty() || path.size() >= sizeof(a.storage_.un.sun_path)) return std::nullopt;
  if (path.find('\0') != std::string_view::npos) return std::nullopt;
  a.storage_.un.sun_family = AF_UNIX;
  memcpy(a.storage_.un.sun_path, path.data(), path.size());
  a.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (path[0] == '@') {
    a.storage_.un.sun_path[0] = 0;
    --a.length_;  // an abstract name has no terminator
  }
  return a;
}

std::optional<Address> Address::Parse(std::string_view s) {
  size_t colon = s.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = s.substr(0, colon), port = s.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  uint32_t n = 0;
  auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), n);
  if (ec != std::errc() || end != port.data() + port.size() || port.empty()) return std::nullopt;
  return FromIp(host, n);
}

bool Address::is_wildcard() const {
  if (!valid()) return false;
  if (family() == AF_INET) return storage_.in.sin_addr.s_addr == INADDR_ANY;
  if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&storage_.in6.sin6_addr);
  return false;
}

uint16_t Address::port() const {
  if (!valid()) return 0;
  if (family() == AF_INET) return ntohs(storage_.in.sin_port);
  if (family() == AF_INET6) return ntohs(storage_.in6.sin6_port);
  return 0;
}

void Address::set_port(uint16_t port) {
  if (family() == AF_INET) storage_.in.sin_port = htons(port);
  if (family() == AF_INET6) storage_.in6.sin6_port = htons(port);
}

size_t Address::FormatIp(char* out) const {
  if (!valid()) return 0;
  if (family() == AF_INET) {
    const uint8_t* b = reinterpret_cast<const uint8_t*>(&storage_.in.sin_addr);
    char* p = out;
    for (int i = 0; i < 4; ++i) {
      if (i != 0) *p++ = '.';
      p = std::to_chars(p, p + 3, b[i]).ptr;
    }
    return static_cast<size_t>(p - out);
  }
  if (family() == AF_INET6) {
    if (inet_ntop(AF_INET6, &storage_.in6.sin6_addr, out, kMaxIp) == nullptr) return 0;
    return strlen(out);
  }
  size_t n =
      length_ > offsetof(sockaddr_un, sun_path) ? length_ - offsetof(sockaddr_un, sun_path) : 0;
  n = std::min(n, kMaxIp);
  memcpy(out, storage_.un.sun_path, n);
  if (n > 0 && out[0] == 0) out[0] = '@';
  while (n > 0 && out[n - 1] == 0) --n;
  return n;
}

std::string Address::Ip() const {
  char buf[kMaxIp];
  return std::string(buf, FormatIp(buf));
}

std::string Address::ToString() const {
  if (!valid()) return "";
  if (is_unix()) return Ip();
  std::string ip = Ip();
  return (is_v6() ? "[" + ip + "]" : ip) + ":" + std::to_string(port());
}

bool Address::operator==(const Address& o) const {
  if (length_ != o.length_) return false;
  if (!valid()) return true;
  if (family() != o.family()) return false;
  if (family() == AF_INET) {
    return storage_.in.sin_port == o.storage_.in.sin_port &&
           storage_.in.sin_addr.s_addr == o.storage_.in.sin_addr.s_addr;
  }
  return memcmp(&storage_, &o.storage_, length_) == 0;
}

}  // namespace weft::net
