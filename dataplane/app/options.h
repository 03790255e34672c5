#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/log.h"

namespace weft::app {

// weft-proxy's command line; the flags that users of Envoy expect keep their names.
struct Options {
  std::string config_path, config_yaml;
  bool validate = false;
  bool ignore_unsupported = false;
  int concurrency = 0;  // 0: one worker a processor that this process may use
  LogLevel log_level = LogLevel::kInfo;
  std::string log_path;
  std::string service_node, service_cluster, service_zone;
  std::string admin_address_path;
  std::string state_dir;
  int drain_time_s = 5;
  int drain_accept_ms = 500;
  // As given, for /server_info.
  std::vector<std::pair<std::string, std::string>> given;
};

// Returns -1 to go on, else the exit code: --help and --version are 0, mistakes are 2 with a message on stderr.
int ParseOptions(int argc, char** argv, Options* options);

// "weft-proxy 0.1.0"
std::string Version();

}  // namespace weft::app
