#pragma once

#include <memory>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/config/overload_spec.h"
#include "envoy/config/overload/v3/overload.pb.h"

namespace weft::config {

// Null when there is an error. Monitors and actions that are not known are refused by name.
std::shared_ptr<const OverloadSpec> CompileOverload(
    const envoy::config::overload::v3::OverloadManager& manager, const std::string& path,
    const CompileEnv& env, decide::Errors* errors);

}  // namespace weft::config
