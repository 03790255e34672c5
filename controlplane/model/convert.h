#pragma once

#include <string_view>
#include <vector>

#include "controlplane/model/object.h"
#include "controlplane/model/policy.h"
#include "controlplane/model/service.h"

// From what was written to what it means. All take objects that passed ValidateObject. Pure.
namespace weft::ctl {

inline constexpr char kServiceEntry[] = "ServiceEntry";
inline constexpr char kWorkloadEntry[] = "WorkloadEntry";
inline constexpr char kVirtualService[] = "VirtualService";
inline constexpr char kDestinationRule[] = "DestinationRule";

// One for each host.
std::vector<Service> ServicesOf(const Object& service_entry, std::string_view domain_suffix);
Workload WorkloadOf(const Object& workload_entry);
RouteRules RouteRulesOf(const Object& virtual_service, std::string_view domain_suffix);
DestinationPolicy DestinationPolicyOf(const Object& destination_rule, std::string_view domain_suffix);

// A place where a VirtualService names a service.
struct Reference {
  std::string path;  // of the destination: "spec.http[0].route[1].destination"
  std::string host;  // in full
  std::string subset;
  uint32_t port = 0;  // 0: not given
};
std::vector<Reference> ReferencesOf(const Object& virtual_service, std::string_view domain_suffix);

}  // namespace weft::ctl
