#include "dataplane/runtime/overload_manager.h"

#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::runtime {
namespace {

uint64_t ReadNumber(const char* path) {
  std::ifstream in(path);
  uint64_t n = 0;
  return in >> n ? n : 0;  // "max" is no number: no limit
}

class ProcessReader final : public ResourceReader {
 public:
  uint64_t HeapBytes() override {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
  }
  uint64_t CgroupBytes() override {
    uint64_t v2 = ReadNumber("/sys/fs/cgroup/memory.current");
    return v2 != 0 ? v2 : ReadNumber("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  }
  uint64_t CgroupLimit() override {
    uint64_t v2 = ReadNumber("/sys/fs/cgroup/memory.max");
    if (v2 != 0) return v2;
    uint64_t v1 = ReadNumber("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    return v1 < (uint64_t{1} << 60) ? v1 : 0;  // version 1 writes "no limit" as a huge number
  }
};

}  // namespace

std::unique_ptr<ResourceReader> NewResourceReader() { return std::make_unique<ProcessReader>(); }

void ReturnFreeMemory() { malloc_trim(0); }

uint16_t LevelOf(const config::OverloadSpec::Action& action, const std::vector<double>& pressures) {
  double level = 0;
  for (const auto& t : action.triggers) {
    double p = pressures[t.monitor];
    if (p >= t.to) return OverloadState::kSaturated;
    if (p > t.from) level = std::max(level, (p - t.from) / (t.to - t.from));
  }
  // Never rounded up to saturated: some actions wait for that.
  return static_cast<uint16_t>(level * (OverloadState::kSaturated - 1));
}

OverloadManager::OverloadManager(event::Loop& loop,
                                 std::shared_ptr<const config::OverloadSpec> spec,
                                 OverloadState& state, observe::Shard& shard,
                                 std::unique_ptr<ResourceReader> reader, Acts acts)
    : loop_(loop),
      spec_(std::move(spec)),
      state_(state),
      reader_(std::move(reader)),
      acts_(std::move(acts)),
      timer_(
          loop.timers(), [](void* self) { static_cast<OverloadManager*>(self)->Refresh(); }, this) {
  for (const auto& m : spec_->monitors) {
    pressure_.push_back(
        shard.GetGauge({observe::ScopeId::Process(StrCat("overload.", m.name)), "pressure"}));
  }
  for (const auto& a : spec_->actions) {
    std::string scope = StrCat("overload.", config::OverloadActionName(a.action));
    active_.push_back(shard.GetGauge({observe::ScopeId::Process(scope), "active"}));
    scale_.push_back(shard.GetGauge({observe::ScopeId::Process(scope), "scale_percent"}));
  }
}

double OverloadManager::Pressure(const config::OverloadSpec::Monitor& m) {
  uint64_t used = 0, max = m.max;
  switch (m.kind) {
    case config::ResourceKind::kHeap:
      used = reader_->HeapBytes();
      break;
    case config::ResourceKind::kCgroupMemory: {
      used = reader_->CgroupBytes();
      uint64_t limit = reader_->CgroupLimit();
      if (max == 0 || (limit != 0 && limit < max)) max = limit;
      break;
    }
    case config::ResourceKind::kDownstreamConnections:
      used = state_.connections();
      break;
  }
  return max == 0 ? 0 : static_cast<double>(used) / static_cast<double>(max);
}

void OverloadManager::Refresh() {
  std::vector<double> pressures;
  for (size_t i = 0; i < spec_->monitors.size(); ++i) {
    pressures.push_back(Pressure(spec_->monitors[i]));
    pressure_[i]->Set(static_cast<int64_t>(std::lround(pressures[i] * 100)));
  }
  for (size_t i = 0; i < spec_->actions.size(); ++i) {
    const auto& a = spec_->actions[i];
    uint16_t before = state_.level(a.action), now = LevelOf(a, pressures);
    state_.Set(a.action, now);
    active_[i]->Set(now == OverloadState::kSaturated);
    scale_[i]->Set(std::lround(now * 100.0 / OverloadState::kSaturated));
    if ((now != 0) != (before != 0)) {
      const char* name = config::OverloadActionName(a.action);
      if (now != 0) {
        LogWarning(StrCat("overload: ", name, " is on"));
      } else {
        LogInfo(StrCat("overload: ", name, " is off"));
      }
    }
    if (now != 0 || before != 0) acts_(a.action, now);
  }
  timer_.Arm(spec_->refresh_interval);
}

}  // namespace weft::runtime
