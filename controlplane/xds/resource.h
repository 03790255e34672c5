// What the xDS server serves, seen from the server: an immutable view of one state for one proxy.
// ConfigState is adapted to it (config_provider.h); tests have a map.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "controlplane/model/resource.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::ctl::xds {

using ctl::Resource;
using ctl::ResourcePtr;
using Node = envoy::config::core::v3::Node;

// One state of the configuration as one proxy sees it.
// Owner: shared. Thread: immutable, any; Find and List may compute and cache inside.
// Destroyed when: the last session that answers from it has moved on.
class ResourceView {
 public:
  virtual ~ResourceView() = default;

  // Grows with each state of the same provider.
  virtual uint64_t generation() const = 0;

  // Null: there is no such resource for this proxy.
  virtual ResourcePtr Find(std::string_view type_url, std::string_view name) const = 0;

  // Everything that a wildcard subscription of this proxy gets.
  virtual std::vector<ResourcePtr> List(std::string_view type_url) const = 0;

  // Names that may differ from the state `generation`, so that a session need not look at all that
  // it holds. Null: not known, look at everything. Naming too many is allowed, too few is not. For
  // a wildcard new and removed names count.
  virtual std::optional<std::vector<std::string>> ChangedSince(std::string_view type_url,
                                                               uint64_t generation,
                                                               bool wildcard) const {
    return std::nullopt;
  }
};

// Resources for one proxy, as long as it is connected. Owner: Connection. Thread: any.
class ProxyResources {
 public:
  virtual ~ProxyResources() = default;
  // The newest state; never null.
  virtual std::shared_ptr<const ResourceView> Current() const = 0;
};

// Owner: whoever wires the server. Thread: any.
class ResourceProvider {
 public:
  virtual ~ResourceProvider() = default;
  // An error refuses the proxy; the message is for it.
  virtual absl::StatusOr<std::unique_ptr<ProxyResources>> Open(const Node& node) = 0;
};

}  // namespace weft::ctl::xds
