#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/arena.h"
#include "dataplane/base/clock.h"
#include "dataplane/decide/route.h"
#include "dataplane/http/header_map.h"

namespace weft::proxy {

// gRPC over HTTP/2 as a proxy sees it (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

// "application/grpc" and "application/grpc+proto", not "application/grpc-web".
bool IsGrpc(std::string_view content_type);

// `grpc-status` of a head or of trailers; -1 when there is none that can be read.
int GrpcStatusOf(const http::HeaderMap& headers);

// The value of grpc-timeout: at most 8 digits and a unit. Nothing when it is not of that form.
std::optional<MonoNanos> ParseGrpcTimeout(std::string_view value);
// The same the other way, in the finest unit that 8 digits hold. `out` has room for 10.
size_t FormatGrpcTimeout(MonoNanos timeout, char* out);

// grpc-message: what is not printable ASCII, and %, comes as %XX.
std::string_view PercentEncodeMessage(std::string_view message, Arena& arena);

// How long an exchange may take, from its route and its request.
struct TimeLimits {
  MonoNanos route_timeout = 0;  // 0: none
  MonoNanos max_duration = 0;   // 0: none
  bool by_grpc_timeout = false;  // route_timeout comes from grpc-timeout and is to be told on
};
// `manager_max_duration`: of the connection manager, in case the route says nothing.
TimeLimits LimitsOf(const decide::RouteAction& action, MonoNanos manager_max_duration,
                    std::optional<MonoNanos> grpc_timeout, bool is_grpc);

}  // namespace weft::proxy
