#pragma once

#include <cstdint>
#include <string_view>

namespace weft {

// Which party an error is to be blamed on.
enum class Side : uint8_t { kDownstream, kUpstream, kLocal };

// What went wrong while moving one request. One table (proxy/error_table.h) maps each code to HTTP status, Envoy response
// flag and response-code detail.
enum class ErrorCode : uint8_t {
  kNone = 0,
  kBadRequest,           // the peer's bytes are not valid HTTP
  kHeadersTooLarge,      // head above the limit
  kNotImplemented,       // a transfer coding or method that is not supported
  kVersionNotSupported,  // HTTP version other than 1.0, 1.1
  kDisconnect,           // the peer closed or reset in the middle of a message
  kIdleTimeout,
  kHeaderTimeout,        // request head not complete in time
  kRequestTimeout,       // whole request not received in time
  kRouteTimeout,         // no complete answer within the route's timeout
  kStreamIdleTimeout,
  kNoRoute,
  kNoCluster,
  kNoHealthyUpstream,
  kConnectFailed,
  kConnectTimeout,
  kOverflow,             // circuit breaker
  kProtocol,             // the upstream's bytes are not valid HTTP
  kDrain,
  kOverload,             // the process is short of memory
  kInternal,
};

// An error is a value. `detail` is a static string (no allocation on error paths), `sys_errno` may be 0.
struct Error {
  ErrorCode code = ErrorCode::kNone;
  Side side = Side::kLocal;
  // True when no byte of the request can have been processed by the other side.
  bool unprocessed = false;
  int sys_errno = 0;
  std::string_view detail;
  // The whole connection ended, not one message on it.
  bool connection_lost = false;

  explicit operator bool() const { return code != ErrorCode::kNone; }
};

}  // namespace weft
