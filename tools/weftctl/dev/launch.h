#pragma once

// What to run for a mesh: command lines, environments, log files.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/weftctl/dev/mesh.h"
#include "weft/dev/v1/state.pb.h"

namespace weft::cli {

// `first`, then where a program of this mesh may be: beside weftctl, and where Bazel puts them
// relative to it.
std::vector<std::string> ProgramFolders(std::vector<std::string> first);

// Finds a program: a name with a slash is a path (relative to `directory`), others are looked for
// in the folders, then PATH. Owner: the command `dev up`. Thread: its only one. Destroyed when: the
// plan is made.
class ProgramFinder {
 public:
  explicit ProgramFinder(std::vector<std::string> folders) : folders_(std::move(folders)) {}
  std::optional<std::string> Find(const std::string& name, const std::string& directory) const;
  // "a, b and PATH": where Find looked.
  std::string Places() const;

 private:
  std::vector<std::string> folders_;
};

// NAME -> value of this process's environment.
std::map<std::string, std::string> OwnEnvironment();

// The environment of a replica's program: `base`, what the mesh offers it (BIND_ADDRESS, PORT,
// <SERVICE>_HOSTNAME, <SERVICE>_SERVICE_PORT, http_proxy, ...), and what the mesh file says, which
// wins.
std::map<std::string, std::string> ProgramEnvironment(
    const MeshPlan& plan, const Instance& instance, const std::map<std::string, std::string>& base);

// The whole plan; `state_directory` is absolute. Errors (one a line): programs that are not there,
// unknown variables.
absl::StatusOr<weft::dev::v1::Plan> MakePlan(const MeshPlan& plan,
                                             const std::string& state_directory,
                                             const ProgramFinder& finder,
                                             const std::map<std::string, std::string>& environment);

}  // namespace weft::cli
