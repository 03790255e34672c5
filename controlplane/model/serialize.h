#pragma once

#include <string>

#include "google/protobuf/message_lite.h"

namespace weft::ctl {

// Equal messages give equal bytes (maps in the order of their keys), in every process of the same program version.
std::string DeterministicBytes(const google::protobuf::MessageLite& message);

}  // namespace weft::ctl
