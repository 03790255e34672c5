#include "dataplane/config/compile_overload.h"

#include <map>
#include <optional>
#include <set>

#include "api/cpp/names.h"
#include "dataplane/base/strings.h"
#include "envoy/extensions/resource_monitors/cgroup_memory/v3/cgroup_memory.pb.h"
#include "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.pb.h"
#include "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.pb.h"

namespace weft::config {
namespace {

namespace overload = envoy::config::overload::v3;
namespace monitors = envoy::extensions::resource_monitors;

constexpr const char* kActionNames[] = {
    "envoy.overload_actions.stop_accepting_requests",
    "envoy.overload_actions.disable_http_keepalive",
    "envoy.overload_actions.stop_accepting_connections",
    "envoy.overload_actions.reject_incoming_connections",
    "envoy.overload_actions.reset_high_memory_stream",
    "envoy.overload_actions.shrink_heap",
};
static_assert(std::size(kActionNames) == static_cast<size_t>(OverloadAction::kCount));

std::string ActionNames() {
  std::string all;
  for (const char* n : kActionNames) all += StrCat(all.empty() ? "" : ", ", n);
  return all;
}

// False when there was an error.
bool CompileMonitor(const overload::ResourceMonitor& m, const std::string& path,
                    const CompileEnv& env, OverloadSpec* spec, decide::Errors* errors) {
  OverloadSpec::Monitor out{.name = m.name(), .kind = ResourceKind::kHeap};
  const std::string at = path + ".typed_config";
  std::string_view type = api::MessageNameOf(m.typed_config().type_url());
  if (type == monitors::fixed_heap::v3::FixedHeapConfig::descriptor()->full_name()) {
    monitors::fixed_heap::v3::FixedHeapConfig c;
    if (!UnpackAny(m.typed_config(), &c, at, env, errors)) return false;
    out.max = c.max_heap_size_bytes();
    if (out.max == 0) errors->Add(at + ".max_heap_size_bytes", "is missing: expected 1 or more");
  } else if (type == monitors::cgroup_memory::v3::CgroupMemoryConfig::descriptor()->full_name()) {
    monitors::cgroup_memory::v3::CgroupMemoryConfig c;
    if (!UnpackAny(m.typed_config(), &c, at, env, errors)) return false;
    out.kind = ResourceKind::kCgroupMemory;
    out.max = c.max_memory_bytes();
  } else if (type ==
             monitors::downstream_connections::v3::DownstreamConnectionsConfig::descriptor()
                 ->full_name()) {
    monitors::downstream_connections::v3::DownstreamConnectionsConfig c;
    if (!UnpackAny(m.typed_config(), &c, at, env, errors)) return false;
    out.kind = ResourceKind::kDownstreamConnections;
    if (c.max_active_downstream_connections() <= 0) {
      errors->Add(at + ".max_active_downstream_connections",
                  StrCat(c.max_active_downstream_connections(), ": expected 1 or more"));
      return false;
    }
    out.max = static_cast<uint64_t>(c.max_active_downstream_connections());
    RefuseIf(spec->max_downstream_connections != 0, path,
             "is a second limit of downstream connections: expected one", errors);
    spec->max_downstream_connections = out.max;
  } else {
    errors->Add(at, StrCat("resource monitor ", type.empty() ? "without a type" : type,
                           " is not supported: expected FixedHeapConfig, CgroupMemoryConfig or "
                           "DownstreamConnectionsConfig"));
    return false;
  }
  spec->monitors.push_back(std::move(out));
  return true;
}

std::optional<OverloadSpec::Trigger> CompileTrigger(const overload::Trigger& t, size_t monitor,
                                                    const std::string& path,
                                                    decide::Errors* errors) {
  auto share = [&](double v, const char* field) {
    bool ok = v > 0 && v <= 1;
    RefuseIf(!ok, StrCat(path, ".", field), StrCat(v, ": expected more than 0 and at most 1"),
             errors);
    return ok;
  };
  switch (t.trigger_oneof_case()) {
    case overload::Trigger::kThreshold:
      if (!share(t.threshold().value(), "threshold.value")) return std::nullopt;
      return OverloadSpec::Trigger{monitor, t.threshold().value(), t.threshold().value()};
    case overload::Trigger::kScaled: {
      double from = t.scaled().scaling_threshold(), to = t.scaled().saturation_threshold();
      if (!share(from, "scaled.scaling_threshold") || !share(to, "scaled.saturation_threshold"))
        return std::nullopt;
      if (from >= to) {
        errors->Add(path + ".scaled.saturation_threshold",
                    StrCat(to, ": expected more than scaling_threshold, ", from));
        return std::nullopt;
      }
      return OverloadSpec::Trigger{monitor, from, to};
    }
    case overload::Trigger::TRIGGER_ONEOF_NOT_SET:
      break;
  }
  errors->Add(path, "says nothing: expected threshold or scaled");
  return std::nullopt;
}

void CompileAction(const overload::OverloadAction& a, const std::string& path,
                   const std::map<std::string, size_t>& monitor_index, OverloadSpec* spec,
                   decide::Errors* errors) {
  OverloadSpec::Action out;
  size_t which = 0;
  while (which < std::size(kActionNames) && a.name() != kActionNames[which]) ++which;
  if (which == std::size(kActionNames)) {
    errors->Add(path + ".name", StrCat("\"", a.name(), "\" is not supported: expected one of ",
                                       ActionNames()));
    return;
  }
  out.action = static_cast<OverloadAction>(which);
  RefuseIf(a.has_typed_config(), path + ".typed_config",
           StrCat("has no meaning for ", a.name()), errors);
  RefuseIf(a.triggers_size() == 0, path + ".triggers", "is empty: the action would never be on",
           errors);
  std::set<std::string> seen;
  for (int i = 0; i < a.triggers_size(); ++i) {
    const std::string at = StrCat(path, ".triggers[", i, "]");
    const overload::Trigger& t = a.triggers(i);
    auto it = monitor_index.find(t.name());
    if (it == monitor_index.end()) {
      errors->Add(at + ".name", StrCat("there is no resource monitor \"", t.name(), "\""));
      continue;
    }
    if (!seen.insert(t.name()).second) {
      errors->Add(at + ".name", StrCat("\"", t.name(), "\" triggers this action twice"));
      continue;
    }
    // Envoy's rule: this limit acts by itself and is no pressure for others to act on.
    if (it->second < spec->monitors.size() &&
        spec->monitors[it->second].kind == ResourceKind::kDownstreamConnections) {
      errors->Add(at + ".name", StrCat("\"", t.name(),
                                       "\" limits connections by itself and triggers no action"));
      continue;
    }
    if (auto trigger = CompileTrigger(t, it->second, at, errors)) out.triggers.push_back(*trigger);
  }
  spec->actions.push_back(std::move(out));
}

}  // namespace

const char* OverloadActionName(OverloadAction action) {
  return kActionNames[static_cast<size_t>(action)];
}

std::shared_ptr<const OverloadSpec> CompileOverload(const overload::OverloadManager& m,
                                                    const std::string& path, const CompileEnv& env,
                                                    decide::Errors* errors) {
  std::vector<api::SourceError> found;
  decide::Errors own(&found);
  auto spec = std::make_shared<OverloadSpec>();
  if (m.has_refresh_interval()) {
    spec->refresh_interval =
        CompileDuration(m.refresh_interval(), path + ".refresh_interval", true, &own);
    RefuseIf(spec->refresh_interval > 0 && spec->refresh_interval < 10 * kMillisecond,
             path + ".refresh_interval", "expected 0.010s or more", &own);
  }
  RefuseIf(m.loadshed_points_size() > 0, path + ".loadshed_points", "not supported", &own);
  RefuseIf(m.has_buffer_factory_config(), path + ".buffer_factory_config",
           "not supported: what a stream holds is always known; leave it out", &own);
  std::map<std::string, size_t> index;
  for (int i = 0; i < m.resource_monitors_size(); ++i) {
    const std::string at = StrCat(path, ".resource_monitors[", i, "]");
    const auto& monitor = m.resource_monitors(i);
    RefuseIf(monitor.name().empty(), at + ".name", "is missing", &own);
    // A wrong monitor is in the index too, so that its triggers are no second error.
    bool added = CompileMonitor(monitor, at, env, spec.get(), &own);
    size_t place = added ? spec->monitors.size() - 1 : SIZE_MAX;
    RefuseIf(!index.emplace(monitor.name(), place).second && !monitor.name().empty(), at + ".name",
             StrCat("\"", monitor.name(), "\" is the name of another monitor too"), &own);
  }
  std::set<std::string> names;
  for (int i = 0; i < m.actions_size(); ++i) {
    const std::string at = StrCat(path, ".actions[", i, "]");
    RefuseIf(!names.insert(m.actions(i).name()).second, at + ".name",
             StrCat("\"", m.actions(i).name(), "\" is there twice"), &own);
    CompileAction(m.actions(i), at, index, spec.get(), &own);
  }
  for (api::SourceError& e : found) {
    e.warning ? errors->Warn(std::move(e.path), std::move(e.message))
              : errors->Add(std::move(e.path), std::move(e.message));
  }
  return api::HasError(found) ? nullptr : spec;
}

}  // namespace weft::config
