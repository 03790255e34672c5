// No allocation per request after warm-up in the codec and the pump (issue: "Speed and memory"): not few, none.
#include <string>

#include "bench/micro/pump.h"
#include "gtest/gtest.h"

namespace weft::bench {
namespace {

constexpr uint64_t kWarmUp = 3000, kMeasured = 5000;

void ExpectNoAllocations(PumpOptions options) {
  Pump pump(std::move(options));
  Pump::Result warm = pump.Run(kWarmUp);
  ASSERT_EQ(warm.wrong, 0u) << warm.first_wrong;
  Pump::Result r = pump.Run(kMeasured);
  EXPECT_EQ(r.wrong, 0u) << r.first_wrong;
  EXPECT_EQ(r.requests, kMeasured);
  EXPECT_EQ(r.allocations.allocations, 0u)
      << static_cast<double>(r.allocations.allocations) / kMeasured << " allocations a request, "
      << r.allocations.bytes / kMeasured << " bytes";
}

// That the numbers above mean anything: the set-up of a pump and its first requests do allocate on that thread.
TEST(PumpAllocations, AreCountedOnTheWorkersThread) {
  if (!AllocationCountingAvailable()) GTEST_SKIP() << "this build's allocator is a sanitizer's";
  Pump pump({.connections = 8, .request = TypicalRequest(), .response = TypicalResponse(1024)});
  Pump::Result first = pump.Run(8);
  EXPECT_EQ(first.wrong, 0u) << first.first_wrong;
  EXPECT_GT(first.allocations.allocations, 8u);
}

TEST(PumpAllocations, NoneForAGetOnOneConnection) {
  ExpectNoAllocations({.request = TypicalRequest(), .response = TypicalResponse(1024)});
}

TEST(PumpAllocations, NoneForGetsOnManyConnections) {
  ExpectNoAllocations({.connections = 64, .request = TypicalRequest(), .response = TypicalResponse(1024)});
}

TEST(PumpAllocations, NoneForAnAnswerWithoutABody) {
  ExpectNoAllocations({.connections = 8, .request = TypicalRequest(), .response = TypicalResponse(0)});
}

TEST(PumpAllocations, NoneForChunkedAnswers) {
  ExpectNoAllocations({.connections = 8, .request = TypicalRequest(), .response = ChunkedResponse(4000)});
}

TEST(PumpAllocations, NoneForBodiesOfManyBlocks) {
  ExpectNoAllocations({.connections = 4, .request = TypicalRequest(), .response = TypicalResponse(60'000)});
}

TEST(PumpAllocations, NoneForPosts) {
  ExpectNoAllocations({.connections = 8, .request = PostRequest(1024), .response = TypicalResponse(1024)});
}

TEST(PumpAllocations, NoneForChunkedPosts) {
  ExpectNoAllocations({.connections = 8, .request = ChunkedPostRequest(1024), .response = TypicalResponse(1024)});
}

// A typical sidecar: own names as client address and request id, weights, header mutations, rewrite.
TEST(PumpAllocations, NoneWithMutationsRewritesAndWeights) {
  PumpOptions o{.connections = 8, .request = TypicalRequest(), .response = TypicalResponse(1024)};
  auto* vhost = o.routes.add_virtual_hosts();
  vhost->set_name("reviews");
  vhost->add_domains("reviews:9080");
  auto* route = vhost->add_routes();
  route->mutable_match()->set_prefix("/reviews/");
  auto* action = route->mutable_route();
  action->set_prefix_rewrite("/v2/reviews/");
  for (int i = 0; i < 2; ++i) {
    auto* w = action->mutable_weighted_clusters()->add_clusters();
    w->set_name(Pump::kCluster);
    w->mutable_weight()->set_value(50);
  }
  auto* add = route->add_request_headers_to_add();
  add->mutable_header()->set_key("x-client");
  add->mutable_header()->set_value("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(:METHOD)%");
  auto* back = route->add_response_headers_to_add();
  back->mutable_header()->set_key("x-mesh");
  back->mutable_header()->set_value("weft");
  route->add_request_headers_to_remove("cookie");
  o.change = [](proxy::HttpManagerSpec& http) {
    http.use_remote_address = true;
    http.via = "weft";
  };
  ExpectNoAllocations(std::move(o));
}

}  // namespace
}  // namespace weft::bench
