#include "controlplane/model/resource.h"

#include "api/cpp/names.h"

namespace weft::ctl {

std::string_view TypeUrl(ResourceType type) {
  switch (type) {
    case ResourceType::kListener: return api::kListenerType;
    case ResourceType::kRoute: return api::kRouteType;
    case ResourceType::kCluster: return api::kClusterType;
    case ResourceType::kEndpoint: return api::kEndpointType;
  }
  return {};
}

std::optional<ResourceType> TypeFromUrl(std::string_view type_url) {
  for (ResourceType type : kResourceTypes) {
    if (TypeUrl(type) == type_url) return type;
  }
  return std::nullopt;
}

}  // namespace weft::ctl
