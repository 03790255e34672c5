#include "tools/weftctl/dev/state.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "api/cpp/json.h"
#include "api/cpp/yaml.h"
#include "tools/weftctl/dev/files.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using weft::dev::v1::MeshState;
using weft::dev::v1::ProcessRef;

constexpr const char* kMark = ".weft-dev";

std::string MarkOf(const std::string& directory) { return directory + "/" + kMark; }

}  // namespace

ProcessId ToId(const ProcessRef& ref) { return {ref.pid(), ref.start_time()}; }

ProcessRef ToRef(const ProcessId& id) {
  ProcessRef out;
  out.set_pid(id.pid);
  out.set_start_time(id.start_time);
  return out;
}

absl::Status ReadMessage(const std::string& path, google::protobuf::Message* message) {
  std::string text;
  if (absl::Status status = ReadFile(path, &text); !status.ok()) return status;
  std::vector<api::SourceError> errors;
  const auto documents = api::ParseDocuments(text, path, &errors);
  // Warned, not refused: the folder may be of another version's making.
  if (documents.size() != 1 ||
      !documents[0].ReadInto(message, {api::UnknownFields::kWarn}, &errors)) {
    return absl::DataLossError(errors.empty() ? path + ": not one document"
                                              : api::ToString(errors));
  }
  return absl::OkStatus();
}

absl::Status WriteMessage(const std::string& path, const google::protobuf::Message& message) {
  return WriteFileAtomically(path, api::MessageToJson(message) + "\n");
}

StateView LookAtState(const std::string& directory) {
  StateView out;
  std::error_code error;
  if (!fs::exists(directory, error) ||
      (fs::is_directory(directory, error) && fs::is_empty(directory, error)))
    return out;
  ProcessRef starter;
  if (!fs::is_directory(directory, error) || !fs::exists(MarkOf(directory), error)) {
    out.kind = StateKind::kForeign;
    return out;
  }
  const bool has_state = ReadMessage(directory + "/state.json", &out.state).ok();
  if (has_state && IsAlive(ToId(out.state.supervisor()))) {
    out.kind = StateKind::kRunning;
  } else if (ReadMessage(MarkOf(directory), &starter).ok() && IsAlive(ToId(starter)) &&
             !has_state) {
    out.kind = StateKind::kStarting;
    out.starter = ToId(starter);
  } else {
    out.kind = StateKind::kStale;
  }
  return out;
}

absl::Status ClaimState(const std::string& directory) {
  std::error_code error;
  const fs::path target(directory);
  fs::create_directories(target.parent_path(), error);
  if (error)
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make ", target.parent_path().string(), ": ", error.message()));
  const std::string draft = absl::StrCat(directory, ".new.", getpid());
  if (mkdir(draft.c_str(), 0700) != 0) return absl::ErrnoToStatus(errno, "cannot make " + draft);
  absl::Status status = WriteMessage(MarkOf(draft), ToRef(Self()));
  // rename(2) puts a folder in place of nothing or of an empty folder, and of nothing else.
  if (status.ok() && rename(draft.c_str(), directory.c_str()) != 0)
    status = absl::ErrnoToStatus(errno, "cannot make " + directory);
  if (!status.ok()) fs::remove_all(draft, error);
  return status;
}

int EndProcesses(const MeshState& state) {
  std::vector<ProcessId> living;
  for (const auto& process : state.processes()) {
    if (IsAlive(ToId(process.process()))) living.push_back(ToId(process.process()));
  }
  for (const ProcessId& id : living) Signal(id, SIGTERM, true);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (const ProcessId& id : living) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (WaitGone(id, std::max(left, std::chrono::milliseconds(0)))) continue;
    Signal(id, SIGKILL, true);
    WaitGone(id, std::chrono::seconds(2));
  }
  return static_cast<int>(living.size());
}

absl::Status RemoveState(const std::string& directory) {
  std::error_code error;
  if (!fs::exists(MarkOf(directory), error)) {
    return absl::FailedPreconditionError(directory +
                                         " was not made by weftctl dev up; it is left alone");
  }
  fs::remove_all(directory, error);
  if (error)
    return absl::InternalError(absl::StrCat("cannot remove ", directory, ": ", error.message()));
  const fs::path above = fs::path(directory).parent_path();
  if (above.filename() == ".weft") fs::remove(above, error);  // Only when it is empty.
  return absl::OkStatus();
}

std::vector<std::string> FindStates() {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::path folder = fs::current_path(error); !folder.empty(); folder = folder.parent_path()) {
    if (fs::is_directory(folder / ".weft", error)) {
      for (const auto& entry : fs::directory_iterator(folder / ".weft", error)) {
        if (fs::exists(entry.path() / kMark, error)) out.push_back(entry.path().string());
      }
      break;
    }
    if (folder == folder.root_path()) break;
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace weft::cli
