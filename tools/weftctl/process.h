#pragma once

// Processes: started so that they end with their parent, named so that a recycled pid is never
// mistaken for them.

#include <sys/types.h>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::cli {

// A process: the pid alone may be another one's tomorrow, the pair is unique until the machine
// boots again.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // Clock ticks after boot, field 22 of proc(5)'s /proc/PID/stat.
};

// Start time of a process that exists (a zombie does too); nothing when it doesn't.
std::optional<uint64_t> StartTime(pid_t pid);
ProcessId Self();
// It exists, is the same, and is not a zombie.
bool IsAlive(const ProcessId& id);
// Sends `signal` to the process, and with `group` to the group that it leads. False when it is
// gone.
bool Signal(const ProcessId& id, int signal, bool group);
// Waits for the end of a process, a child or not. False when `timeout` passed.
bool WaitGone(const ProcessId& id, std::chrono::milliseconds timeout);

struct SpawnSpec {
  std::vector<std::string> args;  // args[0] is the path of the program.
  std::vector<std::string> env;   // NAME=value, the whole of it.
  std::string directory;          // Empty: the parent's.
  std::string log_file;           // Standard output and error, appended. Empty: the parent's.
  bool new_session = false;       // For a daemon: a session of its own, not ended with its parent.
};
// Starts a process, leader of its own group. Unless new_session, it is killed when the thread that
// calls this ends. An error says which step failed: the folder, the log file, or running the
// program.
absl::StatusOr<ProcessId> Spawn(const SpawnSpec& spec);

}  // namespace weft::cli
