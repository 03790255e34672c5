#include "tools/weftctl/dev/mesh.h"

#include <arpa/inet.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/cpp/names.h"
#include "api/cpp/suggest.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using api::SourceError;
using weft::dev::v1::MeshFile;
using weft::dev::v1::Workload;

constexpr int kMaxInstances = 250;  // The last byte of an address.
// Ports that a sidecar needs for itself on its address.
constexpr uint16_t kReservedFrom = 15000, kReservedTo = 15999;

const std::vector<std::string>& Protocols() {
  static const auto* list = new std::vector<std::string>{"HTTP", "HTTP2", "GRPC", "TCP"};
  return *list;
}

// Labels that instances of one service carry when their app labels differ.
constexpr const char* kServiceLabel = "weft.dev/service";

class Reader {
 public:
  Reader(const api::Document& document, const std::string& file, const MeshReadOptions& options,
         MeshPlan* plan, std::vector<SourceError>* errors)
      : document_(document),
        folder_(fs::absolute(file).parent_path()),
        options_(options),
        plan_(*plan),
        errors_(*errors) {}

  void Read(const MeshFile& mesh) {
    ReadMeshWide(mesh);
    int number = 0;
    std::set<std::string> names;
    for (int i = 0; i < mesh.workloads_size(); ++i) {
      const std::string path = absl::StrCat("workloads[", i, "]");
      Instance instance = ReadWorkload(mesh, mesh.workloads(i), path);
      if (!names.insert(instance.ns + "/" + instance.workload + "/" + instance.version).second) {
        Error(path + ".name",
              absl::StrCat("there is another workload \"", instance.workload, "\" of version \"",
                           instance.version,
                           "\"; give one of them another version, or raise `replicas`"));
      }
      AddToService(instance, path);
      const uint32_t replicas = mesh.workloads(i).has_replicas() ? mesh.workloads(i).replicas() : 1;
      for (uint32_t replica = 1; replica <= replicas; ++replica) {
        if (++number > kMaxInstances) {
          Error(path + ".replicas",
                absl::StrCat("a local mesh has room for ", kMaxInstances, " replicas in all"));
          return;
        }
        plan_.instances.push_back(Place(instance, number, replica));
      }
    }
    if (mesh.workloads_size() == 0)
      Error("workloads", "expected at least one workload: a name, a command and its ports");
    LabelServices();
  }

 private:
  void Error(const std::string& path, std::string message) {
    errors_.push_back(document_.ErrorAt(path, std::move(message)));
  }
  void CheckLabel(const std::string& name, const std::string& path) {
    if (const std::string wrong = api::CheckDnsLabel(name); !wrong.empty())
      Error(path, absl::StrCat("\"", name, "\": ", wrong));
  }

  std::string Folder(const std::string& written, const std::string& path) {
    const fs::path folder = (folder_ / written).lexically_normal();
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) {
      Error(path, absl::StrCat("there is no folder ", folder.string(),
                               "; make it, or correct the path (it is relative to the mesh file)"));
    }
    return folder.string();
  }

  std::string Address(const std::string& written, uint16_t port, const std::string& path) {
    if (written.empty()) return absl::StrCat(options_.loopback, ".0.1:", port);
    const auto parsed = api::ParseHostPort(written);
    in_addr parsed_ip;
    if (!parsed || inet_pton(AF_INET, parsed->host.c_str(), &parsed_ip) != 1) {
      Error(path, absl::StrCat("expected ADDRESS:PORT, as in 127.0.0.1:", port, ", got \"", written,
                               "\""));
    } else if ((ntohl(parsed_ip.s_addr) >> 24) != 127) {
      Error(path, absl::StrCat("\"", written,
                               "\" is not a loopback address; a local mesh stays on 127.x.x.x"));
    }
    return written;
  }

  int64_t Delay(const google::protobuf::Duration& duration, bool present, int64_t fallback,
                const std::string& path) {
    if (!present) return fallback;
    const int64_t ms = duration.seconds() * 1000 + duration.nanos() / 1000000;
    if (ms < 1) Error(path, "expected a duration of at least 1ms");
    return ms;
  }

  void ReadMeshWide(const MeshFile& mesh) {
    plan_.name = mesh.name();
    if (plan_.name.empty())
      plan_.name = absl::AsciiStrToLower(fs::path(document_.file()).stem().string());
    CheckLabel(plan_.name, "name");
    plan_.trust_domain = mesh.trust_domain().empty() ? "cluster.local" : mesh.trust_domain();
    if (!options_.config_directory.empty()) {
      plan_.config_directory = fs::absolute(options_.config_directory).lexically_normal().string();
    } else if (mesh.config_directory().empty()) {
      Error("configDirectory",
            "expected the folder of the routing resources, as in `configDirectory: config`");
    } else {
      plan_.config_directory = Folder(mesh.config_directory(), "configDirectory");
    }
    plan_.controller = mesh.controller();
    plan_.sidecar = mesh.sidecar();
    plan_.xds_address = Address(mesh.controller().xds_address(), 15010, "controller.xdsAddress");
    plan_.controller_admin_address =
        Address(mesh.controller().admin_address(), 15014, "controller.adminAddress");
    const auto& restart = mesh.restart();
    plan_.first_delay_ms =
        Delay(restart.first_delay(), restart.has_first_delay(), 500, "restart.firstDelay");
    plan_.longest_delay_ms =
        Delay(restart.longest_delay(), restart.has_longest_delay(), 30000, "restart.longestDelay");
    plan_.healthy_after_ms =
        Delay(restart.healthy_after(), restart.has_healthy_after(), 10000, "restart.healthyAfter");
    if (plan_.longest_delay_ms < plan_.first_delay_ms)
      Error("restart.longestDelay", "expected at least as long as firstDelay");
    if (mesh.sidecar().concurrency() > 64)
      Error("sidecar.concurrency", "expected at most 64 worker threads");
  }

  Instance ReadWorkload(const MeshFile& mesh, const Workload& in, const std::string& path) {
    Instance out;
    out.workload = in.name();
    if (in.name().empty())
      Error(path + ".name", "expected the name of the workload, which becomes its label `app`");
    else
      CheckLabel(in.name(), path + ".name");
    out.version = in.version().empty() ? "v1" : in.version();
    CheckLabel(out.version, path + ".version");
    out.ns = !in.namespace_().empty()     ? in.namespace_()
             : !mesh.namespace_().empty() ? mesh.namespace_()
                                          : "default";
    CheckLabel(out.ns, in.namespace_().empty() ? "namespace" : path + ".namespace");
    out.service = in.service().empty() ? in.name() : in.service();
    if (!in.service().empty()) CheckLabel(in.service(), path + ".service");
    out.service_account = in.service_account().empty() ? "default" : in.service_account();
    out.labels.insert(in.labels().begin(), in.labels().end());
    for (const auto& [label, value] : {std::pair{"app", out.workload}, {"version", out.version}}) {
      const auto [at, added] = out.labels.emplace(label, value);
      if (!added && at->second != value) {
        Error(absl::StrCat(path, ".labels.", label),
              absl::StrCat("is \"", value,
                           "\" by the workload's name and version; leave it out here"));
      }
    }
    if (in.command().empty())
      Error(path + ".command",
            "expected the program and its arguments, as in `command: [./server, --verbose]`");
    else if (in.command(0).empty())
      Error(path + ".command[0]", "expected the name or path of a program");
    out.command.assign(in.command().begin(), in.command().end());
    out.env.insert(in.env().begin(), in.env().end());
    out.directory = in.working_directory().empty()
                        ? folder_.string()
                        : Folder(in.working_directory(), path + ".workingDirectory");
    ReadPorts(in, path, &out);
    return out;
  }

  void ReadPorts(const Workload& in, const std::string& path, Instance* out) {
    if (in.ports().empty())
      Error(path + ".ports", "expected at least one port, as in `ports: [{number: 9080}]`");
    for (int i = 0; i < in.ports_size(); ++i) {
      const std::string at = absl::StrCat(path, ".ports[", i, "]");
      PortPlan port;
      if (in.ports(i).number() < 1 || in.ports(i).number() > 65535) {
        Error(at + ".number",
              absl::StrCat("expected a port from 1 to 65535, got ", in.ports(i).number()));
        continue;
      }
      port.number = static_cast<uint16_t>(in.ports(i).number());
      if (port.number >= kReservedFrom && port.number <= kReservedTo) {
        Error(at + ".number", absl::StrCat("ports ", kReservedFrom, " to ", kReservedTo,
                                           " are the sidecar's own, got ", port.number));
      }
      port.protocol =
          in.ports(i).protocol().empty() ? "HTTP" : absl::AsciiStrToUpper(in.ports(i).protocol());
      if (std::find(Protocols().begin(), Protocols().end(), port.protocol) == Protocols().end()) {
        const std::string near = api::Nearest(port.protocol, Protocols());
        Error(at + ".protocol",
              absl::StrCat("expected HTTP, HTTP2, GRPC or TCP, got \"", in.ports(i).protocol(),
                           "\"", near.empty() ? "" : absl::StrCat(" (did you mean ", near, "?)")));
      }
      port.name = in.ports(i).name();
      if (port.name.empty()) {
        port.name = absl::AsciiStrToLower(port.protocol);
        if (in.ports_size() > 1) Error(at + ".name", "expected a name, as there are several ports");
      } else {
        CheckLabel(port.name, at + ".name");
      }
      for (const PortPlan& other : out->ports) {
        if (other.number == port.number)
          Error(at + ".number", absl::StrCat("port ", port.number, " is there twice"));
        if (other.name == port.name)
          Error(at + ".name", absl::StrCat("the name \"", port.name, "\" is there twice"));
      }
      out->ports.push_back(port);
    }
  }

  void AddToService(const Instance& instance, const std::string& path) {
    auto service = std::find_if(
        plan_.services.begin(), plan_.services.end(),
        [&](const ServicePlan& s) { return s.name == instance.service && s.ns == instance.ns; });
    if (service == plan_.services.end()) {
      plan_.services.push_back(
          {instance.service, instance.ns, api::ServiceHost(instance.service, instance.ns), {}, {}});
      service = plan_.services.end() - 1;
    }
    for (size_t i = 0; i < instance.ports.size(); ++i) {
      const PortPlan& port = instance.ports[i];
      const auto same = std::find_if(service->ports.begin(), service->ports.end(),
                                     [&](const PortPlan& p) { return p.number == port.number; });
      if (same == service->ports.end()) {
        service->ports.push_back(port);
      } else if (same->protocol != port.protocol || same->name != port.name) {
        Error(absl::StrCat(path, ".ports[", i, "]"),
              absl::StrCat("port ", port.number, " of service \"", service->name, "\" is ",
                           same->protocol, " \"", same->name, "\" in another workload, and ",
                           port.protocol, " \"", port.name,
                           "\" here; all versions of a service share its ports"));
      }
    }
  }

  Instance Place(Instance instance, int number, uint32_t replica) {
    instance.number = number;
    instance.name = absl::StrCat(instance.workload, "-", instance.version, "-", replica);
    instance.program_address = absl::StrCat(options_.loopback, ".1.", number);
    instance.sidecar_address = absl::StrCat(options_.loopback, ".2.", number);
    instance.outbound_address = absl::StrCat(options_.loopback, ".3.", number);
    instance.node_id = api::NodeId{"sidecar", instance.sidecar_address, instance.name, instance.ns,
                                   instance.ns + ".svc.cluster.local"}
                           .ToString();
    instance.spiffe_id = api::SpiffeId(plan_.trust_domain, instance.ns, instance.service_account);
    return instance;
  }

  // A service selects its instances by `app`, unless workloads of several names make it up, or
  // share its name without being part of it.
  void LabelServices() {
    for (ServicePlan& service : plan_.services) {
      bool by_app = true;
      for (const Instance& instance : plan_.instances) {
        if (instance.ns != service.ns) continue;
        by_app =
            by_app && (instance.service == service.name) == (instance.workload == service.name);
      }
      if (by_app) {
        service.selector["app"] = service.name;
        continue;
      }
      service.selector[kServiceLabel] = service.name;
      for (Instance& instance : plan_.instances) {
        if (instance.ns == service.ns && instance.service == service.name)
          instance.labels[kServiceLabel] = service.name;
      }
    }
  }

  const api::Document& document_;
  const fs::path folder_;
  const MeshReadOptions& options_;
  MeshPlan& plan_;
  std::vector<SourceError>& errors_;
};

}  // namespace

std::map<std::string, uint16_t> ServiceListeners(const MeshPlan& plan) {
  std::map<std::string, uint16_t> out;
  uint16_t k = 0;
  for (const ServicePlan& service : plan.services) {
    for (const PortPlan& port : service.ports)
      out[api::HostPort(service.host, port.number)] = kServiceListenerBase + ++k;
  }
  return out;
}

bool ReadMesh(std::string_view text, const std::string& file, const MeshReadOptions& options,
              MeshPlan* plan, std::vector<SourceError>* errors) {
  const auto documents = api::ParseDocuments(text, file, errors);
  if (documents.empty()) {
    if (!api::HasError(*errors)) {
      errors->push_back(
          {file, 0, 0, "",
           "the file is empty; a mesh file has `name`, `configDirectory` and `workloads`", false});
    }
    return false;
  }
  if (documents.size() > 1)
    errors->push_back(
        documents[1].ErrorAt("", "a mesh file is one document; this is a second one"));
  MeshFile mesh;
  const api::ReadOptions read{api::UnknownFields::kRefuse, api::DurationStyle::kGo};
  if (!documents[0].ReadInto(&mesh, read, errors)) return false;
  plan->file = fs::absolute(file).lexically_normal().string();
  Reader(documents[0], file, options, plan, errors).Read(mesh);
  return !api::HasError(*errors);
}

std::string Expand(std::string_view text, const std::map<std::string, std::string>& variables,
                   std::string* unknown) {
  std::string out;
  const auto is_name = [](char c) { return absl::ascii_isalnum(c) || c == '_'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const bool braces = text[i + 1] == '{';
    size_t start = i + 1 + (braces ? 1 : 0), end = start;
    while (end < text.size() && is_name(text[end])) ++end;
    if (end == start || (braces && (end == text.size() || text[end] != '}'))) {
      out += '$';
      continue;
    }
    const std::string name(text.substr(start, end - start));
    const auto found = variables.find(name);
    if (found != variables.end())
      out += found->second;
    else if (unknown->empty())
      *unknown = name;
    i = end - (braces ? 0 : 1);
  }
  return out;
}

}  // namespace weft::cli
