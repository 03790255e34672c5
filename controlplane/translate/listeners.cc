#include <set>

#include "api/cpp/names.h"
#include "controlplane/translate/generators.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace weft::ctl {
namespace {

using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

constexpr char kForwardProxyRoute[] = "http_proxy";

// Workloads that the proxy stands for: entries with its address in its namespace, else its own word.
std::vector<Workload> WorkloadsAt(const ProxyKey& proxy, Reader& reader, const MeshGraph& mesh) {
  std::vector<Workload> out;
  for (const ObjectKey& key : reader.Find(mesh.workloads_by_address, proxy.address)) {
    if (key.ns == proxy.ns) out.push_back(**reader.Get(mesh.workload_entries, key));
  }
  if (out.empty()) out.push_back({.ns = proxy.ns, .name = proxy.name, .addresses = {proxy.address}, .labels = proxy.labels});
  return out;
}

void AddPorts(const Service& service, const Workload& workload, std::set<uint32_t>& out) {
  for (const ServicePort& port : service.ports) out.insert(InstancePort(port, workload));
}

void AddAccessLog(const std::string& path, HttpConnectionManager& manager) {
  if (path.empty()) return;
  auto* log = manager.add_access_log();
  log->set_name("envoy.access_loggers.file");
  envoy::extensions::access_loggers::file::v3::FileAccessLog file;
  file.set_path(path);
  PackInto(file, log->mutable_typed_config());
}

// The inbound side needs no route discovery: everything goes to the program.
void SetInboundRoutes(uint32_t port, HttpConnectionManager& manager) {
  const auto number = static_cast<uint16_t>(port);
  const std::string cluster = api::InboundCluster(number);
  auto* routes = manager.mutable_route_config();
  routes->set_name(cluster);
  auto* host = routes->add_virtual_hosts();
  host->set_name(api::InboundVirtualHost(number));
  host->add_domains("*");
  auto* route = host->add_routes();
  route->set_name("default");
  route->mutable_match()->set_prefix("/");
  route->mutable_route()->set_cluster(cluster);
  // How long a request may take is the caller's to say.
  route->mutable_route()->mutable_timeout();
}

void SetRouteDiscovery(const std::string& name, HttpConnectionManager& manager) {
  auto* rds = manager.mutable_rds();
  rds->set_route_config_name(name);
  rds->mutable_config_source()->mutable_ads();
  rds->mutable_config_source()->set_resource_api_version(envoy::config::core::v3::V3);
}

}  // namespace

std::vector<uint32_t> FindInboundPorts(const ProxyKey& proxy, Reader& reader, const MeshGraph& mesh) {
  std::set<uint32_t> out;
  for (const Workload& workload : WorkloadsAt(proxy, reader, mesh)) {
    std::set<ObjectKey> candidates;
    for (const auto& [label, value] : workload.labels) {
      const auto& found = reader.Find(mesh.services_by_instance, LabelKey(workload.ns, label, value));
      candidates.insert(found.begin(), found.end());
    }
    for (const ObjectKey& key : candidates) {
      const Service& service = (*reader.Get(mesh.service_entries, key))->front();
      if (Matches(service.selector, workload.labels)) AddPorts(service, workload, out);
    }
  }
  for (const ObjectKey& key : reader.Find(mesh.services_by_instance, proxy.address)) {
    const Service& service = (*reader.Get(mesh.service_entries, key))->front();
    for (const Workload& workload : service.inline_workloads) {
      if (key.ns == proxy.ns && workload.addresses.front() == proxy.address) AddPorts(service, workload, out);
    }
  }
  return {out.begin(), out.end()};
}

ListenerShapes FindListeners(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const ProxyKey& proxy = *request.proxy;
  ListenerShapes out;
  // An address and port can be bound once; inbound comes first, as others reach the program by it.
  auto add = [&](ListenerShape shape) { out.try_emplace(shape.name(), std::move(shape)); };
  for (uint32_t port : *reader.Get(mesh.inbound_ports, ProxyRequest(request))) {
    add({ListenerShape::Kind::kInbound, proxy.address, port, ""});
  }
  if (proxy.http_proxy_port != 0) {
    add({ListenerShape::Kind::kForwardProxy, proxy.address, proxy.http_proxy_port, kForwardProxyRoute});
  }
  for (const auto& [name, port] : proxy.service_listeners) {
    const auto host_port = api::ParseHostPort(name);
    const auto& service = reader.Get(mesh.service, host_port->host);
    if (service == nullptr || service->FindPort(host_port->port) == nullptr) continue;
    add({ListenerShape::Kind::kService, proxy.address, port, name});
  }
  if (!proxy.outbound_address.empty()) {
    std::set<uint32_t> ports;
    for (const std::string& host : *reader.Get(mesh.hosts_on_port, uint32_t{0})) {
      for (const ServicePort& port : reader.Get(mesh.service, host)->ports) ports.insert(port.number);
    }
    for (uint32_t port : ports) {
      add({ListenerShape::Kind::kPort, proxy.outbound_address, port, std::to_string(port)});
    }
  }
  return out;
}

ResourcePtr GenerateListener(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const ProxyKey& proxy = *request.proxy;
  const ListenerShapes& shapes = *reader.Get(mesh.listeners, ProxyRequest(request));
  const auto found = shapes.find(request.id.name);
  if (found == shapes.end()) return nullptr;
  const ListenerShape& shape = found->second;
  const bool inbound = shape.kind == ListenerShape::Kind::kInbound;

  HttpConnectionManager manager;
  manager.set_stat_prefix((inbound ? "inbound_" : "outbound_") + shape.name());
  if (inbound) {
    SetInboundRoutes(shape.port, manager);
  } else {
    SetRouteDiscovery(shape.route, manager);
  }
  auto* router = manager.add_http_filters();
  router->set_name("envoy.filters.http.router");
  PackInto(envoy::extensions::filters::http::router::v3::Router(), router->mutable_typed_config());
  AddAccessLog(proxy.access_log.empty() ? mesh.mesh().access_log : proxy.access_log, manager);
  // Programs keep the `server` header that they wrote.
  manager.set_server_header_transformation(HttpConnectionManager::PASS_THROUGH);
  if (shape.kind == ListenerShape::Kind::kForwardProxy) {
    manager.mutable_http_protocol_options()->mutable_allow_absolute_url()->set_value(true);
  }

  Listener listener;
  listener.set_name(shape.name());
  auto* address = listener.mutable_address()->mutable_socket_address();
  address->set_address(shape.address);
  address->set_port_value(shape.port);
  listener.set_traffic_direction(inbound ? envoy::config::core::v3::INBOUND : envoy::config::core::v3::OUTBOUND);
  auto* filter = listener.add_filter_chains()->add_filters();
  filter->set_name("envoy.filters.network.http_connection_manager");
  PackInto(manager, filter->mutable_typed_config());
  return MakeResource(shape.name(), listener);
}

}  // namespace weft::ctl
