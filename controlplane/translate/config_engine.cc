#include "controlplane/translate/config_engine.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "controlplane/ingest/object_store.h"
#include "controlplane/translate/mesh_graph.h"
#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::ctl {
namespace {

// New resources come in bursts, when proxies connect: one state for all of them.
constexpr std::chrono::milliseconds kPrecomputeDelay{10};

}  // namespace

// Shared with the states, which compute through it what they do not have.
class ConfigEngine::Core : public ResourceComputer, public std::enable_shared_from_this<Core> {
 public:
  explicit Core(MeshOptions mesh) : store_(mesh.domain_suffix), graph_(std::move(mesh)) {}

  // --- Owner
  void MakeFirstState() {
    auto first = std::make_shared<ConfigState>();
    first->computer_ = shared_from_this();
    state_ = std::move(first);
  }
  // States hold the core; the core must not hold one for ever.
  void DropState() {
    std::lock_guard lock(state_mutex_);
    state_ = nullptr;
  }
  void AddSource(std::unique_ptr<Source> source) { sources_.push_back(std::move(source)); }
  void OnNewState(StateListener listener) { listener_ = std::move(listener); }

  void Start(SourceSink* sink) {
    for (uint32_t i = 0; i < sources_.size(); ++i) unsynced_.insert(i);
    thread_ = std::thread([this] { Run(); });
    for (uint32_t i = 0; i < sources_.size(); ++i) sources_[i]->Start(i, sink);
  }

  void Stop() {
    for (auto& source : sources_) source->Stop();
    {
      std::lock_guard lock(queue_mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  // --- Any thread
  void OnEvents(std::vector<SourceEvent> events) {
    {
      std::lock_guard lock(queue_mutex_);
      std::move(events.begin(), events.end(), std::back_inserter(queue_));
    }
    wake_.notify_all();
  }

  StatePtr state() const {
    std::lock_guard lock(state_mutex_);
    return state_;
  }

  bool WaitForConfigGeneration(uint64_t generation, std::chrono::milliseconds limit) const {
    std::unique_lock lock(state_mutex_);
    return published_.wait_for(lock, limit, [&] { return state_->config_generation() >= generation; });
  }

  ProxyRef Attach(ProxyKey key) {
    const uint64_t hash = key.Hash();
    std::lock_guard lock(graph_mutex_);
    for (auto [it, end] = attached_.equal_range(hash); it != end; ++it) {
      if (ProxyRef scope = it->second.lock(); scope != nullptr && scope->key() == key) return scope;
    }
    // The last session that lets go tells the state thread to forget what was generated for this proxy alone.
    std::weak_ptr<Core> core = weak_from_this();
    ProxyRef scope(new ProxyScope(std::make_shared<const ProxyKey>(std::move(key)), ++last_scope_),
                   [core = std::move(core)](const ProxyScope* gone) {
                     if (auto self = core.lock()) self->Detach(gone->own());
                     delete gone;
                   });
    attached_.emplace(hash, scope);
    return scope;
  }

  ResourcePtr ComputeResource(const ResourceId& id, const ProxyRef& proxy) override {
    std::lock_guard lock(graph_mutex_);
    const ResourceRequest request = RequestFor(id, proxy);
    ResourcePtr resource = graph_.resource.Observe(request);
    if (request.proxy != nullptr) {
      own_[id.scope].resources.insert(request);
    } else if (resource == nullptr && own_[proxy->own()].absent.insert(request).second) {
      // Kept as long as somebody waits for it to appear; see Forget. No state has it: it is asked for here each time.
      ++waiting_[request];
    }
    if (resource != nullptr) {
      new_resources_.push_back(request);
      WakeForNew();
    }
    return resource;
  }

  std::shared_ptr<const NameList> ComputeNames(const ResourceId& id, const ProxyRef& proxy) override {
    std::lock_guard lock(graph_mutex_);
    const ResourceRequest request = RequestFor(id, proxy);
    auto names = graph_.names.Observe(request);
    if (request.proxy != nullptr) own_[id.scope].names.insert(request);
    told_names_.try_emplace(id, names);
    new_names_.push_back(request);
    WakeForNew();
    return names;
  }

  std::vector<ObjectStatus> Statuses() const {
    std::lock_guard lock(graph_mutex_);
    return store_.Statuses();
  }
  std::vector<api::SourceError> Errors() const {
    std::lock_guard lock(graph_mutex_);
    std::vector<api::SourceError> out = store_.Reports();
    for (ObjectStatus& status : store_.Statuses()) {
      std::move(status.errors.begin(), status.errors.end(), std::back_inserter(out));
    }
    return out;
  }
  std::vector<StoredObject> Objects(uint64_t* generation) const {
    std::lock_guard lock(graph_mutex_);
    if (generation != nullptr) *generation = taken_generation_;
    std::vector<StoredObject> out;
    for (ObjectStore::Versions& versions : store_.All()) {
      out.push_back({std::move(versions.newest), std::move(versions.in_effect)});
    }
    return out;
  }
  std::vector<api::SourceError> Check(const std::vector<ObjectPtr>& objects) {
    std::lock_guard lock(graph_mutex_);
    return store_.Check(objects);
  }

  Counts counts() const {
    const StatePtr current = state();
    std::lock_guard lock(graph_mutex_);
    Counts out = counts_;
    out.recomputed = graph_.graph.computed();
    out.resources = current->resources_.size();
    for (const auto& [hash, scope] : attached_) out.proxies += scope.expired() ? 0 : 1;
    return out;
  }

 private:
  using Requests = std::set<ResourceRequest>;
  // What was computed for one proxy alone, and the absent resources that it asked for.
  struct Own {
    Requests resources, names, absent;
  };

  ResourceRequest RequestFor(const ResourceId& id, const ProxyRef& proxy) const {
    return {id, id.scope == proxy->own() ? proxy->shared_key() : nullptr};
  }

  void Detach(const std::string& own) {
    {
      std::lock_guard lock(queue_mutex_);
      detached_.push_back(own);
    }
    wake_.notify_all();
  }

  void WakeForNew() {
    {
      std::lock_guard lock(queue_mutex_);
      if (std::exchange(has_new_, true)) return;
    }
    wake_.notify_all();
  }

  // --- State thread
  void Run() {
    for (;;) {
      std::vector<SourceEvent> events;
      std::vector<std::string> detached;
      {
        std::unique_lock lock(queue_mutex_);
        wake_.wait(lock, [&] { return stop_ || !queue_.empty() || !detached_.empty() || has_new_; });
        if (queue_.empty() && !stop_) {
          wake_.wait_for(lock, kPrecomputeDelay, [&] { return stop_ || !queue_.empty(); });
        }
        if (stop_) return;
        events = std::exchange(queue_, {});
        detached = std::exchange(detached_, {});
        has_new_ = false;
      }
      Step(std::move(events), detached);
    }
  }

  void Step(std::vector<SourceEvent> events, const std::vector<std::string>& detached) {
    auto next = std::make_shared<ConfigState>(*state());
    auto change = std::make_shared<StateChange>();
    bool first = false;
    {
      std::lock_guard lock(graph_mutex_);
      first = Take(std::move(events), *next);
      change->generation = ++next->generation_;
      Recompute(*next, *change);
      AddNew(*next);
      for (const std::string& own : detached) Forget(own, *next);
      ++counts_.states;
    }
    if (!change->empty()) {
      next->changes_.push_back(change);
      if (next->changes_.size() > ConfigState::kChangeLog) {
        next->changes_from_ = next->changes_.front()->generation;
        next->changes_.erase(next->changes_.begin());
      }
    }
    const StatePtr state = next;
    {
      std::lock_guard lock(state_mutex_);
      state_ = state;
    }
    published_.notify_all();
    if (listener_ != nullptr && state->synced() && (first || !change->empty())) listener_(state, *change);
  }

  // Objects into the graph. True when now everything has been read once.
  bool Take(std::vector<SourceEvent> events, ConfigState& next) {
    if (events.empty()) return false;
    counts_.events += events.size();
    for (const SourceEvent& event : events) {
      if (const auto* mark = std::get_if<SyncedMark>(&event)) unsynced_.erase(mark->source);
    }
    std::move(events.begin(), events.end(), std::back_inserter(early_));
    // What one source has may refer to what another one has: they are judged together.
    if (!unsynced_.empty()) return false;

    const bool first = !next.synced_;
    const bool objects = std::any_of(early_.begin(), early_.end(), [](const SourceEvent& event) {
      return !std::holds_alternative<Report>(event) && !std::holds_alternative<SyncedMark>(event);
    });
    next.synced_ = true;
    if (objects || first) taken_generation_ = ++next.config_generation_;
    std::set<ObjectKey> touched = KeysOf(early_);
    for (const ObjectKey& key : store_.Apply(std::exchange(early_, {}), next.config_generation_)) {
      touched.insert(key);
      if (const ObjectPtr object = store_.InEffect(key)) {
        graph_.Put(*object);
      } else {
        graph_.Erase(key);
      }
    }
    LogProblems(touched);
    return first;
  }

  static std::set<ObjectKey> KeysOf(const std::vector<SourceEvent>& events) {
    std::set<ObjectKey> out;
    for (const SourceEvent& event : events) {
      if (const auto* put = std::get_if<Put>(&event)) out.insert(put->object->key);
      if (const auto* remove = std::get_if<Remove>(&event)) out.insert(remove->key);
      if (const auto* refused = std::get_if<Refused>(&event)) out.insert(refused->key);
    }
    return out;
  }

  // Each problem once, when it comes up.
  void LogProblems(const std::set<ObjectKey>& touched) {
    LogNew(ObjectKey(), store_.Reports());
    for (const ObjectKey& key : touched) {
      const auto status = store_.Status(key);
      LogNew(key, status.has_value() ? status->errors : std::vector<api::SourceError>());
    }
  }
  void LogNew(const ObjectKey& key, const std::vector<api::SourceError>& errors) {
    std::set<std::string> problems;
    for (const api::SourceError& error : errors) {
      if (!error.warning) problems.insert(error.ToString());
    }
    auto& logged = logged_[key];
    for (const std::string& problem : problems) {
      if (!logged.contains(problem)) LogWarning(StrCat("configuration: ", problem));
    }
    if (problems.empty()) logged_.erase(key);
    else logged = std::move(problems);
  }

  void Recompute(ConfigState& next, StateChange& change) {
    for (auto& [request, resource] : graph_.resource.TakeChanged()) {
      if (resource != nullptr) {
        next.resources_.Set(request.id, std::move(resource));
      } else {
        next.resources_.Erase(request.id);
      }
      change.resources.push_back(request.id);
    }
    std::sort(change.resources.begin(), change.resources.end());
    for (auto& [request, names] : graph_.names.TakeChanged()) {
      const ResourceId& id = request.id;
      auto& told = told_names_[id];
      StateChange::Names difference{.type = id.type, .scope = id.scope, .came = {}, .went = {}};
      const NameList before = told == nullptr ? NameList() : *told;
      std::set_difference(names->begin(), names->end(), before.begin(), before.end(),
                          std::back_inserter(difference.came));
      std::set_difference(before.begin(), before.end(), names->begin(), names->end(),
                          std::back_inserter(difference.went));
      told = names;
      next.names_.Set(id, std::move(names));
      change.names.push_back(std::move(difference));
    }
  }

  void AddNew(ConfigState& next) {
    for (const ResourceRequest& request : std::exchange(new_resources_, {})) {
      if (ResourcePtr resource = graph_.resource.Get(request)) next.resources_.Set(request.id, std::move(resource));
    }
    for (const ResourceRequest& request : std::exchange(new_names_, {})) {
      next.names_.Set(request.id, graph_.names.Get(request));
    }
  }

  void Forget(const std::string& own, ConfigState& next) {
    auto it = own_.find(own);
    if (it != own_.end()) {
      for (const ResourceRequest& request : it->second.resources) {
        graph_.resource.Unobserve(request);
        next.resources_.Erase(request.id);
      }
      for (const ResourceRequest& request : it->second.names) {
        graph_.names.Unobserve(request);
        next.names_.Erase(request.id);
        told_names_.erase(request.id);
      }
      for (const ResourceRequest& request : it->second.absent) {
        auto waiting = waiting_.find(request);
        if (--waiting->second > 0) continue;
        waiting_.erase(waiting);
        if (graph_.resource.Get(request) == nullptr) graph_.resource.Unobserve(request);
      }
      own_.erase(it);
    }
    std::erase_if(attached_, [](const auto& entry) { return entry.second.expired(); });
  }

  // Set up by the owner before the thread starts.
  std::vector<std::unique_ptr<Source>> sources_;
  StateListener listener_;
  std::thread thread_;

  mutable std::mutex queue_mutex_;  // taken last
  std::condition_variable wake_;
  std::vector<SourceEvent> queue_;
  std::vector<std::string> detached_;
  bool has_new_ = false;
  bool stop_ = false;

  mutable std::mutex graph_mutex_;
  std::set<uint32_t> unsynced_;
  std::vector<SourceEvent> early_;  // before every source has been read
  ObjectStore store_;
  uint64_t taken_generation_ = 0;  // of the store; the published state's follows
  MeshGraph graph_;
  std::unordered_multimap<uint64_t, std::weak_ptr<const ProxyScope>> attached_;
  uint64_t last_scope_ = 0;
  std::map<std::string, Own> own_;
  absl::flat_hash_map<ResourceRequest, int> waiting_;
  std::vector<ResourceRequest> new_resources_, new_names_;  // computed since the last state
  absl::flat_hash_map<ResourceId, std::shared_ptr<const NameList>> told_names_;
  std::map<ObjectKey, std::set<std::string>> logged_;  // problems that stand; without a key, of sources
  Counts counts_;

  mutable std::mutex state_mutex_;
  mutable std::condition_variable published_;
  StatePtr state_;
};

ConfigEngine::ConfigEngine(MeshOptions mesh) : core_(std::make_shared<Core>(std::move(mesh))) {
  core_->MakeFirstState();
}
ConfigEngine::~ConfigEngine() {
  Stop();
  core_->DropState();
}
void ConfigEngine::AddSource(std::unique_ptr<Source> source) { core_->AddSource(std::move(source)); }
void ConfigEngine::OnNewState(StateListener listener) { core_->OnNewState(std::move(listener)); }
void ConfigEngine::Start() { core_->Start(this); }
void ConfigEngine::Stop() { core_->Stop(); }
StatePtr ConfigEngine::state() const { return core_->state(); }
ProxyRef ConfigEngine::Attach(ProxyKey key) { return core_->Attach(std::move(key)); }
std::vector<ObjectStatus> ConfigEngine::Statuses() const { return core_->Statuses(); }
std::vector<api::SourceError> ConfigEngine::Errors() const { return core_->Errors(); }
std::vector<ConfigEngine::StoredObject> ConfigEngine::Objects(uint64_t* generation) const {
  return core_->Objects(generation);
}
std::vector<api::SourceError> ConfigEngine::Check(const std::vector<ObjectPtr>& objects) const {
  return core_->Check(objects);
}
bool ConfigEngine::WaitForConfigGeneration(uint64_t generation, std::chrono::milliseconds limit) const {
  return core_->WaitForConfigGeneration(generation, limit);
}
ConfigEngine::Counts ConfigEngine::counts() const { return core_->counts(); }
void ConfigEngine::OnEvents(std::vector<SourceEvent> events) { core_->OnEvents(std::move(events)); }

}  // namespace weft::ctl
