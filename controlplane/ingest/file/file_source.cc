#include "controlplane/ingest/file/file_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "controlplane/ingest/read.h"
#include "controlplane/model/hash.h"
#include "dataplane/base/strings.h"

namespace weft::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

constexpr size_t kMaxFileBytes = 64u << 20;
constexpr int kMaxDepth = 16;
// How often a directory that is missing is looked for.
constexpr std::chrono::milliseconds kMissingDirectory{1000};
constexpr uint32_t kWatched = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                              IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

api::SourceError FileError(const std::string& file, std::string message) {
  api::SourceError error;
  error.file = file;
  error.message = std::move(message);
  return error;
}

// Differs whenever the file may differ.
struct Signature {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;

  static Signature Of(const struct stat& s) {
    return {s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec * 1000000000LL + s.st_mtim.tv_nsec,
            s.st_ctim.tv_sec * 1000000000LL + s.st_ctim.tv_nsec};
  }
  bool operator==(const Signature&) const = default;
};

// What came out of one file.
struct File {
  uint32_t directory = 0;
  Signature signature;
  uint64_t content = 0;                     // hash of the text
  std::map<ObjectKey, Origin> objects;      // delivered: put, or refused
  std::map<ObjectKey, TimePoint> vanishing;  // of those, the ones that are no longer there, and until when they stay
  std::vector<api::SourceError> errors;
  std::optional<TimePoint> written;         // last write by somebody who has not closed it yet
};

}  // namespace

bool IsConfigFileName(std::string_view name) {
  return !name.starts_with('.') &&
         (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

class FileSource::Impl {
  using Found = std::map<std::string, uint32_t>;  // path -> index of the directory that it was found by

 public:
  explicit Impl(FileSourceOptions options) : options_(std::move(options)) {
    for (std::string& directory : options_.directories) {
      while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
    }
  }
  ~Impl() { Stop(); }

  std::string Describe() const {
    std::string out;
    for (const std::string& directory : options_.directories) StrAppend(&out, out.empty() ? "" : ", ", directory);
    return out;
  }

  void Start(uint32_t rank, SourceSink* sink) {
    rank_ = rank;
    sink_ = sink;
    inotify_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (inotify_ < 0) inotify_error_ = std::strerror(errno);
    stop_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    thread_ = std::thread([this] { Run(); });
  }

  void Stop() {
    if (!thread_.joinable()) return;
    const uint64_t one = 1;
    [[maybe_unused]] ssize_t n = write(stop_, &one, sizeof one);
    thread_.join();
    if (inotify_ >= 0) close(inotify_);
    close(stop_);
  }

 private:
  void Run() {
    ScanAll();
    events_.emplace_back(SyncedMark{rank_});
    Deliver();
    for (;;) {
      pollfd fds[2] = {{stop_, POLLIN, 0}, {inotify_, POLLIN, 0}};
      poll(fds, inotify_ >= 0 ? 2 : 1, TimeoutMs());
      if (fds[0].revents != 0) return;
      if (inotify_ >= 0 && fds[1].revents != 0) ReadEvents();
      const TimePoint now = Clock::now();
      if (now >= next_scan_) rescan_ = true, burst_ = Burst{now - options_.max_settle, now};
      if (burst_.has_value() && now >= SettledAt()) {
        burst_.reset();
        if (std::exchange(rescan_, false)) {
          dirty_.clear();
          ScanAll();
        } else {
          for (const auto& [path, directory] : std::exchange(dirty_, {})) Process(path, directory);
        }
      }
      ReadAbandoned(now);
      RemoveVanished(now);
      Deliver();
    }
  }

  TimePoint SettledAt() const {
    return std::min(burst_->last + options_.settle, burst_->first + options_.max_settle);
  }

  // Until something is due.
  int TimeoutMs() const {
    TimePoint next = next_scan_;
    if (burst_.has_value()) next = std::min(next, SettledAt());
    for (const auto& [path, file] : files_) {
      if (file.written.has_value()) next = std::min(next, *file.written + options_.writing_grace);
      if (!file.written.has_value()) {
        for (const auto& [key, deadline] : file.vanishing) next = std::min(next, deadline);
      }
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 60000));
  }

  void Touch() {
    const TimePoint now = Clock::now();
    if (!burst_.has_value()) burst_ = Burst{now, now};
    burst_->last = now;
  }

  void ReadEvents() {
    alignas(inotify_event) char buffer[16384];
    for (;;) {
      const ssize_t n = read(inotify_, buffer, sizeof buffer);
      if (n <= 0) return;
      for (ssize_t at = 0; at < n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        OnEvent(*event);
      }
    }
  }

  void OnEvent(const inotify_event& event) {
    const std::string_view name = event.len > 0 ? event.name : "";
    auto watched = watched_.find(event.wd);
    if (event.mask & IN_IGNORED) watched_.erase(event.wd);
    if ((event.mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF | IN_ISDIR)) ||
        watched == watched_.end() || name.starts_with("..")) {
      // "..data" of a Kubernetes volume is a link that is swapped: all that it leads to is new.
      rescan_ = true;
      return Touch();
    }
    if (!IsConfigFileName(name)) return;
    const std::string path = StrCat(watched->second.path, "/", name);
    const uint32_t directory = watched->second.directory;
    const bool writing = (event.mask & IN_MODIFY) != 0 || ((event.mask & IN_CREATE) != 0 && WillBeWritten(path));
    if (writing) {
      // More is to come; close tells when it is complete. Reading half a file would look like removals and mistakes.
      File& file = files_[path];
      file.directory = directory;
      file.written = Clock::now();
      return;
    }
    if (auto file = files_.find(path); file != files_.end()) file->second.written.reset();
    dirty_.insert_or_assign(path, directory);
    Touch();
  }

  // A regular file with one name was created by open, and will be closed; links come complete.
  static bool WillBeWritten(const std::string& path) {
    struct stat s;
    return lstat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && s.st_nlink == 1;
  }

  // --- Directories

  void ScanAll() {
    next_scan_ = Clock::now() + options_.rescan;
    directory_errors_.clear();
    broken_.clear();
    if (inotify_ < 0) {
      directory_errors_.push_back(FileError("", StrCat("inotify is not available (", inotify_error_,
                                                       "): changes are seen every ", options_.rescan.count(), " ms")));
    }
    std::set<std::pair<dev_t, ino_t>> visited;
    Found found;
    std::set<int> watches;
    for (uint32_t i = 0; i < options_.directories.size(); ++i) {
      ScanDirectory(options_.directories[i], i, 0, visited, watches, found);
    }
    if (!broken_.empty()) next_scan_ = std::min(next_scan_, Clock::now() + kMissingDirectory);
    // Directories that moved away.
    for (auto it = watched_.begin(); it != watched_.end();) {
      const bool gone = !watches.contains(it->first);
      if (gone) inotify_rm_watch(inotify_, it->first);
      it = gone ? watched_.erase(it) : std::next(it);
    }
    for (const auto& [path, file] : files_) found.try_emplace(path, file.directory);
    for (const auto& [path, directory] : found) Process(path, directory);
  }

  void ScanDirectory(const std::string& path, uint32_t directory, int depth,
                     std::set<std::pair<dev_t, ino_t>>& visited, std::set<int>& watches, Found& found) {
    struct stat s;
    DIR* dir = opendir(path.c_str());
    if (dir == nullptr || fstat(dirfd(dir), &s) != 0) {
      const int error = errno;
      if (dir != nullptr) closedir(dir);
      // A subdirectory that went away took its files with it; a named one that is missing is a mistake.
      if (depth > 0 && error == ENOENT) return;
      directory_errors_.push_back(FileError(path, StrCat("the directory can't be read (", std::strerror(error),
                                                         "): what was read from it before stays in effect")));
      broken_.push_back(path + "/");
      return;
    }
    if (!visited.emplace(s.st_dev, s.st_ino).second) {
      closedir(dir);
      return;
    }
    // Watch first, then list: what is written in between is in the list or is an event.
    if (inotify_ >= 0) {
      const int wd = inotify_add_watch(inotify_, path.c_str(), kWatched);
      if (wd >= 0) {
        watched_.insert_or_assign(wd, Watched{path, directory});
        watches.insert(wd);
      } else if (errno == ENOSPC) {
        directory_errors_.push_back(
            FileError(path, "can't be watched: the limit fs.inotify.max_user_watches is reached"));
      }
    }
    std::vector<std::string> subdirectories;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name.starts_with('.')) continue;
      const std::string child = StrCat(path, "/", name);
      struct stat target;
      if (stat(child.c_str(), &target) == 0 && S_ISDIR(target.st_mode)) {
        subdirectories.push_back(child);
      } else if (IsConfigFileName(name)) {
        found.emplace(child, directory);
      }
    }
    closedir(dir);
    std::sort(subdirectories.begin(), subdirectories.end());
    for (const std::string& child : subdirectories) {
      if (depth + 1 >= kMaxDepth) {
        directory_errors_.push_back(FileError(child, StrCat("is more than ", kMaxDepth, " directories deep: not read")));
      } else {
        ScanDirectory(child, directory, depth + 1, visited, watches, found);
      }
    }
  }

  bool InBrokenDirectory(const std::string& path) const {
    return std::any_of(broken_.begin(), broken_.end(), [&](const std::string& b) { return path.starts_with(b); });
  }

  // --- Files

  void Process(const std::string& path, uint32_t directory) {
    File& file = files_[path];
    file.directory = directory;
    if (file.written.has_value()) return;  // ReadAbandoned, or the event that it was closed, comes back to it
    struct stat s;
    if (stat(path.c_str(), &s) != 0) {
      file.signature = {};
      if (errno == ENOENT || errno == ENOTDIR) {
        if (InBrokenDirectory(path)) return;
        file.errors.clear();
        file.content = 0;
        Vanish(file, {});
        if (file.objects.empty()) files_.erase(path);
      } else {
        Unreadable(file, path, errno);
      }
      return;
    }
    const Signature signature = Signature::Of(s);
    if (signature == file.signature) return;
    if (!S_ISREG(s.st_mode)) {
      file.errors = {FileError(path, "is not a regular file")};
      return;
    }
    std::string text;
    if (const int error = ReadText(path, &text); error != 0) return Unreadable(file, path, error);
    file.signature = signature;
    const uint64_t content = StableHash(text, 1);
    if (content == file.content) {
      file.vanishing.clear();
      return;
    }
    file.content = content;
    Take(file, path, text);
  }

  static void Unreadable(File& file, const std::string& path, int error) {
    file.signature = {};
    file.content = 0;
    file.vanishing.clear();
    file.errors = {FileError(path, StrCat("can't be read (", std::strerror(error), "): what was read from it before stays in effect"))};
  }

  static int ReadText(const std::string& path, std::string* text) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    char buffer[65536];
    int error = 0;
    for (;;) {
      const ssize_t n = read(fd, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) error = errno;
      if (n <= 0) break;
      text->append(buffer, static_cast<size_t>(n));
      if (text->size() > kMaxFileBytes) {
        error = EFBIG;
        break;
      }
    }
    close(fd);
    return error;
  }

  void Take(File& file, const std::string& path, const std::string& text) {
    ReadObjectsResult read =
        ReadObjects(text, path,
                    {.default_namespace = options_.default_namespace, .source = rank_, .directory = file.directory});
    file.errors = std::move(read.errors);
    std::set<ObjectKey> there;
    for (ReadObject& object : read.objects) {
      if (!object.key.has_value()) {
        file.errors.insert(file.errors.end(), object.errors.begin(), object.errors.end());
        continue;
      }
      there.insert(*object.key);
      const Origin origin{rank_, file.directory, path, object.line};
      file.objects[*object.key] = origin;
      if (object.object != nullptr) {
        events_.emplace_back(Put{std::move(object.object), std::move(object.errors)});
      } else {
        events_.emplace_back(Refused{*object.key, origin, std::move(object.errors)});
      }
    }
    if (read.complete) {
      Vanish(file, there);
    } else {
      // A document that can't be read may be any of them.
      file.vanishing.clear();
    }
  }

  // All of the file's objects but `there` are gone, unless they come back soon.
  void Vanish(File& file, const std::set<ObjectKey>& there) {
    const TimePoint deadline = Clock::now() + options_.removal_grace;
    for (const auto& [key, origin] : file.objects) {
      if (there.contains(key)) file.vanishing.erase(key);
      else file.vanishing.try_emplace(key, deadline);
    }
  }

  // Files whose writer neither writes nor closes: what is there now has to do.
  void ReadAbandoned(TimePoint now) {
    Found due;
    for (auto& [path, file] : files_) {
      if (file.written.has_value() && now >= *file.written + options_.writing_grace) {
        file.written.reset();
        due.emplace(path, file.directory);
      }
    }
    for (const auto& [path, directory] : due) Process(path, directory);
  }

  void RemoveVanished(TimePoint now) {
    for (auto it = files_.begin(); it != files_.end();) {
      File& file = it->second;
      const bool due = !file.written.has_value() &&
                       std::any_of(file.vanishing.begin(), file.vanishing.end(),
                                   [&](const auto& entry) { return entry.second <= now; });
      if (due && RootIsMissing(file.directory)) {
        // The files went with the whole directory.
        file.vanishing.clear();
        next_scan_ = now;
      } else if (due) {
        std::erase_if(file.vanishing, [&](const auto& entry) {
          if (entry.second > now) return false;
          auto object = file.objects.find(entry.first);
          events_.emplace_back(Remove{entry.first, object->second});
          file.objects.erase(object);
          return true;
        });
      }
      const bool gone = file.objects.empty() && !file.written.has_value() && file.signature.size < 0 && file.errors.empty();
      it = gone ? files_.erase(it) : std::next(it);
    }
  }

  bool RootIsMissing(uint32_t directory) const {
    struct stat s;
    return stat(options_.directories[directory].c_str(), &s) != 0;
  }

  // --- Events

  void Deliver() {
    std::vector<api::SourceError> errors = directory_errors_;
    for (const auto& [path, file] : files_) errors.insert(errors.end(), file.errors.begin(), file.errors.end());
    std::string text = api::ToString(errors);
    if (text != reported_) {
      reported_ = std::move(text);
      events_.emplace_back(Report{rank_, std::move(errors)});
    }
    if (!events_.empty()) sink_->OnEvents(std::exchange(events_, {}));
  }

  struct Burst {
    TimePoint first, last;
  };
  struct Watched {
    std::string path;
    uint32_t directory;
  };

  FileSourceOptions options_;
  uint32_t rank_ = 0;
  SourceSink* sink_ = nullptr;
  int inotify_ = -1, stop_ = -1;
  std::string inotify_error_;
  std::thread thread_;
  // The thread's own from here on.
  std::map<int, Watched> watched_;
  std::map<std::string, File> files_;
  Found dirty_;
  bool rescan_ = false;
  std::optional<Burst> burst_;
  TimePoint next_scan_;
  std::vector<std::string> broken_;  // directories that can't be read, with a slash at the end
  std::vector<api::SourceError> directory_errors_;
  std::string reported_;
  std::vector<SourceEvent> events_;
};

FileSource::FileSource(FileSourceOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
FileSource::~FileSource() = default;
std::string FileSource::Describe() const { return impl_->Describe(); }
void FileSource::Start(uint32_t rank, SourceSink* sink) { impl_->Start(rank, sink); }
void FileSource::Stop() { impl_->Stop(); }

}  // namespace weft::ctl
