#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controlplane/ingest/source.h"
#include "controlplane/model/convert.h"
#include "controlplane/model/object.h"
#include "controlplane/model/status.h"

namespace weft::ctl {

// Among objects that claim the same host the one that counts: of namespace `ns` first, then by name. Null when empty.
const ObjectKey* Preferred(const std::set<ObjectKey>& claimants, std::string_view ns);

// Decides which version of each object is in effect.
//
// The newest version that sources delivered is, unless it would break something:
//   - it was refused by its source (it can't be read, or is wrong by itself);
//   - it is a VirtualService that leads to a host, port or subset which does not exist;
//   - it is a DestinationRule (or its removal) without a subset to which a VirtualService in effect still leads.
// Then the last good version stays, or none; and it is tried again with every change, as what it needs may appear later.
// A service that goes away takes nothing with it: that is a fact, not a decision; VirtualServices that lead to it say so
// in their status. The events of one call are judged together, so their order does not matter.
//
// Owner: ConfigEngine. Thread: one at a time. Destroyed when: the engine is.
class ObjectStore {
 public:
  explicit ObjectStore(std::string domain_suffix) : domain_suffix_(std::move(domain_suffix)) {}

  // Returns the keys whose version in effect is another one now. `revision` becomes the resource_version of new versions.
  std::vector<ObjectKey> Apply(std::vector<SourceEvent> events, uint64_t revision);

  // Null: none is.
  ObjectPtr InEffect(const ObjectKey& key) const;
  struct Versions {
    ObjectPtr newest;
    ObjectPtr in_effect;
  };
  std::vector<Versions> All() const;

  // What Apply would hold against these objects, were they put; nothing changes.
  std::vector<api::SourceError> Check(const std::vector<ObjectPtr>& objects);

  std::vector<ObjectStatus> Statuses() const;
  std::optional<ObjectStatus> Status(const ObjectKey& key) const;
  // What sources report besides objects.
  std::vector<api::SourceError> Reports() const;

 private:
  struct Candidate {
    Origin origin;
    ObjectPtr object;  // null: only refused versions so far
    std::vector<api::SourceError> warnings;
    std::vector<api::SourceError> refused;  // of a newer version that can't be used
  };
  struct Slot {
    std::vector<Candidate> candidates;  // by precedence, at most one of a file
    ObjectPtr in_effect;
    int64_t generation = 0;
    uint64_t newest_hash = 0;
    Origin last_origin;  // of the newest, also when it is gone
    // Why the newest version is not in effect though its source did not refuse it.
    std::string held_reason;
    std::vector<api::SourceError> held;
  };
  // One trial: what was in effect before, by each key that got another version.
  using Before = std::map<ObjectKey, ObjectPtr>;

  // The first candidate that can be used; null when there is none.
  static Candidate* Winner(Slot& slot);
  static const Candidate* Winner(const Slot& slot) { return Winner(const_cast<Slot&>(slot)); }
  static Candidate& CandidateOf(Slot& slot, const Origin& origin);
  // Takes one event in; the key that it is about, if it is about one.
  std::optional<ObjectKey> Take(SourceEvent event);
  // The newest version, with generation and resource_version; null when there is none.
  static ObjectPtr Newest(Slot& slot, uint64_t revision);

  void SetInEffect(const ObjectKey& key, Slot& slot, ObjectPtr object);
  void Judge(const Before& before);
  void JudgeRoutes(const ObjectKey& key, const Before& before, std::set<ObjectKey>& again);
  void Hold(const ObjectKey& key, ObjectPtr version, std::string reason, std::vector<api::SourceError> errors);
  // VirtualServices that lead to hosts of that version.
  void AddDependents(const ObjectPtr& object, std::set<ObjectKey>& out) const;

  struct Problem {
    std::string reason;  // "UnknownHost", "UnknownPort", "MissingSubset"
    Reference reference;
    api::SourceError error;
  };
  std::vector<Problem> ProblemsOf(const Object& virtual_service) const;
  std::optional<Problem> ProblemOf(const Object& object, const Reference& reference) const;
  std::optional<Problem> SubsetProblem(const Object& object, const Reference& reference, const std::string& ns) const;

  using Claims = std::unordered_map<std::string, std::set<ObjectKey>>;
  Claims* ClaimsOf(const std::string& kind);
  const Claims* ClaimsOf(const std::string& kind) const { return const_cast<ObjectStore*>(this)->ClaimsOf(kind); }
  // In full; of ServiceEntry, DestinationRule and VirtualService.
  std::vector<std::string> HostsOf(const Object& object) const;
  const Object* ServiceOf(const std::string& host) const;
  const Object& InEffectOf(const ObjectKey& key) const { return *slots_.at(key).in_effect; }

  ObjectStatus StatusOf(const ObjectKey& key, const Slot& slot) const;
  void AddConflicts(const ObjectKey& key, const Slot& slot, ObjectStatus& status) const;

  const std::string domain_suffix_;
  std::map<ObjectKey, Slot> slots_;
  // Newest and effective version differ.
  std::set<ObjectKey> pending_;
  // Of the versions in effect: who claims a host, by kind; and VirtualServices by the hosts that they lead to.
  Claims services_, rules_, routes_, leads_to_;
  std::map<uint32_t, std::vector<api::SourceError>> reports_;
};

}  // namespace weft::ctl
