#include "tools/weftctl/dev/launch.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/cpp/names.h"

extern char** environ;

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using weft::dev::v1::Launch;
using weft::dev::v1::Plan;
using weft::dev::v1::ProcessState;

bool IsProgram(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

// "product-page" -> "PRODUCT_PAGE"
std::string VariableName(const std::string& name) {
  std::string out = absl::AsciiStrToUpper(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

void SetEnvironment(const std::map<std::string, std::string>& variables, Launch* launch) {
  for (const auto& [name, value] : variables) launch->add_env(absl::StrCat(name, "=", value));
}

}  // namespace

std::vector<std::string> ProgramFolders(std::vector<std::string> first) {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (error) return first;
  first.push_back(own.string());
  // bazel-bin/tools/weftctl/weftctl -> bazel-bin/dataplane/app/weft-proxy and so on.
  for (const char* beside : {"../../dataplane/app", "../../controlplane/app", "../demo"}) {
    const fs::path folder = (own / beside).lexically_normal();
    if (fs::is_directory(folder, error)) first.push_back(folder.string());
  }
  return first;
}

std::optional<std::string> ProgramFinder::Find(const std::string& name,
                                               const std::string& directory) const {
  if (name.find('/') != std::string::npos) {
    const fs::path path = (fs::path(directory) / name).lexically_normal();
    return IsProgram(path) ? std::optional(path.string()) : std::nullopt;
  }
  std::vector<std::string> folders = folders_;
  const char* path = getenv("PATH");
  for (const auto folder :
       absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':', absl::SkipEmpty()))
    folders.emplace_back(folder);
  for (const auto& folder : folders) {
    if (IsProgram(fs::path(folder) / name))
      return fs::absolute(fs::path(folder) / name).lexically_normal().string();
  }
  return std::nullopt;
}

std::string ProgramFinder::Places() const {
  return absl::StrCat(absl::StrJoin(folders_, ", "), folders_.empty() ? "PATH" : " and PATH");
}

std::map<std::string, std::string> OwnEnvironment() {
  std::map<std::string, std::string> out;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    if (const size_t equals = text.find('='); equals != std::string_view::npos)
      out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

std::map<std::string, std::string> ProgramEnvironment(
    const MeshPlan& plan, const Instance& instance,
    const std::map<std::string, std::string>& base) {
  std::map<std::string, std::string> env = base;
  env["BIND_ADDRESS"] = instance.program_address;
  env["PORT"] = instance.ports.empty() ? "" : absl::StrCat(instance.ports[0].number);
  env["SERVICE_NAME"] = instance.service;
  env["SERVICE_VERSION"] = instance.version;
  env["POD_NAME"] = instance.name;
  env["POD_NAMESPACE"] = instance.ns;
  env["CLUSTER_NAME"] = plan.name;
  const auto listeners = ServiceListeners(plan);
  // Services of the program's own namespace last: they win when the same name is in two namespaces.
  for (const bool own : {false, true}) {
    for (const ServicePlan& service : plan.services) {
      if ((service.ns == instance.ns) != own) continue;
      const std::string prefix = VariableName(service.name);
      env[prefix + "_HOSTNAME"] = env[prefix + "_SERVICE_HOST"] = instance.sidecar_address;
      for (const PortPlan& port : service.ports) {
        const std::string number =
            absl::StrCat(listeners.at(api::HostPort(service.host, port.number)));
        if (&port == &service.ports[0]) env[prefix + "_SERVICE_PORT"] = number;
        env[absl::StrCat(prefix, "_SERVICE_PORT_", VariableName(port.name))] = number;
      }
    }
  }
  env["http_proxy"] = absl::StrCat("http://", instance.sidecar_address, ":", kHttpProxyPort);
  // The addresses above are the sidecar itself, not to be asked for by way of its proxy port.
  env["no_proxy"] = absl::StrCat(instance.sidecar_address, ",", instance.program_address,
                                 ",localhost,127.0.0.0/8");
  for (const auto& [name, value] : instance.env) {
    std::string unknown;
    env[name] = Expand(value, env, &unknown);
  }
  return env;
}

absl::StatusOr<Plan> MakePlan(const MeshPlan& plan, const std::string& state_directory,
                              const ProgramFinder& finder,
                              const std::map<std::string, std::string>& environment) {
  Plan out;
  std::vector<std::string> wrong;
  const auto program = [&](const std::string& name, const std::string& directory,
                           const std::string& who) {
    const auto path = finder.Find(name, directory);
    if (!path) {
      wrong.push_back(
          name.find('/') != std::string::npos
              ? absl::StrCat(who, ": there is no program ",
                             (fs::path(directory) / name).lexically_normal().string())
              : absl::StrCat(who, ": there is no program \"", name, "\" in ", finder.Places()));
    }
    return path.value_or("");
  };
  out.set_first_delay_ms(plan.first_delay_ms);
  out.set_longest_delay_ms(plan.longest_delay_ms);
  out.set_healthy_after_ms(plan.healthy_after_ms);
  auto& state = *out.mutable_initial();
  state.set_mesh(plan.name);
  state.set_file(plan.file);
  state.set_config_directory(plan.config_directory);
  state.set_management_socket(state_directory + "/mgmt/mgmt.sock");
  state.set_xds_address(plan.xds_address);
  state.set_controller_admin_address(plan.controller_admin_address);
  state.set_trust_domain(plan.trust_domain);

  Launch* controller = out.add_launches();
  controller->set_name("controller");
  controller->set_kind(ProcessState::CONTROLLER);
  controller->set_ready_address(plan.xds_address);
  controller->set_log_file(state_directory + "/logs/controller.log");
  controller->set_directory(state_directory);
  for (const std::string& arg :
       {program("weft-controller", "", "the controller"), std::string("--config"),
        state_directory + "/registry", std::string("--config"), plan.config_directory,
        std::string("--xds-address"), plan.xds_address, std::string("--admin-address"),
        plan.controller_admin_address, std::string("--mgmt-socket"), state.management_socket(),
        std::string("--trust-domain"), plan.trust_domain, std::string("--log-level"),
        plan.controller.log_level().empty() ? "info" : plan.controller.log_level()}) {
    controller->add_args(arg);
  }
  for (const auto& arg : plan.controller.extra_args()) controller->add_args(arg);
  SetEnvironment(environment, controller);

  const std::string proxy = program("weft-proxy", "", "the sidecars");
  for (const Instance& instance : plan.instances) {
    auto& workload = *state.add_workloads();
    workload.set_name(instance.name);
    workload.set_workload(instance.workload);
    workload.set_version(instance.version);
    workload.set_namespace_(instance.ns);
    workload.set_service(instance.service);
    workload.set_program_address(instance.program_address);
    workload.set_sidecar_address(instance.sidecar_address);
    workload.set_outbound_address(instance.outbound_address);
    for (const PortPlan& port : instance.ports) workload.add_ports(port.number);
    workload.set_admin_address(absl::StrCat(instance.sidecar_address, ":", kSidecarAdminPort));
    workload.set_spiffe_id(instance.spiffe_id);
    workload.set_node_id(instance.node_id);

    const auto env = ProgramEnvironment(plan, instance, environment);
    Launch* launch = out.add_launches();
    launch->set_name(instance.name);
    launch->set_kind(ProcessState::PROGRAM);
    launch->set_workload(instance.name);
    launch->set_directory(instance.directory);
    launch->set_log_file(absl::StrCat(state_directory, "/logs/", instance.name, ".log"));
    for (const std::string& arg : instance.command) {
      std::string unknown;
      launch->add_args(Expand(arg, env, &unknown));
      if (!unknown.empty()) {
        wrong.push_back(absl::StrCat("the command of ", instance.name, ": there is no variable ",
                                     unknown, " in \"", arg, "\" (a dollar sign is $$)"));
      }
    }
    launch->set_args(
        0, program(launch->args(0), instance.directory, "the command of " + instance.name));
    SetEnvironment(env, launch);

    Launch* sidecar = out.add_launches();
    sidecar->set_name(instance.name + "/sidecar");
    sidecar->set_kind(ProcessState::SIDECAR);
    sidecar->set_workload(instance.name);
    sidecar->set_directory(absl::StrCat(state_directory, "/proxy/", instance.name));
    sidecar->set_log_file(absl::StrCat(state_directory, "/logs/", instance.name, ".sidecar.log"));
    for (const std::string& arg :
         {proxy, std::string("-c"), sidecar->directory() + "/bootstrap.yaml",
          std::string("--concurrency"), absl::StrCat(std::max(1u, plan.sidecar.concurrency())),
          std::string("--log-level"),
          plan.sidecar.log_level().empty() ? "info" : plan.sidecar.log_level(),
          // What it last ran with, so that it starts without a controller too.
          std::string("--state-dir"), sidecar->directory(),
          // `down` is not worth a long wait.
          std::string("--drain-time-s"), std::string("1")}) {
      sidecar->add_args(arg);
    }
    for (const auto& arg : plan.sidecar.extra_args()) sidecar->add_args(arg);
    SetEnvironment(environment, sidecar);
  }
  if (!wrong.empty()) {
    wrong.erase(std::unique(wrong.begin(), wrong.end()), wrong.end());
    return absl::NotFoundError(absl::StrJoin(wrong, "\n"));
  }
  return out;
}

}  // namespace weft::cli
