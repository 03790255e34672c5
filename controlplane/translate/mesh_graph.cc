#include "controlplane/translate/mesh_graph.h"

#include <algorithm>
#include <set>
#include <utility>

#include "controlplane/ingest/object_store.h"
#include "controlplane/model/convert.h"
#include "controlplane/model/hosts.h"
#include "controlplane/translate/generators.h"
#include "dataplane/base/strings.h"

namespace weft::ctl {
namespace {

using Services = std::shared_ptr<const std::vector<Service>>;

std::vector<std::string> InstanceKeys(const std::vector<Service>& services) {
  // All services of one entry have the same instances.
  const Service& service = services.front();
  std::vector<std::string> out;
  if (!service.selector.empty()) {
    const auto& [label, value] = *service.selector.begin();
    out.push_back(LabelKey(service.ns, label, value));
  }
  for (const Workload& workload : service.inline_workloads) {
    out.insert(out.end(), workload.addresses.begin(), workload.addresses.end());
  }
  return out;
}

std::shared_ptr<const Service> FindService(const std::string& host, Reader& reader, const MeshGraph& mesh) {
  const ObjectKey* key =
      Preferred(reader.Find(mesh.services_by_host, host), NamespaceOfHost(host, mesh.mesh().domain_suffix));
  if (key == nullptr) return nullptr;
  for (const Service& service : **reader.Get(mesh.service_entries, *key)) {
    if (service.host == host) return std::make_shared<const Service>(service);
  }
  return nullptr;
}

std::shared_ptr<const HostList> FindHosts(uint32_t port, Reader& reader, const MeshGraph& mesh) {
  std::set<std::string> hosts;
  for (const ObjectKey& key : reader.Find(mesh.services_by_port, port)) {
    for (const Service& candidate : **reader.Get(mesh.service_entries, key)) {
      // Of several entries for a host one counts.
      const auto& service = reader.Get(mesh.service, candidate.host);
      if (port == 0 || service->FindPort(port) != nullptr) hosts.insert(candidate.host);
    }
  }
  return std::make_shared<const HostList>(hosts.begin(), hosts.end());
}

// The most specific object for the host, the service's own namespace first.
template <typename V>
std::shared_ptr<const V> FindFor(const std::string& host, Reader& reader, const MeshGraph& mesh,
                                 const Index<std::string, ObjectKey, std::shared_ptr<const V>>& by_host,
                                 const Input<ObjectKey, std::shared_ptr<const V>>& input) {
  const auto& service = reader.Get(mesh.service, host);
  const std::string ns = service == nullptr ? "" : service->ns;
  for (const std::string& name : HostAndWildcards(host)) {
    if (const ObjectKey* key = Preferred(reader.Find(by_host, name), ns)) return *reader.Get(input, *key);
  }
  return nullptr;
}

std::shared_ptr<const std::vector<Workload>> FindInstances(const std::string& host, Reader& reader,
                                                           const MeshGraph& mesh) {
  std::vector<Workload> out;
  if (const auto& service = reader.Get(mesh.service, host); service != nullptr) {
    out = service->inline_workloads;
    if (!service->selector.empty()) {
      const auto& [label, value] = *service->selector.begin();
      for (const ObjectKey& key : reader.Find(mesh.workloads_by_label, LabelKey(service->ns, label, value))) {
        const Workload& workload = **reader.Get(mesh.workload_entries, key);
        if (Matches(service->selector, workload.labels)) out.push_back(workload);
      }
    }
  }
  return std::make_shared<const std::vector<Workload>>(std::move(out));
}

}  // namespace

std::string LabelKey(const std::string& ns, const std::string& label, const std::string& value) {
  return StrCat(ns, " ", label, "=", value);
}

ResourceRequest ProxyRequest(const ResourceRequest& request) {
  return {{ResourceType::kListener, request.id.scope, ""}, request.proxy};
}

std::shared_ptr<const Service> ServiceFor(const std::string& host, Reader& reader, const MeshGraph& mesh) {
  for (const std::string& name : HostAndWildcards(host)) {
    if (const auto& service = reader.Get(mesh.service, name)) return service;
  }
  return nullptr;
}

MeshGraph::MeshGraph(MeshOptions mesh)
    : mesh_(std::move(mesh)),
      service_entries(graph, "service_entries"),
      workload_entries(graph, "workload_entries"),
      virtual_services(graph, "virtual_services"),
      destination_rules(graph, "destination_rules"),
      services_by_host(graph, "services_by_host", service_entries,
                       [](const ObjectKey&, const Services& services) {
                         std::vector<std::string> out;
                         for (const Service& service : *services) out.push_back(service.host);
                         return out;
                       }),
      services_by_port(graph, "services_by_port", service_entries,
                       [](const ObjectKey&, const Services& services) {
                         std::vector<uint32_t> out{0};
                         for (const ServicePort& port : services->front().ports) out.push_back(port.number);
                         return out;
                       }),
      services_by_instance(graph, "services_by_instance", service_entries,
                           [](const ObjectKey&, const Services& services) { return InstanceKeys(*services); }),
      workloads_by_label(graph, "workloads_by_label", workload_entries,
                         [](const ObjectKey&, const std::shared_ptr<const Workload>& workload) {
                           std::vector<std::string> out;
                           for (const auto& [label, value] : workload->labels) {
                             out.push_back(LabelKey(workload->ns, label, value));
                           }
                           return out;
                         }),
      workloads_by_address(
          graph, "workloads_by_address", workload_entries,
          [](const ObjectKey&, const std::shared_ptr<const Workload>& workload) { return workload->addresses; }),
      rules_by_host(graph, "rules_by_host", virtual_services,
                    [](const ObjectKey&, const std::shared_ptr<const RouteRules>& rules) { return rules->hosts; }),
      policies_by_host(graph, "policies_by_host", destination_rules,
                       [](const ObjectKey&, const std::shared_ptr<const DestinationPolicy>& policy) {
                         return std::vector<std::string>{policy->host};
                       }),
      service(graph, "service",
              [this](const std::string& host, Reader& reader) { return FindService(host, reader, *this); }),
      hosts_on_port(graph, "hosts_on_port",
                    [this](const uint32_t& port, Reader& reader) { return FindHosts(port, reader, *this); }),
      rules(graph, "rules",
            [this](const std::string& host, Reader& reader) {
              return FindFor(host, reader, *this, rules_by_host, virtual_services);
            }),
      policy(graph, "policy",
             [this](const std::string& host, Reader& reader) {
               return FindFor(host, reader, *this, policies_by_host, destination_rules);
             }),
      instances(graph, "instances",
                [this](const std::string& host, Reader& reader) { return FindInstances(host, reader, *this); }),
      inbound_ports(graph, "inbound_ports",
                    [this](const ResourceRequest& request, Reader& reader) {
                      return std::make_shared<const std::vector<uint32_t>>(
                          FindInboundPorts(*request.proxy, reader, *this));
                    }),
      listeners(graph, "listeners",
                [this](const ResourceRequest& request, Reader& reader) {
                  return std::make_shared<const ListenerShapes>(FindListeners(request, reader, *this));
                }),
      virtual_host_routes(graph, "virtual_host_routes",
                          [this](const HostAndPortKey& key, Reader& reader) {
                            return GenerateVirtualHostRoutes(key, reader, *this);
                          }),
      resource(graph, "resource",
               [this](const ResourceRequest& request, Reader& reader) -> ResourcePtr {
                 switch (request.id.type) {
                   case ResourceType::kListener: return GenerateListener(request, reader, *this);
                   case ResourceType::kRoute: return GenerateRouteConfiguration(request, reader, *this);
                   case ResourceType::kCluster: return GenerateCluster(request, reader, *this);
                   case ResourceType::kEndpoint: return GenerateEndpoints(request, reader, *this);
                 }
                 return nullptr;
               }),
      names(graph, "names", [this](const ResourceRequest& request, Reader& reader) {
        return std::make_shared<const NameList>(GenerateNames(request, reader, *this));
      }) {}

void MeshGraph::Put(const Object& object) {
  const std::string& kind = object.key.kind;
  if (kind == kServiceEntry) {
    service_entries.Set(object.key,
                        std::make_shared<const std::vector<Service>>(ServicesOf(object, mesh_.domain_suffix)));
  } else if (kind == kWorkloadEntry) {
    workload_entries.Set(object.key, std::make_shared<const Workload>(WorkloadOf(object)));
  } else if (kind == kVirtualService) {
    virtual_services.Set(object.key, std::make_shared<const RouteRules>(RouteRulesOf(object, mesh_.domain_suffix)));
  } else if (kind == kDestinationRule) {
    destination_rules.Set(object.key,
                          std::make_shared<const DestinationPolicy>(DestinationPolicyOf(object, mesh_.domain_suffix)));
  }
}

void MeshGraph::Erase(const ObjectKey& key) {
  if (key.kind == kServiceEntry) service_entries.Erase(key);
  if (key.kind == kWorkloadEntry) workload_entries.Erase(key);
  if (key.kind == kVirtualService) virtual_services.Erase(key);
  if (key.kind == kDestinationRule) destination_rules.Erase(key);
}

}  // namespace weft::ctl
