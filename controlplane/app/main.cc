// weft-controller: command line, signals, exit code.
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "controlplane/app/controller.h"
#include "controlplane/app/options.h"
#include "dataplane/base/log.h"

namespace {

// Each proxy is a connection.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  weft::ctl::app::Options options;
  int exit_code = 0;
  if (!weft::ctl::app::ParseOptions(argc, argv, &options, &exit_code)) return exit_code;
  weft::LogLevel level = weft::LogLevel::kInfo;
  weft::ParseLogLevel(options.log_level, &level);
  weft::SetLogLevel(level);
  if (!options.log_file.empty() && !weft::SetLogFile(options.log_file)) {
    std::fprintf(stderr, "weft-controller: --log-file %s: can't be opened for writing\n",
                 options.log_file.c_str());
    return 1;
  }
  RaiseFileLimit();
  signal(SIGPIPE, SIG_IGN);
  // Blocked before any thread starts, so that only this one takes them.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  weft::ctl::app::Controller controller(options);
  const absl::Status status = controller.Start([&ends] {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
  });
  if (!status.ok() && status.code() != absl::StatusCode::kCancelled) {
    std::fprintf(stderr, "weft-controller: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  int signal_number = 0;
  sigwait(&ends, &signal_number);
  // A second one ends it at once.
  pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);
  weft::LogInfo(std::string("stopping (") + strsignal(signal_number) + ")");
  controller.Stop();
  weft::LogInfo("stopped");
  return 0;
}
