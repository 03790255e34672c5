#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace weft::cli {

struct HttpReply {
  int status = 0;
  std::string body;
};

// GET http://ADDRESS/PATH, where `address` is host:port. Blocks at most about `timeout` for each of
// connecting and reading. An error says who did not answer and why.
absl::StatusOr<HttpReply> HttpGet(const std::string& address, const std::string& path,
                                  std::chrono::milliseconds timeout);

// Whether something takes connections at host:port (an IPv4 address). At once: made for loopback.
bool TakesConnections(const std::string& address);

}  // namespace weft::cli
