#include "tools/weftctl/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

extern "C" {  // glibc 2.36's header has no such guard of its own.
#include <sys/pidfd.h>
}

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace weft::cli {
namespace {

struct Stat {
  char state;
  uint64_t start_time;
};

std::optional<Stat> ReadStat(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  FILE* file = std::fopen(absl::StrCat("/proc/", pid, "/stat").c_str(), "re");
  if (file == nullptr) return std::nullopt;
  char buffer[2048];
  const size_t size = std::fread(buffer, 1, sizeof(buffer) - 1, file);
  std::fclose(file);
  buffer[size] = '\0';
  // The second field is the name in parentheses, and may contain anything: count from the last
  // parenthesis.
  const char* rest = std::strrchr(buffer, ')');
  Stat out;
  unsigned long long start = 0;
  if (rest == nullptr ||
      std::sscanf(
          rest + 1,
          " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
          &out.state, &start) != 2) {
    return std::nullopt;
  }
  out.start_time = start;
  return out;
}

// What the child does between fork and exec; only calls that are safe there. Reports the step that
// failed through `report`.
[[noreturn]] void BecomeProgram(const SpawnSpec& spec, char** args, char** env, pid_t parent,
                                int report) {
  const auto fail = [&](char step) {
    const int error = errno;
    char message[1 + sizeof(error)];
    message[0] = step;
    std::memcpy(message + 1, &error, sizeof(error));
    [[maybe_unused]] const ssize_t ignored = write(report, message, sizeof(message));
    _exit(127);
  };
  if (spec.new_session) {
    setsid();
  } else {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);  // It ended before prctl.
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, 0);
  if (!spec.log_file.empty()) {
    const int log = open(spec.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0) fail('l');
    dup2(log, 1);
    dup2(log, 2);
  }
  if (!spec.directory.empty() && chdir(spec.directory.c_str()) != 0) fail('d');
  close_range(3, report - 1, 0);
  close_range(report + 1, ~0u, 0);
  execve(args[0], args, env);
  fail('x');
  _exit(127);
}

}  // namespace

std::optional<uint64_t> StartTime(pid_t pid) {
  const auto stat = ReadStat(pid);
  return stat ? std::optional(stat->start_time) : std::nullopt;
}

ProcessId Self() { return {getpid(), StartTime(getpid()).value_or(0)}; }

bool IsAlive(const ProcessId& id) {
  const auto stat = ReadStat(id.pid);
  return stat && stat->start_time == id.start_time && stat->state != 'Z' && stat->state != 'X';
}

bool Signal(const ProcessId& id, int signal, bool group) {
  // The descriptor pins the process: what is checked is what gets the signal.
  const int fd = pidfd_open(id.pid, 0);
  if (fd < 0) return false;
  const bool same = IsAlive(id);
  if (same) {
    // A group that the process leads keeps its number while the process exists.
    if (group && getpgid(id.pid) == id.pid)
      kill(-id.pid, signal);
    else
      pidfd_send_signal(fd, signal, nullptr, 0);
  }
  close(fd);
  return same;
}

bool WaitGone(const ProcessId& id, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const int fd = pidfd_open(id.pid, 0);
  if (fd >= 0) {
    if (IsAlive(id)) {
      pollfd waiting{fd, POLLIN, 0};
      while (poll(&waiting, 1, static_cast<int>(timeout.count())) < 0 && errno == EINTR) {
      }
    }
    close(fd);
  }
  // A pidfd is readable a moment before /proc says so.
  while (IsAlive(id)) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

absl::StatusOr<ProcessId> Spawn(const SpawnSpec& spec) {
  std::vector<char*> args, env;
  for (const auto& arg : spec.args) args.push_back(const_cast<char*>(arg.c_str()));
  for (const auto& variable : spec.env) env.push_back(const_cast<char*>(variable.c_str()));
  args.push_back(nullptr);
  env.push_back(nullptr);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    close(report[0]);
    close(report[1]);
    return absl::ErrnoToStatus(errno, "fork");
  }
  if (pid == 0) BecomeProgram(spec, args.data(), env.data(), parent, report[1]);
  close(report[1]);
  char message[1 + sizeof(int)];
  ssize_t size;
  while ((size = read(report[0], message, sizeof(message))) < 0 && errno == EINTR) {
  }
  close(report[0]);
  if (size == sizeof(message)) {
    waitpid(pid, nullptr, 0);
    int error;
    std::memcpy(&error, message + 1, sizeof(error));
    const std::string what = message[0] == 'l'   ? "cannot open the log file " + spec.log_file
                             : message[0] == 'd' ? "cannot enter the folder " + spec.directory
                                                 : "cannot run " + spec.args[0];
    return absl::FailedPreconditionError(absl::StrCat(what, ": ", std::strerror(error)));
  }
  return ProcessId{pid, StartTime(pid).value_or(0)};
}

}  // namespace weft::cli
