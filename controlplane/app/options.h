#pragma once

#include <string>
#include <vector>

#include "dataplane/base/log.h"

namespace weft::ctl::app {

inline constexpr char kVersion[] = "0.1.0";

struct Options {
  std::vector<std::string> directories;
  std::string xds_address = "127.0.0.1:15010";
  std::string admin_address = "127.0.0.1:15014";
  std::string mgmt_socket;  // empty: none
  std::string trust_domain = "cluster.local";
  std::string domain_suffix = "cluster.local";
  std::string log_level = "info";
  std::string log_file;
  size_t max_proxies = 20000;
};

// The command line. Returns true when the program goes on; else it has printed what there is to say
// (help, version, a mistake) and `exit_code` is set.
bool ParseOptions(int argc, const char* const* argv, Options* options, int* exit_code);

}  // namespace weft::ctl::app
