#include "dataplane/decide/retry.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

using testing::HasSubstr;
using Proto = envoy::config::route::v3::RetryPolicy;

std::shared_ptr<const RetryPolicy> Make(const std::string& text, std::string* messages = nullptr) {
  std::vector<api::SourceError> list;
  Errors errors(&list);
  auto policy = CompileRetryPolicy(FromText<Proto>(text), "p", &errors);
  if (messages != nullptr) {
    *messages = Lines(list);
  } else {
    EXPECT_TRUE(list.empty()) << Lines(list);
  }
  return policy;
}

TEST(RetryPolicyTest, Defaults) {
  auto p = Make("");
  EXPECT_EQ(p->retry_on, 0u);
  EXPECT_EQ(p->num_retries, 1u);
  EXPECT_EQ(p->per_try_timeout, 0);
  EXPECT_EQ(p->base_interval, 25 * kMillisecond);
  EXPECT_EQ(p->max_interval, 250 * kMillisecond);
  EXPECT_FALSE(p->RetriesResponse(503, 14, false));
  EXPECT_FALSE(p->RetriesFailure(AttemptFailure::kConnectFailure));
}

TEST(RetryPolicyTest, Responses) {
  struct Case {
    const char* retry_on;
    int status, grpc;
    bool want;
  } cases[] = {
      {"5xx", 500, -1, true},
      {"5xx", 599, -1, true},
      {"5xx", 499, -1, false},
      {"gateway-error", 500, -1, false},
      {"gateway-error", 502, -1, true},
      {"gateway-error", 503, -1, true},
      {"gateway-error", 504, -1, true},
      {"gateway-error", 505, -1, false},
      {"retriable-4xx", 409, -1, true},
      {"retriable-4xx", 404, -1, false},
      {"connect-failure,reset,refused-stream", 503, -1, false},
      {"cancelled", 200, 1, true},
      {"deadline-exceeded", 200, 4, true},
      {"internal", 200, 13, true},
      {"resource-exhausted", 200, 8, true},
      {"unavailable", 200, 14, true},
      {"unavailable", 200, 13, false},
      {"unavailable", 200, 0, false},
      {"  gateway-error ,, unavailable", 200, 14, true},
      {"connect-failure,503", 503, -1, true},  // Istio's way to write status codes
      {"connect-failure,503", 502, -1, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Make(std::string("retry_on: '") + c.retry_on + "'")->RetriesResponse(c.status, c.grpc, false), c.want)
        << c.retry_on << " " << c.status << " " << c.grpc;
  }
  auto codes = Make("retry_on: 'retriable-status-codes' retriable_status_codes: 418 retriable_status_codes: 404");
  EXPECT_TRUE(codes->RetriesResponse(404, -1, false));
  EXPECT_TRUE(codes->RetriesResponse(418, -1, false));
  EXPECT_FALSE(codes->RetriesResponse(500, -1, false));
  EXPECT_FALSE(Make("retriable_status_codes: 404")->RetriesResponse(404, -1, false)) << "the condition is not set";
}

TEST(RetryPolicyTest, RateLimitedAnswersAreNotRetriedUnlessAsked) {
  EXPECT_FALSE(Make("retry_on: '5xx'")->RetriesResponse(503, -1, true));
  EXPECT_TRUE(Make("retry_on: 'envoy-ratelimited'")->RetriesResponse(429, -1, true));
}

TEST(RetryPolicyTest, Failures) {
  auto retries = [](const char* retry_on) {
    auto p = Make(std::string("retry_on: '") + retry_on + "'");
    std::string out;
    for (auto [failure, letter] : {std::pair{AttemptFailure::kConnectFailure, 'c'},
                                   {AttemptFailure::kRefusedStream, 's'},
                                   {AttemptFailure::kResetBeforeRequest, 'b'},
                                   {AttemptFailure::kReset, 'r'},
                                   {AttemptFailure::kPerTryTimeout, 't'}}) {
      if (p->RetriesFailure(failure)) out.push_back(letter);
    }
    return out;
  };
  EXPECT_EQ(retries("5xx"), "csbrt");
  EXPECT_EQ(retries("gateway-error"), "csbrt");
  EXPECT_EQ(retries("reset"), "csbrt");
  EXPECT_EQ(retries("reset-before-request"), "csb");
  EXPECT_EQ(retries("connect-failure"), "c");
  EXPECT_EQ(retries("refused-stream"), "s");
  EXPECT_EQ(retries("retriable-4xx"), "");
}

TEST(RetryPolicyTest, UnknownConditionIsAWarning) {
  std::string messages;
  auto p = Make("retry_on: '5xx,retriable-headers'", &messages);
  EXPECT_THAT(messages, HasSubstr("warning: p.retry_on: \"retriable-headers\" is not a known retry condition"));
  EXPECT_TRUE(p->Has(RetryOn::k5xx));
}

TEST(RetryPolicyTest, BadValues) {
  std::string messages;
  Make("retriable_status_codes: 99 retry_back_off { max_interval { seconds: 1 } } per_try_timeout { seconds: -1 }", &messages);
  EXPECT_EQ(messages,
            "p.per_try_timeout: a duration of -1 s and 0 ns: expected 0 or more, at most 100 years\n"
            "p.retriable_status_codes[0]: 99 is not an HTTP status (100 to 599)\n"
            "p.retry_back_off.base_interval: is missing\n");
  Make("retry_back_off { base_interval { seconds: 2 } max_interval { seconds: 1 } }", &messages);
  EXPECT_EQ(messages, "p.retry_back_off.max_interval: is less than base_interval\n");
}

TEST(RetryPolicyTest, BackOffDoublesUpToTheLimit) {
  auto p = Make("retry_back_off { base_interval { nanos: 10000000 } max_interval { nanos: 60000000 } }");
  // The greatest time below the interval.
  auto most = [&](uint32_t attempt) {
    MonoNanos max = 0;
    for (uint64_t r = 0; r < 200; ++r) max = std::max(max, p->BackOff(attempt, r * 999'983));
    return max;
  };
  EXPECT_LE(most(1), 10 * kMillisecond);
  EXPECT_GT(most(1), 9 * kMillisecond);
  EXPECT_LE(most(2), 20 * kMillisecond);
  EXPECT_GT(most(2), 18 * kMillisecond);
  EXPECT_LE(most(4), 60 * kMillisecond);
  EXPECT_GT(most(4), 54 * kMillisecond);
  EXPECT_LE(most(1000), 60 * kMillisecond);
}

}  // namespace
}  // namespace weft::decide
