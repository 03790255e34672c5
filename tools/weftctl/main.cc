// weftctl: what people and scripts use to run and to look at a mesh. This file is the command line;
// each command is a function of its own in the headers below.

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <map>

#include "api/cpp/suggest.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/management.h"
#include "tools/weftctl/proxy_config.h"

namespace weft::cli {
namespace {

// A command's last paragraph of --help.
void Example(CLI::App* command, const std::string& text) { command->footer("Example:\n  " + text); }

// Options that several commands have. Each keeps its values where the command's own options are.
void AddOutput(CLI::App* command, Format* format) {
  static const std::map<std::string, Format> kFormats = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"yaml", Format::kYaml}};
  command->add_option("-o,--output", *format, "table, json or yaml")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case))
      ->option_text("FORMAT");
}

void AddController(CLI::App* command, ControllerChoice* choice) {
  command
      ->add_option(
          "--socket", choice->socket,
          "The controller's management socket (else $WEFT_SOCKET, else the mesh that is up here)")
      ->option_text("PATH");
  command->add_option("--state", choice->state, "State directory of the mesh")->option_text("DIR");
  command->add_option("--mesh", choice->mesh, "Which mesh, when several are up here")
      ->option_text("NAME");
}

void AddMesh(CLI::App* command, MeshChoice* choice) {
  command->add_option("mesh", choice->name, "Name or file of the mesh, when several are up here");
  command->add_option("--state", choice->state, "State directory")->option_text("DIR");
}

void AddNamespace(CLI::App* command, std::string* ns) {
  command->add_option("-n,--namespace", *ns, "Namespace of what names none")->option_text("NAME");
}

class Program {
 public:
  int Run(int argc, char** argv) {
    app_.require_subcommand(1);
    app_.set_help_all_flag("--help-all", "Help of all commands");
    app_.set_version_flag("--version", "weftctl " WEFT_VERSION);
    app_.failure_message([](const CLI::App* app, const CLI::Error& error) {
      return std::string("error: ") + error.what() + "\n       " + app->get_name() +
             " --help tells more.\n";
    });
    AddDev();
    AddResources();
    AddProxy();
    if (argc > 1 && !Knows(&app_, argv[1])) return 2;
    if (argc > 2 && (argv[1] == std::string("dev") || argv[1] == std::string("proxy-config")) &&
        !Knows(app_.get_subcommand(argv[1]), argv[2])) {
      return 2;
    }
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const int code = app_.exit(error);
      return code == 0 ? 0 : 2;
    }
    return code_;
  }

 private:
  template <typename Function>
  void Do(CLI::App* command, Function function) {
    command->final_callback([this, function] { code_ = function(); });
  }

  // False after a message when `word` is meant to be a command of `app` and is none. The library
  // only says that one is missing.
  static bool Knows(CLI::App* app, const std::string& word) {
    if (word.starts_with("-")) return true;
    std::vector<std::string> names;
    for (const CLI::App* command : app->get_subcommands({})) {
      if (command->get_name() == word) return true;
      if (!command->get_group().empty()) names.push_back(command->get_name());
    }
    const std::string near = api::Nearest(word, names);
    Fail("there is no command \"" + word + "\"" +
             (near.empty() ? "" : " (did you mean " + near + "?)"),
         app->get_name() + " --help lists them.");
    return false;
  }

  void AddDev() {
    CLI::App* dev = app_.add_subcommand("dev", "A whole mesh on this machine, without root");
    dev->require_subcommand(1);

    CLI::App* up = dev->add_subcommand(
        "up", "Start the mesh of a file: controller, programs, a sidecar for each");
    up->add_option("file", up_.file, "Mesh file")->required();
    up->add_option("--state", up_.state, "Where its state goes (.weft/<mesh>)")->option_text("DIR");
    up->add_option("--config", up_.config_directory,
                   "Routing resources, in place of the file's configDirectory")
        ->option_text("DIR");
    up->add_flag("--copy-config", up_.copy_config,
                 "Work on a copy of the routing resources, in the state directory");
    up->add_option("--bin", up_.bin, "Folder to look for programs in first; may be repeated")
        ->option_text("DIR");
    up->add_option(
          "--loopback", up_.loopback,
          "First two numbers of all addresses; another one lets two meshes run side by side, "
          "auto takes the first that is free")
        ->option_text("127.N|auto")
        ->check([](const std::string& text) {
          unsigned second;
          char rest;
          if (text == "auto") return std::string();
          return std::sscanf(text.c_str(), "127.%u%c", &second, &rest) == 1 && second < 256
                     ? std::string()
                     : "expected 127.N with N from 0 to 255, as in 127.1, or auto";
        });
    up->add_option("--timeout", up_.timeout_seconds,
                   "Seconds to wait for everything to be ready (30)")
        ->check(CLI::Range(1, 3600))
        ->option_text("S");
    up->add_flag("--foreground", up_.foreground,
                 "Stay, report what happens, and end the mesh on Ctrl-C");
    up->add_flag("-q,--quiet", up_.quiet, "No progress lines");
    Example(up, "weftctl dev up tools/demo/bookinfo.yaml");
    Do(up, [this] { return DevUp(up_); });

    CLI::App* down =
        dev->add_subcommand("down", "End everything that `up` started, and remove its state");
    AddMesh(down, &mesh_);
    Example(down, "weftctl dev down");
    Do(down, [this] { return DevDown(mesh_); });

    CLI::App* status =
        dev->add_subcommand("status", "What runs, since when, how often it was started again");
    AddMesh(status, &mesh_);
    AddOutput(status, &format_);
    Example(status, "weftctl dev status -o json");
    Do(status, [this] { return DevStatus(mesh_, format_); });

    CLI::App* logs = dev->add_subcommand("logs", "What the processes wrote");
    logs->add_option("process", logs_.process,
                     "As in `dev status`: reviews-v1-1, reviews-v1-1/sidecar, controller, "
                     "supervisor; reviews is all of them");
    logs->add_option("--state", logs_.mesh.state, "State directory")->option_text("DIR");
    logs->add_option("--mesh", logs_.mesh.name, "Which mesh, when several are up here")
        ->option_text("NAME");
    logs->add_flag("-f,--follow", logs_.follow, "Go on with new lines");
    logs->add_option("--tail", logs_.tail, "Lines of each to begin with (20)")
        ->check(CLI::Range(0, 1000000))
        ->option_text("N");
    Example(logs, "weftctl dev logs -f reviews-v1-1/sidecar");
    Do(logs, [this] { return DevLogs(logs_); });

    CLI::App* watch =
        dev->add_subcommand("watch", "Requests a second and success rate of each service, live");
    AddMesh(watch, &watch_.mesh);
    watch
        ->add_option("--traffic", watch_.traffic,
                     "Also send this many requests a second to the first workload")
        ->check(CLI::Range(0.0, 1000.0))
        ->option_text("N");
    watch->add_option("--to", watch_.entry, "Workload that gets the traffic")->option_text("NAME");
    watch->add_option("--path", watch_.path, "Path of the traffic (/productpage)")
        ->option_text("PATH");
    watch->add_option("--seconds", watch_.seconds, "End after so many (until Ctrl-C)")
        ->option_text("N");
    Example(watch, "weftctl dev watch --traffic 20");
    Do(watch, [this] { return DevWatch(watch_); });

    CLI::App* supervise =
        dev->add_subcommand("supervise", "")->group("");  // Started by `up`; not for people.
    supervise->add_option("--state", supervised_)->required();
    Do(supervise, [this] { return DevSupervise(supervised_); });
  }

  void AddResources() {
    CLI::App* apply = app_.add_subcommand(
        "apply", "Put resources into effect; they are written into the configuration directory");
    apply->add_option("-f,--file", file_.files, "Files, folders, or - for standard input")
        ->required()
        ->option_text("FILE");
    apply->add_flag("--dry-run", file_.dry_run, "Say what would be done, and do nothing");
    apply
        ->add_option("--owner-file", file_.owner_file,
                     "Where new resources are written, below the configuration directory")
        ->option_text("PATH");
    AddNamespace(apply, &file_.ns);
    AddOutput(apply, &file_.format);
    AddController(apply, &file_.controller);
    Example(apply, "weftctl apply -f tools/demo/examples/reviews-50-v1-50-v3.yaml");
    Do(apply, [this] { return Apply(file_); });

    CLI::App* validate =
        app_.add_subcommand("validate", "Check resources as `apply` would, and change nothing");
    validate->add_option("-f,--file", file_.files, "Files, folders, or - for standard input")
        ->required()
        ->option_text("FILE");
    AddNamespace(validate, &file_.ns);
    AddOutput(validate, &file_.format);
    AddController(validate, &file_.controller);
    Example(validate, "weftctl validate -f tools/demo/config");
    Do(validate, [this] { return Validate(file_); });

    CLI::App* get = app_.add_subcommand("get", "Show resources");
    get->add_option(
        "kind", get_.kind,
        "virtualservice, vs, destinationrule, ...; all kinds when left out, or \"all\"");
    get->add_option("name", get_.name, "Only this one");
    get->add_flag("-A,--all-namespaces", get_.all_namespaces, "Of all namespaces");
    AddNamespace(get, &get_.ns);
    AddOutput(get, &get_.format);
    AddController(get, &get_.controller);
    Example(get, "weftctl get virtualservice reviews -o yaml");
    Do(get, [this] { return Get(get_); });

    CLI::App* del =
        app_.add_subcommand("delete", "Remove resources from the configuration directory");
    del->add_option("kind", delete_.kind, "virtualservice, vs, destinationrule, ...");
    del->add_option("name", delete_.name, "Which one");
    del->add_option("-f,--file", delete_.files, "What these files name")->option_text("FILE");
    del->add_flag("--dry-run", delete_.dry_run, "Say what would be done, and do nothing");
    del->add_flag("--ignore-not-found", delete_.ignore_not_found,
                  "What is not there is no mistake");
    AddNamespace(del, &delete_.ns);
    AddController(del, &delete_.controller);
    Example(del, "weftctl delete virtualservice reviews");
    Do(del, [this] { return Delete(delete_); });
  }

  void AddProxy() {
    CLI::App* status = app_.add_subcommand(
        "proxy-status", "Which configuration each proxy has, and what it refused");
    status->add_option("proxy", status_.node, "Only this one: its name, name.namespace or node id");
    AddOutput(status, &status_.format);
    AddController(status, &status_.controller);
    Example(status, "weftctl proxy-status");
    Do(status, [this] { return ProxyStatus(status_); });

    CLI::App* config =
        app_.add_subcommand("proxy-config", "What one proxy runs with, from its admin port");
    config->require_subcommand(1);
    static constexpr struct {
      const char* name;
      ConfigPart part;
      const char* what;
      const char* example;
    } kParts[] = {{"listener", ConfigPart::kListener, "Where it listens",
                   "weftctl proxy-config listener reviews-v1-1"},
                  {"route", ConfigPart::kRoute, "Where requests go",
                   "weftctl proxy-config route productpage --filter reviews"},
                  {"cluster", ConfigPart::kCluster, "The services that it knows",
                   "weftctl proxy-config cluster productpage"},
                  {"endpoint", ConfigPart::kEndpoint, "The instances of those services",
                   "weftctl proxy-config endpoint --admin 127.0.2.1:15000"}};
    for (const auto& part : kParts) {
      CLI::App* command = config->add_subcommand(part.name, part.what);
      command->add_option("proxy", proxy_.proxy, "Its name, as in `dev status`");
      command->add_option("--admin", proxy_.admin, "Its admin address, in place of a name")
          ->option_text("HOST:PORT");
      command->add_option("--filter", proxy_.filter, "Only what has this text in its name")
          ->option_text("TEXT");
      command->add_option("--state", proxy_.state, "State directory of the mesh")
          ->option_text("DIR");
      command->add_option("--mesh", proxy_.mesh, "Which mesh, when several are up here")
          ->option_text("NAME");
      AddOutput(command, &proxy_.format);
      Example(command, part.example);
      Do(command, [this, which = part.part] { return ProxyConfig(which, proxy_); });
    }
  }

  CLI::App app_{
      "weftctl runs a mesh on this machine, changes its routing, and looks into its proxies.",
      "weftctl"};
  int code_ = 0;
  UpOptions up_;
  MeshChoice mesh_;
  Format format_ = Format::kTable;
  LogsOptions logs_;
  WatchOptions watch_;
  std::string supervised_;
  FileOptions file_;
  GetOptions get_;
  DeleteOptions delete_;
  ProxyStatusOptions status_;
  ProxyConfigOptions proxy_;
};

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::Program().Run(argc, argv); }
