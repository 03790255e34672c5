#pragma once

// Texts that `weftctl dev up` writes: the registry that the controller reads, and a bootstrap a
// sidecar.

#include <map>
#include <string>

#include "absl/status/status.h"
#include "tools/weftctl/dev/mesh.h"

namespace weft::cli {

// File name (below <state>/registry) to text: one ServiceEntry a service, one WorkloadEntry a
// replica.
std::map<std::string, std::string> RegistryFiles(const MeshPlan& plan);

// Envoy v3 bootstrap in YAML: who the proxy is, where the controller is; everything else comes by
// delta ADS.
std::string BootstrapYaml(const MeshPlan& plan, const Instance& instance);

// Writes beside `path`, then renames: a reader sees the old text or the new one. Mode 0600.
absl::Status WriteFileAtomically(const std::string& path, const std::string& text);
// The whole file; an error says why not.
absl::Status ReadFile(const std::string& path, std::string* text);

}  // namespace weft::cli
