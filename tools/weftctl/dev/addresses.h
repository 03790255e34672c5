#pragma once

// Whether the addresses of a mesh are free, and if not, who has them.

#include <string>
#include <vector>

#include "tools/weftctl/dev/mesh.h"

namespace weft::cli {

struct WantedAddress {
  std::string host;
  uint16_t port;
  std::string who;     // "the controller (xDS)", "the sidecar of reviews-v1-1 (admin)"
  std::string remedy;  // What to change in the mesh file, if anything.
};

// Everything that a mesh is going to listen on.
std::vector<WantedAddress> WantedAddresses(const MeshPlan& plan);

// One line for each that can't be had: "127.0.0.1:15010, wanted by the controller (xDS), is in use
// by weft-controller (pid 12)".
std::vector<std::string> TakenAddresses(const std::vector<WantedAddress>& wanted);

}  // namespace weft::cli
