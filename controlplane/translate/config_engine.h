#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/ingest/source.h"
#include "controlplane/model/object.h"
#include "controlplane/model/status.h"
#include "controlplane/translate/config_state.h"
#include "controlplane/translate/mesh_options.h"
#include "controlplane/translate/proxy_key.h"

namespace weft::ctl {

// Sources in, states out: objects are admitted (a bad version keeps the last good one), put into the graph, and what
// proxies use is generated anew where an input of it changed.
//
//   ConfigEngine engine(mesh);
//   engine.AddSource(std::make_unique<FileSource>(options));
//   engine.OnNewState([&](StatePtr state, const StateChange& change) { ... });
//   engine.Start();
//   ProxyRef proxy = engine.Attach(*ProxyKeyFromNode(node));          // a session keeps it
//   ResourcePtr r = engine.state()->Get(ResourceType::kRoute, "9080", proxy);
//
// Threads: one state thread applies events, writes the graph and calls the listener. AddSource, OnNewState, Start and
// Stop: the owner, in this order. Everything else: any thread.
// Owner: app. Destroyed when: the process stops; ConfigStates that are still held stay readable.
class ConfigEngine : public SourceSink {
 public:
  using StateListener = std::function<void(StatePtr state, const StateChange& change)>;

  explicit ConfigEngine(MeshOptions mesh);
  ~ConfigEngine() override;

  // The first one added wins over the others where both have the same object.
  void AddSource(std::unique_ptr<Source> source);
  // Called in the state thread for each state in which something differs, in order, from the first synced one on. It
  // must not block; it may read the state.
  void OnNewState(StateListener listener);
  void Start();
  void Stop();

  // Never null.
  StatePtr state() const;
  // The same ref for equal keys, as long as one is held.
  ProxyRef Attach(ProxyKey key);

  // For people and tools; copies made under the lock.
  std::vector<ObjectStatus> Statuses() const;
  // Errors of sources that belong to no object, and all errors of objects: what `weftctl validate` and /debug print.
  std::vector<api::SourceError> Errors() const;
  // The newest version of each object that was written and read, and the one in effect.
  struct StoredObject {
    ObjectPtr newest;     // may be null: deleted, or never readable
    ObjectPtr in_effect;  // may be null
  };
  // They may be newer than `state()`: `generation` gets the config generation of the state that will have them.
  std::vector<StoredObject> Objects(uint64_t* generation = nullptr) const;
  // Checks objects that are not there yet against what is: errors of references. For `apply` and `validate`.
  std::vector<api::SourceError> Check(const std::vector<ObjectPtr>& objects) const;
  // Blocks until a state with this config generation is out, or the time is over (false). For `apply`.
  bool WaitForConfigGeneration(uint64_t generation, std::chrono::milliseconds limit) const;

  struct Counts {
    uint64_t events = 0;
    uint64_t states = 0;
    uint64_t recomputed = 0;   // derivations, of all kinds
    uint64_t resources = 0;    // precomputed now
    uint64_t proxies = 0;      // attached now, distinct keys
  };
  Counts counts() const;

  void OnEvents(std::vector<SourceEvent> events) override;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace weft::ctl
