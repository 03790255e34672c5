#include "dataplane/proxy/error_table.h"

namespace weft::proxy {

const ErrorOutcome& OutcomeOf(const Error& error) {
  using F = ResponseFlag;
  static constexpr ErrorOutcome kBadRequest{400, F::kDownstreamProtocolError, "http1.codec_error",
                                            "Bad Request"};
  static constexpr ErrorOutcome kDownstreamGone{0, F::kDownstreamConnectionTermination,
                                                "downstream_remote_disconnect", ""};
  static constexpr ErrorOutcome kUpstreamGone{
      503, F::kUpstreamConnectionTermination,
      "upstream_reset_before_response_started{connection_termination}",
      "upstream connect error or disconnect/reset before headers. reset reason: connection "
      "termination"};
  static constexpr ErrorOutcome kLocalClose{
      503, F::kLocalReset, "upstream_reset_before_response_started{local_reset}",
      "upstream connect error or disconnect/reset before headers. reset reason: local reset"};
  static constexpr ErrorOutcome kStreamIdle{408, F::kStreamIdleTimeout, "stream_idle_timeout",
                                            "stream timeout"};
  static constexpr ErrorOutcome kRequestTimeout{408, F::kCount, "request_overall_timeout",
                                                "request timeout"};
  static constexpr ErrorOutcome kMaxDuration{408, F::kDurationTimeout, "max_duration_timeout",
                                             "downstream duration timeout"};
  static constexpr ErrorOutcome kRouteTimeout{504, F::kUpstreamRequestTimeout, "response_timeout",
                                              "upstream request timeout"};
  static constexpr ErrorOutcome kNoRoute{404, F::kNoRouteFound, "route_not_found", ""};
  static constexpr ErrorOutcome kNoCluster{503, F::kNoClusterFound, "cluster_not_found", ""};
  static constexpr ErrorOutcome kNoHealthy{503, F::kNoHealthyUpstream, "no_healthy_upstream",
                                           "no healthy upstream"};
  static constexpr ErrorOutcome kConnect{
      503, F::kUpstreamConnectionFailure,
      "upstream_reset_before_response_started{remote_connection_failure}",
      "upstream connect error or disconnect/reset before headers. reset reason: remote connection "
      "failure"};
  static constexpr ErrorOutcome kConnectTimeout{
      503, F::kUpstreamConnectionFailure,
      "upstream_reset_before_response_started{connection_timeout}",
      "upstream connect error or disconnect/reset before headers. reset reason: connection "
      "timeout"};
  static constexpr ErrorOutcome kOverflow{
      503, F::kUpstreamOverflow, "upstream_reset_before_response_started{overflow}",
      "upstream connect error or disconnect/reset before headers. reset reason: overflow"};
  static constexpr ErrorOutcome kProtocol{
      502, F::kUpstreamProtocolError, "upstream_reset_before_response_started{protocol_error}",
      "upstream connect error or disconnect/reset before headers. reset reason: protocol error"};
  static constexpr ErrorOutcome kOverload{503, F::kOverloadManager, "overload", "overloaded"};
  static constexpr ErrorOutcome kInternal{500, F::kLocalReset, "internal_error", "internal error"};
  switch (error.code) {
    case ErrorCode::kBadRequest:
    case ErrorCode::kHeadersTooLarge:
    case ErrorCode::kNotImplemented:
    case ErrorCode::kVersionNotSupported:
      return kBadRequest;
    case ErrorCode::kDisconnect:
      return error.side == Side::kDownstream ? kDownstreamGone
             : error.side == Side::kUpstream ? kUpstreamGone
                                             : kLocalClose;
    case ErrorCode::kStreamIdleTimeout:
    case ErrorCode::kIdleTimeout:
      return kStreamIdle;
    case ErrorCode::kHeaderTimeout:
    case ErrorCode::kRequestTimeout:
      return error.detail == "max_duration_timeout" ? kMaxDuration : kRequestTimeout;
    case ErrorCode::kRouteTimeout:
      return kRouteTimeout;
    case ErrorCode::kNoRoute:
      return kNoRoute;
    case ErrorCode::kNoCluster:
      return kNoCluster;
    case ErrorCode::kNoHealthyUpstream:
      return kNoHealthy;
    case ErrorCode::kConnectFailed:
      return kConnect;
    case ErrorCode::kConnectTimeout:
      return kConnectTimeout;
    case ErrorCode::kOverflow:
      return kOverflow;
    case ErrorCode::kProtocol:
      return kProtocol;
    case ErrorCode::kDrain:  // endpoints went away faster than others could be chosen
      return kNoHealthy;
    case ErrorCode::kOverload:
      return kOverload;
    case ErrorCode::kInternal:
    case ErrorCode::kNone:
      break;
  }
  return kInternal;
}

}  // namespace weft::proxy
