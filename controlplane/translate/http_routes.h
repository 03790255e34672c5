#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/translate/mesh_graph.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace weft::ctl {

// Routes for requests to that port of that service: what its VirtualService says, else one to its default cluster. Pure.
std::vector<envoy::config::route::v3::Route> HttpRoutesFor(const std::string& host, uint32_t port, Reader& reader,
                                                           const MeshGraph& mesh);

}  // namespace weft::ctl
