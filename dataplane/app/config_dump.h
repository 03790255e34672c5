#pragma once

#include <string>

#include "dataplane/config/manager.h"

namespace weft::app {

// `/config_dump` in the shape of envoy.admin.v3.ConfigDump, as JSON. `resource` narrows it to one list
// ("dynamic_active_clusters", "dynamic_listeners", ...), whose elements are then `configs`; `name` to resources of that
// name. Endpoints only with `include_eds` or when asked for.
std::string ConfigDumpJson(const config::ConfigManager& manager, const std::string& resource, const std::string& name,
                           bool include_eds);

}  // namespace weft::app
