#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "controlplane/xds/ads_server.h"

namespace weft::ctl::xds {

absl::Status CheckListen(const std::string& address, const std::string& flag) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": \"", address, "\" is not HOST:PORT, such as 127.0.0.1:15010"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";

  sockaddr_storage storage{};
  socklen_t length = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    length = sizeof(*v4);
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    length = sizeof(*v6);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": \"", host,
                     "\" is not an IP address; give one of this machine's, such as 127.0.0.1"));
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::InternalError(absl::StrCat(flag, ": socket: ", std::strerror(errno)));
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  int error = bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0 ? errno : 0;
  if (error == 0 && listen(fd, 1) != 0) error = errno;
  close(fd);
  switch (error) {
    case 0: return absl::OkStatus();
    case EADDRINUSE:
      return absl::UnavailableError(
          absl::StrCat("can't listen on ", address,
                       ": the address is in use by another program "
                       "(another weft-controller?); stop it or choose another by ",
                       flag));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(
          absl::StrCat("can't listen on ", address,
                       ": this machine does not have that address; choose another by ", flag));
    case EACCES:
      return absl::PermissionDeniedError(absl::StrCat(
          "can't listen on ", address,
          ": not permitted (ports below 1024 need a privilege); choose another by ", flag));
    default:
      return absl::UnavailableError(
          absl::StrCat("can't listen on ", address, ": ", std::strerror(error)));
  }
}

}  // namespace weft::ctl::xds
