#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dataplane/base/overload_state.h"
#include "dataplane/config/overload_spec.h"
#include "dataplane/event/loop.h"
#include "dataplane/observe/metrics.h"

namespace weft::runtime {

// Measures of this process, apart so that tests can set them.
class ResourceReader {
 public:
  virtual ~ResourceReader() = default;
  // Bytes that are allocated from the heap.
  virtual uint64_t HeapBytes() = 0;
  // Memory of the control group, and its limit (0: none, or there is no group).
  virtual uint64_t CgroupBytes() = 0;
  virtual uint64_t CgroupLimit() = 0;
};

// Of the C library and of /sys/fs/cgroup (version 2, else 1).
std::unique_ptr<ResourceReader> NewResourceReader();

// Reads the monitors at each interval and sets the actions' levels, which workers see at once. What
// main has to do itself for an action is `acts`: it is called at each interval while the level is
// not 0. Logs when an action goes on or off. Owner: the server. Thread: main.
class OverloadManager {
 public:
  using Acts = std::function<void(OverloadAction action, uint16_t level)>;
  OverloadManager(event::Loop& loop, std::shared_ptr<const config::OverloadSpec> spec,
                  OverloadState& state, observe::Shard& shard,
                  std::unique_ptr<ResourceReader> reader, Acts acts);

  // Once at the start, then by its timer.
  void Refresh();

 private:
  double Pressure(const config::OverloadSpec::Monitor& monitor);

  event::Loop& loop_;
  const std::shared_ptr<const config::OverloadSpec> spec_;
  OverloadState& state_;
  const std::unique_ptr<ResourceReader> reader_;
  const Acts acts_;
  std::vector<observe::Gauge*> pressure_;            // one a monitor, percent
  std::vector<observe::Gauge*> active_, scale_;      // one an action
  event::Timer timer_;
};

// Gives memory that the C library holds free back to the system. Takes milliseconds on a large heap.
void ReturnFreeMemory();

// The level of an action at these pressures, one a monitor.
uint16_t LevelOf(const config::OverloadSpec::Action& action, const std::vector<double>& pressures);

}  // namespace weft::runtime
