#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

// Why a response is not simply what the upstream said, in the words of Envoy's access log (envoy docs,
// configuration/observability/access_log/usage, %RESPONSE_FLAGS%). Bits of StreamFields::response_flags.
enum class ResponseFlag : uint8_t {
  kFailedLocalHealthCheck,            // LH
  kNoHealthyUpstream,                 // UH
  kUpstreamRequestTimeout,            // UT
  kLocalReset,                        // LR
  kUpstreamRemoteReset,               // UR
  kUpstreamConnectionFailure,         // UF
  kUpstreamConnectionTermination,     // UC
  kUpstreamOverflow,                  // UO
  kNoRouteFound,                      // NR
  kDelayInjected,                     // DI
  kFaultInjected,                     // FI
  kRateLimited,                       // RL
  kUnauthorizedExternalService,       // UAEX
  kRateLimitServiceError,             // RLSE
  kDownstreamConnectionTermination,   // DC
  kUpstreamRetryLimitExceeded,        // URX
  kStreamIdleTimeout,                 // SI
  kInvalidEnvoyRequestHeaders,        // IH
  kDownstreamProtocolError,           // DPE
  kUpstreamMaxStreamDurationReached,  // UMSDR
  kResponseFromCacheFilter,           // RFCF
  kNoFilterConfigFound,               // NFCF
  kDurationTimeout,                   // DT
  kUpstreamProtocolError,             // UPE
  kNoClusterFound,                    // NC
  kOverloadManager,                   // OM
  kDnsResolutionFailed,               // DF
  kDropOverload,                      // DO
  kDownstreamRemoteReset,             // DR
  kUnconditionalDropOverload,         // UDO
  kCount,
};

constexpr uint64_t Bit(ResponseFlag flag) { return uint64_t{1} << static_cast<int>(flag); }

// "UH", "NoHealthyUpstream".
std::string_view ShortName(ResponseFlag flag);
std::string_view LongName(ResponseFlag flag);

// Appends "UF,URX", nothing for an empty set.
void AppendResponseFlags(uint64_t flags, bool long_names, std::string* out);

}  // namespace weft
