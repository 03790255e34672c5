#include "dataplane/proxy/error_table.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace weft::proxy {
namespace {

struct Row {
  Error error;
  int status;
  ResponseFlag flag;
  const char* details;
  const char* body;  // a part of it
};

// What Envoy answers and logs for the same; people match on these.
TEST(ErrorTable, MatchesEnvoys) {
  using F = ResponseFlag;
  const Row rows[] = {
      {{ErrorCode::kNoRoute}, 404, F::kNoRouteFound, "route_not_found", ""},
      {{ErrorCode::kNoCluster}, 503, F::kNoClusterFound, "cluster_not_found", ""},
      {{ErrorCode::kNoHealthyUpstream},
       503,
       F::kNoHealthyUpstream,
       "no_healthy_upstream",
       "no healthy upstream"},
      {{ErrorCode::kDrain},
       503,
       F::kNoHealthyUpstream,
       "no_healthy_upstream",
       "no healthy upstream"},
      {{ErrorCode::kOverflow},
       503,
       F::kUpstreamOverflow,
       "upstream_reset_before_response_started{overflow}",
       "reset reason: overflow"},
      {{ErrorCode::kConnectFailed, Side::kUpstream},
       503,
       F::kUpstreamConnectionFailure,
       "upstream_reset_before_response_started{remote_connection_failure}",
       "reset reason: remote connection failure"},
      {{ErrorCode::kConnectTimeout, Side::kUpstream},
       503,
       F::kUpstreamConnectionFailure,
       "upstream_reset_before_response_started{connection_timeout}",
       "reset reason: connection timeout"},
      {{ErrorCode::kDisconnect, Side::kUpstream},
       503,
       F::kUpstreamConnectionTermination,
       "upstream_reset_before_response_started{connection_termination}",
       "reset reason: connection termination"},
      {{ErrorCode::kDisconnect, Side::kLocal},
       503,
       F::kLocalReset,
       "upstream_reset_before_response_started{local_reset}",
       "reset reason: local reset"},
      {{ErrorCode::kDisconnect, Side::kDownstream},
       0,
       F::kDownstreamConnectionTermination,
       "downstream_remote_disconnect",
       ""},
      {{ErrorCode::kProtocol, Side::kUpstream},
       502,
       F::kUpstreamProtocolError,
       "upstream_reset_before_response_started{protocol_error}",
       "reset reason: protocol error"},
      {{ErrorCode::kRouteTimeout, Side::kUpstream},
       504,
       F::kUpstreamRequestTimeout,
       "response_timeout",
       "upstream request timeout"},
      {{ErrorCode::kStreamIdleTimeout, Side::kDownstream},
       408,
       F::kStreamIdleTimeout,
       "stream_idle_timeout",
       "stream timeout"},
      {{ErrorCode::kRequestTimeout, Side::kDownstream},
       408,
       F::kCount,
       "request_overall_timeout",
       "request timeout"},
      {{ErrorCode::kRequestTimeout, Side::kLocal, false, 0, "max_duration_timeout"},
       408,
       F::kDurationTimeout,
       "max_duration_timeout",
       "downstream duration timeout"},
      {{ErrorCode::kBadRequest, Side::kDownstream},
       400,
       F::kDownstreamProtocolError,
       "http1.codec_error",
       "Bad Request"},
      {{ErrorCode::kInternal}, 500, F::kLocalReset, "internal_error", "internal error"},
  };
  for (const Row& row : rows) {
    const ErrorOutcome& o = OutcomeOf(row.error);
    EXPECT_EQ(o.status, row.status) << row.details;
    EXPECT_EQ(o.flag, row.flag) << row.details;
    EXPECT_EQ(o.details, row.details);
    EXPECT_NE(o.body.find(row.body), std::string_view::npos) << o.body;
  }
}

TEST(ErrorTable, EveryCodeHasAnOutcome) {
  for (int c = 0; c <= static_cast<int>(ErrorCode::kInternal); ++c) {
    for (Side side : {Side::kDownstream, Side::kUpstream, Side::kLocal}) {
      const ErrorOutcome& o = OutcomeOf({static_cast<ErrorCode>(c), side});
      EXPECT_FALSE(o.details.empty()) << c;
      EXPECT_TRUE(o.status == 0 || (o.status >= 400 && o.status < 600)) << c;
      EXPECT_EQ(o.details.find(' '), std::string_view::npos)
          << "a detail is one word in logs: " << o.details;
    }
  }
}

}  // namespace
}  // namespace weft::proxy
