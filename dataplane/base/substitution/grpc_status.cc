#include "dataplane/base/substitution/grpc_status.h"

#include <iterator>

#include "dataplane/base/strings.h"

namespace weft {
namespace {

struct Names {
  std::string_view camel, snake;
};

// Envoy's spelling (envoy docs: access log command operators, GRPC_STATUS).
constexpr Names kNames[] = {
    {"OK", "OK"},
    {"Canceled", "CANCELLED"},
    {"Unknown", "UNKNOWN"},
    {"InvalidArgument", "INVALID_ARGUMENT"},
    {"DeadlineExceeded", "DEADLINE_EXCEEDED"},
    {"NotFound", "NOT_FOUND"},
    {"AlreadyExists", "ALREADY_EXISTS"},
    {"PermissionDenied", "PERMISSION_DENIED"},
    {"ResourceExhausted", "RESOURCE_EXHAUSTED"},
    {"FailedPrecondition", "FAILED_PRECONDITION"},
    {"Aborted", "ABORTED"},
    {"OutOfRange", "OUT_OF_RANGE"},
    {"Unimplemented", "UNIMPLEMENTED"},
    {"Internal", "INTERNAL"},
    {"Unavailable", "UNAVAILABLE"},
    {"DataLoss", "DATA_LOSS"},
    {"Unauthenticated", "UNAUTHENTICATED"},
};

}  // namespace

GrpcStatus GrpcStatusFromHttp(int http_status) {
  switch (http_status) {
    case 400:
      return GrpcStatus::kInternal;
    case 401:
      return GrpcStatus::kUnauthenticated;
    case 403:
      return GrpcStatus::kPermissionDenied;
    case 404:
      return GrpcStatus::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus::kUnavailable;
    default:
      return GrpcStatus::kUnknown;
  }
}

void AppendGrpcStatus(int code, GrpcNameStyle style, std::string* out) {
  if (style == GrpcNameStyle::kNumber || code < 0 || code >= static_cast<int>(std::size(kNames))) {
    StrAppend(out, code);
    return;
  }
  const Names& n = kNames[code];
  out->append(style == GrpcNameStyle::kCamel ? n.camel : n.snake);
}

}  // namespace weft
