#include <algorithm>
#include <set>

#include "api/cpp/names.h"
#include "controlplane/translate/generators.h"

namespace weft::ctl {
namespace {

// Of clusters and of their endpoints.
void AddOutboundClusters(Reader& reader, const MeshGraph& mesh, std::set<std::string>& out) {
  for (const std::string& host : *reader.Get(mesh.hosts_on_port, uint32_t{0})) {
    const auto& service = reader.Get(mesh.service, host);
    const auto& policy = reader.Get(mesh.policy, host);
    for (const ServicePort& port : service->ports) {
      const auto number = static_cast<uint16_t>(port.number);
      out.insert(api::OutboundCluster(number, "", host));
      if (policy == nullptr) continue;
      for (const Subset& subset : policy->subsets) out.insert(api::OutboundCluster(number, subset.name, host));
    }
  }
}

}  // namespace

NameList GenerateNames(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  std::set<std::string> out;
  const bool shared = request.id.scope.empty();
  switch (request.id.type) {
    case ResourceType::kListener:
      if (shared) break;
      for (const auto& [name, shape] : *reader.Get(mesh.listeners, ProxyRequest(request))) out.insert(name);
      break;
    case ResourceType::kRoute:
      // Inbound routes are part of their listeners.
      if (shared) break;
      for (const auto& [name, shape] : *reader.Get(mesh.listeners, ProxyRequest(request))) {
        if (!shape.route.empty()) out.insert(shape.route);
      }
      break;
    case ResourceType::kCluster:
      if (shared) {
        AddOutboundClusters(reader, mesh, out);
      } else {
        for (uint32_t port : *reader.Get(mesh.inbound_ports, ProxyRequest(request))) {
          out.insert(api::InboundCluster(static_cast<uint16_t>(port)));
        }
      }
      break;
    case ResourceType::kEndpoint:
      if (shared) AddOutboundClusters(reader, mesh, out);
      break;
  }
  return {out.begin(), out.end()};
}

}  // namespace weft::ctl
