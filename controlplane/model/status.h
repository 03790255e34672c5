#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/cpp/yaml.h"
#include "controlplane/model/object.h"

namespace weft::ctl {

// One statement about an object, as Kubernetes' conditions: type, whether it holds, a word and a sentence.
struct Condition {
  std::string type;    // kAccepted, kResolved, kUnique
  bool holds = true;
  std::string reason;  // "Valid", "Invalid", "UnknownHost", "MissingSubset", "StillInUse", "Conflict", "Deleted"
  std::string message;

  bool operator==(const Condition&) const = default;
};

// The newest version is in effect. False: an older one is, or none.
inline constexpr char kAccepted[] = "Accepted";
// All hosts and subsets that the version in effect refers to exist.
inline constexpr char kResolved[] = "ResolvedRefs";
// No other object claims the same key or the same host.
inline constexpr char kUnique[] = "Unique";

// What the controller has to say about one object.
struct ObjectStatus {
  ObjectKey key;
  Origin origin;                     // of the newest version; of the last one when it was deleted
  int64_t generation = 0;            // newest
  int64_t generation_in_effect = 0;  // 0: no version is
  std::vector<Condition> conditions;
  std::vector<api::SourceError> errors;  // with positions

  bool in_effect() const { return generation_in_effect != 0; }
  bool current() const { return generation == generation_in_effect; }
};

}  // namespace weft::ctl
