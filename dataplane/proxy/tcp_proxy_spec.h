#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/clock.h"

namespace weft::observe {
class AccessLogSpec;
}

namespace weft::proxy {

// One TCP proxy, compiled: immutable, shared by all workers.
// Source: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy; defaults are Envoy's.
struct TcpProxySpec {
  struct WeightedCluster {
    std::string name;
    uint64_t up_to = 0;  // sum of the weights up to and with this one
  };
  std::string stat_prefix;
  std::vector<WeightedCluster> clusters;  // at least one
  MonoNanos idle_timeout = 3600 * kSecond;  // no byte moved either way; 0: none
  MonoNanos max_downstream_connection_duration = 0;  // 0: none
  uint32_t max_connect_attempts = 1;
  MonoNanos access_log_flush_interval = 0;  // a line each; 0: one line at the end
  bool flush_access_log_on_connected = false;
  std::vector<std::shared_ptr<const observe::AccessLogSpec>> access_logs;
};

}  // namespace weft::proxy
