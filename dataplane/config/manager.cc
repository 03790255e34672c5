#include "dataplane/config/manager.h"

#include <malloc.h>

#include <algorithm>

#include "api/cpp/names.h"
#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::config {
namespace {

// Index into ConfigStatus::counts.
enum TypeIndex { kClusters, kEndpoints, kListeners, kRoutes };
constexpr std::string_view kTypes[] = {api::kClusterType, api::kEndpointType, api::kListenerType, api::kRouteType};

int IndexOf(std::string_view type_url) {
  for (int i = 0; i < 4; ++i) {
    if (kTypes[i] == type_url) return i;
  }
  return -1;
}

void LogWarnings(std::string_view what, const std::string& name, const std::vector<api::SourceError>& found) {
  for (const api::SourceError& e : found) {
    if (e.warning) LogWarning(StrCat("config: ", what, " ", name, ": ", e.path, e.path.empty() ? "" : ": ", e.message));
  }
}

// Documents and messages that large configuration was read from leave several times its size in free pieces between what
// was made of them; the C library keeps those. A few milliseconds, off the request path.
void ReturnMemoryAfter(size_t wire_bytes) {
  constexpr size_t kLarge = 128 * 1024;
  if (wire_bytes >= kLarge) malloc_trim(0);
}

}  // namespace

ConfigManager::ConfigManager(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<Bootstrap> bootstrap,
                             ManagerOptions options, Emit emit, std::unique_ptr<XdsTransport> transport)
    : loop_(loop),
      slab_(slab),
      bootstrap_(std::move(bootstrap)),
      options_(std::move(options)),
      emit_(std::move(emit)),
      transport_(std::move(transport)),
      disk_timer_(
          loop.timers(),
          [](void* self) {
            auto* m = static_cast<ConfigManager*>(self);
            if (m->source_ == ConfigSourceKind::kNone) m->LoadFromDisk("no answer yet");
          },
          this),
      clusters_timer_(
          loop.timers(),
          [](void* self) {
            auto* m = static_cast<ConfigManager*>(self);
            if (!m->clusters_seen_) LogWarning("config: no clusters within initial_fetch_timeout, going on without");
            m->clusters_seen_ = true;
            m->MaybeSubscribeListeners();
            m->NotifyReady();
          },
          this),
      listeners_timer_(
          loop.timers(),
          [](void* self) {
            auto* m = static_cast<ConfigManager*>(self);
            if (!m->listeners_seen_) LogWarning("config: no listeners within initial_fetch_timeout, going on without");
            m->listeners_seen_ = true;
            m->NotifyReady();
          },
          this),
      save_timer_(loop.timers(), [](void* self) { static_cast<ConfigManager*>(self)->Save(); }, this),
      self_(std::make_shared<ConfigManager*>(this)) {
  options_.env.upstream_bind = bootstrap_->upstream_bind;
  MakeClient();
}

ConfigManager::~ConfigManager() { *self_ = nullptr; }

void ConfigManager::MakeClient() {
  if (!bootstrap_->xds) return;
  const XdsSettings& xds = *bootstrap_->xds;
  if (transport_ == nullptr) transport_ = std::make_unique<GrpcXdsTransport>(loop_, slab_, xds.servers);
  XdsOptions o;
  o.delta = xds.delta;
  o.node = bootstrap_->node;
  o.backoff_min = options_.backoff_min;
  o.backoff_max = options_.backoff_max;
  client_ = std::make_unique<XdsClient>(loop_, *transport_, std::move(o), static_cast<XdsClient::Watcher*>(this));
  // The order in which a stream asks for them: make before break.
  client_->AddType(api::kClusterType, true);
  client_->AddType(api::kEndpointType, false);
  client_->AddType(api::kListenerType, true);
  client_->AddType(api::kRouteType, false);
}

void ConfigManager::Start() {
  StartStatic();
  if (client_ == nullptr) return;
  const XdsSettings& xds = *bootstrap_->xds;
  if (xds.clusters) {
    client_->SubscribeAll(api::kClusterType);
    if (xds.clusters_timeout > 0) clusters_timer_.Arm(xds.clusters_timeout);
  }
  MaybeSubscribeListeners();
  client_->Start();
  if (!options_.state_dir.empty()) disk_timer_.Arm(options_.disk_after);
}

void ConfigManager::StartStatic() {
  Change change;
  int64_t now = WallMicros();
  for (StaticCluster& s : bootstrap_->clusters) {
    const std::string name = s.compiled.spec->name;
    Cluster& c = clusters_[name];
    c.is_static = true;
    Form form{std::move(s.wire), "", now};
    if (!s.compiled.eds_name.empty()) {
      Use(endpoints_, api::kEndpointType, s.compiled.eds_name, name, s.compiled.eds_timeout);
      c.warming.reset(new Cluster::Next{std::move(form), std::move(s.compiled)});
    } else {
      ActivateCluster(name, c, std::move(form), std::move(s.compiled), change);
    }
  }
  for (StaticListener& s : bootstrap_->listeners) {
    const std::string name = s.compiled.spec->name;
    Listener& l = listeners_[name];
    l.is_static = true;
    Form form{std::move(s.wire), "", now};
    if (!s.compiled.rds.empty()) {
      for (const auto& [rds, timeout] : s.compiled.rds) Use(routes_, api::kRouteType, rds, name, timeout);
      l.warming.reset(new Listener::Next{std::move(form), std::move(s.compiled)});
    } else {
      ActivateListener(name, l, std::move(form), std::move(s.compiled), change);
    }
  }
  bootstrap_->clusters.clear();
  bootstrap_->clusters.shrink_to_fit();
  bootstrap_->listeners.clear();
  bootstrap_->listeners.shrink_to_fit();
  Send(std::move(change), [this](Refusals refused) {
    static_done_ = true;
    ReturnMemoryAfter(bootstrap_->wire.size());
    std::vector<std::pair<std::string, std::string>> failed;
    for (XdsRefusal& r : refused) failed.emplace_back(r.name, r.reason);
    bool all = failed.empty();
    if (static_applied_) static_applied_(std::move(failed));
    if (all) NotifyReady();  // else the process is about to end
  });
}

// Listeners come after clusters and their endpoints, so that no request meets a listener whose clusters are on their way.
void ConfigManager::MaybeSubscribeListeners() {
  if (client_ == nullptr || listeners_asked_ || !bootstrap_->xds->listeners) return;
  if (bootstrap_->xds->clusters && (!clusters_seen_ || WarmingClusters() > 0)) return;
  listeners_asked_ = true;
  client_->SubscribeAll(api::kListenerType);
  if (bootstrap_->xds->listeners_timeout > 0) listeners_timer_.Arm(bootstrap_->xds->listeners_timeout);
}

// ---- what a server sends ----

void ConfigManager::OnXdsUpdate(XdsUpdate update, XdsClient::Done done) {
  if (update.from_server && source_ != ConfigSourceKind::kController) {
    LogInfo(StrCat("config source: controller ", transport_->server(),
                   source_ == ConfigSourceKind::kDisk ? ", replaces what came from disk" : ""));
    source_ = ConfigSourceKind::kController;
    disk_timer_.Cancel();
  }
  Change change;
  Refusals refused;
  size_t wire_bytes = 0;
  for (const XdsUpdate::Resource& r : update.resources) wire_bytes += r.value.size();
  int index = IndexOf(update.type_url);
  switch (index) {
    case kClusters:
      OnClusters(update, change, &refused);
      break;
    case kEndpoints:
      OnEndpoints(update, change, &refused);
      break;
    case kListeners:
      OnListeners(update, change, &refused);
      break;
    case kRoutes:
      OnRoutes(update, change, &refused);
      break;
    default:
      break;
  }
  XdsUpdate head;  // without the resources, which may be large
  head.type_url = update.type_url;
  head.from_server = update.from_server;
  for (const XdsUpdate::Resource& r : update.resources) head.resources.push_back({r.name, r.version, ""});
  head.removed = std::move(update.removed);
  Send(std::move(change), [this, index, wire_bytes, head = std::move(head), refused = std::move(refused),
                           done = std::move(done)](Refusals unbound) mutable {
    for (XdsRefusal& r : unbound) {
      // A listener that became possible by its routes was acknowledged before: nobody is asking any more.
      if (index == kListeners) {
        refused.push_back(std::move(r));
      } else {
        refused_[kListeners][r.name] = {r.version, r.reason};
      }
    }
    Finish(head, std::move(refused), std::move(done));
    ReturnMemoryAfter(wire_bytes);
  });
}

void ConfigManager::Finish(const XdsUpdate& update, Refusals all, XdsClient::Done done) {
  int index = IndexOf(update.type_url);
  for (const XdsUpdate::Resource& r : update.resources) refused_[index].erase(r.name);
  for (const std::string& name : update.removed) refused_[index].erase(name);
  for (const XdsRefusal& r : all) refused_[index][r.name] = {r.version, r.reason};
  if (update.from_server) {
    ++counts_[index].updates;
    counts_[index].refused_updates += !all.empty();
    if (index == kClusters) clusters_answered_ = clusters_seen_ = true;
    if (index == kListeners) listeners_answered_ = listeners_seen_ = true;
    MarkDirty();
  }
  done(std::move(all));
  MaybeSubscribeListeners();
  NotifyReady();
}

void ConfigManager::OnClusters(XdsUpdate& update, Change& change, Refusals* refused) {
  for (XdsUpdate::Resource& r : update.resources) {
    std::string why = PutCluster(r, change);
    if (!why.empty()) refused->push_back({r.name, r.version, std::move(why)});
  }
  for (const std::string& name : update.removed) {
    auto it = clusters_.find(name);
    if (it == clusters_.end() || it->second.is_static) continue;
    if (it->second.active) change.update->removed_clusters.push_back(name);
    std::string eds = it->second.eds_name;
    std::string next = it->second.warming ? it->second.warming->compiled.eds_name : "";
    clusters_.erase(it);
    Unuse(endpoints_, api::kEndpointType, eds, name, change);
    Unuse(endpoints_, api::kEndpointType, next, name, change);
  }
}

// Empty when it was taken, else why not.
std::string ConfigManager::PutCluster(XdsUpdate::Resource& r, Change& change) {
  auto it = clusters_.find(r.name);
  if (it != clusters_.end()) {
    Cluster& c = it->second;
    if (c.is_static) return "is the name of a cluster of the bootstrap file";
    Form* newest = c.warming ? &c.warming->form : &c.form;
    if (newest->wire == r.value) {
      newest->version = r.version;
      return "";
    }
  }
  envoy::config::cluster::v3::Cluster proto;
  if (!proto.ParseFromString(r.value)) return "malformed bytes: not an envoy.config.cluster.v3.Cluster";
  if (proto.name() != r.name) return StrCat("name: is \"", proto.name(), "\" inside the resource");
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  auto compiled = CompileCluster(proto, "", options_.env, &errors);
  if (!compiled) return Summary(found);
  LogWarnings("cluster", r.name, found);

  Cluster& c = clusters_[r.name];
  Form form{std::move(r.value), r.version, WallMicros()};
  std::string old_warming = c.warming ? c.warming->compiled.eds_name : "";
  const std::string eds = compiled->eds_name;
  if (!eds.empty()) Use(endpoints_, api::kEndpointType, eds, r.name, compiled->eds_timeout);
  if (eds.empty() || endpoints_.find(eds)->second.known) {
    ActivateCluster(r.name, c, std::move(form), *std::move(compiled), change);
  } else {
    c.warming.reset(new Cluster::Next{std::move(form), *std::move(compiled)});
  }
  if (old_warming != eds && old_warming != c.eds_name) {
    Unuse(endpoints_, api::kEndpointType, old_warming, r.name, change);
  }
  return "";
}

void ConfigManager::ActivateCluster(const std::string& name, Cluster& c, Form form, CompiledCluster compiled,
                                    Change& change) {
  if (c.spec != nullptr) compiled.spec->usage = c.spec->usage;  // what is in use counts on
  std::string old_eds = std::move(c.eds_name);
  c.form = std::move(form);
  c.spec = compiled.spec;
  c.policy = compiled.policy;
  c.eds_name = compiled.eds_name;
  c.active = true;
  c.warming.reset();
  Update::ClusterPut put;
  c.endpoints = c.eds_name.empty() ? compiled.endpoints : EndpointsFor(endpoints_.find(c.eds_name)->second, c.policy);
  put.spec = c.spec;
  put.endpoints = c.endpoints;
  change.update->clusters.push_back(std::move(put));
  if (old_eds != c.eds_name) Unuse(endpoints_, api::kEndpointType, old_eds, name, change);
}

std::string ConfigManager::ReadEndpoints(const std::string& name, const std::string& wire, const EndpointPolicy& policy,
                                         std::shared_ptr<const upstream::EndpointSet>* out) const {
  envoy::config::endpoint::v3::ClusterLoadAssignment proto;
  if (!proto.ParseFromString(wire)) return "malformed bytes: not an envoy.config.endpoint.v3.ClusterLoadAssignment";
  if (proto.cluster_name() != name) return StrCat("cluster_name: is \"", proto.cluster_name(), "\" inside the resource");
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  *out = CompileEndpoints(proto, policy, "", options_.env, &errors);
  if (*out == nullptr) return Summary(found);
  LogWarnings("endpoints", name, found);
  return "";
}

// The set that a cluster with this policy uses; an empty one when it is known that there is none.
std::shared_ptr<const upstream::EndpointSet> ConfigManager::EndpointsFor(const Shared& shared,
                                                                         const EndpointPolicy& policy) const {
  std::shared_ptr<const upstream::EndpointSet> out;
  if (!shared.form.wire.empty()) {
    envoy::config::endpoint::v3::ClusterLoadAssignment proto;
    proto.ParseFromString(shared.form.wire);
    std::vector<api::SourceError> found;
    decide::Errors errors(&found);
    out = CompileEndpoints(proto, policy, "", options_.env, &errors);
  }
  return out != nullptr ? out : std::make_shared<const upstream::EndpointSet>();
}

void ConfigManager::OnEndpoints(XdsUpdate& update, Change& change, Refusals* refused) {
  for (XdsUpdate::Resource& r : update.resources) {
    auto it = endpoints_.find(r.name);
    if (it == endpoints_.end()) continue;  // nobody uses it any more
    Shared& shared = it->second;
    if (shared.known && !shared.form.wire.empty() && shared.form.wire == r.value) {
      shared.form.version = r.version;
      continue;
    }
    std::shared_ptr<const upstream::EndpointSet> checked;
    std::string why = ReadEndpoints(r.name, r.value, EndpointPolicy(), &checked);
    if (!why.empty()) {
      refused->push_back({r.name, r.version, std::move(why)});
      continue;
    }
    shared.form = {std::move(r.value), r.version, WallMicros()};
    shared.known = true;
    EndpointsArrived(r.name, shared, change);
  }
  for (const std::string& name : update.removed) {
    auto it = endpoints_.find(name);
    if (it == endpoints_.end() || it->second.known) continue;  // what was there stays until its cluster goes, as in Envoy
    it->second.known = true;
    EndpointsArrived(name, it->second, change);
  }
}

void ConfigManager::EndpointsArrived(const std::string& eds_name, Shared& shared, Change& change) {
  const std::set<std::string> users = shared.users;  // which activation may change
  for (const std::string& user : users) {
    auto it = clusters_.find(user);
    if (it == clusters_.end()) continue;
    Cluster& c = it->second;
    if (c.warming && c.warming->compiled.eds_name == eds_name) {
      std::unique_ptr<Cluster::Next> next = std::move(c.warming);
      ActivateCluster(user, c, std::move(next->form), std::move(next->compiled), change);
    } else if (c.active && c.eds_name == eds_name) {
      c.endpoints = EndpointsFor(shared, c.policy);
      change.update->endpoints.push_back({user, c.endpoints});
    }
  }
}

void ConfigManager::OnListeners(XdsUpdate& update, Change& change, Refusals* refused) {
  for (XdsUpdate::Resource& r : update.resources) {
    std::string why = PutListener(r, change);
    if (!why.empty()) refused->push_back({r.name, r.version, std::move(why)});
  }
  for (const std::string& name : update.removed) {
    auto it = listeners_.find(name);
    if (it == listeners_.end() || it->second.is_static) continue;
    if (it->second.active) change.update->removed_listeners.push_back(name);
    std::set<std::string> rds = std::move(it->second.rds);
    if (it->second.warming) {
      for (const auto& [next, timeout] : it->second.warming->compiled.rds) rds.insert(next);
    }
    listeners_.erase(it);
    UnuseRoutes(name, rds, nullptr, change);
  }
}

std::string ConfigManager::PutListener(XdsUpdate::Resource& r, Change& change) {
  auto it = listeners_.find(r.name);
  if (it != listeners_.end()) {
    Listener& l = it->second;
    if (l.is_static) return "is the name of a listener of the bootstrap file";
    Form* newest = l.warming ? &l.warming->form : &l.form;
    if (newest->wire == r.value) {
      newest->version = r.version;
      return "";
    }
  }
  envoy::config::listener::v3::Listener proto;
  if (!proto.ParseFromString(r.value)) return "malformed bytes: not an envoy.config.listener.v3.Listener";
  if (proto.name() != r.name) return StrCat("name: is \"", proto.name(), "\" inside the resource");
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  auto compiled = CompileListener(proto, "", options_.env, &errors);
  if (!compiled) return Summary(found);
  LogWarnings("listener", r.name, found);

  Listener& l = listeners_[r.name];
  Form form{std::move(r.value), r.version, WallMicros()};
  std::set<std::string> old_warming;
  if (l.warming) {
    for (const auto& [rds, timeout] : l.warming->compiled.rds) old_warming.insert(rds);
  }
  for (const auto& [rds, timeout] : compiled->rds) Use(routes_, api::kRouteType, rds, r.name, timeout);
  if (RoutesKnown(*compiled)) {
    ActivateListener(r.name, l, std::move(form), *std::move(compiled), change);
  } else {
    l.warming.reset(new Listener::Next{std::move(form), *std::move(compiled)});
  }
  UnuseRoutes(r.name, old_warming, &l, change);
  return "";
}

// Every route configuration that it uses arrived, or is known not to exist.
bool ConfigManager::RoutesKnown(const CompiledListener& compiled) const {
  return std::all_of(compiled.rds.begin(), compiled.rds.end(), [&](const auto& rds) {
    auto it = routes_.find(rds.first);
    return it != routes_.end() && it->second.known;
  });
}

// `keep`: what this form of the listener uses, or will, stays.
void ConfigManager::UnuseRoutes(const std::string& listener, const std::set<std::string>& names, const Listener* keep,
                                Change& change) {
  for (const std::string& name : names) {
    if (keep != nullptr && (keep->rds.contains(name) || (keep->warming && keep->warming->compiled.rds.contains(name)))) {
      continue;
    }
    Unuse(routes_, api::kRouteType, name, listener, change);
  }
}

void ConfigManager::ActivateListener(const std::string& name, Listener& l, Form form, CompiledListener compiled,
                                     Change& change) {
  std::unique_ptr<Listener> previous;
  if (l.active) {
    previous = std::make_unique<Listener>();
    previous->is_static = l.is_static;
    previous->active = true;
    previous->form = std::move(l.form);
    previous->spec = std::move(l.spec);
    previous->rds = l.rds;
  }
  std::set<std::string> old_rds = std::move(l.rds);
  l.rds.clear();
  l.form = std::move(form);
  l.spec = compiled.spec;
  for (const auto& [rds, timeout] : compiled.rds) l.rds.insert(rds);
  l.active = true;
  l.warming.reset();
  change.update->listeners.push_back(l.spec);
  change.replaced.emplace_back(name, std::move(previous));
  UnuseRoutes(name, old_rds, &l, change);
}

std::string ConfigManager::ReadRoutes(const std::string& name, const std::string& wire,
                                      std::shared_ptr<const decide::RouteTable>* out) const {
  envoy::config::route::v3::RouteConfiguration proto;
  if (!proto.ParseFromString(wire)) return "malformed bytes: not an envoy.config.route.v3.RouteConfiguration";
  if (proto.name() != name) return StrCat("name: is \"", proto.name(), "\" inside the resource");
  std::vector<api::SourceError> found;
  decide::Errors errors(&found);
  *out = CompileRoutes(proto, "", false, options_.env, &errors);
  if (*out == nullptr) return Summary(found);
  LogWarnings("routes", name, found);
  return "";
}

void ConfigManager::OnRoutes(XdsUpdate& update, Change& change, Refusals* refused) {
  for (XdsUpdate::Resource& r : update.resources) {
    auto it = routes_.find(r.name);
    if (it == routes_.end()) continue;
    Shared& shared = it->second;
    if (shared.known && !shared.form.wire.empty() && shared.form.wire == r.value) {
      shared.form.version = r.version;
      continue;
    }
    std::shared_ptr<const decide::RouteTable> table;
    std::string why = ReadRoutes(r.name, r.value, &table);
    if (!why.empty()) {
      refused->push_back({r.name, r.version, std::move(why)});
      continue;
    }
    shared.form = {std::move(r.value), r.version, WallMicros()};
    shared.known = true;
    change.update->routes.push_back({r.name, std::move(table)});
    RoutesArrived(r.name, shared, change);
  }
  for (const std::string& name : update.removed) {
    auto it = routes_.find(name);
    if (it == routes_.end() || it->second.known) continue;
    it->second.known = true;
    RoutesArrived(name, it->second, change);
  }
}

void ConfigManager::RoutesArrived(const std::string& name, Shared& shared, Change& change) {
  const std::set<std::string> users = shared.users;
  for (const std::string& user : users) {
    auto it = listeners_.find(user);
    if (it == listeners_.end() || !it->second.warming || !RoutesKnown(it->second.warming->compiled)) continue;
    std::unique_ptr<Listener::Next> next = std::move(it->second.warming);
    ActivateListener(user, it->second, std::move(next->form), std::move(next->compiled), change);
  }
}

// ---- who needs what ----

void ConfigManager::Use(ByName<Shared>& map, std::string_view type, const std::string& name, const std::string& user,
                        MonoNanos timeout) {
  Shared& shared = map[name];
  if (shared.users.empty() && client_ != nullptr) client_->Subscribe(type, name, timeout);
  shared.users.insert(user);
}

void ConfigManager::Unuse(ByName<Shared>& map, std::string_view type, const std::string& name, const std::string& user,
                          Change& change) {
  auto it = map.find(name);
  if (name.empty() || it == map.end()) return;
  it->second.users.erase(user);
  if (!it->second.users.empty()) return;
  bool had = !it->second.form.wire.empty();
  map.erase(it);
  refused_[IndexOf(type)].erase(name);
  if (client_ != nullptr) client_->Unsubscribe(type, name);
  if (had && type == api::kRouteType) change.update->removed_routes.push_back(name);
}

// ---- towards the workers ----

// `done` hears of the listeners of this change that could not be bound.
void ConfigManager::Send(Change change, std::function<void(Refusals)> done) {
  // A route table that nobody uses any more may have been put by the same change.
  auto& removed = change.update->removed_routes;
  std::erase_if(removed, [&](const std::string& n) { return routes_.contains(n); });
  std::erase_if(change.update->routes, [&](const Update::RoutesPut& p) { return !routes_.contains(p.name); });
  if (change.update->empty()) {
    done({});
    return;
  }
  std::shared_ptr<const Update> update = change.update;
  auto held = std::make_shared<Change>(std::move(change));
  emit_(update, [this, self = self_, held, done = std::move(done)](
                    std::vector<std::pair<std::string, std::string>> refused) mutable {
    if (*self == nullptr) return;
    Refusals out;
    for (auto& [name, reason] : refused) {
      for (size_t i = 0; i < held->replaced.size(); ++i) {
        if (held->replaced[i].first != name) continue;
        std::string version;
        auto it = listeners_.find(name);
        if (it != listeners_.end() && it->second.spec == held->update->listeners[i]) version = it->second.form.version;
        LogError(StrCat("config: listener ", name, ": ", reason));
        Revert(name, version, std::move(held->replaced[i].second), reason);
        out.push_back({name, version, StrCat("address: ", reason)});
        break;
      }
    }
    done(std::move(out));
  });
}

// The address can't be had: what was there before is still in effect.
void ConfigManager::Revert(const std::string& name, const std::string& version, std::unique_ptr<Listener> previous,
                           const std::string& reason) {
  auto it = listeners_.find(name);
  if (it == listeners_.end()) return;
  Listener& l = it->second;
  if (l.form.version != version) return;  // a newer form was put meanwhile, and has its own result
  Change change;
  const std::set<std::string> rds = l.rds;
  if (previous != nullptr) {
    for (const std::string& r : previous->rds) Use(routes_, api::kRouteType, r, name, 0);
    std::unique_ptr<Listener::Next> warming = std::move(l.warming);
    l = std::move(*previous);
    l.warming = std::move(warming);
  } else if (l.warming) {
    l.active = false;
    l.form = Form();
    l.spec = nullptr;
    l.rds.clear();
  } else {
    bool is_static = l.is_static;
    listeners_.erase(it);
    if (is_static) refused_[kListeners][name] = {"", reason};
    UnuseRoutes(name, rds, nullptr, change);
    Send(std::move(change), [](Refusals) {});
    return;
  }
  UnuseRoutes(name, rds, &l, change);
  Send(std::move(change), [](Refusals) {});
}

// ---- the connection ----

void ConfigManager::OnXdsConnection(bool connected, const std::string& detail) {
  if (connected) {
    LogInfo(StrCat("xds: connected to ", detail));
    logged_error_.clear();
    return;
  }
  for (auto& r : refused_) r.clear();  // the next stream brings them again
  if (detail != logged_error_) {       // not once a try
    LogWarning(StrCat("xds: ", detail, "; trying again"));
    logged_error_ = detail;
  }
  if (source_ == ConfigSourceKind::kNone) LoadFromDisk(detail);
}

// ---- state ----

size_t ConfigManager::WarmingClusters() const {
  return static_cast<size_t>(
      std::count_if(clusters_.begin(), clusters_.end(), [](const auto& c) { return c.second.warming != nullptr; }));
}

size_t ConfigManager::WarmingListeners() const {
  return static_cast<size_t>(
      std::count_if(listeners_.begin(), listeners_.end(), [](const auto& l) { return l.second.warming != nullptr; }));
}

std::string ConfigManager::WaitingFor() const {
  if (was_ready_) return "";
  if (!static_done_) return "static resources";
  auto controller = [&](std::string_view what) {
    std::string out = StrCat(what, " from ", transport_->server());
    if (!client_->status().last_error.empty()) StrAppend(&out, " (", client_->status().last_error, ")");
    return out;
  };
  if (bootstrap_->xds && bootstrap_->xds->clusters && !clusters_seen_) return controller("clusters");
  for (const auto& [name, c] : clusters_) {
    if (c.warming) return StrCat("endpoints ", c.warming->compiled.eds_name, " of cluster ", name);
  }
  if (bootstrap_->xds && bootstrap_->xds->listeners && !listeners_seen_) return controller("listeners");
  for (const auto& [name, l] : listeners_) {
    if (!l.warming) continue;
    for (const auto& [rds, timeout] : l.warming->compiled.rds) {
      auto it = routes_.find(rds);
      if (it == routes_.end() || !it->second.known) return StrCat("routes ", rds, " of listener ", name);
    }
  }
  return "";
}

void ConfigManager::NotifyReady() {
  if (was_ready_ || !WaitingFor().empty()) return;
  was_ready_ = true;
  if (ready_change_) ready_change_();
}

void ConfigManager::ForEachCluster(
    const std::function<void(const std::shared_ptr<const upstream::ClusterSpec>&,
                             const std::shared_ptr<const upstream::EndpointSet>&, bool is_static)>& f) const {
  for (const auto& [name, c] : clusters_) {
    if (c.active) f(c.spec, c.endpoints, c.is_static);
  }
}

ConfigStatus ConfigManager::status() const {
  ConfigStatus s;
  s.source = source_;
  s.disk_saved_micros = source_ == ConfigSourceKind::kDisk ? disk_saved_ : 0;
  s.has_xds = client_ != nullptr;
  if (client_ != nullptr) s.xds = client_->status();
  s.clusters = clusters_.size();
  s.listeners = listeners_.size();
  s.routes = routes_.size();
  s.endpoints = endpoints_.size();
  s.warming_clusters = WarmingClusters();
  s.warming_listeners = WarmingListeners();
  std::copy(std::begin(counts_), std::end(counts_), std::begin(s.counts));
  s.save_error = save_error_;
  return s;
}

void ConfigManager::ForEach(std::string_view type_url, const std::function<void(const ResourceView&)>& f) const {
  int index = IndexOf(type_url);
  if (index < 0) return;
  const ByName<Refused>& refused = refused_[index];
  auto view = [&](const std::string& name, const Form& form, const Form* warming, bool is_static) {
    ResourceView v;
    v.name = name;
    v.version = form.version;
    v.wire = form.wire;
    v.updated_micros = form.updated;
    v.is_static = is_static;
    if (warming != nullptr) {
      v.warming_version = warming->version;
      v.warming_wire = warming->wire;
    }
    if (auto it = refused.find(name); it != refused.end()) {
      v.refused_version = it->second.version;
      v.refused_reason = it->second.reason;
    }
    f(v);
  };
  auto known = [&](const std::string& name) {
    switch (index) {
      case kClusters: return clusters_.contains(name);
      case kEndpoints: return endpoints_.contains(name);
      case kListeners: return listeners_.contains(name);
      default: return routes_.contains(name);
    }
  };
  if (index == kClusters) {
    for (const auto& [name, c] : clusters_) view(name, c.form, c.warming ? &c.warming->form : nullptr, c.is_static);
  } else if (index == kListeners) {
    for (const auto& [name, l] : listeners_) view(name, l.form, l.warming ? &l.warming->form : nullptr, l.is_static);
  } else {
    for (const auto& [name, s] : index == kEndpoints ? endpoints_ : routes_) view(name, s.form, nullptr, false);
  }
  // Those that were never good.
  for (const auto& [name, r] : refused) {
    if (!known(name)) view(name, Form(), nullptr, false);
  }
}

}  // namespace weft::config
