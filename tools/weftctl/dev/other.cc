// weftctl dev down, status, logs.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/cpp/json.h"
#include "api/cpp/suggest.h"
#include "api/cpp/yaml.h"
#include "google/protobuf/util/time_util.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/dev/files.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/http_get.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::TimeUtil;
using weft::dev::v1::MeshState;
using weft::dev::v1::ProcessState;

constexpr const char* kStartOne =
    "Start one: weftctl dev up FILE, as in: weftctl dev up tools/demo/bookinfo.yaml";

double SecondsSince(const google::protobuf::Timestamp& time) {
  return TimeUtil::DurationToMilliseconds(TimeUtil::GetCurrentTime() - time) / 1000.0;
}

// The name of the mesh in a mesh file, read leniently: it may be broken in other places.
std::string MeshNameOf(const std::string& file) {
  std::string text;
  std::vector<api::SourceError> errors;
  if (!ReadFile(file, &text).ok()) return "";
  const auto documents = api::ParseDocuments(text, file, &errors);
  if (!documents.empty()) {
    if (const auto name = documents[0].ScalarAt("name")) return *name;
  }
  return fs::path(file).stem().string();
}

struct Shown {
  std::string state;
  Color color;
};

// A process as it is now, whatever state.json says.
Shown Describe(const MeshState& mesh, const ProcessState& process) {
  if (process.state() == ProcessState::RUNNING) {
    if (!IsAlive(ToId(process.process()))) return {"gone", Color::kRed};
    bool ready = false;
    if (process.kind() == ProcessState::CONTROLLER) {
      const auto reply =
          HttpGet(mesh.controller_admin_address(), "/ready", std::chrono::milliseconds(500));
      ready = reply.ok() && reply->status == 200;
    }
    for (const auto& workload : mesh.workloads()) {
      if (workload.name() != process.workload()) continue;
      if (process.kind() == ProcessState::SIDECAR) {
        const auto reply =
            HttpGet(workload.admin_address(), "/ready", std::chrono::milliseconds(500));
        ready = reply.ok() && reply->status == 200;
      } else {
        ready = std::all_of(workload.ports().begin(), workload.ports().end(), [&](uint32_t port) {
          return TakesConnections(absl::StrCat(workload.program_address(), ":", port));
        });
      }
    }
    return ready ? Shown{"ready", Color::kGreen} : Shown{"running, not ready", Color::kYellow};
  }
  if (process.state() == ProcessState::BACK_OFF) {
    const double wait = -SecondsSince(process.next_start());
    return {wait > 0 ? absl::StrCat("ended, again in ",
                                    absl::SixDigits(static_cast<int>(wait * 10) / 10.0), "s")
                     : "ended, starting",
            Color::kRed};
  }
  return {process.state() == ProcessState::WAITING ? "waiting" : "stopped", Color::kDim};
}

// A log file that is read as it grows.
class LogReader {
 public:
  LogReader(std::string name, std::string path) : name_(std::move(name)), path_(std::move(path)) {}

  // Goes to where the last `lines` begin.
  void SkipTo(int lines) {
    std::string text;
    if (!ReadFile(path_, &text).ok()) return;
    size_t at = text.size();
    if (at > 0 && text[at - 1] == '\n') --at;
    for (int i = 0; i < lines && at > 0 && at != std::string::npos; ++i)
      at = text.rfind('\n', at - 1);
    position_ = at == std::string::npos || at == 0 || text.empty() ? 0 : at + 1;
    if (lines == 0) position_ = text.size();
  }

  // Prints whole lines that are new; with a name in front when `named`.
  bool Print(bool named, size_t width) {
    std::ifstream in(path_, std::ios::binary);
    in.seekg(0, std::ios::end);
    if (!in || in.tellg() < static_cast<std::streamoff>(position_)) position_ = 0;  // It was cut.
    in.seekg(position_);
    std::string line;
    bool any = false;
    while (std::getline(in, line) && !in.eof()) {
      position_ += line.size() + 1;
      if (named) {
        std::string name = name_;
        name.resize(std::max(width, name.size()), ' ');
        std::printf("%s  ", Paint(Color::kDim, name, ColorsOn(stdout)).c_str());
      }
      std::printf("%s\n", line.c_str());
      any = true;
    }
    if (any) std::fflush(stdout);
    return any;
  }

 private:
  const std::string name_, path_;
  size_t position_ = 0;
};

}  // namespace

std::string ChooseState(const MeshChoice& choice) {
  if (!choice.state.empty()) {
    std::string directory = fs::absolute(choice.state).lexically_normal().string();
    while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
    const StateKind kind = LookAtState(directory).kind;
    if (kind == StateKind::kAbsent || kind == StateKind::kForeign) {
      Fail("no mesh has its state in " + directory, kStartOne);
      return "";
    }
    return directory;
  }
  const std::vector<std::string> states = FindStates();
  std::vector<std::string> names;
  for (const auto& state : states) names.push_back(fs::path(state).filename().string());
  if (states.empty()) {
    Fail("no mesh is running here (there is no .weft folder in this folder or above)", kStartOne);
    return "";
  }
  if (choice.name.empty()) {
    if (states.size() == 1) return states[0];
    Fail("several meshes are here: " + absl::StrJoin(names, ", "),
         "Say which: weftctl dev status " + names[0]);
    return "";
  }
  std::error_code error;
  const std::string wanted =
      fs::is_regular_file(choice.name, error) ? MeshNameOf(choice.name) : choice.name;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == wanted) return states[i];
  }
  const std::string near = api::Nearest(wanted, names);
  Fail(absl::StrCat("no mesh \"", wanted, "\" is here",
                    near.empty() ? "" : absl::StrCat(" (did you mean ", near, "?)")),
       "These are: " + absl::StrJoin(names, ", "));
  return "";
}

int DevDown(const MeshChoice& choice) {
  const std::string directory = ChooseState(choice);
  if (directory.empty()) return 1;
  StateView view = LookAtState(directory);
  if (view.kind == StateKind::kStarting) {
    Signal(view.starter, SIGTERM, false);
    if (!WaitGone(view.starter, std::chrono::seconds(20))) {
      return Fail(absl::StrCat("weftctl dev up (pid ", view.starter.pid,
                               ") is starting this mesh, and does not end"),
                  "Try again in a moment.");
    }
    view = LookAtState(directory);
    if (view.kind == StateKind::kAbsent) return 0;
  }
  const std::string mesh =
      view.state.mesh().empty() ? fs::path(directory).filename().string() : view.state.mesh();
  if (view.kind == StateKind::kRunning) {
    const ProcessId supervisor = ToId(view.state.supervisor());
    Signal(supervisor, SIGTERM, false);
    if (!WaitGone(supervisor, std::chrono::seconds(20))) {
      Warn("the supervisor does not end; killing it");
      Signal(supervisor, SIGKILL, false);
      WaitGone(supervisor, std::chrono::seconds(2));
    }
    MeshState last;
    if (ReadMessage(directory + "/state.json", &last).ok()) view.state = last;
  } else {
    Warn("the supervisor of this mesh had ended before; cleaning up after it");
  }
  EndProcesses(view.state);
  if (auto status = RemoveState(directory); !status.ok()) return Fail(status);
  std::fprintf(stderr, "mesh %s is down; %s is removed\n", mesh.c_str(), directory.c_str());
  return 0;
}

int DevStatus(const MeshChoice& choice, Format format) {
  const std::string directory = ChooseState(choice);
  if (directory.empty()) return 1;
  const StateView view = LookAtState(directory);
  if (view.kind == StateKind::kStarting)
    return Fail("the mesh is being started; ask again in a moment");
  if (format == Format::kJson) {
    std::printf("%s\n", api::MessageToJson(view.state).c_str());
  } else if (format == Format::kYaml) {
    std::printf("%s", api::MessageToYaml(view.state).c_str());
  } else {
    Table table({"PROCESS", "STATE", "PID", "RESTARTS", "FOR", "LAST END"});
    for (const auto& process : view.state.processes()) {
      const Shown shown = Describe(view.state, process);
      table.AddRow({Table::Cell(process.name(), Color::kBold),
                    Table::Cell(shown.state, shown.color),
                    process.has_process() ? absl::StrCat(process.process().pid()) : "-",
                    Table::Cell(absl::StrCat(process.restarts()),
                                process.restarts() > 0 ? Color::kYellow : Color::kNone),
                    Age(SecondsSince(process.since())), process.last_exit()});
    }
    std::printf("mesh %s, up for %s, configuration in %s\n\n", view.state.mesh().c_str(),
                Age(SecondsSince(view.state.started())).c_str(),
                view.state.config_directory().c_str());
    table.Print(stdout);
  }
  if (view.kind == StateKind::kStale) {
    return Fail("the supervisor of this mesh has ended, and its processes with it",
                "weftctl dev down cleans up; weftctl dev up starts anew.");
  }
  return 0;
}

int DevLogs(const LogsOptions& options) {
  const std::string directory = ChooseState(options.mesh);
  if (directory.empty()) return 1;
  const StateView view = LookAtState(directory);
  std::vector<LogReader> readers;
  std::vector<std::string> names{"supervisor"};
  size_t width = 0;
  const auto add = [&](const std::string& name, const std::string& path) {
    // "reviews" is every process of every version; "reviews-v1-1" the program;
    // "reviews-v1-1/sidecar" its sidecar.
    const std::string& wanted = options.process;
    const bool chosen = wanted.empty() || name == wanted ||
                        (name.starts_with(wanted + "-") && wanted.find('/') == std::string::npos);
    if (!chosen) return;
    readers.emplace_back(name, path);
    width = std::max(width, name.size());
  };
  add("supervisor", directory + "/logs/supervisor.log");
  for (const auto& process : view.state.processes()) {
    names.push_back(process.name());
    add(process.name(), process.log_file());
  }
  if (readers.empty()) {
    const std::string near = api::Nearest(options.process, names);
    return Fail(absl::StrCat("there is no process \"", options.process, "\"",
                             near.empty() ? "" : absl::StrCat(" (did you mean ", near, "?)")),
                "These are: " + absl::StrJoin(names, ", "));
  }
  const bool named = readers.size() > 1;
  for (LogReader& reader : readers) {
    reader.SkipTo(options.tail);
    reader.Print(named, width);
  }
  while (options.follow) {
    for (LogReader& reader : readers) reader.Print(named, width);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::error_code error;
    if (!fs::exists(directory, error)) break;  // `down` took it away.
  }
  return 0;
}

}  // namespace weft::cli
