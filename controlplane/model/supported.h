#pragma once

#include <functional>
#include <string>

#include "google/protobuf/message.h"

namespace weft::ctl {

// Calls `report` with the path of each field that is set in `message` and that this version does not act on. api/ knows
// all fields of Istio's resources, so that one that has no effect is refused by name instead of being ignored.
void FindUnsupported(const google::protobuf::Message& message, const std::string& path,
                     const std::function<void(const std::string& path)>& report);

}  // namespace weft::ctl
