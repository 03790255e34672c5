#include <algorithm>
#include <set>

#include "api/cpp/names.h"
#include "controlplane/model/hosts.h"
#include "controlplane/model/serialize.h"
#include "controlplane/translate/generators.h"
#include "controlplane/translate/http_routes.h"
#include "envoy/config/route/v3/route.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace weft::ctl {
namespace {

using envoy::config::route::v3::RouteConfiguration;
using envoy::config::route::v3::VirtualHost;

constexpr char kForwardProxyRoute[] = "http_proxy";
// Direct responses may have as much, see validate_virtual_service.cc.
constexpr uint32_t kMaxDirectResponseBody = 1 << 20;

// Appends a field that holds a message, given its bytes: what a message with that field serializes to. So routes that
// were serialized once are not parsed and written again for each route configuration that has them.
void AppendMessageField(int number, const std::string& bytes, std::string* out) {
  google::protobuf::io::StringOutputStream stream(out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.WriteTag(static_cast<uint32_t>(number) << 3 | 2);
  coded.WriteVarint32(static_cast<uint32_t>(bytes.size()));
  coded.WriteString(bytes);
}

// Builds a route configuration out of virtual hosts.
class RouteConfigurationBuilder {
 public:
  RouteConfigurationBuilder(const std::string& name, Reader& reader, const MeshGraph& mesh)
      : name_(name), reader_(reader), mesh_(mesh) {
    RouteConfiguration head;
    head.set_name(name);
    bytes_ = DeterministicBytes(head);
  }

  // Domains that an earlier host has are left out: Envoy takes none twice. Without any left there is no virtual host.
  void Add(const std::string& host, uint32_t port, const std::vector<std::string>& domains) {
    VirtualHost virtual_host;
    virtual_host.set_name(api::HostPort(host, static_cast<uint16_t>(port)));
    for (const std::string& domain : domains) {
      if (domains_.insert(domain).second) virtual_host.add_domains(domain);
    }
    if (virtual_host.domains().empty()) return;
    std::string bytes = DeterministicBytes(virtual_host);
    bytes += *reader_.Get(mesh_.virtual_host_routes, HostAndPortKey{host, port});
    AppendMessageField(RouteConfiguration::kVirtualHostsFieldNumber, bytes, &bytes_);
    ++size_;
  }

  // Null without virtual hosts.
  ResourcePtr Build() && {
    if (size_ == 0) return nullptr;
    RouteConfiguration tail;
    tail.mutable_max_direct_response_body_size_bytes()->set_value(kMaxDirectResponseBody);
    bytes_ += DeterministicBytes(tail);
    return MakeResource(name_, std::move(bytes_));
  }

 private:
  const std::string& name_;
  Reader& reader_;
  const MeshGraph& mesh_;
  std::string bytes_;
  std::set<std::string> domains_;
  size_t size_ = 0;
};

// By which requests to the host are known: with the port, and without it when it may be left out.
std::vector<std::string> Domains(const std::string& host, uint32_t port, std::string_view client_ns, bool portless,
                                 const MeshGraph& mesh) {
  std::vector<std::string> names{host};
  for (std::string& alias : HostAliases(host, client_ns, mesh.mesh().domain_suffix)) names.push_back(std::move(alias));
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (portless) out.push_back(name);
    out.push_back(api::HostPort(name, static_cast<uint16_t>(port)));
  }
  return out;
}

}  // namespace

std::shared_ptr<const std::string> GenerateVirtualHostRoutes(const HostAndPortKey& key, Reader& reader,
                                                             const MeshGraph& mesh) {
  std::string out;
  for (const auto& route : HttpRoutesFor(key.host, key.port, reader, mesh)) {
    AppendMessageField(VirtualHost::kRoutesFieldNumber, DeterministicBytes(route), &out);
  }
  return std::make_shared<const std::string>(std::move(out));
}

ResourcePtr GenerateRouteConfiguration(const ResourceRequest& request, Reader& reader, const MeshGraph& mesh) {
  const std::string& name = request.id.name;
  RouteConfigurationBuilder builder(name, reader, mesh);

  if (name.find(':') != std::string::npos) {
    const auto host_port = api::ParseHostPort(name);
    if (!host_port.has_value()) return nullptr;
    const auto& service = reader.Get(mesh.service, host_port->host);
    if (service == nullptr || service->FindPort(host_port->port) == nullptr) return nullptr;
    builder.Add(host_port->host, host_port->port, {"*"});
    return std::move(builder).Build();
  }

  const std::string client_ns = request.id.scope.substr(std::string_view("ns/").size());
  if (name == kForwardProxyRoute) {
    for (const std::string& host : *reader.Get(mesh.hosts_on_port, uint32_t{0})) {
      const Service& service = *reader.Get(mesh.service, host);
      // http://host/ is port 80; without a port 80 the first one is as good a guess.
      const uint32_t default_port = service.FindPort(80) != nullptr ? 80 : service.ports.front().number;
      for (const ServicePort& port : service.ports) {
        builder.Add(host, port.number, Domains(host, port.number, client_ns, port.number == default_port, mesh));
      }
    }
    return std::move(builder).Build();
  }

  uint32_t port = 0;
  for (char c : name) {
    if (c < '0' || c > '9' || port > 65535) return nullptr;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (port == 0 || port > 65535) return nullptr;
  for (const std::string& host : *reader.Get(mesh.hosts_on_port, port)) {
    builder.Add(host, port, Domains(host, port, client_ns, /*portless=*/true, mesh));
  }
  return std::move(builder).Build();
}

}  // namespace weft::ctl
