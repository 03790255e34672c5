#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/weftctl/dev/addresses.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/dev/files.h"
#include "tools/weftctl/dev/launch.h"
#include "tools/weftctl/dev/mesh.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/dev/supervisor.h"
#include "tools/weftctl/http_get.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using weft::dev::v1::MeshState;
using weft::dev::v1::Plan;
using weft::dev::v1::ProcessState;
using Clock = std::chrono::steady_clock;

volatile sig_atomic_t asked_to_end = 0;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One line of progress, to standard error.
void Say(const UpOptions& options, Clock::time_point start, const std::string& line) {
  if (options.quiet) return;
  const std::string stamp =
      absl::StrCat("[", absl::SixDigits(std::round(Since(start) * 10) / 10), "s]");
  std::fprintf(stderr, "%s %s\n", Paint(Color::kDim, stamp, ColorsOn(stderr)).c_str(),
               line.c_str());
}

// The last lines of a log, indented.
std::string Tail(const std::string& path, size_t lines) {
  std::string text;
  if (!ReadFile(path, &text).ok() || text.empty()) return "  (its log is empty: " + path + ")";
  size_t at = text.size() - (text.back() == '\n' ? 1 : 0);
  for (size_t i = 0; i < lines && at != std::string::npos && at > 0; ++i)
    at = text.rfind('\n', at - 1);
  text = at == std::string::npos || at == 0 ? text : text.substr(at + 1);
  std::string out = "its log, " + path + ", ends with:";
  for (size_t start = 0; start < text.size();) {
    size_t end = std::min(text.find('\n', start), text.size());
    absl::StrAppend(&out, "\n  ", text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

absl::Status WriteFiles(const std::string& state, const MeshPlan& mesh, const Plan& plan) {
  std::error_code error;
  for (const char* folder : {"/registry", "/logs", "/proxy"}) {
    fs::create_directories(state + folder, error);
    if (error)
      return absl::InternalError(
          absl::StrCat("cannot make ", state, folder, ": ", error.message()));
  }
  // The controller's socket is for its own user alone.
  if (mkdir((state + "/mgmt").c_str(), 0700) != 0)
    return absl::ErrnoToStatus(errno, "cannot make " + state + "/mgmt");
  for (const auto& [name, text] : RegistryFiles(mesh)) {
    if (auto status = WriteFileAtomically(state + "/registry/" + name, text); !status.ok())
      return status;
  }
  for (const Instance& instance : mesh.instances) {
    const std::string folder = state + "/proxy/" + instance.name;
    fs::create_directories(folder, error);
    if (auto status =
            WriteFileAtomically(folder + "/bootstrap.yaml", BootstrapYaml(mesh, instance));
        !status.ok())
      return status;
  }
  return WriteMessage(state + "/plan.json", plan);
}

// What is up and what is not yet, by asking.
struct Readiness {
  bool controller = false;
  int programs = 0, sidecars = 0;
  std::vector<std::string> waiting;  // Names of what is not ready.
};

Readiness AskAll(const MeshState& state, std::set<std::string>* ready) {
  Readiness out;
  const auto ask = [&](const std::string& name, const auto& test) {
    if (!ready->contains(name) && test()) ready->insert(name);
    if (!ready->contains(name)) out.waiting.push_back(name);
    return ready->contains(name);
  };
  const auto answers_ready = [](const std::string& address) {
    if (!TakesConnections(address)) return false;
    const auto reply = HttpGet(address, "/ready", milliseconds(500));
    return reply.ok() && reply->status == 200;
  };
  out.controller =
      ask("controller", [&] { return answers_ready(state.controller_admin_address()); });
  for (const auto& workload : state.workloads()) {
    const auto all_ports = [&](const std::string& host) {
      return std::all_of(workload.ports().begin(), workload.ports().end(), [&](uint32_t port) {
        return TakesConnections(absl::StrCat(host, ":", port));
      });
    };
    out.programs += ask(workload.name(), [&] { return all_ports(workload.program_address()); });
    out.sidecars += ask(workload.name() + "/sidecar", [&] {
      return answers_ready(workload.admin_address()) && all_ports(workload.sidecar_address());
    });
  }
  return out;
}

// Empty when everything became ready, else why not.
std::string WaitUntilReady(const UpOptions& options, const std::string& directory,
                           Clock::time_point start, const ProcessId& supervisor) {
  std::set<std::string> ready;
  std::map<std::string, uint32_t> restarts;
  std::string last;
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  for (;;) {
    if (asked_to_end) return "interrupted";
    if (!IsAlive(supervisor))
      return "the supervisor ended; " + Tail(directory + "/logs/supervisor.log", 5);
    MeshState state;
    if (!ReadMessage(directory + "/state.json", &state).ok()) {
      std::this_thread::sleep_for(milliseconds(5));
      if (Clock::now() > deadline) return "the supervisor wrote no " + directory + "/state.json";
      continue;
    }
    for (const auto& process : state.processes()) {
      if (process.restarts() <= restarts[process.name()]) continue;
      restarts[process.name()] = process.restarts();
      ready.erase(process.name());
      // Twice is no accident.
      if (process.restarts() >= 2)
        return absl::StrCat(process.name(), " keeps ending (", process.last_exit(), "); ",
                            Tail(process.log_file(), 8));
      Say(options, start,
          absl::StrCat(process.name(), ": ", process.last_exit(), "; it is started again"));
    }
    const Readiness now = AskAll(state, &ready);
    const int all = state.workloads_size();
    const std::string line =
        absl::StrCat("controller ", now.controller ? "ready" : "starting", ", programs ",
                     now.programs, "/", all, ", sidecars ", now.sidecars, "/", all);
    if (line != last) Say(options, start, line);
    last = line;
    if (now.waiting.empty()) return "";
    if (Clock::now() > deadline) {
      std::string out = absl::StrCat("not ready after ", options.timeout_seconds,
                                     " s: ", absl::StrJoin(now.waiting, ", "));
      for (const auto& process : state.processes()) {
        if (process.name() == now.waiting[0])
          absl::StrAppend(&out, "\n", process.name(), ": ", Tail(process.log_file(), 8));
      }
      return out;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
}

// Reports what happens to processes, until Ctrl-C or the supervisor's end.
void StayInForeground(const std::string& directory, const ProcessId& supervisor) {
  std::map<std::string, uint32_t> restarts;
  MeshState state;
  for (bool first = true; !asked_to_end && IsAlive(supervisor); first = false) {
    if (ReadMessage(directory + "/state.json", &state).ok()) {
      for (const auto& process : state.processes()) {
        uint32_t& known = restarts[process.name()];
        if (process.restarts() > known && !first) {
          Warn(absl::StrCat(process.name(), " ended by itself (", process.last_exit(),
                            ") and is started again; its log: ", process.log_file()));
        }
        known = process.restarts();
      }
    }
    std::this_thread::sleep_for(milliseconds(200));
  }
}

std::string StateDirectory(const UpOptions& options, const std::string& mesh) {
  const fs::path directory =
      options.state.empty() ? fs::path(".weft") / mesh : fs::path(options.state);
  std::string out = fs::absolute(directory).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

// False after an error message: the folder is somebody's.
bool MakeRoom(const std::string& directory, const StateView& view) {
  if (view.kind == StateKind::kForeign) {
    Fail(directory + " is not empty, and was not made by weftctl dev up",
         "Choose another folder with --state, or empty this one.");
    return false;
  }
  if (view.kind == StateKind::kStarting) {
    Fail(absl::StrCat("this mesh is being started by another weftctl (pid ", view.starter.pid, ")"),
         "Wait for it, or end it.");
    return false;
  }
  if (view.kind == StateKind::kStale) {
    const int ended = EndProcesses(view.state);
    Warn(
        absl::StrCat("the last run of this mesh did not end properly; cleaning up after it",
                     ended > 0 ? absl::StrCat(" (", ended, " processes were still running)") : ""));
    if (auto status = RemoveState(directory); !status.ok()) {
      Fail(status);
      return false;
    }
  }
  return true;
}

absl::StatusOr<ProcessId> StartSupervisor(const std::string& directory, bool foreground) {
  SpawnSpec spec;
  std::error_code error;
  spec.args = {fs::read_symlink("/proc/self/exe", error).string(), "dev", "supervise", "--state",
               directory};
  for (const auto& [name, value] : OwnEnvironment())
    spec.env.push_back(absl::StrCat(name, "=", value));
  spec.directory = directory;
  spec.log_file = directory + "/logs/supervisor.log";
  spec.new_session = !foreground;
  return Spawn(spec);
}

// Ends what was started, and removes the folder; the error that led here was printed.
int GiveUp(const std::string& directory, const ProcessId& supervisor) {
  Signal(supervisor, SIGTERM, false);
  WaitGone(supervisor, std::chrono::seconds(15));
  MeshState state;
  if (ReadMessage(directory + "/state.json", &state).ok()) EndProcesses(state);
  if (auto status = RemoveState(directory); !status.ok()) Warn(std::string(status.message()));
  return 1;
}

int AlreadyUp(const std::string& directory, const MeshState& state, const std::string& file) {
  std::fprintf(stderr, "mesh %s is already up (%s)\n", state.mesh().c_str(), directory.c_str());
  if (state.file() != fs::absolute(file).lexically_normal().string()) {
    Warn(absl::StrCat("it was started from ", state.file(), ", not from ", file));
  }
  WorkloadTable(state).Print(stdout);
  std::fprintf(stderr, "to see how it is: weftctl dev status; to end it: weftctl dev down\n");
  return 0;
}

// Reads the mesh file, and chooses addresses when they are to be chosen. False after error
// messages.
bool LoadMesh(const UpOptions& options, MeshPlan* mesh) {
  std::string text;
  if (auto status = ReadFile(options.file, &text); !status.ok()) {
    Fail(status, "Give the path of a mesh file, as in: weftctl dev up tools/demo/bookinfo.yaml");
    return false;
  }
  const bool choose = options.loopback == "auto";
  for (int n = 0; n < 250; ++n) {
    *mesh = {};
    std::vector<api::SourceError> errors;
    const MeshReadOptions read{choose ? absl::StrCat("127.", n) : options.loopback,
                               options.config_directory};
    const bool good = ReadMesh(text, options.file, read, mesh, &errors);
    if (good && choose && !TakenAddresses(WantedAddresses(*mesh)).empty()) continue;
    for (const auto& error : errors) std::fprintf(stderr, "%s\n", error.ToString().c_str());
    if (good) return true;
    Fail(absl::StrCat(options.file, " can't be used; nothing was started"),
         "Correct the lines above. Fields are explained in api/weft/dev/v1/mesh.proto.");
    return false;
  }
  Fail("no range from 127.0 to 127.249 is free for this mesh",
       "Does the file name addresses of its own that are in use (controller.xdsAddress)?");
  return false;
}

}  // namespace

Table WorkloadTable(const MeshState& state) {
  Table table({"NAME", "VERSION", "ADDRESS", "ADMIN", "SPIFFE ID"});
  table.AddRow(
      {"controller", "", state.xds_address() + " (xDS)", state.controller_admin_address(), ""});
  for (const auto& workload : state.workloads()) {
    std::vector<std::string> addresses;
    for (const uint32_t port : workload.ports())
      addresses.push_back(absl::StrCat(workload.sidecar_address(), ":", port));
    table.AddRow({Table::Cell(workload.name(), Color::kBold), workload.version(),
                  absl::StrJoin(addresses, ","), workload.admin_address(), workload.spiffe_id()});
  }
  return table;
}

int DevSupervise(const std::string& directory) {
  Plan plan;
  if (auto status = ReadMessage(directory + "/plan.json", &plan); !status.ok()) return Fail(status);
  return Supervisor(directory, std::move(plan)).Run();
}

int DevUp(const UpOptions& options) {
  const auto start = Clock::now();
  MeshPlan mesh;
  if (!LoadMesh(options, &mesh)) return 1;
  const std::string directory = StateDirectory(options, mesh.name);
  const StateView view = LookAtState(directory);
  if (view.kind == StateKind::kRunning) return AlreadyUp(directory, view.state, options.file);
  const std::string original_config = mesh.config_directory;
  if (options.copy_config) mesh.config_directory = directory + "/config";
  const auto plan =
      MakePlan(mesh, directory, ProgramFinder(ProgramFolders(options.bin)), OwnEnvironment());
  if (!plan.ok()) {
    return Fail(
        plan.status(),
        "Build them (bazel build //dataplane/app:weft-proxy //controlplane/app:weft-controller "
        "//tools/demo:bookinfo), or name their folder with --bin.");
  }
  if (plan->initial().management_socket().size() >= sizeof(sockaddr_un::sun_path)) {
    return Fail(absl::StrCat("the path of the state directory is too long for a socket in it: ",
                             plan->initial().management_socket()),
                absl::StrCat("The limit is ", sizeof(sockaddr_un::sun_path) - 1,
                             " bytes; choose a shorter one with --state."));
  }
  if (!MakeRoom(directory, view)) return 1;
  if (const auto taken = TakenAddresses(WantedAddresses(mesh)); !taken.empty()) {
    return Fail(absl::StrCat("addresses are not free; nothing was started\n       ",
                             absl::StrJoin(taken, "\n       ")),
                "Is another mesh up? `weftctl dev down` ends it; --loopback auto puts this one on "
                "other addresses.");
  }
  if (auto status = ClaimState(directory); !status.ok())
    return Fail(status, "Choose another folder with --state.");
  std::signal(SIGINT, [](int) { asked_to_end = 1; });
  std::signal(SIGTERM, [](int) { asked_to_end = 1; });
  if (options.copy_config) {
    std::error_code error;
    fs::copy(original_config, mesh.config_directory, fs::copy_options::recursive, error);
    if (error) {
      Fail(absl::StrCat("cannot copy ", original_config, " to ", mesh.config_directory, ": ",
                        error.message()));
      return GiveUp(directory, {});
    }
  }
  if (auto status = WriteFiles(directory, mesh, *plan); !status.ok()) {
    Fail(status);
    return GiveUp(directory, {});
  }
  Say(options, start,
      absl::StrCat("mesh ", mesh.name, ": a controller, ", mesh.instances.size(),
                   " programs, a sidecar for each"));
  const auto supervisor = StartSupervisor(directory, options.foreground);
  if (!supervisor.ok()) {
    Fail(supervisor.status());
    return GiveUp(directory, {});
  }
  if (const std::string why = WaitUntilReady(options, directory, start, *supervisor);
      !why.empty()) {
    Fail("the mesh did not come up: " + why, "Everything that was started is ended again.");
    return GiveUp(directory, *supervisor);
  }
  Say(options, start, "everything is ready");
  WorkloadTable(plan->initial()).Print(stdout);
  std::fflush(stdout);
  if (!options.foreground) return 0;
  std::fprintf(stderr, "Ctrl-C ends the mesh\n");
  StayInForeground(directory, *supervisor);
  const bool asked = asked_to_end;
  if (!asked)
    Fail("the supervisor ended by itself; " + Tail(directory + "/logs/supervisor.log", 5));
  std::fprintf(stderr, "ending the mesh\n");
  const int code = GiveUp(directory, *supervisor);
  return asked ? 0 : code;
}

}  // namespace weft::cli
