#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/base/substitution/format.h"
#include "dataplane/base/substitution/stream_fields.h"

namespace weft::observe {

// What one log line is made of: the shared input of all %COMMAND%s.
using LogFields = ::weft::StreamFields;

// One access log of a listener or connection manager, compiled: where to and what.
// Owner: shared by the specs that name it. Thread: immutable, any.
class AccessLogSpec {
 public:
  // An empty format is Envoy's default. An unknown %COMMAND% is an error that names it.
  static absl::StatusOr<std::shared_ptr<const AccessLogSpec>> Compile(std::string path, std::string_view format);

  const std::string& path() const { return path_; }
  const Format& format() const { return format_; }

 private:
  AccessLogSpec(std::string path, Format format) : path_(std::move(path)), format_(std::move(format)) {}

  const std::string path_;
  const Format format_;
};

class AccessLogFile;
class AccessLogs;

// One worker's end of one log. Lines are copied to memory that a writer thread reads, without a lock and without a
// system call; when the writer is too far behind, lines are dropped and counted.
// Owner: AccessLogFile. Thread: the worker that it was made for. Destroyed when: its AccessLogs is, after the workers.
class LogWriter {
 public:
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // One whole line, newline included: never mixed with another line in the file.
  void Write(std::string_view line);

  // Formats into a buffer that is kept, then writes.
  void Log(const Format& format, const LogFields& fields) {
    line_.clear();
    format.Append(fields, FormatStyle::kLog, &line_);
    Write(line_);
  }

 private:
  friend class AccessLogFile;
  friend class AccessLogs;
  static constexpr size_t kChunkBytes = 64 * 1024;
  static constexpr size_t kMaxQueuedBytes = 4 * 1024 * 1024;

  // Bytes up to `committed` are whole lines. A chunk is sealed by setting `next`: the worker does not touch it again.
  struct Chunk {
    explicit Chunk(size_t n) : size(n), data(new char[n]) {}
    const size_t size;
    std::unique_ptr<char[]> data;
    std::atomic<size_t> committed{0};
    std::atomic<Chunk*> next{nullptr};
    size_t written = 0;  // the writer thread's
  };

  LogWriter(AccessLogFile* file, AccessLogs* logs);
  bool NextChunk(size_t line_bytes);

  AccessLogFile* const file_;
  AccessLogs* const logs_;
  std::string line_;
  Chunk* tail_;                            // the worker's
  Chunk* head_;                            // the writer thread's
  std::atomic<size_t> queued_{0};          // bytes of chunks between head_ and tail_
  std::atomic<Chunk*> spare_{nullptr};     // one written chunk, on its way back to the worker
};

// One open log: a file (O_APPEND), /dev/stdout or /dev/stderr.
// Owner: AccessLogs. Thread: any; NewWriter at configuration time. Destroyed when: its AccessLogs is.
class AccessLogFile {
 public:
  ~AccessLogFile();
  AccessLogFile(const AccessLogFile&) = delete;
  AccessLogFile& operator=(const AccessLogFile&) = delete;

  // Owned by the file. One for each worker and log.
  LogWriter* NewWriter();

  const std::string& path() const { return path_; }
  uint64_t lines_dropped() const { return dropped_.load(std::memory_order_relaxed); }   // the writer was too slow
  uint64_t bytes_written() const { return written_.load(std::memory_order_relaxed); }
  uint64_t bytes_failed() const { return failed_.load(std::memory_order_relaxed); }     // write() refused them

 private:
  friend class AccessLogs;
  friend class LogWriter;
  AccessLogFile(AccessLogs* logs, std::string path, int fd);
  void Use(int fd);
  void Reopen();
  void Drain();
  size_t WriteSome(const char* data, size_t size);

  AccessLogs* const logs_;
  const std::string path_;
  int fd_ = -1;                // the writer thread's after construction
  bool paced_ = false;         // a pipe, socket or terminal: its reader may stall
  bool write_error_reported_ = false;
  std::mutex mu_;              // guards writers_, at configuration time and once a pass; never held while writing
  std::vector<std::unique_ptr<LogWriter>> writers_;
  std::atomic<uint64_t> dropped_{0}, written_{0}, failed_{0};
};

// All access logs of the process and the one thread that writes them. Everything that was logged is in the file within
// half a second, at once when 64 KB have come together, and when this is destroyed.
// Owner: app/ (main). Thread: any; Open at configuration time. Destroyed when: the process ends, after the workers.
class AccessLogs {
 public:
  AccessLogs();
  ~AccessLogs();
  AccessLogs(const AccessLogs&) = delete;
  AccessLogs& operator=(const AccessLogs&) = delete;

  // The same path gives the same file. An error says which path and why.
  absl::StatusOr<AccessLogFile*> Open(const std::string& path);

  // For log rotation (SIGUSR1, `/reopen_logs`): every file is opened again by its path before the next write.
  void Reopen();

  // Returns when all that was logged before the call is written.
  void Flush();

 private:
  friend class LogWriter;
  void Run();
  void Wake() { wake_.release(); }

  std::mutex mu_;  // guards files_; never held while writing
  std::vector<std::unique_ptr<AccessLogFile>> files_;
  std::atomic<bool> reopen_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> passes_started_{0}, passes_done_{0};
  std::counting_semaphore<> wake_{0};
  std::thread thread_;
};

// One worker's writers, by path, made at first use.
// Owner: the Worker. Thread: its worker's.
class WorkerLogs {
 public:
  explicit WorkerLogs(AccessLogs* logs) : logs_(logs) {}

  // Formats and writes one line. False when the file can't be opened (main opens it while it compiles the configuration,
  // so that this is known before).
  bool Log(const AccessLogSpec& spec, const LogFields& fields) {
    LogWriter* writer = Writer(spec.path());
    if (writer == nullptr) return false;
    writer->Log(spec.format(), fields);
    return true;
  }

 private:
  LogWriter* Writer(const std::string& path);

  AccessLogs* const logs_;
  std::vector<std::pair<std::string, LogWriter*>> writers_;  // a handful at most
};

}  // namespace weft::observe
