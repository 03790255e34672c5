#pragma once

// The flags are defined beside the formatter that prints them, which decide (below this layer) uses as well.
#include "dataplane/base/substitution/response_flags.h"

namespace weft::observe {

using ::weft::ResponseFlag;

}  // namespace weft::observe
