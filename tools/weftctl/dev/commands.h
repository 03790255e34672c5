#pragma once

// weftctl dev: a mesh on this machine.

#include <optional>
#include <string>
#include <vector>

#include "tools/weftctl/terminal.h"
#include "weft/dev/v1/state.pb.h"

namespace weft::cli {

struct UpOptions {
  std::string file, state, config_directory, loopback = "127.0";
  std::vector<std::string> bin;
  bool copy_config = false, foreground = false, quiet = false;
  int timeout_seconds = 30;
};
int DevUp(const UpOptions& options);
// Runs the supervisor of a state directory; `dev up` starts this.
int DevSupervise(const std::string& directory);

// Which mesh: a state directory, or a name or file, or nothing when there is only one here.
struct MeshChoice {
  std::string state, name;
};
// The state directory; empty after an error message.
std::string ChooseState(const MeshChoice& choice);

int DevDown(const MeshChoice& choice);
int DevStatus(const MeshChoice& choice, Format format);
struct LogsOptions {
  MeshChoice mesh;
  std::string process;  // Empty: all.
  int tail = 20;
  bool follow = false;
};
int DevLogs(const LogsOptions& options);
struct WatchOptions {
  MeshChoice mesh;
  double traffic = 0;  // Requests a second to send to `entry`.
  std::string entry;   // Workload that gets them; the first of the mesh file when empty.
  std::string path = "/productpage";
  int seconds = 0;  // 0: until Ctrl-C.
};
int DevWatch(const WatchOptions& options);

// Name, version, address, admin address, SPIFFE id of each replica.
Table WorkloadTable(const weft::dev::v1::MeshState& state);

}  // namespace weft::cli
