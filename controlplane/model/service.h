#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controlplane/model/object.h"

namespace weft::ctl {

using Labels = std::map<std::string, std::string>;

// All of `selector` are in `labels`. An empty selector matches everything.
bool Matches(const Labels& selector, const Labels& labels);

enum class Protocol : uint8_t { kHttp };

struct ServicePort {
  uint32_t number = 0;
  std::string name;
  Protocol protocol = Protocol::kHttp;
  uint32_t target_port = 0;  // where instances listen; equals `number` unless said otherwise

  bool operator==(const ServicePort&) const = default;
};

enum class Resolution : uint8_t { kStatic };
enum class Location : uint8_t { kMeshExternal, kMeshInternal };
enum class Health : uint8_t { kHealthy, kUnhealthy, kDraining };

struct Locality {
  std::string region, zone, sub_zone;
  auto operator<=>(const Locality&) const = default;
};

// One instance of a program, seen apart from the services that it serves.
struct Workload {
  std::string ns;
  std::string name;
  // In order of preference; a dual-stack workload has an IPv4 and an IPv6 one.
  std::vector<std::string> addresses;
  std::map<std::string, uint32_t> ports;  // by name of the service's port, where it differs
  Labels labels;
  uint32_t weight = 1;
  Locality locality;
  std::string network;
  std::string cluster;
  std::string service_account;
  Health health = Health::kHealthy;

  bool operator==(const Workload&) const = default;
};

// A service of one host. A ServiceEntry with several hosts is several of these.
struct Service {
  ObjectKey object;
  std::string host;
  std::string ns;
  std::vector<ServicePort> ports;
  Resolution resolution = Resolution::kStatic;
  Location location = Location::kMeshExternal;
  // Instances: those written in the entry, and workloads of the namespace that carry the selector's labels.
  std::vector<Workload> inline_workloads;
  Labels selector;  // empty: none is selected

  const ServicePort* FindPort(uint32_t number) const;
  bool operator==(const Service&) const = default;
};

// Where one instance serves one port of one service.
struct Endpoint {
  std::vector<std::string> addresses;
  uint32_t port = 0;
  Labels labels;
  uint32_t weight = 1;
  Locality locality;
  std::string network;
  std::string cluster;
  std::string service_account;
  Health health = Health::kHealthy;

  auto operator<=>(const Endpoint&) const = default;
};

// The port on which `workload` serves `port`.
uint32_t InstancePort(const ServicePort& port, const Workload& workload);

}  // namespace weft::ctl
