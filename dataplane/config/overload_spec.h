#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/overload_state.h"

namespace weft::config {

enum class ResourceKind : uint8_t { kHeap, kCgroupMemory, kDownstreamConnections };

// The overload manager, compiled. Source: envoy.config.overload.v3.OverloadManager.
struct OverloadSpec {
  struct Monitor {
    std::string name;
    ResourceKind kind;
    uint64_t max = 0;  // bytes or connections; 0: the control group's own limit
  };
  // Off up to `from`, on at `to`, in proportion between the two; equal: a threshold.
  struct Trigger {
    size_t monitor;
    double from, to;
  };
  struct Action {
    OverloadAction action;
    std::vector<Trigger> triggers;
  };
  MonoNanos refresh_interval = 1 * kSecond;
  std::vector<Monitor> monitors;
  std::vector<Action> actions;
  // Of the monitor of downstream connections, which acts by itself; 0: no limit.
  uint64_t max_downstream_connections = 0;
};

// "envoy.overload_actions.stop_accepting_requests"
const char* OverloadActionName(OverloadAction action);

}  // namespace weft::config
