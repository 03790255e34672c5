#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/graph/graph.h"
#include "controlplane/model/object.h"
#include "controlplane/model/policy.h"
#include "controlplane/model/resource.h"
#include "controlplane/model/service.h"
#include "controlplane/translate/config_state.h"
#include "controlplane/translate/mesh_options.h"
#include "controlplane/translate/proxy_key.h"

namespace weft::ctl {

// What is generated: one resource, or (without a name) the names of a type and scope. Equal ids are equal requests: the
// scope stands for the proxy.
struct ResourceRequest {
  ResourceId id;
  std::shared_ptr<const ProxyKey> proxy;  // for scopes of one proxy

  bool operator==(const ResourceRequest& o) const { return id == o.id; }
  bool operator<(const ResourceRequest& o) const { return id < o.id; }
  template <typename H>
  friend H AbslHashValue(H h, const ResourceRequest& r) {
    return H::combine(std::move(h), r.id);
  }
};

// The same for what is derived once a proxy: neither type nor name.
ResourceRequest ProxyRequest(const ResourceRequest& request);

struct HostAndPortKey {
  std::string host;
  uint32_t port = 0;

  auto operator<=>(const HostAndPortKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const HostAndPortKey& k) {
    return H::combine(std::move(h), k.host, k.port);
  }
};

using HostList = std::vector<std::string>;

// A listener of one proxy, as far as others need to know.
struct ListenerShape {
  enum class Kind { kInbound, kForwardProxy, kService, kPort };
  Kind kind = Kind::kInbound;
  std::string address;
  uint32_t port = 0;
  std::string route;  // name of the route configuration; empty: inline

  std::string name() const { return address + "_" + std::to_string(port); }
  bool operator==(const ListenerShape&) const = default;
};
using ListenerShapes = std::map<std::string, ListenerShape>;  // by name

// The graph of the control plane, read from top to bottom: objects in, by what they are found, the model of the mesh,
// resources out. Generators (one a resource type) read the model through a Reader and nothing else.
// Owner: ConfigEngine. Thread: one at a time, see graph.h. Destroyed when: the engine is.
class MeshGraph {
 public:
  explicit MeshGraph(MeshOptions mesh);

  // The version of an object that is in effect.
  void Put(const Object& object);
  void Erase(const ObjectKey& key);

  const MeshOptions& mesh() const { return mesh_; }

 private:
  const MeshOptions mesh_;

 public:
  Graph graph;

  // --- Objects
  Input<ObjectKey, std::shared_ptr<const std::vector<Service>>> service_entries;
  Input<ObjectKey, std::shared_ptr<const Workload>> workload_entries;
  Input<ObjectKey, std::shared_ptr<const RouteRules>> virtual_services;
  Input<ObjectKey, std::shared_ptr<const DestinationPolicy>> destination_rules;

  // --- By what they are found
  template <typename By, typename V>
  using By_ = Index<By, ObjectKey, std::shared_ptr<const V>>;
  By_<std::string, std::vector<Service>> services_by_host;
  By_<uint32_t, std::vector<Service>> services_by_port;  // 0: all
  // "namespace label=value" of the first label of the selector; addresses of endpoints that are written in the entry.
  By_<std::string, std::vector<Service>> services_by_instance;
  By_<std::string, Workload> workloads_by_label;  // "namespace label=value", each label
  By_<std::string, Workload> workloads_by_address;
  By_<std::string, RouteRules> rules_by_host;
  By_<std::string, DestinationPolicy> policies_by_host;

  // --- The model
  // The service of exactly that host; null: none.
  Derivation<std::string, std::shared_ptr<const Service>> service;
  // Hosts with that port, sorted; port 0: all hosts.
  Derivation<uint32_t, std::shared_ptr<const HostList>> hosts_on_port;
  // What holds for the service of that host; null: nothing was said.
  Derivation<std::string, std::shared_ptr<const RouteRules>> rules;
  Derivation<std::string, std::shared_ptr<const DestinationPolicy>> policy;
  // Instances of the service of that host.
  Derivation<std::string, std::shared_ptr<const std::vector<Workload>>> instances;

  // Ports on which a proxy takes requests for its program, sorted; and all its listeners. By ProxyRequest.
  Derivation<ResourceRequest, std::shared_ptr<const std::vector<uint32_t>>> inbound_ports;
  Derivation<ResourceRequest, std::shared_ptr<const ListenerShapes>> listeners;

  // --- Resources
  // Routes of one service's port, serialized as the field `routes` of a virtual host: the same in all route
  // configurations that have it.
  Derivation<HostAndPortKey, std::shared_ptr<const std::string>> virtual_host_routes;
  Derivation<ResourceRequest, ResourcePtr> resource;
  Derivation<ResourceRequest, std::shared_ptr<const NameList>> names;
};

// "default app=reviews"
std::string LabelKey(const std::string& ns, const std::string& label, const std::string& value);

// The service to which `host` leads: its own, or one with a wildcard that covers it. Null: none.
std::shared_ptr<const Service> ServiceFor(const std::string& host, Reader& reader, const MeshGraph& mesh);

}  // namespace weft::ctl
