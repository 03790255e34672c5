#include "dataplane/app/options.h"

#include <sched.h>

#include <CLI/CLI.hpp>

namespace weft::app {

std::string Version() { return "weft-proxy 0.1.0"; }

int ParseOptions(int argc, char** argv, Options* o) {
  CLI::App app{"weft-proxy: the data plane of the Weft mesh. Runs from an Envoy v3 bootstrap.", "weft-proxy"};
  app.footer(
      "Examples:\n"
      "  weft-proxy -c bootstrap.yaml\n"
      "  weft-proxy -c bootstrap.yaml --mode validate\n"
      "  weft-proxy -c sidecar.yaml --concurrency 2 --state-dir /var/lib/weft/reviews -l debug\n");
  std::string mode = "serve", level = "info";
  bool version = false, unused_flag = false;
  int unused_id = 0;
  app.add_option("-c,--config-path", o->config_path, "bootstrap file, YAML or JSON")->type_name("FILE");
  app.add_option("--config-yaml", o->config_yaml, "the bootstrap as text instead of a file")->type_name("YAML");
  app.add_option("--mode", mode, "serve, or validate: check the bootstrap, print what is wrong, exit")
      ->check(CLI::IsMember({"serve", "validate"}));
  app.add_flag("--ignore-unsupported", o->ignore_unsupported, "fields that are not known are warnings, not errors");
  app.add_option("--concurrency", o->concurrency, "worker threads; default: the processors that this process may use")
      ->check(CLI::Range(1, 256));
  app.add_option("-l,--log-level", level, "trace, debug, info, warning, error, critical, off");
  app.add_option("--log-path", o->log_path, "log file; default: standard error")->type_name("FILE");
  app.add_option("--service-node", o->service_node, "node id, instead of the bootstrap's");
  app.add_option("--service-cluster", o->service_cluster, "node cluster, instead of the bootstrap's");
  app.add_option("--service-zone", o->service_zone, "node zone, instead of the bootstrap's");
  app.add_option("--admin-address-path", o->admin_address_path, "file to write the admin address to")->type_name("FILE");
  app.add_option("--state-dir", o->state_dir,
                 "directory for the last good configuration; a start without a controller uses it")
      ->type_name("DIR");
  app.add_option("--drain-time-s", o->drain_time_s, "seconds that SIGTERM leaves to requests under way")
      ->check(CLI::Range(0, 86400));
  app.add_option("--drain-accept-ms", o->drain_accept_ms,
                 "milliseconds that a draining proxy goes on accepting, so that whoever sends it connections notices")
      ->check(CLI::Range(0, 3600000));
  app.add_flag("--disable-hot-restart", unused_flag, "accepted for Envoy's sake: there is no hot restart yet");
  app.add_option("--base-id", unused_id, "accepted for Envoy's sake: there is no hot restart yet");
  app.add_flag("--version", version, "print the version and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  if (version) {
    std::cout << Version() << "\n";
    return 0;
  }
  if (!ParseLogLevel(level, &o->log_level)) {
    std::cerr << "--log-level: \"" << level << "\" is none of trace, debug, info, warning, error, critical, off\n";
    return 2;
  }
  if (o->config_path.empty() == o->config_yaml.empty()) {
    std::cerr << (o->config_path.empty() ? "a bootstrap is needed: -c FILE (see weft-proxy --help)\n"
                                         : "give either -c or --config-yaml, not both\n");
    return 2;
  }
  o->validate = mode == "validate";
  if (o->concurrency == 0) {
    cpu_set_t set;
    o->concurrency = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  }
  for (const CLI::Option* opt : app.get_options()) {
    if (opt->count() == 0) continue;
    std::string name = opt->get_lnames().empty() ? opt->get_name() : opt->get_lnames()[0];
    for (char& c : name) c = c == '-' ? '_' : c;
    std::string value;
    for (const std::string& v : opt->results()) value += (value.empty() ? "" : ",") + v;
    o->given.emplace_back(name, value);
  }
  return -1;
}

}  // namespace weft::app
