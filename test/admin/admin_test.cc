// The admin endpoints, asked directly: status, format, and that mutations want POST.
#include "dataplane/admin/admin.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dataplane/base/log.h"
#include "rapidjson/document.h"

namespace weft::admin {
namespace {

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    auto spec = std::make_shared<upstream::ClusterSpec>();
    spec->name = "outbound|9080||reviews.default.svc.cluster.local";
    spec->eds_service_name = "reviews";
    spec->breakers.max_connections = 7;
    auto endpoints = std::make_shared<upstream::EndpointSet>();
    for (int i = 1; i <= 2; ++i) {
      upstream::EndpointSpec& e = endpoints->endpoints.emplace_back();
      e.address = *net::Address::FromIp("127.0.2." + std::to_string(i), 9080);
      e.weight = static_cast<uint32_t>(i);
    }
    endpoints->endpoints[1].health = upstream::HealthStatus::kUnhealthy;
    endpoints->endpoints[1].locality =
        std::make_shared<const upstream::Locality>(upstream::Locality{"north", "", ""});
    auto empty = std::make_shared<upstream::ClusterSpec>();
    empty->name = "a-first";
    clusters_ = {{spec, endpoints, true}, {empty, nullptr, false}};

    hooks_.version = "weft <1.0>";
    hooks_.state = [this] { return state_; };
    hooks_.state_detail = [] { return std::string("waiting for clusters"); };
    hooks_.config_dump = [this](const std::string& resource, const std::string& name, bool eds) {
      asked_ = resource + "," + name + "," + (eds ? "eds" : "");
      return std::string("{\"configs\": []}");
    };
    hooks_.clusters = [this] { return clusters_; };
    hooks_.hosts = [this](std::function<void(std::vector<upstream::HostStatus>)> done) {
      upstream::HostStatus h{clusters_[0].spec->name, "127.0.2.1:9080", {}, 3, 4, 5};
      h.requests.rq_total = 10;
      h.requests.rq_success = 8;
      h.requests.rq_error = 2;
      h.requests.rq_active = 1;
      done({h});
    };
    hooks_.listeners = [] {
      return std::vector<std::pair<std::string, net::Address>>{
          {"z", *net::Address::Parse("127.0.0.1:81")},
          {"a", *net::Address::Parse("[::1]:80")},
          {"u", *net::Address::FromPath("/run/s")}};
    };
    hooks_.command_line = [] {
      return std::vector<std::pair<std::string, std::string>>{{"concurrency", "2"}};
    };
    hooks_.node_json = [] { return std::string("{\"id\": \"sidecar~1\"}"); };
    hooks_.refresh_stats = [this] { ++refreshed_; };
    hooks_.drain_listeners = [this] { ++drains_; };
    hooks_.quit = [this] { ++quits_; };
    hooks_.reopen_logs = [this] { ++reopens_; };
    shard_.Cluster("c")->upstream_rq_total.Add(5);
    shard_.Http("ingress")->downstream_rq_time.Record(7);
    admin_ = std::make_unique<Admin>(loop_, registry_, hooks_);
  }
  http::SimpleResponse Ask(const std::string& method, const std::string& path,
                           const std::string& query = "") {
    http::SimpleRequest q;
    q.method = method;
    q.path = path;
    q.query = query;
    http::SimpleResponse out;
    int answers = 0;
    admin_->Handle(q, [&](http::SimpleResponse r) {
      out = std::move(r);
      ++answers;
    });
    EXPECT_EQ(answers, 1) << method << " " << path;
    return out;
  }
  rapidjson::Document Json(const std::string& path, const std::string& query = "") {
    http::SimpleResponse r = Ask("GET", path, query);
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.content_type, "application/json") << path;
    rapidjson::Document d;
    d.Parse(r.body.data(), r.body.size());
    EXPECT_FALSE(d.HasParseError()) << r.body;
    return d;
  }

  event::Loop loop_;
  observe::Registry registry_;
  observe::Shard& shard_ = *registry_.NewShard();
  Hooks hooks_;
  std::unique_ptr<Admin> admin_;
  std::vector<ClusterView> clusters_;
  ServerState state_ = ServerState::kLive;
  std::string asked_;
  int refreshed_ = 0, drains_ = 0, quits_ = 0, reopens_ = 0;
};

TEST_F(AdminTest, WhatChangesSomethingWantsPost) {
  for (const char* path : {"/quitquitquit", "/drain_listeners", "/reopen_logs"}) {
    for (const char* method : {"GET", "HEAD"}) {
      http::SimpleResponse r = Ask(method, path);
      EXPECT_EQ(r.status, 405) << path;
      EXPECT_NE(r.body.find("POST"), std::string::npos) << r.body;
    }
  }
  EXPECT_EQ(drains_ + quits_ + reopens_, 0) << "a GET changed something";
  for (const char* path : {"/quitquitquit", "/drain_listeners", "/reopen_logs"}) {
    http::SimpleResponse r = Ask("POST", path);
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.body, "OK\n");
  }
  EXPECT_EQ(drains_, 1);
  EXPECT_EQ(quits_, 1);
  EXPECT_EQ(reopens_, 1);
}

TEST_F(AdminTest, UnknownPathsAndMethodsAreErrors) {
  EXPECT_EQ(Ask("GET", "/nosuch").status, 404);
  EXPECT_EQ(Ask("GET", "/stats/").status, 404);
  EXPECT_EQ(Ask("GET", "").status, 404);
  EXPECT_EQ(Ask("PUT", "/ready").status, 405);
  EXPECT_EQ(Ask("DELETE", "/quitquitquit").status, 405);
  EXPECT_EQ(quits_, 0);
}

TEST_F(AdminTest, ReadyFollowsTheState) {
  http::SimpleResponse r = Ask("GET", "/ready");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.body, "LIVE\n");
  state_ = ServerState::kInitializing;
  r = Ask("GET", "/ready");
  EXPECT_EQ(r.status, 503);
  EXPECT_EQ(r.body, "INITIALIZING\nwaiting for clusters\n");
  state_ = ServerState::kPreInitializing;
  EXPECT_EQ(Ask("GET", "/ready").body.substr(0, 16), "PRE_INITIALIZING");
  state_ = ServerState::kDraining;
  EXPECT_EQ(Ask("GET", "/ready").status, 503);
}

TEST_F(AdminTest, PagesListEveryEndpoint) {
  http::SimpleResponse help = Ask("GET", "/help");
  http::SimpleResponse home = Ask("GET", "/");
  EXPECT_EQ(home.content_type.substr(0, 9), "text/html");
  EXPECT_NE(home.body.find("weft &lt;1.0>"), std::string::npos) << "escaped";
  for (const char* path : {"/clusters", "/config_dump", "/drain_listeners", "/help", "/listeners",
                           "/logging", "/memory", "/quitquitquit", "/ready", "/reopen_logs",
                           "/server_info", "/stats", "/stats/prometheus"}) {
    EXPECT_NE(help.body.find(std::string("  ") + path), std::string::npos) << path;
    EXPECT_NE(home.body.find(std::string(path) + "'"), std::string::npos) << path;
    EXPECT_NE(Ask("GET", path).status, 404) << path;
  }
}

TEST_F(AdminTest, StatsInEachFormat) {
  http::SimpleResponse r = Ask("GET", "/stats");
  EXPECT_EQ(r.status, 200);
  EXPECT_NE(r.body.find("cluster.c.upstream_rq_total: 5\n"), std::string::npos);
  EXPECT_EQ(refreshed_, 1);
  r = Ask("GET", "/stats", "filter=rq_total$");
  EXPECT_NE(r.body.find("cluster.c.upstream_rq_total: 5\n"), std::string::npos);
  EXPECT_EQ(r.body.find("upstream_cx_total"), std::string::npos);
  r = Ask("GET", "/stats", "usedonly");
  EXPECT_EQ(r.body.find("upstream_cx_total"), std::string::npos);
  rapidjson::Document d = Json("/stats", "format=json&filter=upstream_rq_total");
  ASSERT_TRUE(d.HasMember("stats"));
  EXPECT_STREQ(d["stats"][0]["name"].GetString(), "cluster.c.upstream_rq_total");
  EXPECT_EQ(d["stats"][0]["value"].GetInt(), 5);
  for (const auto& [path, query] :
       {std::pair("/stats/prometheus", ""), std::pair("/stats", "format=prometheus")}) {
    r = Ask("GET", path, query);
    EXPECT_EQ(r.content_type, "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_NE(r.body.find("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 5"),
              std::string::npos);
    EXPECT_NE(r.body.find("envoy_http_downstream_rq_time_bucket"), std::string::npos);
  }
}

TEST_F(AdminTest, ABadFilterOrFormatIsSaid) {
  for (const char* path : {"/stats", "/stats/prometheus"}) {
    http::SimpleResponse r = Ask("GET", path, "filter=%5Bunclosed");
    EXPECT_EQ(r.status, 400) << path;
    EXPECT_NE(r.body.find("[unclosed"), std::string::npos) << r.body;
  }
  EXPECT_EQ(Ask("GET", "/stats", "format=json&filter=(").status, 400);
  http::SimpleResponse r = Ask("GET", "/stats", "format=xml");
  EXPECT_EQ(r.status, 400);
  EXPECT_NE(r.body.find("text, json, prometheus"), std::string::npos);
}

TEST_F(AdminTest, ConfigDumpPassesItsQueryOn) {
  Json("/config_dump", "resource=dynamic_listeners&name=a%20b&include_eds");
  EXPECT_EQ(asked_, "dynamic_listeners,a b,eds");
  Json("/config_dump");
  EXPECT_EQ(asked_, ",,");
}

TEST_F(AdminTest, ClustersAsText) {
  http::SimpleResponse r = Ask("GET", "/clusters");
  EXPECT_EQ(r.status, 200);
  const std::string c = "outbound|9080||reviews.default.svc.cluster.local::";
  for (const std::string& line : std::vector<std::string>{
           c + "default_priority::max_connections::7\n", c + "added_via_api::true\n",
           c + "127.0.2.1:9080::cx_active::3\n", c + "127.0.2.1:9080::cx_total::4\n",
           c + "127.0.2.1:9080::cx_connect_fail::5\n", c + "127.0.2.1:9080::rq_total::10\n",
           c + "127.0.2.1:9080::rq_success::8\n", c + "127.0.2.1:9080::rq_error::2\n",
           c + "127.0.2.1:9080::rq_active::1\n", c + "127.0.2.1:9080::health_flags::healthy\n",
           c + "127.0.2.1:9080::weight::1\n", c + "127.0.2.2:9080::rq_total::0\n",
           c + "127.0.2.2:9080::health_flags::/failed_eds_health\n",
           c + "127.0.2.2:9080::region::north\n", std::string("a-first::added_via_api::false\n")}) {
    EXPECT_NE(r.body.find(line), std::string::npos) << line;
  }
  EXPECT_LT(r.body.find("a-first"), r.body.find("outbound")) << "sorted";
}

TEST_F(AdminTest, ClustersAsJson) {
  rapidjson::Document d = Json("/clusters", "format=json");
  ASSERT_EQ(d["cluster_statuses"].Size(), 2u);
  const auto& c = d["cluster_statuses"][1];
  EXPECT_STREQ(c["name"].GetString(), "outbound|9080||reviews.default.svc.cluster.local");
  EXPECT_STREQ(c["eds_service_name"].GetString(), "reviews");
  EXPECT_TRUE(c["added_via_api"].GetBool());
  ASSERT_EQ(c["host_statuses"].Size(), 2u);
  const auto& h = c["host_statuses"][0];
  EXPECT_STREQ(h["address"]["socket_address"]["address"].GetString(), "127.0.2.1");
  EXPECT_EQ(h["address"]["socket_address"]["port_value"].GetInt(), 9080);
  EXPECT_STREQ(h["health_status"]["eds_health_status"].GetString(), "HEALTHY");
  EXPECT_STREQ(c["host_statuses"][1]["health_status"]["eds_health_status"].GetString(),
               "UNHEALTHY");
  std::map<std::string, std::string> stats;
  for (const auto& s : h["stats"].GetArray()) {
    stats[s["name"].GetString()] = s.HasMember("value") ? s["value"].GetString() : "0";
  }
  EXPECT_EQ(stats["rq_total"], "10");
  EXPECT_EQ(stats["cx_active"], "3");
}

TEST_F(AdminTest, ListenersInBothFormats) {
  EXPECT_EQ(Ask("GET", "/listeners").body, "a::[::1]:80\nu::/run/s\nz::127.0.0.1:81\n");
  rapidjson::Document d = Json("/listeners", "format=json");
  ASSERT_EQ(d["listener_statuses"].Size(), 3u);
  EXPECT_STREQ(d["listener_statuses"][0]["name"].GetString(), "a");
  EXPECT_STREQ(d["listener_statuses"][0]["local_address"]["socket_address"]["address"].GetString(),
               "::1");
  EXPECT_STREQ(d["listener_statuses"][1]["local_address"]["pipe"]["path"].GetString(), "/run/s");
}

TEST_F(AdminTest, ServerInfo) {
  rapidjson::Document d = Json("/server_info");
  EXPECT_STREQ(d["version"].GetString(), "weft <1.0>");
  EXPECT_STREQ(d["state"].GetString(), "LIVE");
  EXPECT_STREQ(d["command_line_options"]["concurrency"].GetString(), "2");
  EXPECT_STREQ(d["node"]["id"].GetString(), "sidecar~1");
  EXPECT_STREQ(d["uptime_current_epoch"].GetString(), "0s");
}

TEST_F(AdminTest, LoggingIsShownByGetAndSetByPost) {
  LogLevel before = GetLogLevel();
  http::SimpleResponse r = Ask("GET", "/logging");
  EXPECT_EQ(r.status, 200);
  EXPECT_NE(r.body.find(std::string("weft: ") + std::string(LogLevelName(before))),
            std::string::npos);
  EXPECT_EQ(Ask("GET", "/logging", "level=debug").status, 405);
  EXPECT_EQ(GetLogLevel(), before);
  r = Ask("POST", "/logging", "level=debug");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(GetLogLevel(), LogLevel::kDebug);
  EXPECT_NE(r.body.find("weft: debug"), std::string::npos);
  r = Ask("POST", "/logging", "level=loud");
  EXPECT_EQ(r.status, 400);
  EXPECT_NE(r.body.find("\"loud\""), std::string::npos);
  EXPECT_EQ(GetLogLevel(), LogLevel::kDebug);
  SetLogLevel(before);
}

TEST_F(AdminTest, Memory) {
  rapidjson::Document d = Json("/memory");
  for (const char* name : {"allocated", "heap_size", "total_physical_bytes"}) {
    ASSERT_TRUE(d.HasMember(name)) << name;
    EXPECT_TRUE(d[name].IsString()) << "64-bit numbers are text, as in Envoy's";
    EXPECT_EQ(std::to_string(std::stoull(d[name].GetString())), d[name].GetString()) << name;
  }
  // The other two are the allocator's, which sanitizers replace.
  EXPECT_GT(std::stoull(d["total_physical_bytes"].GetString()), 1'000'000u);
}

}  // namespace
}  // namespace weft::admin
