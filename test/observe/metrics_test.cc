#include "dataplane/observe/metrics.h"

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rapidjson/document.h"

namespace weft::observe {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kReviews[] = "outbound|9080|v1|reviews.default.svc.cluster.local";

TEST(MetricsTest, Http2CodecsOfListenersAndClusters) {
  Registry registry;
  Shard* shard = registry.NewShard();
  shard->DownstreamHttp2()->rx_reset.Inc();
  shard->ClusterHttp2("a.b")->tx_reset.Add(2);
  EXPECT_EQ(*registry.Value("http2.rx_reset"), 1);
  EXPECT_EQ(*registry.Value("cluster.a.b.http2.tx_reset"), 2);
  std::string text = *registry.Prometheus({});
  EXPECT_NE(text.find("envoy_http2_rx_reset{} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("envoy_cluster_http2_tx_reset{envoy_cluster_name=\"a.b\"} 2"), std::string::npos) << text;
}

TEST(MetricsTest, ValuesOfAllShardsAreSummed) {
  Registry registry;
  Shard* a = registry.NewShard();
  Shard* b = registry.NewShard();
  a->Cluster(kReviews)->upstream_rq_total.Add(3);
  b->Cluster(kReviews)->upstream_rq_total.Inc();
  a->Cluster(kReviews)->upstream_cx_active.Inc();
  b->Cluster(kReviews)->upstream_cx_active.Add(2);
  b->Cluster(kReviews)->upstream_cx_active.Dec();
  const std::string name = std::string("cluster.") + kReviews;
  EXPECT_EQ(*registry.Value(name + ".upstream_rq_total"), 4);
  EXPECT_EQ(*registry.Value(name + ".upstream_cx_active"), 2);
  EXPECT_EQ(registry.Value(name + ".no_such_name"), nullptr);
}

TEST(MetricsTest, LookUpGivesTheSameObject) {
  Registry registry;
  Shard* shard = registry.NewShard();
  EXPECT_EQ(shard->Cluster("a"), shard->Cluster("a"));
  EXPECT_NE(shard->Cluster("a"), shard->Cluster("b"));
  EXPECT_EQ(shard->Http("a"), shard->Http("a"));
  MetricName uptime{ScopeId::Process("server"), "uptime"};
  EXPECT_EQ(shard->GetGauge(uptime), shard->GetGauge(uptime));
  EXPECT_EQ(shard->scope_count(), 4u);
}

TEST(MetricsTest, GaugesGoBelowZeroAndBack) {
  Gauge g;
  EXPECT_FALSE(g.used());
  g.Add(-5);
  EXPECT_EQ(g.value(), -5);
  g.Inc();
  EXPECT_EQ(g.value(), -4);
  g.Set(1LL << 40);
  EXPECT_EQ(g.value(), 1LL << 40);
  g.Set(0);
  EXPECT_TRUE(g.used());
}

TEST(MetricsTest, TextIsSortedWithHistogramsLast) {
  Registry registry;
  Shard* shard = registry.NewShard();
  ClusterCounters* c = shard->Cluster("b.c|d");
  c->upstream_rq_total.Add(2);
  c->upstream_rq_time.Record(7);
  shard->Listener("127.0.0.1:80")->downstream_cx_total.Inc();
  absl::StatusOr<std::string> text = registry.Text({.used_only = true});
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            "cluster.b.c|d.upstream_rq_total: 2\n"
            "listener.127.0.0.1_80.downstream_cx_total: 1\n"
            "cluster.b.c|d.upstream_rq_time: P0(nan,7) P25(nan,7) P50(nan,7) P75(nan,7) P90(nan,7) P95(nan,7) "
            "P99(nan,7) P99.5(nan,7) P99.9(nan,7) P100(nan,7)\n");
}

TEST(MetricsTest, UnusedOnesAreListedUnlessAskedFor) {
  Registry registry;
  registry.NewShard()->Http("in")->downstream_rq_active.Set(0);
  std::string all = *registry.Text({});
  EXPECT_THAT(all, HasSubstr("http.in.downstream_rq_total: 0\n"));
  EXPECT_THAT(all, HasSubstr("http.in.downstream_rq_time: No recorded values\n"));
  EXPECT_EQ(*registry.Text({.used_only = true}), "http.in.downstream_rq_active: 0\n");
}

TEST(MetricsTest, Filter) {
  Registry registry;
  registry.NewShard()->Http("in");
  std::string text = *registry.Text({.filter = "cx_(total|active)$"});
  EXPECT_EQ(text, "http.in.downstream_cx_active: 0\nhttp.in.downstream_cx_total: 0\n");
  absl::StatusOr<std::string> bad = registry.Text({.filter = "(("});
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("filter \"((\" is not a regular expression"));
  EXPECT_FALSE(registry.Json({.filter = "(("}).ok());
  EXPECT_FALSE(registry.Prometheus({.filter = "(("}).ok());
}

TEST(MetricsTest, PrometheusNamesAndTags) {
  Registry registry;
  Shard* shard = registry.NewShard();
  shard->Cluster(kReviews)->CountResponse(200);
  shard->Cluster("other:1")->CountResponse(503);
  shard->Http("outbound_0.0.0.0_9080")->CountResponse(404);
  shard->Listener("127.0.0.1:80")->downstream_cx_total.Inc();
  shard->ListenerHttp("127.0.0.1:80", "in")->CountResponse(302);
  shard->GetGauge({ScopeId::Process("server"), "live"})->Set(1);
  std::string text = *registry.Prometheus({.used_only = true});
  EXPECT_EQ(text,
            "# TYPE envoy_cluster_upstream_rq counter\n"
            "envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"other_1\"} 1\n"
            "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"outbound|9080|v1|reviews.default.svc.cluster.local\"} 1\n"
            "# TYPE envoy_cluster_upstream_rq_completed counter\n"
            "envoy_cluster_upstream_rq_completed{envoy_cluster_name=\"other_1\"} 1\n"
            "envoy_cluster_upstream_rq_completed{envoy_cluster_name=\"outbound|9080|v1|reviews.default.svc.cluster.local\"} 1\n"
            "# TYPE envoy_cluster_upstream_rq_xx counter\n"
            "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"other_1\"} 1\n"
            "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"outbound|9080|v1|reviews.default.svc.cluster.local\"} 1\n"
            "# TYPE envoy_http_downstream_rq_completed counter\n"
            "envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix=\"outbound_0.0.0.0_9080\"} 1\n"
            "# TYPE envoy_http_downstream_rq_xx counter\n"
            "envoy_http_downstream_rq_xx{envoy_response_code_class=\"4\",envoy_http_conn_manager_prefix=\"outbound_0.0.0.0_9080\"} 1\n"
            "# TYPE envoy_listener_downstream_cx_total counter\n"
            "envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_80\"} 1\n"
            "# TYPE envoy_listener_http_downstream_rq_completed counter\n"
            "envoy_listener_http_downstream_rq_completed{envoy_http_conn_manager_prefix=\"in\",envoy_listener_address=\"127.0.0.1_80\"} 1\n"
            "# TYPE envoy_listener_http_downstream_rq_xx counter\n"
            "envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"3\",envoy_http_conn_manager_prefix=\"in\",envoy_listener_address=\"127.0.0.1_80\"} 1\n"
            "# TYPE envoy_server_live gauge\n"
            "envoy_server_live{} 1\n");
}

TEST(MetricsTest, PrometheusLabelsAreEscaped) {
  Registry registry;
  registry.NewShard()->Cluster("a\"b\\c\nd")->upstream_rq_total.Inc();
  EXPECT_THAT(*registry.Prometheus({.used_only = true}), HasSubstr("{envoy_cluster_name=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

TEST(MetricsTest, PrometheusHistogram) {
  Registry registry;
  Histogram& h = registry.NewShard()->Cluster("c")->upstream_rq_time;
  for (uint64_t v : {0, 1, 5, 6, 1000, 3600000, 3600001}) h.Record(v);
  std::string text = *registry.Prometheus({.used_only = true});
  EXPECT_THAT(text, HasSubstr("# TYPE envoy_cluster_upstream_rq_time histogram\n"));
  auto bucket = [](const char* le, int n) {
    return std::string("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"c\",le=\"") + le + "\"} " +
           std::to_string(n) + "\n";
  };
  // A value that is equal to a bound belongs to it.
  EXPECT_THAT(text, HasSubstr(bucket("0.5", 1) + bucket("1", 2) + bucket("5", 3) + bucket("10", 4) + bucket("25", 4)));
  EXPECT_THAT(text, HasSubstr(bucket("500", 4) + bucket("1000", 5)));
  EXPECT_THAT(text, HasSubstr(bucket("3600000", 6) + bucket("+Inf", 7)));
  EXPECT_THAT(text, HasSubstr("envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"c\"} 7201013\n"
                              "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"c\"} 7\n"));
}

TEST(MetricsTest, MetricNameWithTagsOfItsOwn) {
  Registry registry;
  registry.NewShard()
      ->GetCounter({ScopeId::Http("in"), "rds.9080.update_success", "rds.update_success", {{"envoy_rds_route_config", "9080"}}})
      ->Inc();
  EXPECT_EQ(*registry.Text({.used_only = true}), "http.in.rds.9080.update_success: 1\n");
  EXPECT_THAT(*registry.Prometheus({.used_only = true}),
              HasSubstr("envoy_http_rds_update_success{envoy_rds_route_config=\"9080\",envoy_http_conn_manager_prefix=\"in\"} 1\n"));
}

TEST(MetricsTest, Json) {
  Registry registry;
  Shard* shard = registry.NewShard();
  shard->Cluster("c")->upstream_rq_total.Add(5);
  shard->Cluster("c")->upstream_rq_time.Record(4);
  rapidjson::Document doc;
  doc.Parse(registry.Json({.used_only = true})->c_str());
  ASSERT_FALSE(doc.HasParseError());
  const auto& stats = doc["stats"];
  ASSERT_EQ(stats.Size(), 2u);
  EXPECT_STREQ(stats[0]["name"].GetString(), "cluster.c.upstream_rq_total");
  EXPECT_EQ(stats[0]["value"].GetInt64(), 5);
  const auto& histograms = stats[1]["histograms"];
  EXPECT_EQ(histograms["supported_quantiles"].Size(), 10u);
  const auto& computed = histograms["computed_quantiles"][0];
  EXPECT_STREQ(computed["name"].GetString(), "cluster.c.upstream_rq_time");
  EXPECT_TRUE(computed["values"][0]["interval"].IsNull());
  EXPECT_EQ(computed["values"][2]["cumulative"].GetDouble(), 4);
}

TEST(MetricsTest, DroppedScopeStaysInTheSumWhileAnotherShardHasIt) {
  Registry registry;
  Shard* a = registry.NewShard();
  Shard* b = registry.NewShard();
  ClusterCounters* c = a->Cluster("c");
  c->upstream_rq_total.Add(10);
  c->upstream_cx_active.Set(4);
  c->upstream_rq_time.Record(3);
  c->CountResponse(200);
  a->GetCounter({ScopeId::Cluster("c"), "extra"})->Add(6);
  b->Cluster("c")->upstream_rq_total.Add(1);
  a->Drop(ScopeId::Cluster("c"));
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_total"), 11);
  EXPECT_EQ(*registry.Value("cluster.c.upstream_cx_active"), 0) << "a level goes with its shard";
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_2xx"), 1);
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_200"), 1);
  EXPECT_EQ(*registry.Value("cluster.c.extra"), 6);
  EXPECT_THAT(*registry.Text({.filter = "upstream_rq_time"}), HasSubstr("P100(nan,3)"));
  EXPECT_EQ(a->scope_count(), 0u);
  // Back again: counts go on from where they were.
  a->Cluster("c")->upstream_rq_total.Inc();
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_total"), 12);
  a->Drop(ScopeId::Cluster("c"));
  b->Drop(ScopeId::Cluster("c"));
  EXPECT_EQ(*registry.Text({}), "") << "the last one takes the series along";
  b->Drop(ScopeId::Cluster("c"));
  a->Cluster("c")->upstream_rq_total.Inc();
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_total"), 1);
}

TEST(MetricsTest, ResponseClassesAndCodes) {
  Registry registry;
  ClusterCounters* c = registry.NewShard()->Cluster("c");
  for (int code : {100, 200, 204, 200, 301, 404, 503, 599, 0, 42, 600}) c->CountResponse(code);
  EXPECT_EQ(c->upstream_rq_1xx.value(), 1u);
  EXPECT_EQ(c->upstream_rq_2xx.value(), 3u);
  EXPECT_EQ(c->upstream_rq_3xx.value(), 1u);
  EXPECT_EQ(c->upstream_rq_4xx.value(), 1u);
  EXPECT_EQ(c->upstream_rq_5xx.value(), 2u);
  EXPECT_EQ(c->upstream_rq_completed.value(), 11u);
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_200"), 2);
  EXPECT_EQ(*registry.Value("cluster.c.upstream_rq_599"), 1);
  EXPECT_EQ(registry.Value("cluster.c.upstream_rq_42"), nullptr);
}

TEST(HistogramTest, QuantilesOfAKnownDistribution) {
  Histogram h;
  for (uint64_t v = 1; v <= 10000; ++v) h.Record(v);
  HistogramSnapshot s;
  s.Add(h);
  EXPECT_EQ(s.count(), 10000u);
  EXPECT_EQ(s.sum(), 50005000u);
  EXPECT_EQ(s.Quantile(0), 1);
  EXPECT_EQ(s.Quantile(1), 10000);
  for (double q : {0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999}) {
    EXPECT_NEAR(s.Quantile(q), q * 10000, q * 10000 * 0.032) << q;
  }
}

TEST(HistogramTest, HugeValuesAreKept) {
  Histogram h;
  h.Record(UINT64_MAX);
  h.Record(1ULL << 40);
  HistogramSnapshot s;
  s.Add(h);
  EXPECT_EQ(s.count(), 2u);
  EXPECT_EQ(s.Quantile(1), static_cast<double>(UINT64_MAX));
  EXPECT_EQ(s.CumulativeCount(kTwiceBucketBounds.size() - 1), 0u);
}

TEST(HistogramTest, QuantilesNeverFall) {
  Histogram h;
  uint64_t x = 12345;
  for (int i = 0; i < 5000; ++i) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    h.Record(x >> (33 + x % 20));
  }
  HistogramSnapshot s;
  s.Add(h);
  double last = -1;
  for (double q = 0; q <= 1.0; q += 0.001) {
    double v = s.Quantile(q);
    EXPECT_GE(v, last) << q;
    last = v;
  }
}

// Run under TSAN: readers and writers at the same time, scopes come and go.
TEST(MetricsTest, ReadingWhileWorkersWrite) {
  Registry registry;
  constexpr int kWorkers = 3;
  constexpr uint64_t kRounds = 100000;
  std::atomic<int> running{kWorkers};
  std::vector<std::thread> workers;
  for (int w = 0; w < kWorkers; ++w) {
    Shard* shard = registry.NewShard();
    workers.emplace_back([shard, &running] {
      ClusterCounters* kept = shard->Cluster("kept");
      for (uint64_t i = 0; i < kRounds; ++i) {
        kept->CountResponse(200 + static_cast<int>(i % 7));
        kept->upstream_rq_time.Record(i % 5000);
        kept->upstream_rq_active.Inc();
        kept->upstream_rq_active.Dec();
        if (i % 100 == 0) {
          shard->Cluster("coming and going")->upstream_rq_total.Inc();
          shard->Drop(ScopeId::Cluster("coming and going"));
        }
      }
      running.fetch_sub(1);
    });
  }
  int64_t last = 0;
  while (running.load() > 0) {
    std::unique_ptr<int64_t> now = registry.Value("cluster.kept.upstream_rq_completed");
    if (now != nullptr) {
      EXPECT_GE(*now, last) << "a counter never falls";
      last = *now;
    }
    ASSERT_TRUE(registry.Prometheus({}).ok());
  }
  for (std::thread& t : workers) t.join();
  EXPECT_EQ(*registry.Value("cluster.kept.upstream_rq_completed"), static_cast<int64_t>(kWorkers * kRounds));
  EXPECT_EQ(*registry.Value("cluster.kept.upstream_rq_active"), 0);
}

}  // namespace
}  // namespace weft::observe
