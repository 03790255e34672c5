#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/graph/graph.h"
#include "controlplane/translate/mesh_graph.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/duration.pb.h"

// One generator a resource type. Pure: what they read is the request and, through the reader, the model. Null: there is
// no such resource. Names and shapes are contracts (docs: names).
namespace weft::ctl {

// listeners.cc: inbound ADDRESS_PORT, forward proxy ADDRESS_PORT, one a service, one a port.
ResourcePtr GenerateListener(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);
// routes.cc: "9080", "http_proxy", "reviews.default.svc.cluster.local:9080".
ResourcePtr GenerateRouteConfiguration(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);
std::shared_ptr<const std::string> GenerateVirtualHostRoutes(const HostAndPortKey& key, Reader& reader,
                                                             const MeshGraph& mesh);
// clusters.cc: "outbound|9080|v1|reviews.default.svc.cluster.local", "inbound|9080||", and endpoints of the former.
ResourcePtr GenerateCluster(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);
ResourcePtr GenerateEndpoints(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);
// names.cc: what exists, sorted. Scope "": names that all proxies have; scope of a proxy: its own.
NameList GenerateNames(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);

// listeners.cc, for MeshGraph::inbound_ports and listeners.
std::vector<uint32_t> FindInboundPorts(const ProxyKey& proxy, Reader& reader, const MeshGraph& mesh);
ListenerShapes FindListeners(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh);

// Version and bytes. `message` is of the resource's type.
ResourcePtr MakeResource(std::string name, std::string bytes);
ResourcePtr MakeResource(std::string name, const google::protobuf::Message& message);
// Any with deterministic bytes.
void PackInto(const google::protobuf::Message& message, google::protobuf::Any* any);
google::protobuf::Duration ToDuration(std::chrono::milliseconds duration);

}  // namespace weft::ctl
