#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/config/bootstrap.h"
#include "dataplane/config/last_good.h"
#include "dataplane/config/update.h"
#include "dataplane/config/xds_client.h"

namespace weft::config {

// Where the dynamic part of the configuration in effect comes from.
enum class ConfigSourceKind : uint8_t { kNone, kDisk, kController };

struct ManagerOptions {
  CompileEnv env;
  std::string state_dir;  // empty: nothing is kept on disk
  // How long the controller may take at start before the last good configuration is taken from disk; a refused
  // connection does not wait for it.
  MonoNanos disk_after = 500 * kMillisecond;
  // Changes are written so long after the last of them, and at latest ten times that after the first.
  MonoNanos save_delay = 1 * kSecond;
  MonoNanos backoff_min = 100 * kMillisecond, backoff_max = 5 * kSecond;
};

// One resource as `/config_dump` shows it. Views are good until the manager changes.
struct ResourceView {
  std::string_view name, version, wire;  // wire form in effect; empty when there is none
  int64_t updated_micros = 0;
  bool is_static = false;
  // A newer form that waits for its endpoints or routes.
  std::string_view warming_version, warming_wire;
  // The last refusal, when nothing newer was taken.
  std::string_view refused_version, refused_reason;
};

struct ConfigStatus {
  ConfigSourceKind source = ConfigSourceKind::kNone;
  int64_t disk_saved_micros = 0;  // kDisk: wall time at which it was written
  bool has_xds = false;
  XdsClient::Status xds;
  size_t clusters = 0, listeners = 0, routes = 0, endpoints = 0;
  size_t warming_clusters = 0, warming_listeners = 0;
  // Per type, in the order cluster, endpoint, listener, route.
  struct Counts {
    uint64_t updates = 0, refused_updates = 0;
  } counts[4];
  std::string save_error;  // why the last write to disk failed; empty: it did not
};

// Everything that the process is told to do: static resources of the bootstrap, then dynamic ones from a management
// server (or, when none answers at start, the last good ones from disk). Compiles resources, holds their wire form, and
// emits what changes on the workers. A resource that can't be used is refused alone and its last good form stays.
//
// Clusters wait for their endpoints and listeners for their routes, at most initial_fetch_timeout; what they replace
// stays in effect meanwhile. A response is acknowledged when what could go at once is in effect on all workers: it does
// not wait for warming, since servers send endpoints only after clusters were acknowledged.
// Owner: app. Thread: main. Destroyed when: the process ends, after the workers.
class ConfigManager final : private XdsClient::Watcher {
 public:
  // Listeners whose address can't be had, with the reason.
  using Applied = std::function<void(std::vector<std::pair<std::string, std::string>> refused_listeners)>;
  // Applies an update on all workers, then calls the second argument on the main thread. Updates are emitted in order,
  // and several may be under way.
  using Emit = std::function<void(std::shared_ptr<const Update>, Applied)>;

  // `transport` null: gRPC to the servers of the bootstrap.
  ConfigManager(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<Bootstrap> bootstrap, ManagerOptions options,
                Emit emit, std::unique_ptr<XdsTransport> transport = nullptr);
  ~ConfigManager();

  // Emits static resources and begins discovery.
  void Start();
  // `done` once static listeners were tried, with those that could not be bound.
  void OnStaticApplied(Applied done) { static_applied_ = std::move(done); }

  // Whether the process may say that it is ready: static resources are in effect, and dynamic ones arrived, came from
  // disk, or did not come in time; nothing waits for endpoints or routes.
  bool ready() const { return WaitingFor().empty(); }
  // What ready() waits for, for people; empty when ready.
  std::string WaitingFor() const;
  // Called whenever ready() may have become true.
  void OnReadyChange(std::function<void()> f) { ready_change_ = std::move(f); }

  // By type URL (cluster, endpoint, listener, route), by name.
  void ForEach(std::string_view type_url, const std::function<void(const ResourceView&)>& f) const;
  // Clusters in effect, with the endpoints that their specification is used with (never null).
  void ForEachCluster(const std::function<void(const std::shared_ptr<const upstream::ClusterSpec>&,
                                               const std::shared_ptr<const upstream::EndpointSet>&, bool is_static)>& f)
      const;
  ConfigStatus status() const;
  const Bootstrap& bootstrap() const { return *bootstrap_; }

  // Writes now what waits to be written; for an orderly end.
  void SaveNow();

 private:
  struct Form {  // one version of a resource
    std::string wire, version;
    int64_t updated = 0;
  };
  struct Cluster {
    bool is_static = false;
    bool active = false;  // workers have it
    Form form;
    std::shared_ptr<const upstream::ClusterSpec> spec;
    std::shared_ptr<const upstream::EndpointSet> endpoints;  // shared with the workers
    EndpointPolicy policy;
    std::string eds_name;
    struct Next {
      Form form;
      CompiledCluster compiled;
    };
    std::unique_ptr<Next> warming;
  };
  struct Listener {
    bool is_static = false;
    bool active = false;
    Form form;
    std::shared_ptr<const ListenerSpec> spec;
    std::set<std::string> rds;  // route configurations that its chains use
    std::string bind_error;
    struct Next {
      Form form;
      CompiledListener compiled;
    };
    std::unique_ptr<Next> warming;
  };
  template <typename V>
  using ByName = std::map<std::string, V, std::less<>>;  // references stay good, and dumps are sorted
  // Endpoints or routes: resources that others wait for.
  struct Shared {
    Form form;
    bool known = false;  // arrived, or is known not to exist
    std::set<std::string> users;
  };
  struct Refused {
    std::string version, reason;
  };
  // An update being put together, with what belongs to it.
  struct Change {
    std::shared_ptr<Update> update = std::make_shared<Update>();
    // Listeners put, with what they replaced, in case that the address can't be had.
    std::vector<std::pair<std::string, std::unique_ptr<Listener>>> replaced;
  };
  using Refusals = std::vector<XdsRefusal>;

  void OnXdsUpdate(XdsUpdate update, XdsClient::Done done) override;
  void OnXdsConnection(bool connected, const std::string& detail) override;

  void MakeClient();
  void StartStatic();
  void OnClusters(XdsUpdate& update, Change& change, Refusals* refused);
  void OnEndpoints(XdsUpdate& update, Change& change, Refusals* refused);
  void OnListeners(XdsUpdate& update, Change& change, Refusals* refused);
  void OnRoutes(XdsUpdate& update, Change& change, Refusals* refused);
  std::string PutCluster(XdsUpdate::Resource& r, Change& change);
  std::string PutListener(XdsUpdate::Resource& r, Change& change);
  void ActivateCluster(const std::string& name, Cluster& c, Form form, CompiledCluster compiled, Change& change);
  void ActivateListener(const std::string& name, Listener& l, Form form, CompiledListener compiled, Change& change);
  void EndpointsArrived(const std::string& eds_name, Shared& shared, Change& change);
  void RoutesArrived(const std::string& name, Shared& shared, Change& change);
  bool RoutesKnown(const CompiledListener& compiled) const;
  void UnuseRoutes(const std::string& listener, const std::set<std::string>& names, const Listener* keep,
                   Change& change);
  void Finish(const XdsUpdate& update, Refusals all, XdsClient::Done done);
  std::shared_ptr<const upstream::EndpointSet> EndpointsFor(const Shared& shared, const EndpointPolicy& policy) const;
  std::string ReadRoutes(const std::string& name, const std::string& wire,
                         std::shared_ptr<const decide::RouteTable>* out) const;
  std::string ReadEndpoints(const std::string& name, const std::string& wire, const EndpointPolicy& policy,
                            std::shared_ptr<const upstream::EndpointSet>* out) const;
  void Use(ByName<Shared>& map, std::string_view type, const std::string& name, const std::string& user,
           MonoNanos timeout);
  void Unuse(ByName<Shared>& map, std::string_view type, const std::string& name, const std::string& user,
             Change& change);
  void Send(Change change, std::function<void(Refusals)> done);
  void Revert(const std::string& name, const std::string& version, std::unique_ptr<Listener> previous,
              const std::string& reason);
  void MaybeSubscribeListeners();
  void LoadFromDisk(std::string_view why);
  void TakeFromDisk(LastGood& state);
  void MarkDirty();
  void Save();
  void NotifyReady();
  size_t WarmingClusters() const;
  size_t WarmingListeners() const;

  event::Loop& loop_;
  buffer::Slab& slab_;
  std::unique_ptr<Bootstrap> bootstrap_;
  ManagerOptions options_;
  Emit emit_;
  std::unique_ptr<XdsTransport> transport_;
  std::unique_ptr<XdsClient> client_;
  Applied static_applied_;
  std::function<void()> ready_change_;

  ByName<Cluster> clusters_;
  ByName<Listener> listeners_;
  ByName<Shared> endpoints_, routes_;
  ByName<Refused> refused_[4];  // by type as in ConfigStatus::counts

  ConfigSourceKind source_ = ConfigSourceKind::kNone;
  int64_t disk_saved_ = 0;
  ConfigStatus::Counts counts_[4];
  bool static_done_ = false, was_ready_ = false, disk_tried_ = false;
  // Arrived from a server; or, "seen", also from disk, or given up after the time for it.
  bool clusters_answered_ = false, clusters_seen_ = false;
  bool listeners_answered_ = false, listeners_seen_ = false, listeners_asked_ = false;
  std::string logged_error_;
  event::Timer disk_timer_, clusters_timer_, listeners_timer_;
  event::Timer save_timer_;
  MonoNanos dirty_since_ = 0;
  std::string save_error_;
  std::shared_ptr<ConfigManager*> self_;  // null inside once destroyed
};

}  // namespace weft::config
