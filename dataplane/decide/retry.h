#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/decide/string_match.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace weft::decide {

// Conditions of `retry_on`, a bit each (envoy docs: router filter, x-envoy-retry-on and x-envoy-retry-grpc-on).
enum class RetryOn : uint32_t {
  k5xx = 1 << 0,
  kGatewayError = 1 << 1,
  kReset = 1 << 2,
  kResetBeforeRequest = 1 << 3,
  kConnectFailure = 1 << 4,
  kEnvoyRateLimited = 1 << 5,
  kRetriable4xx = 1 << 6,
  kRefusedStream = 1 << 7,
  kRetriableStatusCodes = 1 << 8,
  kGrpcCancelled = 1 << 9,
  kGrpcDeadlineExceeded = 1 << 10,
  kGrpcInternal = 1 << 11,
  kGrpcResourceExhausted = 1 << 12,
  kGrpcUnavailable = 1 << 13,
};

// How an attempt failed without a response.
enum class AttemptFailure : uint8_t {
  kConnectFailure,      // no connection: refused, timed out
  kRefusedStream,       // HTTP/2 REFUSED_STREAM, or a reused connection that closed before it took a byte: not processed
  kResetBeforeRequest,  // reset before the whole head was sent
  kReset,               // reset or closed later, before the response head
  kPerTryTimeout,
};

// A route's retry policy: immutable.
// Owner: shared by the routes that have it. Thread: any.
struct RetryPolicy {
  uint32_t retry_on = 0;  // set of RetryOn
  uint32_t num_retries = 1;
  MonoNanos per_try_timeout = 0;  // 0: the route's timeout alone counts
  MonoNanos base_interval = 25 * kMillisecond;
  MonoNanos max_interval = 250 * kMillisecond;
  std::vector<uint32_t> retriable_status_codes;  // sorted

  bool Has(RetryOn condition) const { return (retry_on & static_cast<uint32_t>(condition)) != 0; }

  // `grpc_status` is -1 when the response head carries none; `rate_limited` is x-envoy-ratelimited.
  bool RetriesResponse(int status, int grpc_status, bool rate_limited) const;
  bool RetriesFailure(AttemptFailure failure) const;
  // Before attempt number `attempt` + 1 (attempt >= 1): a random time within the interval that doubles each time.
  MonoNanos BackOff(uint32_t attempt, uint64_t random) const;
};

std::shared_ptr<const RetryPolicy> CompileRetryPolicy(const envoy::config::route::v3::RetryPolicy& policy,
                                                      const std::string& path, Errors* errors);

// Milliseconds and the like as nanoseconds; an error at `path` when negative or above 100 years.
MonoNanos CompileDuration(const google::protobuf::Duration& duration, const std::string& path, Errors* errors);

}  // namespace weft::decide
