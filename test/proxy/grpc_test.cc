#include "dataplane/proxy/grpc.h"

#include <gtest/gtest.h>

#include "dataplane/base/substitution/grpc_status.h"

namespace weft::proxy {
namespace {

TEST(GrpcTest, ContentTypes) {
  for (const char* t : {"application/grpc", "application/grpc+proto", "application/grpc; a=b", "Application/GRPC"}) {
    EXPECT_TRUE(IsGrpc(t)) << t;
  }
  for (const char* t : {"", "application/grpc-web", "application/grpc-web+proto", "application/json", "application/grpcx"}) {
    EXPECT_FALSE(IsGrpc(t)) << t;
  }
}

TEST(GrpcTest, Timeouts) {
  EXPECT_EQ(ParseGrpcTimeout("100m"), 100 * kMillisecond);
  EXPECT_EQ(ParseGrpcTimeout("1H"), 3600 * kSecond);
  EXPECT_EQ(ParseGrpcTimeout("2M"), 120 * kSecond);
  EXPECT_EQ(ParseGrpcTimeout("3S"), 3 * kSecond);
  EXPECT_EQ(ParseGrpcTimeout("4u"), 4000);
  EXPECT_EQ(ParseGrpcTimeout("5n"), 5);
  EXPECT_GT(*ParseGrpcTimeout("99999999H"), 0);
  for (const char* bad : {"", "m", "1", "1x", "-1m", "123456789m", "1.5S", " 1S"}) {
    EXPECT_FALSE(ParseGrpcTimeout(bad).has_value()) << bad;
  }
  char text[10];
  auto format = [&](MonoNanos t) { return std::string(text, FormatGrpcTimeout(t, text)); };
  EXPECT_EQ(format(1500 * kMillisecond), "1500m");
  EXPECT_EQ(format(1), "1m") << "never 0, which would be no limit";
  EXPECT_EQ(format(200'000 * kSecond), "200000S");
}

TEST(GrpcTest, Statuses) {
  http::HeaderMap h;
  EXPECT_EQ(GrpcStatusOf(h), -1);
  h.Add("grpc-status", "14");
  EXPECT_EQ(GrpcStatusOf(h), 14);
  h.Set("grpc-status", "1x");
  EXPECT_EQ(GrpcStatusOf(h), -1);
  EXPECT_EQ(GrpcStatusFromHttp(400), GrpcStatus::kInternal);
  EXPECT_EQ(GrpcStatusFromHttp(404), GrpcStatus::kUnimplemented);
  EXPECT_EQ(GrpcStatusFromHttp(503), GrpcStatus::kUnavailable);
  EXPECT_EQ(GrpcStatusFromHttp(418), GrpcStatus::kUnknown);
  std::string out;
  AppendGrpcStatus(4, GrpcNameStyle::kCamel, &out);
  AppendGrpcStatus(4, GrpcNameStyle::kSnake, &out);
  AppendGrpcStatus(99, GrpcNameStyle::kSnake, &out);
  EXPECT_EQ(out, "DeadlineExceededDEADLINE_EXCEEDED99");
}

TEST(GrpcTest, Messages) {
  Arena arena;
  EXPECT_EQ(PercentEncodeMessage("50% of\n\xc3\xa9", arena), "50%25 of%0A%C3%A9");
}

TEST(GrpcTest, LimitsOfARoute) {
  decide::RouteAction a;
  a.timeout = 15 * kSecond;
  TimeLimits l = LimitsOf(a, 9 * kSecond, kSecond, true);
  EXPECT_EQ(l.route_timeout, 15 * kSecond);
  EXPECT_EQ(l.max_duration, 9 * kSecond);

  decide::DurationLimits d;
  d.has_max_stream_duration = true;
  d.max_stream_duration = 5 * kSecond;
  d.grpc_timeout_header_max = 3 * kSecond;
  d.grpc_timeout_header_offset = kSecond;
  a.duration = std::make_unique<decide::DurationLimits>(d);
  l = LimitsOf(a, 9 * kSecond, 10 * kSecond, true);
  EXPECT_EQ(l.route_timeout, 0) << "max_stream_duration takes its place";
  EXPECT_EQ(l.max_duration, 2 * kSecond) << "capped, less the offset";
  EXPECT_EQ(LimitsOf(a, 0, std::nullopt, true).max_duration, 5 * kSecond);
  EXPECT_EQ(LimitsOf(a, 0, 10 * kSecond, false).max_duration, 5 * kSecond);
  EXPECT_EQ(LimitsOf(a, 0, kMillisecond, true).max_duration, 1) << "at once, not never";

  decide::DurationLimits old;
  old.max_grpc_timeout = 3 * kSecond;
  old.grpc_timeout_offset = kSecond;
  a.duration = std::make_unique<decide::DurationLimits>(old);
  l = LimitsOf(a, 0, 10 * kSecond, true);
  EXPECT_EQ(l.route_timeout, 3 * kSecond);
  EXPECT_TRUE(l.by_grpc_timeout);
  EXPECT_EQ(LimitsOf(a, 0, 3 * kSecond, true).route_timeout, 2 * kSecond);
  EXPECT_EQ(LimitsOf(a, 0, std::nullopt, true).route_timeout, 3 * kSecond);
  EXPECT_EQ(LimitsOf(a, 0, std::nullopt, false).route_timeout, 15 * kSecond);
}

}  // namespace
}  // namespace weft::proxy
