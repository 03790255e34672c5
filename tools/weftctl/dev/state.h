#pragma once

// The state directory of a local mesh: where it is, whose it is, what it says.
//   <state>/.weft-dev     the mark: this folder was made by `weftctl dev up`, and by which process
//   <state>/plan.json     what to run; state.json: what runs (weft/dev/v1/state.proto)
//   <state>/registry/     services and workloads, for the controller;  mgmt/  its socket
//   <state>/proxy/NAME/   bootstrap and data of a sidecar;             logs/  one a process

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/weftctl/process.h"
#include "weft/dev/v1/state.pb.h"

namespace weft::cli {

ProcessId ToId(const weft::dev::v1::ProcessRef& ref);
weft::dev::v1::ProcessRef ToRef(const ProcessId& id);

// Reads a state.proto message from JSON.
absl::Status ReadMessage(const std::string& path, google::protobuf::Message* message);
absl::Status WriteMessage(const std::string& path, const google::protobuf::Message& message);

enum class StateKind {
  kAbsent,    // No such folder, or an empty one.
  kForeign,   // A folder with other things in it.
  kStarting,  // Another `up` is at it.
  kRunning,   // A supervisor lives.
  kStale,     // What a crash left: nobody looks after it.
};

struct StateView {
  StateKind kind = StateKind::kAbsent;
  weft::dev::v1::MeshState state;  // When kRunning or kStale, as far as it could be read.
  ProcessId starter;               // When kStarting.
};
StateView LookAtState(const std::string& directory);

// Makes the folder, all at once: of two that try at the same time, one gets it.
absl::Status ClaimState(const std::string& directory);
// Ends every process that `state` names and that still lives: first SIGTERM, then SIGKILL. Returns
// how many there were.
int EndProcesses(const weft::dev::v1::MeshState& state);
// Removes a folder that carries the mark, and the folder above it when that is an empty `.weft`.
absl::Status RemoveState(const std::string& directory);

// All state directories below `.weft` in the working directory or the nearest folder above that has
// one.
std::vector<std::string> FindStates();

}  // namespace weft::cli
