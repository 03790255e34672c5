#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

// google.rpc.Code, as `grpc-status` says it.
enum class GrpcStatus : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kDeadlineExceeded = 4,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kUnauthenticated = 16,
};

// What an answer without grpc-status means to a gRPC client
// (github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
GrpcStatus GrpcStatusFromHttp(int http_status);

enum class GrpcNameStyle : uint8_t { kCamel, kSnake, kNumber };
// "DeadlineExceeded", "DEADLINE_EXCEEDED" or "4"; a code without a name comes as its number.
void AppendGrpcStatus(int code, GrpcNameStyle style, std::string* out);

}  // namespace weft
