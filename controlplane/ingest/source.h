#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "api/cpp/yaml.h"
#include "controlplane/model/object.h"

namespace weft::ctl {

// `object` is there, or has changed. Its (key, origin.source, origin.directory, origin.file) says which one it replaces.
struct Put {
  ObjectPtr object;
  std::vector<api::SourceError> warnings;
};
// The object that was put from this origin is gone.
struct Remove {
  ObjectKey key;
  Origin origin;
};
// A newer version of the object was written that can't be used; the last one that was put stays in effect.
struct Refused {
  ObjectKey key;
  Origin origin;
  std::vector<api::SourceError> errors;
};
// Everything that the source had when it was started has been delivered. Once a source.
struct SyncedMark {
  uint32_t source = 0;
};
// What is wrong with the source now, besides objects: files that can't be read, documents that can't be parsed.
// Replaces the last report.
struct Report {
  uint32_t source = 0;
  std::vector<api::SourceError> errors;
};
using SourceEvent = std::variant<Put, Remove, Refused, Report, SyncedMark>;

// Takes what sources deliver. Thread: any; it must not block. The events of one call take effect together.
class SourceSink {
 public:
  virtual ~SourceSink() = default;
  virtual void OnEvents(std::vector<SourceEvent> events) = 0;
};

// Where objects come from: a directory, a registry. It tells what is there and then what changes, in its own thread.
// Registries that can be written to, with leases, add an interface of their own beside this one; what they hold still
// arrives by events.
// Owner: ConfigEngine. Thread: Start and Stop by the owner. Destroyed when: the engine is, after Stop.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::string Describe() const = 0;
  // Delivers with `rank` in Origin::source until Stop returns. Called once.
  virtual void Start(uint32_t rank, SourceSink* sink) = 0;
  virtual void Stop() = 0;
};

}  // namespace weft::ctl
