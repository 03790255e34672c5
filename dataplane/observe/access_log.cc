#include "dataplane/observe/access_log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::observe {
namespace {

constexpr auto kFlushInterval = std::chrono::milliseconds(500);
// A pipe that nobody reads holds the writer thread no longer than this a pass.
constexpr int kPollMillis = 1000;

int OpenPath(const std::string& path) {
  // /dev/stdout of a process whose output is a socket or a closed pipe can't be opened by name.
  if (path == "/dev/stdout") return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (path == "/dev/stderr") return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessLogSpec>> AccessLogSpec::Compile(std::string path, std::string_view format) {
  if (path.empty()) return absl::InvalidArgumentError("path: is missing");
  absl::StatusOr<Format> compiled = Format::Compile(format.empty() ? std::string_view(kDefaultAccessLogFormat) : format);
  if (!compiled.ok()) return absl::InvalidArgumentError(StrCat("format: ", std::string(compiled.status().message())));
  return std::shared_ptr<const AccessLogSpec>(new AccessLogSpec(std::move(path), *std::move(compiled)));
}

LogWriter* WorkerLogs::Writer(const std::string& path) {
  for (auto& [known, writer] : writers_) {
    if (known == path) return writer;
  }
  absl::StatusOr<AccessLogFile*> file = logs_->Open(path);
  LogWriter* writer = file.ok() ? (*file)->NewWriter() : nullptr;
  writers_.emplace_back(path, writer);
  return writer;
}

// ---------------------------------------------------------------------------------------------------------------------
// The worker's end.

LogWriter::LogWriter(AccessLogFile* file, AccessLogs* logs) : file_(file), logs_(logs) {
  tail_ = head_ = new Chunk(kChunkBytes);
}

LogWriter::~LogWriter() {
  for (Chunk* c = head_; c != nullptr;) {
    Chunk* next = c->next.load(std::memory_order_relaxed);
    delete c;
    c = next;
  }
  delete spare_.load(std::memory_order_relaxed);
}

void LogWriter::Write(std::string_view line) {
  if (line.empty()) return;
  size_t used = tail_->committed.load(std::memory_order_relaxed);
  if (tail_->size - used < line.size()) {
    if (!NextChunk(line.size())) {
      file_->dropped_.fetch_add(1, std::memory_order_relaxed);  // rare, and shared by the workers of one log
      return;
    }
    used = 0;
  }
  memcpy(tail_->data.get() + used, line.data(), line.size());
  tail_->committed.store(used + line.size(), std::memory_order_release);
}

bool LogWriter::NextChunk(size_t line_bytes) {
  if (queued_.load(std::memory_order_relaxed) + tail_->size > kMaxQueuedBytes) {
    logs_->Wake();
    return false;
  }
  Chunk* next = line_bytes <= kChunkBytes ? spare_.exchange(nullptr, std::memory_order_acquire) : nullptr;
  if (next == nullptr) next = new Chunk(std::max(line_bytes, kChunkBytes));
  queued_.fetch_add(tail_->size, std::memory_order_relaxed);  // once in 64 KB
  tail_->next.store(next, std::memory_order_release);
  tail_ = next;
  logs_->Wake();
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// The writer thread's end.

AccessLogFile::AccessLogFile(AccessLogs* logs, std::string path, int fd) : logs_(logs), path_(std::move(path)) {
  Use(fd);
}

AccessLogFile::~AccessLogFile() { close(fd_); }

void AccessLogFile::Use(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  struct stat st;
  paced_ = fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
}

LogWriter* AccessLogFile::NewWriter() {
  std::lock_guard<std::mutex> lock(mu_);
  writers_.push_back(std::unique_ptr<LogWriter>(new LogWriter(this, logs_)));
  return writers_.back().get();
}

void AccessLogFile::Reopen() {
  int fd = OpenPath(path_);
  if (fd < 0) {
    LogWarning(StrCat("access log ", path_, ": can't open it again (", strerror(errno),
                      "); lines go on to the file that was open"));
    return;
  }
  Use(fd);
}

// How much was dealt with: written, or given up because of an error. Less than `size` when the reader stalls.
size_t AccessLogFile::WriteSome(const char* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    size_t piece = size - done;
    if (paced_) {
      // A pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7)).
      pollfd p{fd_, POLLOUT, 0};
      if (poll(&p, 1, kPollMillis) <= 0) return done;
      piece = std::min<size_t>(piece, PIPE_BUF);
    }
    ssize_t n = write(fd_, data + done, piece);
    if (n >= 0) {
      written_.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
      done += static_cast<size_t>(n);
      write_error_reported_ = false;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return done;
    failed_.fetch_add(size - done, std::memory_order_relaxed);
    if (!write_error_reported_) {
      LogWarning(StrCat("access log ", path_, ": ", strerror(errno), "; lines are lost until it can be written again"));
      write_error_reported_ = true;
    }
    return size;
  }
  return done;
}

void AccessLogFile::Drain() {
  std::vector<LogWriter*> writers;
  {
    std::lock_guard<std::mutex> lock(mu_);
    for (std::unique_ptr<LogWriter>& w : writers_) writers.push_back(w.get());
  }
  for (LogWriter* w : writers) {
    while (true) {
      LogWriter::Chunk* chunk = w->head_;
      // Read before `committed`: a chunk that has a successor gets no more lines.
      LogWriter::Chunk* next = chunk->next.load(std::memory_order_acquire);
      size_t committed = chunk->committed.load(std::memory_order_acquire);
      if (committed > chunk->written) {
        chunk->written += WriteSome(chunk->data.get() + chunk->written, committed - chunk->written);
        // Stalled: the lines stay queued. The others wait too, since this one may have stopped inside a line.
        if (chunk->written < committed) return;
      }
      if (next == nullptr) break;
      w->head_ = next;
      w->queued_.fetch_sub(chunk->size, std::memory_order_relaxed);
      if (chunk->size != LogWriter::kChunkBytes) {
        delete chunk;
        continue;
      }
      chunk->written = 0;
      chunk->committed.store(0, std::memory_order_relaxed);
      chunk->next.store(nullptr, std::memory_order_relaxed);
      delete w->spare_.exchange(chunk, std::memory_order_acq_rel);
    }
  }
}

AccessLogs::AccessLogs() {
  // Signals are the main thread's: this thread starts with all of them blocked.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

AccessLogs::~AccessLogs() {
  stop_.store(true, std::memory_order_release);
  Wake();
  thread_.join();
}

absl::StatusOr<AccessLogFile*> AccessLogs::Open(const std::string& path) {
  std::lock_guard<std::mutex> lock(mu_);
  for (std::unique_ptr<AccessLogFile>& f : files_) {
    if (f->path() == path) return f.get();
  }
  if (path.empty()) return absl::InvalidArgumentError("access log: the path is empty");
  int fd = OpenPath(path);
  if (fd < 0) return absl::InvalidArgumentError(StrCat("access log ", path, ": ", strerror(errno)));
  files_.push_back(std::unique_ptr<AccessLogFile>(new AccessLogFile(this, path, fd)));
  return files_.back().get();
}

void AccessLogs::Reopen() {
  reopen_.store(true, std::memory_order_release);
  Wake();
}

void AccessLogs::Flush() {
  // A pass that began after this point has seen everything.
  const uint64_t wanted = passes_started_.load(std::memory_order_acquire) + 1;
  uint64_t done = passes_done_.load(std::memory_order_acquire);
  while (done < wanted) {
    Wake();
    passes_done_.wait(done, std::memory_order_acquire);
    done = passes_done_.load(std::memory_order_acquire);
  }
}

void AccessLogs::Run() {
  while (true) {
    // Several wake-ups need one pass.
    if (wake_.try_acquire_for(kFlushInterval)) {
      while (wake_.try_acquire()) {
      }
    }
    const bool last = stop_.load(std::memory_order_acquire);
    passes_started_.fetch_add(1, std::memory_order_acq_rel);
    std::vector<AccessLogFile*> files;
    {
      std::lock_guard<std::mutex> lock(mu_);
      for (std::unique_ptr<AccessLogFile>& f : files_) files.push_back(f.get());
    }
    const bool reopen = reopen_.exchange(false, std::memory_order_acq_rel);
    for (AccessLogFile* f : files) {
      if (reopen) f->Reopen();
      f->Drain();
    }
    passes_done_.fetch_add(1, std::memory_order_acq_rel);
    passes_done_.notify_all();
    if (last) return;
  }
}

}  // namespace weft::observe
