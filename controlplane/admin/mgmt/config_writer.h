#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controlplane/model/object.h"

namespace weft::ctl::admin {

inline constexpr char kReadOnlyMarker[] = ".weft-readonly";

// Ok when files of the directory may be changed. FailedPrecondition: it is marked as managed
// elsewhere (the message has the marker's path and text), or this process may not write there.
absl::Status CheckWritable(const std::string& directory);

// One change of the files of a configuration directory, of any number of objects: nothing is
// written before Commit, and Commit writes everything or nothing. A document that exists is changed
// where it is; the rest of its file stays as it is written.
//
// Owner: one call of the management service. Thread: one at a time. Destroyed when: that call is
// over.
class ConfigWriter {
 public:
  // `default_namespace` is what documents without one mean in this directory.
  ConfigWriter(std::string directory, std::string default_namespace);

  enum class Action { kCreated, kConfigured, kUnchanged, kRemoved, kAbsent };
  struct Outcome {
    Action action;
    std::string path;  // of the file
  };
  struct Text {
    std::string yaml;
    std::string json;  // for files that are JSON; made from the same object
  };

  // `owner_file`: where an object that does not exist is written, relative to the directory; empty:
  // a file of its own.
  absl::StatusOr<Outcome> Put(const ObjectKey& key, uint64_t content_hash, const Text& text,
                              const std::string& owner_file);
  // All documents of the key, so that none that was shadowed comes to light.
  absl::StatusOr<Outcome> Remove(const ObjectKey& key);

  // Aborted: somebody else changed a file meanwhile. Internal: the disk refused. Files are then as
  // they were.
  absl::Status Commit();

 private:
  struct File {
    std::optional<std::string> before;  // nothing: it does not exist yet
    std::string text;
    bool changed = false;
  };
  struct Place {
    std::string path;
    int line = 0;
    uint64_t content_hash = 0;  // 0: what is written there can't be used
  };

  absl::Status ListFiles();
  absl::StatusOr<File*> Open(const std::string& path, bool may_be_new);
  absl::StatusOr<std::vector<Place>> Find(const ObjectKey& key);
  // New text of a file that has been opened; refused when it says anything else about other
  // objects.
  absl::Status Change(const std::string& path, const ObjectKey& key, std::string text);
  absl::StatusOr<std::string> NewPath(const ObjectKey& key, const std::string& owner_file) const;

  const std::string directory_, default_namespace_;
  std::optional<std::vector<std::string>>
      paths_;                          // of all configuration files, in order of precedence
  std::map<std::string, File> files_;  // the ones that were read
};

// Replaces (or with nothing: removes) a file so that no reader ever sees a part of it, and it
// survives a power failure.
absl::Status WriteFileAtomically(const std::string& path, const std::optional<std::string>& text);

}  // namespace weft::ctl::admin
