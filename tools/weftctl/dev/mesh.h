#pragma once

// From a mesh file to a plan with addresses: what `weftctl dev up` is going to run, and where.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/yaml.h"
#include "weft/dev/v1/mesh.pb.h"

namespace weft::cli {

struct PortPlan {
  uint16_t number = 0;
  std::string name, protocol;
};

// One replica of a workload: a program and its sidecar.
struct Instance {
  int number = 0;    // 1, 2, ... through the whole mesh; the last byte of its addresses.
  std::string name;  // "reviews-v1-1"
  std::string workload, version, ns, service, service_account;
  std::map<std::string, std::string> labels;
  std::vector<PortPlan> ports;
  std::string program_address;   // 127.0.1.N
  std::string sidecar_address;   // 127.0.2.N
  std::string outbound_address;  // 127.0.3.N
  std::vector<std::string> command;
  std::map<std::string, std::string> env;  // As the file says it.
  std::string directory;
  std::string node_id, spiffe_id;
};

// What instances offer together, under one host name.
struct ServicePlan {
  std::string name, ns, host;
  std::map<std::string, std::string> selector;
  std::vector<PortPlan> ports;
};

struct MeshPlan {
  std::string name, file, trust_domain, config_directory;
  std::string xds_address, controller_admin_address;
  weft::dev::v1::ControllerOptions controller;
  weft::dev::v1::SidecarOptions sidecar;
  int64_t first_delay_ms = 500, longest_delay_ms = 30000, healthy_after_ms = 10000;
  std::vector<Instance> instances;
  std::vector<ServicePlan> services;
};

// Ports of a sidecar that are the same everywhere.
inline constexpr uint16_t kSidecarAdminPort = 15000;
inline constexpr uint16_t kHttpProxyPort = 15001;
// The k-th (service, port) of the mesh, from 1, has the listener kServiceListenerBase + k on each
// sidecar.
inline constexpr uint16_t kServiceListenerBase = 15100;

// Of "reviews.default.svc.cluster.local:9080" and so on: the port of its listener on each sidecar.
std::map<std::string, uint16_t> ServiceListeners(const MeshPlan& plan);

struct MeshReadOptions {
  // First two bytes of all loopback addresses; another one lets two meshes run side by side.
  std::string loopback = "127.0";
  // In place of the file's config_directory when not empty.
  std::string config_directory;
};

// Reads and checks `text`, which came from `file`. All mistakes are collected; the plan is good
// when there is none of error severity. Nothing but the existence of folders is looked up on this
// machine.
bool ReadMesh(std::string_view text, const std::string& file, const MeshReadOptions& options,
              MeshPlan* plan, std::vector<api::SourceError>* errors);

// NAME and ${NAME} in `text` replaced from `variables`, $$ is a dollar. An unknown name is put into
// `unknown`.
std::string Expand(std::string_view text, const std::map<std::string, std::string>& variables,
                   std::string* unknown);

}  // namespace weft::cli
