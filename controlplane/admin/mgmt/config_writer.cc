#include "controlplane/admin/mgmt/config_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "api/cpp/names.h"
#include "controlplane/admin/mgmt/document_text.h"
#include "controlplane/ingest/file/file_source.h"
#include "controlplane/ingest/read.h"
#include "dataplane/base/strings.h"

namespace weft::ctl::admin {
namespace {

namespace fs = std::filesystem;

absl::Status ReadText(const std::string& path, std::string* out) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::InternalError(StrCat(path, ": can't be read: ", std::strerror(errno)));
  out->assign(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) return absl::InternalError(StrCat(path, ": can't be read: ", std::strerror(errno)));
  return absl::OkStatus();
}

absl::Status DiskError(const std::string& path, const char* what) {
  return absl::InternalError(StrCat(path, ": ", what, ": ", std::strerror(errno)));
}

std::string DirectoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

// A rename is durable when its directory is.
absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return DiskError(path, "open");
  const int result = fsync(fd);
  close(fd);
  return result == 0 || errno == EINVAL ? absl::OkStatus() : DiskError(path, "fsync");
}

// Writes the text beside `path` under a name that the file source does not read.
absl::StatusOr<std::string> WriteBeside(const std::string& path, const std::string& text) {
  std::string temporary =
      StrCat(DirectoryOf(path), "/.weft-", path.substr(path.rfind('/') + 1), ".XXXXXX");
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return DiskError(temporary, "can't be created");
  struct stat old;
  const mode_t mode = stat(path.c_str(), &old) == 0 ? old.st_mode & 0777 : 0644;
  absl::Status status;
  size_t done = 0;
  while (done < text.size() && status.ok()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) status = DiskError(temporary, "write");
    if (n > 0) done += static_cast<size_t>(n);
  }
  if (status.ok() && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
    status = DiskError(temporary, "fsync");
  if (close(fd) != 0 && status.ok()) status = DiskError(temporary, "close");
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return temporary;
}

}  // namespace

absl::Status CheckWritable(const std::string& directory) {
  const std::string marker = StrCat(directory, "/", kReadOnlyMarker);
  std::error_code error;
  if (fs::exists(marker, error)) {
    std::string reason;
    (void)ReadText(marker, &reason);
    while (!reason.empty() && std::isspace(static_cast<unsigned char>(reason.back())))
      reason.pop_back();
    return absl::FailedPreconditionError(StrCat(
        directory, " is managed elsewhere", reason.empty() ? "" : ": ", reason, " (marked by ",
        marker, "). Change it there, or remove the marker if that is no longer so."));
  }
  if (!fs::is_directory(directory, error)) {
    return absl::FailedPreconditionError(StrCat(directory, " is not a directory any more"));
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    return absl::FailedPreconditionError(StrCat(
        directory, " can't be written by the controller: ", std::strerror(errno),
        ". Change the files where they come from, or let the controller's user write there."));
  }
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, const std::optional<std::string>& text) {
  if (!text) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return DiskError(path, "can't be removed");
    return SyncDirectory(DirectoryOf(path));
  }
  absl::StatusOr<std::string> temporary = WriteBeside(path, *text);
  if (!temporary.ok()) return temporary.status();
  if (rename(temporary->c_str(), path.c_str()) != 0) {
    absl::Status status = DiskError(path, "can't be replaced");
    unlink(temporary->c_str());
    return status;
  }
  return SyncDirectory(DirectoryOf(path));
}

ConfigWriter::ConfigWriter(std::string directory, std::string default_namespace)
    : directory_(std::move(directory)), default_namespace_(std::move(default_namespace)) {}

absl::Status ConfigWriter::ListFiles() {
  if (paths_) return absl::OkStatus();
  std::vector<std::string> paths;
  std::error_code error;
  fs::recursive_directory_iterator it(directory_, fs::directory_options::follow_directory_symlink,
                                      error),
      end;
  if (error) return absl::InternalError(StrCat(directory_, ": can't be read: ", error.message()));
  for (; it != end; it.increment(error)) {
    if (error) return absl::InternalError(StrCat(directory_, ": can't be read: ", error.message()));
    const std::string name = it->path().filename().string();
    if (it->is_directory(error)) {
      if (name.starts_with('.') || it.depth() >= 16) it.disable_recursion_pending();
    } else if (IsConfigFileName(name)) {
      paths.push_back(it->path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  paths_ = std::move(paths);
  return absl::OkStatus();
}

absl::StatusOr<ConfigWriter::File*> ConfigWriter::Open(const std::string& path, bool may_be_new) {
  if (auto it = files_.find(path); it != files_.end()) return &it->second;
  File file;
  std::error_code error;
  if (fs::exists(path, error)) {
    std::string text;
    absl::Status status = ReadText(path, &text);
    if (!status.ok()) return status;
    file.text = text;
    file.before = std::move(text);
  } else if (!may_be_new) {
    return absl::AbortedError(StrCat(path, " was removed meanwhile"));
  }
  return &files_.emplace(path, std::move(file)).first->second;
}

absl::StatusOr<std::vector<ConfigWriter::Place>> ConfigWriter::Find(const ObjectKey& key) {
  absl::Status status = ListFiles();
  if (!status.ok()) return status;
  std::vector<std::string> paths = *paths_;
  for (const auto& [path, file] : files_) {
    if (!file.before) paths.push_back(path);  // new by this change
  }
  std::vector<Place> places;
  for (const std::string& path : paths) {
    absl::StatusOr<File*> file = Open(path, true);
    if (!file.ok()) return file.status();
    // Parsing all files of a large directory for one object would take seconds.
    if ((*file)->text.find(key.name) == std::string::npos) continue;
    ReadObjectsOptions options;
    options.default_namespace = default_namespace_;
    for (const ReadObject& read : ReadObjects((*file)->text, path, options).objects) {
      if (read.key != key) continue;
      places.push_back({path, read.line, read.object != nullptr ? read.object->content_hash : 0});
    }
  }
  return places;
}

absl::StatusOr<std::string> ConfigWriter::NewPath(const ObjectKey& key,
                                                  const std::string& owner_file) const {
  if (owner_file.empty()) {
    // Kubernetes names may have dots (hosts), never slashes.
    for (const std::string* part : {&key.ns, &key.name}) {
      const bool safe = !part->empty() && part->size() <= 253 && part->front() != '.' &&
                        std::all_of(part->begin(), part->end(), [](unsigned char c) {
                          return std::isalnum(c) || c == '-' || c == '.' || c == '_';
                        });
      if (!safe) {
        return absl::InvalidArgumentError(StrCat(
            "\"", *part, "\" can't be a name: expected letters, digits, '-' and '.', at most 253"));
      }
    }
    return StrCat(directory_, "/", AsciiLower(key.kind), "/", key.ns, "/", key.name, ".yaml");
  }
  const fs::path path(owner_file);
  bool plain = path.is_relative() && IsConfigFileName(path.filename().string()) &&
               path.extension() != ".json";
  for (const fs::path& part : path) plain &= !part.string().starts_with('.') && !part.empty();
  if (!plain) {
    return absl::InvalidArgumentError(
        StrCat("\"", owner_file, "\": expected a relative path of a *.yaml file below ", directory_,
               ", without hidden names, such as team-a/routes.yaml"));
  }
  return StrCat(directory_, "/", owner_file);
}

absl::Status ConfigWriter::Change(const std::string& path, const ObjectKey& key, std::string text) {
  // Says what it said before, but for `key`? A file in an unusual layout is better left to a
  // person.
  using Said = std::vector<std::pair<ObjectKey, uint64_t>>;
  auto others = [&](const std::string& of) {
    ReadObjectsOptions options;
    options.default_namespace = default_namespace_;
    Said said;
    for (const ReadObject& read : ReadObjects(of, path, options).objects) {
      if (!read.key || *read.key == key) continue;
      said.emplace_back(*read.key, read.object != nullptr ? read.object->content_hash : 0);
    }
    return said;
  };
  File& file = files_.at(path);
  if (others(file.text) != others(text)) {
    return absl::FailedPreconditionError(StrCat(
        path, ": ", key.ToString(),
        " can't be changed here without changing other objects of the file; edit it by hand"));
  }
  file.text = std::move(text);
  file.changed = true;
  return absl::OkStatus();
}

absl::StatusOr<ConfigWriter::Outcome> ConfigWriter::Put(const ObjectKey& key, uint64_t content_hash,
                                                        const Text& text,
                                                        const std::string& owner_file) {
  absl::StatusOr<std::vector<Place>> places = Find(key);
  if (!places.ok()) return places.status();
  if (!places->empty()) {
    const Place& place = places->front();  // the one that is in effect
    if (place.content_hash == content_hash) return Outcome{Action::kUnchanged, ""};
    std::string changed = text.json;
    if (!place.path.ends_with(".json")) {
      DocumentText documents(files_.at(place.path).text);
      documents.Replace(documents.IndexOfLine(place.line), text.yaml);
      changed = documents.ToString();
    }
    absl::Status status = Change(place.path, key, std::move(changed));
    if (!status.ok()) return status;
    return Outcome{Action::kConfigured, place.path};
  }
  absl::StatusOr<std::string> path = NewPath(key, owner_file);
  if (!path.ok()) return path.status();
  absl::StatusOr<File*> file = Open(*path, true);
  if (!file.ok()) return file.status();
  DocumentText documents((*file)->text);
  documents.Append(text.yaml);
  absl::Status status = Change(*path, key, documents.ToString());
  if (!status.ok()) return status;
  return Outcome{Action::kCreated, *path};
}

absl::StatusOr<ConfigWriter::Outcome> ConfigWriter::Remove(const ObjectKey& key) {
  Outcome outcome{Action::kAbsent, ""};
  while (true) {
    absl::StatusOr<std::vector<Place>> places = Find(key);
    if (!places.ok()) return places.status();
    if (places->empty()) return outcome;
    const Place& place = places->front();
    DocumentText documents(files_.at(place.path).text);
    documents.Remove(documents.IndexOfLine(place.line));
    std::string changed = documents.empty() ? "" : documents.ToString();
    if (changed.size() >= files_.at(place.path).text.size()) {
      return absl::FailedPreconditionError(
          StrCat(place.path, ": ", key.ToString(), " can't be cut out; edit the file by hand"));
    }
    absl::Status status = Change(place.path, key, std::move(changed));
    if (!status.ok()) return status;
    outcome = {Action::kRemoved, place.path};
  }
}

absl::Status ConfigWriter::Commit() {
  struct Step {
    std::string path;
    const File* file;
    std::string temporary;  // empty: the file goes
  };
  std::vector<Step> steps;
  auto give_up = [&](absl::Status status) {
    for (const Step& step : steps) {
      if (!step.temporary.empty()) unlink(step.temporary.c_str());
    }
    return status;
  };
  for (const auto& [path, file] : files_) {
    if (!file.changed || (file.before && *file.before == file.text)) continue;
    if (!file.before && file.text.empty()) continue;
    std::error_code error;
    if (fs::is_symlink(path, error)) {
      return give_up(absl::FailedPreconditionError(
          StrCat(path, " is a link to ", fs::read_symlink(path, error).string(),
                 ": it is managed elsewhere, change it there")));
    }
    Step step{path, &file, ""};
    if (!file.text.empty()) {
      fs::create_directories(DirectoryOf(path), error);
      if (error) {
        return give_up(absl::InternalError(
            StrCat(DirectoryOf(path), ": can't be created: ", error.message())));
      }
      absl::StatusOr<std::string> temporary = WriteBeside(path, file.text);
      if (!temporary.ok()) return give_up(temporary.status());
      step.temporary = *temporary;
    }
    steps.push_back(std::move(step));
  }
  // The last look before the names change.
  for (const Step& step : steps) {
    std::error_code error;
    std::string now;
    const bool exists = fs::exists(step.path, error);
    if (exists != step.file->before.has_value() ||
        (exists && (!ReadText(step.path, &now).ok() || now != *step.file->before))) {
      return give_up(absl::AbortedError(
          StrCat(step.path, " was changed by somebody else meanwhile; nothing was written")));
    }
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    Step& step = steps[i];
    const int result = step.temporary.empty() ? unlink(step.path.c_str())
                                              : rename(step.temporary.c_str(), step.path.c_str());
    if (result == 0) {
      step.temporary.clear();
      continue;
    }
    absl::Status status = DiskError(step.path, "can't be replaced");
    for (size_t j = 0; j < i; ++j) (void)WriteFileAtomically(steps[j].path, steps[j].file->before);
    return give_up(status);
  }
  for (const Step& step : steps) {
    absl::Status status = SyncDirectory(DirectoryOf(step.path));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace weft::ctl::admin
