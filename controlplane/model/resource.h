#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weft::ctl {

// One xDS resource as it goes over the wire. Serialized once and shared by every proxy that it is the same for.
// Owner: shared. Thread: immutable, any.
struct Resource {
  std::string name;
  std::string version;  // hash of `value`: equal on every controller
  std::string value;    // the serialized message: Any.value

  bool operator==(const Resource& o) const { return version == o.version && name == o.name && value == o.value; }
};
using ResourcePtr = std::shared_ptr<const Resource>;

enum class ResourceType : uint8_t { kListener, kRoute, kCluster, kEndpoint };
inline constexpr ResourceType kResourceTypes[] = {ResourceType::kListener, ResourceType::kRoute,
                                                  ResourceType::kCluster, ResourceType::kEndpoint};

std::string_view TypeUrl(ResourceType type);
std::optional<ResourceType> TypeFromUrl(std::string_view type_url);

// Which resource, for which proxies. `scope` is "" when it is the same for all of them; see ProxyScope.
struct ResourceId {
  ResourceType type;
  std::string scope;
  std::string name;

  auto operator<=>(const ResourceId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ResourceId& id) {
    return H::combine(std::move(h), id.type, id.scope, id.name);
  }
};

}  // namespace weft::ctl
