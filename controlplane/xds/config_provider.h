#pragma once

#include <memory>
#include <utility>

#include "controlplane/translate/config_engine.h"
#include "controlplane/xds/resource.h"

namespace weft::ctl::xds {

// What ConfigEngine computes, as the discovery server reads it.
// Owner: app. Thread: any. Destroyed when: after the Hub, before the engine.
class ConfigProvider : public ResourceProvider {
 public:
  explicit ConfigProvider(ConfigEngine* engine) : engine_(engine) {}

  // InvalidArgument: the node does not say who it is; the message says what would be right.
  absl::StatusOr<std::unique_ptr<ProxyResources>> Open(const Node& node) override;

 private:
  ConfigEngine* const engine_;
};

}  // namespace weft::ctl::xds
