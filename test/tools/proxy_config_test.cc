#include "tools/weftctl/proxy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

// The shape of Envoy's answer, with one resource of each kind.
constexpr const char* kDump = R"({"configs": [
  {"@type": "type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump", "dynamic_route_configs": [{"route_config": {"name": "scoped",
   "virtual_hosts": [{"name": "h", "routes": [{}]}]}}]},
  {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
   "static_clusters": [{"cluster": {"name": "xds-grpc", "type": "STATIC"}}],
   "dynamic_active_clusters": [
     {"version_info": "1", "cluster": {"name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS"}},
     {"version_info": "1", "cluster": {"name": "inbound|9080||", "type": "STATIC"}}]},
  {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
   "dynamic_listeners": [{"name": "127.0.2.1_9080", "active_state": {"version_info": "1", "listener": {
     "name": "127.0.2.1_9080", "address": {"socket_address": {"address": "127.0.2.1", "port_value": 9080}},
     "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager",
       "typed_config": {"rds": {"route_config_name": "inbound|9080||"}}}]}]}}}]},
  {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
   "dynamic_route_configs": [{"route_config": {"name": "9080", "virtual_hosts": [
     {"name": "reviews.default.svc.cluster.local:9080", "domains": ["reviews", "reviews:9080"], "routes": [
       {"match": {"prefix": "/", "headers": [{"name": "end-user"}]}, "route": {"cluster": "outbound|9080|v2|reviews.default.svc.cluster.local"}},
       {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]}}}]}]}}]}
]})";

std::string Text(ConfigPart part, const std::string& json, const std::string& filter = "") {
  const auto table = ConfigTable(part, json, filter);
  return table.ok() ? table->ToString(false) : "error: " + std::string(table.status().message());
}

TEST(ProxyConfig, ReadsWhatEnvoyAnswers) {
  const std::string clusters = Text(ConfigPart::kCluster, kDump);
  EXPECT_THAT(clusters,
              HasSubstr("reviews.default.svc.cluster.local   9080   v1       outbound    EDS"));
  EXPECT_THAT(clusters, HasSubstr("inbound"));
  EXPECT_THAT(clusters, HasSubstr("xds-grpc"));
  EXPECT_THAT(
      Text(ConfigPart::kListener, kDump),
      HasSubstr("127.0.2.1_9080   127.0.2.1   9080   http_connection_manager   inbound|9080||"));
  const std::string routes = Text(ConfigPart::kRoute, kDump);
  EXPECT_THAT(routes,
              HasSubstr("reviews and 1 more   /*, header end-user   outbound|9080|v2|reviews"));
  EXPECT_THAT(routes, HasSubstr("a 50, b 50"));
  EXPECT_THAT(routes, Not(HasSubstr("scoped")));
}

TEST(ProxyConfig, FilterKeepsWhatHasTheText) {
  EXPECT_THAT(Text(ConfigPart::kCluster, kDump, "reviews"), Not(HasSubstr("xds-grpc")));
  EXPECT_THAT(Text(ConfigPart::kCluster, kDump, "reviews"), HasSubstr("outbound"));
}

TEST(ProxyConfig, EndpointsHaveHealthAndRequests) {
  const std::string endpoints =
      Text(ConfigPart::kEndpoint,
           R"({"cluster_statuses": [{"name": "outbound|9080||ratings", "host_statuses": [
    {"address": {"socket_address": {"address": "127.0.2.6", "port_value": 9080}}, "weight": 2,
     "health_status": {"eds_health_status": "HEALTHY"}, "stats": [{"name": "rq_total", "type": "COUNTER", "value": "12"}]},
    {"address": {"socket_address": {"address": "127.0.2.7", "port_value": 9080}}, "health_status": {"failed_active_health_check": true}}]}]})");
  EXPECT_THAT(endpoints, HasSubstr("127.0.2.6:9080   HEALTHY        2        12"));
  EXPECT_THAT(endpoints, HasSubstr("127.0.2.7:9080   failed check   1"));
}

TEST(ProxyConfig, WhatIsNoAdminAnswerIsAnError) {
  for (const char* text : {"", "<html>", "[]", "{\"a\": 1}", "{\"configs\"", "null"}) {
    EXPECT_THAT(Text(ConfigPart::kRoute, text),
                HasSubstr("error: the answer is not that of a proxy's admin port"))
        << text;
  }
  EXPECT_THAT(
      Text(
          ConfigPart::kRoute,
          R"({"configs": [1, null, {"@type": 3}, {"@type": "x.RoutesConfigDump", "dynamic_route_configs": {}}]})"),
      Not(HasSubstr("error")));
}

TEST(Table, AlignsByWhatIsSeen) {
  Table table({"NAME", "N"});
  table.AddRow({Table::Cell("zoë", Color::kRed), "1"});
  table.AddRow({"anna-maria", ""});
  EXPECT_EQ(table.ToString(false), "NAME         N\nzoë          1\nanna-maria\n");
  EXPECT_THAT(table.ToString(true), HasSubstr("\x1b[31mzoë\x1b[0m          1"));
}

TEST(Age, IsShort) {
  EXPECT_EQ(Age(-1), "0s");
  EXPECT_EQ(Age(59.9), "59s");
  EXPECT_EQ(Age(130), "2m10s");
  EXPECT_EQ(Age(3600 * 5 + 180), "5h03m");
  EXPECT_EQ(Age(86400 * 4), "4d");
}

}  // namespace
}  // namespace weft::cli
