#include "tools/weftctl/dev/files.h"

#include <fcntl.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "api/cpp/names.h"

namespace weft::cli {
namespace {

// A string in double quotes; JSON's are YAML's too.
std::string Quote(const std::string& text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.c_str(), text.size());
  return buffer.GetString();
}

// {"app": "reviews", "version": "v1"}
std::string Inline(const std::map<std::string, std::string>& map) {
  std::string out = "{";
  for (const auto& [key, value] : map)
    absl::StrAppend(&out, out.size() > 1 ? ", " : "", Quote(key), ": ", Quote(value));
  return out + "}";
}

std::string ServiceEntry(const ServicePlan& service) {
  std::string out = absl::Substitute(
      "# Written by weftctl dev up; removed by weftctl dev down.\n"
      "apiVersion: networking.istio.io/v1alpha3\n"
      "kind: ServiceEntry\n"
      "metadata:\n"
      "  name: $0\n"
      "  namespace: $1\n"
      "spec:\n"
      "  hosts:\n"
      "  - $2\n"
      "  location: MESH_INTERNAL\n"
      "  resolution: STATIC\n"
      "  ports:\n",
      Quote(service.name), Quote(service.ns), Quote(service.host));
  for (const PortPlan& port : service.ports) {
    absl::SubstituteAndAppend(&out, "  - number: $0\n    name: $1\n    protocol: $2\n", port.number,
                              Quote(port.name), port.protocol);
  }
  absl::SubstituteAndAppend(&out, "  workloadSelector:\n    labels: $0\n",
                            Inline(service.selector));
  return out;
}

std::string WorkloadEntry(const Instance& instance) {
  std::string out = absl::Substitute(
      "# Written by weftctl dev up; removed by weftctl dev down.\n"
      "apiVersion: networking.istio.io/v1alpha3\n"
      "kind: WorkloadEntry\n"
      "metadata:\n"
      "  name: $0\n"
      "  namespace: $1\n"
      "spec:\n"
      "  address: $2\n"
      "  labels: $3\n"
      "  serviceAccount: $4\n"
      "  ports:\n",
      Quote(instance.name), Quote(instance.ns), instance.sidecar_address, Inline(instance.labels),
      Quote(instance.service_account));
  for (const PortPlan& port : instance.ports)
    absl::SubstituteAndAppend(&out, "    $0: $1\n", Quote(port.name), port.number);
  return out;
}

}  // namespace

std::map<std::string, std::string> RegistryFiles(const MeshPlan& plan) {
  std::map<std::string, std::string> out;
  for (const ServicePlan& service : plan.services) {
    if (!service.ports.empty())
      out[absl::StrCat("service.", service.ns, ".", service.name, ".yaml")] = ServiceEntry(service);
  }
  for (const Instance& instance : plan.instances) {
    out[absl::StrCat("workload.", instance.ns, ".", instance.name, ".yaml")] =
        WorkloadEntry(instance);
  }
  return out;
}

std::string BootstrapYaml(const MeshPlan& plan, const Instance& instance) {
  std::string listeners = "{";
  for (const auto& [name, port] : ServiceListeners(plan)) {
    absl::StrAppend(&listeners, listeners.size() > 1 ? ", " : "", Quote(name), ": ", port);
  }
  listeners += "}";
  const auto xds = api::ParseHostPort(plan.xds_address).value_or(api::HostAndPort{});
  return absl::Substitute(
             "# Written by weftctl dev up; removed by weftctl dev down.\n"
             "node:\n"
             "  id: $0\n"
             "  cluster: $1\n"
             "  metadata:\n"
             "    NAMESPACE: $2\n"
             "    LABELS: $3\n"
             "    SERVICE_ACCOUNT: $4\n"
             "    CLUSTER_ID: $5\n",
             Quote(instance.node_id), Quote(instance.service + "." + instance.ns),
             Quote(instance.ns), Inline(instance.labels), Quote(instance.service_account),
             Quote(plan.name)) +
         absl::Substitute(
             "    # Where the program is, and what this sidecar offers it: addresses on this "
             "machine in place of redirection by root.\n"
             "    APP_ADDRESS: $0\n"
             "    OUTBOUND_ADDRESS: $1\n"
             "    HTTP_PROXY_PORT: $2\n"
             "    SERVICE_LISTENERS: $3\n"
             "    ACCESS_LOG: $4\n",
             Quote(instance.program_address), Quote(instance.outbound_address), kHttpProxyPort,
             listeners, plan.sidecar.disable_access_log() ? "\"\"" : "/dev/stdout") +
         absl::Substitute(
             "admin:\n"
             "  address:\n"
             "    socket_address: {address: $0, port_value: $1}\n"
             "dynamic_resources:\n"
             "  ads_config:\n"
             "    api_type: DELTA_GRPC\n"
             "    transport_api_version: V3\n"
             "    grpc_services:\n"
             "    - envoy_grpc: {cluster_name: xds-grpc}\n"
             "  lds_config:\n"
             "    resource_api_version: V3\n"
             "    ads: {}\n"
             "  cds_config:\n"
             "    resource_api_version: V3\n"
             "    ads: {}\n"
             "static_resources:\n"
             "  clusters:\n"
             "  - name: xds-grpc\n"
             "    type: STATIC\n"
             "    connect_timeout: 1s\n"
             "    typed_extension_protocol_options:\n"
             "      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n"
             "        \"@type\": "
             "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n"
             "        explicit_http_config:\n"
             "          http2_protocol_options: {}\n"
             "    load_assignment:\n"
             "      cluster_name: xds-grpc\n"
             "      endpoints:\n"
             "      - lb_endpoints:\n"
             "        - endpoint:\n"
             "            address:\n"
             "              socket_address: {address: $2, port_value: $3}\n",
             instance.sidecar_address, kSidecarAdminPort, xds.host, xds.port);
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& text) {
  const std::string draft = absl::StrCat(path, ".new.", getpid());
  const auto fail = [&](const char* what) {
    const int error = errno;
    unlink(draft.c_str());
    return absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", path));
  };
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail("write");
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      errno = error;
      return fail("write");
    }
    done += n;
  }
  if (close(fd) != 0) return fail("write");
  if (rename(draft.c_str(), path.c_str()) != 0) return fail("replace");
  return absl::OkStatus();
}

absl::Status ReadFile(const std::string& path, std::string* text) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  text->clear();
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      return absl::ErrnoToStatus(error, absl::StrCat("cannot read ", path));
    }
    if (n == 0) break;
    text->append(buffer, n);
  }
  close(fd);
  return absl::OkStatus();
}

}  // namespace weft::cli
