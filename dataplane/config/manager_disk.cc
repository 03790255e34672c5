// The manager's last good configuration: starting from it while no controller answers, and keeping it.
#include <algorithm>

#include "api/cpp/names.h"
#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/manager.h"

namespace weft::config {

void ConfigManager::LoadFromDisk(std::string_view why) {
  if (disk_tried_ || options_.state_dir.empty()) return;
  disk_tried_ = true;
  LastGood state;
  std::string error = ReadLastGood(options_.state_dir, &state);
  if (!error.empty()) {
    LogError(StrCat("config: last good configuration not used: ", error));
    return;
  }
  if (state.types.empty()) {
    LogWarning(StrCat("config: the controller does not answer (", why, ") and ", LastGoodPath(options_.state_dir),
                      " has nothing to start from"));
    return;
  }
  if (state.node_id != bootstrap_->node_id) {
    LogError(StrCat("config: last good configuration not used: ", LastGoodPath(options_.state_dir), " belongs to node ",
                    state.node_id, ", this is ", bootstrap_->node_id));
    return;
  }
  source_ = ConfigSourceKind::kDisk;
  disk_saved_ = state.saved_micros;
  LogWarning(StrCat("config source: disk, age ", (WallMicros() - state.saved_micros) / 1000000,
                    " s: the controller does not answer (", why, ")"));
  TakeFromDisk(state);
}

void ConfigManager::TakeFromDisk(LastGood& state) {
  // Shared resources first, so that nothing has to wait.
  Change change;
  for (LastGood::Type& t : state.types) {
    ByName<Shared>* map = t.url == api::kEndpointType ? &endpoints_ : t.url == api::kRouteType ? &routes_ : nullptr;
    if (map == nullptr) continue;
    for (XdsUpdate::Resource& r : t.resources) {
      std::shared_ptr<const upstream::EndpointSet> endpoints;
      std::shared_ptr<const decide::RouteTable> table;
      std::string why = map == &endpoints_ ? ReadEndpoints(r.name, r.value, EndpointPolicy(), &endpoints)
                                           : ReadRoutes(r.name, r.value, &table);
      if (!why.empty()) {
        LogWarning(StrCat("config: from disk: refused ", api::ShortTypeName(t.url), " ", r.name, ": ", why));
        continue;
      }
      Shared& shared = (*map)[r.name];
      shared.form = {std::move(r.value), r.version, WallMicros()};
      shared.known = true;
      if (table != nullptr) change.update->routes.push_back({r.name, std::move(table)});
      if (map == &endpoints_) EndpointsArrived(r.name, shared, change);  // of static clusters
      if (map == &routes_) RoutesArrived(r.name, shared, change);
    }
  }
  for (LastGood::Type& t : state.types) {
    for (XdsUpdate::Resource& r : t.resources) {
      std::string why;
      if (t.url == api::kClusterType) why = PutCluster(r, change);
      if (t.url == api::kListenerType) why = PutListener(r, change);
      if (!why.empty()) {
        LogWarning(StrCat("config: from disk: refused ", api::ShortTypeName(t.url), " ", r.name, ": ", why));
      }
    }
  }
  std::erase_if(endpoints_, [](const auto& e) { return e.second.users.empty(); });
  std::erase_if(routes_, [](const auto& e) { return e.second.users.empty(); });
  // The next stream says what we hold, so that the controller sends what differs and removes the rest.
  for (const auto& [name, c] : clusters_) {
    if (!c.is_static && c.active) client_->Seed(api::kClusterType, name, c.form.version);
  }
  for (const auto& [name, l] : listeners_) {
    if (!l.is_static && l.active) client_->Seed(api::kListenerType, name, l.form.version);
  }
  for (const auto& [name, s] : endpoints_) {
    if (!s.form.wire.empty()) client_->Seed(api::kEndpointType, name, s.form.version);
  }
  for (const auto& [name, s] : routes_) {
    if (!s.form.wire.empty()) client_->Seed(api::kRouteType, name, s.form.version);
  }
  client_->Restart();
  Send(std::move(change), [this](Refusals) {
    clusters_seen_ = listeners_seen_ = true;
    MaybeSubscribeListeners();
    NotifyReady();
  });
}

void ConfigManager::MarkDirty() {
  if (options_.state_dir.empty()) return;
  MonoNanos now = loop_.Now();
  if (dirty_since_ == 0) dirty_since_ = now;
  MonoNanos latest = dirty_since_ + 10 * options_.save_delay;
  save_timer_.Arm(std::max<MonoNanos>(std::min(options_.save_delay, latest - now), 0));
}

void ConfigManager::SaveNow() {
  if (dirty_since_ != 0) Save();
}

void ConfigManager::Save() {
  save_timer_.Cancel();
  const XdsSettings& xds = *bootstrap_->xds;
  // Half a configuration must not replace a whole one.
  bool whole = (!xds.clusters || clusters_answered_) && (!xds.listeners || listeners_answered_) &&
               WarmingClusters() == 0 && WarmingListeners() == 0;
  if (!whole) {
    dirty_since_ = loop_.Now();
    save_timer_.Arm(options_.save_delay);
    return;
  }
  dirty_since_ = 0;
  LastGood state;
  state.node_id = bootstrap_->node_id;
  state.saved_micros = WallMicros();
  auto type = [&](std::string_view url) { state.types.emplace_back().url = url; };
  auto add = [&](const std::string& name, const Form& f) {
    if (!f.wire.empty()) state.types.back().resources.push_back({name, f.version, f.wire});
  };
  type(api::kClusterType);
  for (const auto& [name, c] : clusters_) {
    if (!c.is_static && c.active) add(name, c.form);
  }
  type(api::kEndpointType);
  for (const auto& [name, s] : endpoints_) add(name, s.form);
  type(api::kListenerType);
  for (const auto& [name, l] : listeners_) {
    if (!l.is_static && l.active) add(name, l.form);
  }
  type(api::kRouteType);
  for (const auto& [name, s] : routes_) add(name, s.form);
  std::string error = WriteLastGood(options_.state_dir, state);
  if (!error.empty() && error != save_error_) LogError(StrCat("config: last good configuration not saved: ", error));
  save_error_ = std::move(error);
}

}  // namespace weft::config
