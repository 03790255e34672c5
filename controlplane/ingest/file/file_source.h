#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/ingest/source.h"

namespace weft::ctl {

struct FileSourceOptions {
  // In order of precedence. Each is read with its subdirectories; *.yaml, *.yml and *.json count, hidden names do not.
  std::vector<std::string> directories;
  std::string default_namespace = "default";
  // A burst of events is taken as one change after this much quiet, but never later than `max_settle`.
  std::chrono::milliseconds settle{5};
  std::chrono::milliseconds max_settle{20};
  // Objects and files that vanish are believed after this long: an editor that truncates, or deletes and writes anew,
  // must not flash a removal.
  std::chrono::milliseconds removal_grace{100};
  // A file that is still being written (modified, not closed) is left alone for this long after the last write.
  std::chrono::milliseconds writing_grace{500};
  // Everything is looked at this often, for file systems and link targets that tell no events.
  std::chrono::milliseconds rescan{10000};
};

// Directories of YAML, watched by inotify. Survives what editors, `kubectl`-like mounts (`..data` link swaps) and shells
// do to files; a broken file or document keeps the last good objects that came from it and is reported. A directory that
// is missing or becomes unreadable is reported and keeps what it had.
// Owner: ConfigEngine. Thread: own thread for everything between Start and Stop. Destroyed when: the engine is.
class FileSource : public Source {
 public:
  explicit FileSource(FileSourceOptions options);
  ~FileSource() override;

  std::string Describe() const override;
  void Start(uint32_t rank, SourceSink* sink) override;
  void Stop() override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Names that FileSource reads: "a.yaml" yes, ".a.yaml.swp", "a.yaml~", "#a.yaml#" no. Whoever writes files into a
// watched directory writes them under a hidden name and renames.
bool IsConfigFileName(std::string_view name);

}  // namespace weft::ctl
