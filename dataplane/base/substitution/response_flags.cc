#include "dataplane/base/substitution/response_flags.h"

#include <array>

namespace weft {
namespace {

struct Names {
  std::string_view short_name, long_name;
};

constexpr std::array<Names, static_cast<size_t>(ResponseFlag::kCount)> kNames = {{
    {"LH", "FailedLocalHealthCheck"},
    {"UH", "NoHealthyUpstream"},
    {"UT", "UpstreamRequestTimeout"},
    {"LR", "LocalReset"},
    {"UR", "UpstreamRemoteReset"},
    {"UF", "UpstreamConnectionFailure"},
    {"UC", "UpstreamConnectionTermination"},
    {"UO", "UpstreamOverflow"},
    {"NR", "NoRouteFound"},
    {"DI", "DelayInjected"},
    {"FI", "FaultInjected"},
    {"RL", "RateLimited"},
    {"UAEX", "UnauthorizedExternalService"},
    {"RLSE", "RateLimitServiceError"},
    {"DC", "DownstreamConnectionTermination"},
    {"URX", "UpstreamRetryLimitExceeded"},
    {"SI", "StreamIdleTimeout"},
    {"IH", "InvalidEnvoyRequestHeaders"},
    {"DPE", "DownstreamProtocolError"},
    {"UMSDR", "UpstreamMaxStreamDurationReached"},
    {"RFCF", "ResponseFromCacheFilter"},
    {"NFCF", "NoFilterConfigFound"},
    {"DT", "DurationTimeout"},
    {"UPE", "UpstreamProtocolError"},
    {"NC", "NoClusterFound"},
    {"OM", "OverloadManagerTerminated"},
    {"DF", "DnsResolutionFailed"},
    {"DO", "DropOverload"},
    {"DR", "DownstreamRemoteReset"},
    {"UDO", "UnconditionalDropOverload"},
}};

}  // namespace

std::string_view ShortName(ResponseFlag flag) { return kNames[static_cast<size_t>(flag)].short_name; }

std::string_view LongName(ResponseFlag flag) { return kNames[static_cast<size_t>(flag)].long_name; }

void AppendResponseFlags(uint64_t flags, bool long_names, std::string* out) {
  bool first = true;
  for (int i = 0; i < static_cast<int>(ResponseFlag::kCount); ++i) {
    if ((flags >> i & 1) == 0) continue;
    if (!first) out->push_back(',');
    first = false;
    ResponseFlag flag = static_cast<ResponseFlag>(i);
    out->append(long_names ? LongName(flag) : ShortName(flag));
  }
}

}  // namespace weft
