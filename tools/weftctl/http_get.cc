#include "tools/weftctl/http_get.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "api/cpp/names.h"

namespace weft::cli {

absl::StatusOr<HttpReply> HttpGet(const std::string& address, const std::string& path,
                                  std::chrono::milliseconds timeout) {
  const auto parsed = api::ParseHostPort(address);
  if (!parsed)
    return absl::InvalidArgumentError(
        absl::StrCat("expected HOST:PORT, as in 127.0.2.1:15000, got \"", address, "\""));
  httplib::Client client(parsed->host, parsed->port);
  client.set_connection_timeout(timeout);
  client.set_read_timeout(timeout);
  client.set_write_timeout(timeout);
  const auto result = client.Get(path);
  if (!result) {
    return absl::UnavailableError(absl::StrCat(
        "http://", address, path, " does not answer: ", httplib::to_string(result.error())));
  }
  return HttpReply{result->status, result->body};
}

bool TakesConnections(const std::string& address) {
  const auto parsed = api::ParseHostPort(address);
  sockaddr_in target{};
  target.sin_family = AF_INET;
  if (!parsed || inet_pton(AF_INET, parsed->host.c_str(), &target.sin_addr) != 1) return false;
  target.sin_port = htons(parsed->port);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof(target)) == 0;
  close(fd);
  return connected;
}

}  // namespace weft::cli
