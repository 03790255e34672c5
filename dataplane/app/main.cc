// weft-proxy: reads the command line and the bootstrap, then serves. server.cc wires the parts.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>

#include "api/cpp/envoy_types.h"
#include "dataplane/app/options.h"
#include "dataplane/app/server.h"
#include "dataplane/base/log.h"

int main(int argc, char** argv) {
  using namespace weft;
  app::Options options;
  if (int code = app::ParseOptions(argc, argv, &options); code >= 0) return code;
  api::LinkEnvoyTypes();
  SetLogLevel(options.log_level);
  if (!options.log_path.empty() && !SetLogFile(options.log_path)) {
    fprintf(stderr, "cannot open the log file %s\n", options.log_path.c_str());
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  // A connection is a descriptor: take what the hard limit allows.
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  app::Server server(options);
  if (!server.ReadConfiguration()) return 1;
  if (options.validate) {
    printf("configuration '%s' OK\n", options.config_path.empty() ? "--config-yaml" : options.config_path.c_str());
    return 0;
  }
  return server.Run();
}
