#include "controlplane/app/options.h"

#include <CLI/CLI.hpp>

namespace weft::ctl::app {

bool ParseOptions(int argc, const char* const* argv, Options* options, int* exit_code) {
  CLI::App app(
      "The control plane of Weft: reads configuration from directories of YAML and serves it to "
      "proxies by xDS.",
      "weft-controller");
  app.set_version_flag("--version", std::string("weft-controller ") + kVersion);
  app.add_option("--config", options->directories,
                 "Directory of *.yaml, *.yml and *.json files, with its subdirectories; watched. "
                 "May be given several "
                 "times: the first one wins where two have the same object, the last one is what "
                 "`weftctl apply` writes to")
      ->option_text("DIR")
      ->allow_extra_args(false);
  app.add_option(
         "--xds-address", options->xds_address,
         "Where proxies get their configuration: gRPC, ADS, both variants [127.0.0.1:15010]")
      ->option_text("IP:PORT");
  app.add_option("--admin-address", options->admin_address,
                 "Debug endpoints over HTTP: /ready, /metrics, /debug/... [127.0.0.1:15014]")
      ->option_text("IP:PORT");
  app.add_option(
         "--mgmt-socket", options->mgmt_socket,
         "Unix socket for `weftctl`, in a directory of its own with mode 0700; none unless given")
      ->option_text("PATH");
  app.add_option("--trust-domain", options->trust_domain,
                 "Trust domain of the mesh's identities [cluster.local]")
      ->option_text("NAME");
  app.add_option("--domain-suffix", options->domain_suffix,
                 "What short service names are completed with [cluster.local]")
      ->option_text("NAME");
  app.add_option("--max-proxies", options->max_proxies,
                 "Discovery streams that are served at most [20000]")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--log-level,-l", options->log_level,
                 "trace, debug, info, warn, error, critical or off [info]")
      ->option_text("LEVEL")
      ->check([](const std::string& level) {
        LogLevel ignored;
        return ParseLogLevel(level, &ignored)
                   ? std::string()
                   : "\"" + level +
                         "\" is not one of trace, debug, info, warn, error, critical, off";
      });
  app.add_option("--log-file", options->log_file, "Log to this file instead of standard error")
      ->option_text("PATH");
  app.footer(
      "Example:\n"
      "  weft-controller --config ./registry --config ./routing --xds-address 127.0.0.1:15010 \\\n"
      "      --admin-address 127.0.0.1:15014 --mgmt-socket ./state/mgmt/mgmt.sock\n"
      "  curl http://127.0.0.1:15014/debug/syncz");
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("weft-controller: ") + error.what() +
           "\n`weft-controller --help` shows all options.\n";
  });
  try {
    app.parse(argc, argv);
    if (options->directories.empty()) {
      throw CLI::RequiredError(
          "--config DIR is required: a directory of YAML files (several may be given)",
          CLI::ExitCodes::RequiredError);
    }
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
  return true;
}

}  // namespace weft::ctl::app
