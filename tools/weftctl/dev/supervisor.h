#pragma once

// Keeps the processes of a local mesh running: starts them, starts again what ended (after a wait
// that doubles), tells how it stands in state.json, and ends everything when asked to by SIGTERM.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/weftctl/process.h"
#include "weft/dev/v1/state.pb.h"

namespace weft::cli {

// How long to wait before the next start. Pure: times are handed in.
class BackOff {
 public:
  using Time = std::chrono::steady_clock::time_point;
  BackOff(std::chrono::milliseconds first, std::chrono::milliseconds longest,
          std::chrono::milliseconds healthy_after)
      : first_(first), longest_(longest), healthy_after_(healthy_after), next_(first) {}
  // The process ran from `started` to `ended`.
  std::chrono::milliseconds AfterExit(Time started, Time ended);

 private:
  std::chrono::milliseconds first_, longest_, healthy_after_, next_;
};

// Owner: the process `weftctl dev supervise`. Thread: its only one. Destroyed when: everything has
// ended.
class Supervisor {
 public:
  Supervisor(std::string directory, weft::dev::v1::Plan plan);

  // Runs until SIGTERM, SIGINT or SIGHUP, then ends all processes. Returns the exit code.
  int Run();

 private:
  using Clock = std::chrono::steady_clock;
  struct Child {
    const weft::dev::v1::Launch* launch;
    weft::dev::v1::ProcessState* state;
    BackOff back_off;
    ProcessId id;
    Clock::time_point started, next_start;
  };

  void Start(Child* child);
  void Ended(Child* child, const std::string& how);
  void Reap();
  // Starts what is due; returns when to look again.
  Clock::time_point StartDue();
  bool ControllerReady();
  void StopAll();
  void Save();

  const std::string directory_;
  const weft::dev::v1::Plan plan_;
  weft::dev::v1::MeshState state_;
  std::vector<Child> children_;
  Clock::time_point controller_deadline_;
  bool rest_started_ = false;
  bool stopping_ = false;
};

// "killed by SIGKILL", "exit code 3".
std::string DescribeExit(int wait_status);

}  // namespace weft::cli
