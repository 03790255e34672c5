#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/model/resource.h"
#include "controlplane/translate/persistent_map.h"
#include "controlplane/translate/proxy_key.h"

namespace weft::ctl {

using NameList = std::vector<std::string>;

// Computes what no state has yet; implemented by the engine. Thread: any.
class ResourceComputer {
 public:
  virtual ~ResourceComputer() = default;
  virtual ResourcePtr ComputeResource(const ResourceId& id, const ProxyRef& proxy) = 0;
  // `id` without a name: the names of that type and scope. Never null.
  virtual std::shared_ptr<const NameList> ComputeNames(const ResourceId& id, const ProxyRef& proxy) = 0;
};

// What differs between two neighbouring states, of what proxies have asked for.
struct StateChange {
  struct Names {
    ResourceType type;
    std::string scope;
    NameList came, went;  // sorted
  };
  uint64_t generation = 0;  // of the state that has it
  std::vector<ResourceId> resources;
  std::vector<Names> names;

  bool empty() const { return resources.empty() && names.empty(); }
};

// One state of the whole configuration, as xDS resources.
//
// Threads: immutable and shared; any thread reads. What proxies have asked for before is read without a lock. What is
// asked for the first time is computed in the calling thread, under the engine's lock, from the newest state; from then
// on it is part of every later state, and its changes are in their StateChange. So a session that reads here and then
// follows the changes misses nothing.
//
// Owner: shared. Destroyed when: the last reader has moved on.
class ConfigState {
 public:
  // Grows with each state. A state may differ from the one before only by what is precomputed.
  uint64_t generation() const { return generation_; }
  // Grows with each change of objects that came from sources.
  uint64_t config_generation() const { return config_generation_; }
  // Every source has been read once. Until then there is nothing to serve: let proxies wait.
  bool synced() const { return synced_; }

  // Null: there is no such resource for this proxy.
  ResourcePtr Get(ResourceType type, std::string_view name, const ProxyRef& proxy) const;
  // All names of the type that exist for this proxy, sorted; what a wildcard subscription gets.
  NameList Names(ResourceType type, const ProxyRef& proxy) const;
  // Their resources.
  std::vector<ResourcePtr> List(ResourceType type, const ProxyRef& proxy) const;

  // Names of resources of this proxy that may differ from state `generation`, sorted; nullopt when that is too long ago
  // to tell. Only what the proxy has asked for is told; with `wildcard` also names that came and went.
  std::optional<NameList> ChangedSince(ResourceType type, const ProxyRef& proxy, uint64_t generation,
                                       bool wildcard) const;

 private:
  friend class ConfigEngine;
  static constexpr size_t kChangeLog = 128;  // states with changes that ChangedSince knows

  std::shared_ptr<const NameList> NamesIn(ResourceType type, const std::string& scope, const ProxyRef& proxy) const;

  uint64_t generation_ = 0;
  uint64_t config_generation_ = 0;
  bool synced_ = false;
  PersistentMap<ResourceId, ResourcePtr> resources_;
  PersistentMap<ResourceId, std::shared_ptr<const NameList>> names_;
  std::vector<std::shared_ptr<const StateChange>> changes_;  // the newest last, without empty ones
  uint64_t changes_from_ = 0;                                // `changes_` is complete after this generation
  std::shared_ptr<ResourceComputer> computer_;
};
using StatePtr = std::shared_ptr<const ConfigState>;

}  // namespace weft::ctl
