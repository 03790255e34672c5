#include "tools/weftctl/dev/supervisor.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/http_get.h"

namespace weft::cli {
namespace {

using std::chrono::milliseconds;
using weft::dev::v1::MeshState;
using weft::dev::v1::ProcessState;

// A controller that does not listen by then is reported, and does not keep the rest from starting:
// sidecars try again.
constexpr auto kControllerPatience = std::chrono::seconds(10);
// From SIGTERM to SIGKILL.
constexpr auto kStopPatience = std::chrono::seconds(5);

void Log(const std::string& line) {
  char stamp[32];
  const time_t now = std::time(nullptr);
  tm parts;
  std::strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &parts));
  std::printf("%s %s\n", stamp, line.c_str());
  std::fflush(stdout);
}

google::protobuf::Timestamp Now() { return google::protobuf::util::TimeUtil::GetCurrentTime(); }

}  // namespace

milliseconds BackOff::AfterExit(Time started, Time ended) {
  if (ended - started >= healthy_after_) next_ = first_;
  const milliseconds wait = next_;
  next_ = std::min(next_ * 2, longest_);
  return wait;
}

std::string DescribeExit(int wait_status) {
  if (WIFEXITED(wait_status)) return absl::StrCat("exit code ", WEXITSTATUS(wait_status));
  const char* name = sigabbrev_np(WTERMSIG(wait_status));
  return absl::StrCat("killed by SIG", name == nullptr ? absl::StrCat(WTERMSIG(wait_status)) : name,
                      WCOREDUMP(wait_status) ? " (core dumped)" : "");
}

Supervisor::Supervisor(std::string directory, weft::dev::v1::Plan plan)
    : directory_(std::move(directory)), plan_(std::move(plan)) {
  state_ = plan_.initial();
  state_.set_phase(MeshState::STARTING);
  *state_.mutable_supervisor() = ToRef(Self());
  *state_.mutable_started() = Now();
  for (const auto& launch : plan_.launches()) {
    ProcessState* process = state_.add_processes();
    process->set_name(launch.name());
    process->set_kind(launch.kind());
    process->set_workload(launch.workload());
    process->set_log_file(launch.log_file());
    process->set_state(ProcessState::WAITING);
    *process->mutable_since() = Now();
  }
  for (int i = 0; i < plan_.launches_size(); ++i) {
    children_.push_back(
        {&plan_.launches(i),
         state_.mutable_processes(i),
         BackOff(milliseconds(plan_.first_delay_ms()), milliseconds(plan_.longest_delay_ms()),
                 milliseconds(plan_.healthy_after_ms())),
         {},
         {},
         {}});
  }
}

void Supervisor::Save() {
  if (absl::Status status = WriteMessage(directory_ + "/state.json", state_); !status.ok())
    Log(std::string(status.message()));
}

void Supervisor::Start(Child* child) {
  SpawnSpec spec;
  spec.args.assign(child->launch->args().begin(), child->launch->args().end());
  spec.env.assign(child->launch->env().begin(), child->launch->env().end());
  spec.directory = child->launch->directory();
  spec.log_file = child->launch->log_file();
  child->started = Clock::now();
  const auto id = Spawn(spec);
  if (!id.ok()) return Ended(child, std::string(id.status().message()));
  child->id = *id;
  child->state->set_state(ProcessState::RUNNING);
  *child->state->mutable_process() = ToRef(*id);
  *child->state->mutable_since() = Now();
  child->state->clear_next_start();
  Log(absl::StrCat(child->launch->name(), ": started, pid ", id->pid));
}

void Supervisor::Ended(Child* child, const std::string& how) {
  child->id = {};
  child->state->clear_process();
  child->state->set_last_exit(how);
  *child->state->mutable_since() = Now();
  if (stopping_) {
    child->state->set_state(ProcessState::STOPPED);
    return;
  }
  const milliseconds wait = child->back_off.AfterExit(child->started, Clock::now());
  child->next_start = Clock::now() + wait;
  child->state->set_state(ProcessState::BACK_OFF);
  child->state->set_restarts(child->state->restarts() + 1);
  *child->state->mutable_next_start() = google::protobuf::util::TimeUtil::MillisecondsToTimestamp(
      google::protobuf::util::TimeUtil::TimestampToMilliseconds(Now()) + wait.count());
  Log(absl::StrCat(child->launch->name(), ": ended by itself (", how, "), starting again in ",
                   wait.count(), " ms; its log: ", child->launch->log_file()));
}

void Supervisor::Reap() {
  bool changed = false;
  int status;
  pid_t pid;
  // Also collects what programs left behind: this process adopts them.
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (Child& child : children_) {
      if (child.id.pid != pid) continue;
      // What it started goes with it, or the next one would find its port taken. The number of the
      // group is not used again while it has members.
      kill(-pid, SIGKILL);
      Ended(&child, DescribeExit(status));
      changed = true;
    }
  }
  if (changed) Save();
}

bool Supervisor::ControllerReady() {
  for (const Child& child : children_) {
    if (child.launch->ready_address().empty()) continue;
    if (!TakesConnections(child.launch->ready_address())) return false;
  }
  return true;
}

Supervisor::Clock::time_point Supervisor::StartDue() {
  const auto now = Clock::now();
  auto next = now + std::chrono::hours(1);
  bool changed = false;
  if (!rest_started_) {
    const bool ready = ControllerReady();
    if (ready || now >= controller_deadline_) {
      if (!ready) Log("the controller does not listen yet; starting the rest without it");
      rest_started_ = true;
      state_.set_phase(MeshState::RUNNING);
      changed = true;
      for (Child& child : children_) {
        if (child.launch->ready_address().empty()) Start(&child);
      }
    } else {
      next = now + milliseconds(20);
    }
  }
  for (Child& child : children_) {
    if (child.state->state() != ProcessState::BACK_OFF) continue;
    if (child.next_start <= now) {
      Start(&child);
      changed = true;
    }
    if (child.state->state() == ProcessState::BACK_OFF) next = std::min(next, child.next_start);
  }
  if (changed) Save();
  return next;
}

void Supervisor::StopAll() {
  stopping_ = true;
  state_.set_phase(MeshState::STOPPING);
  Save();
  // Programs and sidecars first, so that they end with a controller around; a sidecar may drain.
  for (const bool controller : {false, true}) {
    const auto chosen = [&](const Child& child) {
      return child.launch->ready_address().empty() != controller && child.id.pid != 0;
    };
    for (Child& child : children_) {
      if (chosen(child)) kill(-child.id.pid, SIGTERM);
    }
    const auto deadline = Clock::now() + kStopPatience;
    const auto any_left = [&] { return std::any_of(children_.begin(), children_.end(), chosen); };
    while (any_left() && Clock::now() < deadline) {
      poll(nullptr, 0, 5);
      Reap();
    }
    for (Child& child : children_) {
      if (!chosen(child)) continue;
      Log(absl::StrCat(child.launch->name(), ": did not end on SIGTERM; killing it"));
      kill(-child.id.pid, SIGKILL);
    }
    while (any_left()) {
      poll(nullptr, 0, 5);
      Reap();
    }
  }
  for (Child& child : children_) child.state->set_state(ProcessState::STOPPED);
  Save();
}

int Supervisor::Run() {
  prctl(PR_SET_NAME, "weft-dev");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) {
    Log(absl::StrCat("signalfd: ", std::strerror(errno)));
    return 1;
  }
  Log(absl::StrCat("mesh ", state_.mesh(), ": ", children_.size(), " processes"));
  Save();
  controller_deadline_ = Clock::now() + kControllerPatience;
  for (Child& child : children_) {
    if (!child.launch->ready_address().empty()) Start(&child);
  }
  Save();
  for (bool asked_to_stop = false; !asked_to_stop;) {
    const auto next = StartDue();
    const auto wait = std::chrono::duration_cast<milliseconds>(next - Clock::now()).count() + 1;
    pollfd waiting{fd, POLLIN, 0};
    poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(wait, 0, 60000)));
    signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo != SIGCHLD) asked_to_stop = true;
    }
    Reap();
  }
  Log("asked to end");
  StopAll();
  close(fd);
  Log("everything has ended");
  return 0;
}

}  // namespace weft::cli
