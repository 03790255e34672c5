#pragma once

// What a group of processes and a core used, read by the load generator itself at the first and the
// last moment of the measured window, so that no start-up, no warm-up and no delay of a script is
// in the figures.

#include <dirent.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "bench/macro/common.h"

namespace weft::bench {

struct ProcessUse {
  uint64_t cpu_ns = 0;  // on a CPU, user and kernel, all threads, those that ended too
  uint64_t ticks_ns =
      0;  // utime + stime of /proc/PID/stat: the coarse figure, to check the first one against
  uint64_t wait_ns =
      0;  // runnable, but another program had the core: how disturbed the measurement was
  bool alive = true;
};

// "name=pid,pid,...".
class WatchedGroup {
 public:
  static bool Parse(const std::string& text, WatchedGroup* out) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) return false;
    out->name_ = text.substr(0, equals);
    std::stringstream pids(text.substr(equals + 1));
    for (std::string pid; std::getline(pids, pid, ',');) {
      char* end = nullptr;
      const long value = strtol(pid.c_str(), &end, 10);
      if (*end != '\0' || value <= 0) return false;
      out->pids_.push_back(static_cast<pid_t>(value));
    }
    return !out->pids_.empty();
  }

  const std::string& name() const { return name_; }

  ProcessUse Read() const {
    ProcessUse use;
    for (pid_t pid : pids_) {
      clockid_t clock{};
      timespec ts{};
      if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0) {
        use.alive = false;
        continue;
      }
      use.cpu_ns +=
          static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(ts.tv_nsec);
      use.ticks_ns += Ticks(pid);
      use.wait_ns += Wait(pid);
    }
    return use;
  }

 private:
  static uint64_t Ticks(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(file, line);
    const size_t after_name = line.rfind(')');  // the name may hold spaces and brackets
    if (after_name == std::string::npos) return 0;
    std::istringstream fields(line.substr(after_name + 2));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    uint64_t utime = 0, stime = 0;
    fields >> utime >> stime;
    return (utime + stime) * (1'000'000'000u / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
  }

  static uint64_t Wait(pid_t pid) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/task";
    uint64_t sum = 0;
    DIR* directory = opendir(folder.c_str());
    if (directory == nullptr) return 0;
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_name[0] == '.') continue;
      std::ifstream file(folder + "/" + entry->d_name + "/schedstat");
      uint64_t run = 0, wait = 0;
      if (file >> run >> wait) sum += wait;
    }
    closedir(directory);
    return sum;
  }

  std::string name_;
  std::vector<pid_t> pids_;
};

// One line "cpuN ..." of /proc/stat, in ns: everything that ran on the core, whoever it was charged
// to.
struct CoreUse {
  uint64_t user = 0, system = 0, irq = 0, softirq = 0, steal = 0, idle = 0;

  static CoreUse Read(int core) {
    CoreUse use;
    std::ifstream file("/proc/stat");
    const std::string wanted = "cpu" + std::to_string(core);
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      std::string name;
      fields >> name;
      if (name != wanted) continue;
      uint64_t nice = 0, iowait = 0;
      fields >> use.user >> nice >> use.system >> use.idle >> iowait >> use.irq >> use.softirq >>
          use.steal;
      use.user += nice;
      use.idle += iowait;
      const uint64_t tick = 1'000'000'000u / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
      for (uint64_t* v : {&use.user, &use.system, &use.irq, &use.softirq, &use.steal, &use.idle})
        *v *= tick;
    }
    return use;
  }
};

}  // namespace weft::bench
