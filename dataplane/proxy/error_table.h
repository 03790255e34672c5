#pragma once

#include <string_view>

#include "dataplane/base/error.h"
#include "dataplane/observe/response_flags.h"

namespace weft::proxy {

// What an error becomes for the downstream and in the logs.
struct ErrorOutcome {
  int status;                // HTTP status of the local reply
  ResponseFlag flag;         // kCount: none
  std::string_view details;  // Envoy's %RESPONSE_CODE_DETAILS%
  std::string_view body;     // text of the local reply, as Envoy words it where people match on it
};

// The one table from error to outcome.
const ErrorOutcome& OutcomeOf(const Error& error);

}  // namespace weft::proxy
