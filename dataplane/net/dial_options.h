#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/net/address.h"

namespace weft::net {

// One setsockopt(2) (envoy.config.core.v3.SocketOption); `value` is what the kernel gets.
struct SocketOption {
  int level = 0, name = 0;
  std::string value;
  bool after_bind = false;  // STATE_BOUND
  std::string description;  // for messages; may be empty
};

// TCP keep-alive of a connection; 0 leaves the kernel's setting
// (envoy.config.core.v3.TcpKeepalive).
struct KeepAlive {
  bool on = false;
  uint32_t probes = 0, time_s = 0, interval_s = 0;
};

// How sockets that dial are made: a value, immutable once it is in use. Nothing of it applies to
// Unix sockets.
struct DialOptions {
  KeepAlive keep_alive;
  Address source;         // invalid: the kernel chooses; port 0: any
  bool freebind = false;  // IP_FREEBIND: the source need not be an address of this host
  std::vector<SocketOption> socket_options;
};

}  // namespace weft::net
