#include "dataplane/upstream/cluster.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/observe/metrics.h"

namespace weft::upstream {
namespace {

struct Wish : StreamRequest {
  void OnStreamReady(http::ClientStream&) override { ++ready; }
  void OnStreamFailed(const Error& e) override {
    error = e;
    ++failed;
    if (then) then();
  }
  std::function<void()> then;
  Error error;
  int ready = 0, failed = 0;
};

class ClusterTest : public ::testing::Test {
 protected:
  ~ClusterTest() override {
    map_.reset();
    loop_.RunOnce();
  }
  static std::shared_ptr<ClusterSpec> Spec() {
    auto s = std::make_shared<ClusterSpec>();
    s->name = "c";
    s->connect_timeout = 10 * kSecond;
    return s;
  }
  // Endpoints 192.0.2.n, which nobody answers for.
  static std::shared_ptr<const EndpointSet> Endpoints(
      const std::vector<std::pair<int, uint32_t>>& hosts) {
    auto set = std::make_shared<EndpointSet>();
    std::vector<uint32_t> weights;
    for (auto [n, weight] : hosts) {
      EndpointSpec& e = set->endpoints.emplace_back();
      e.address = *net::Address::FromIp("192.0.2." + std::to_string(n), 80);
      e.weight = weight;
      weights.push_back(weight);
    }
    set->pick = std::make_shared<decide::PickTable>(decide::PickTable::Build(weights));
    return set;
  }
  event::Loop loop_;
  buffer::Slab slab_;
  http::h1::ClientContext http1_{loop_, slab_};
  observe::Registry registry_;
  observe::Shard& shard_ = *registry_.NewShard();
  std::unique_ptr<ClusterMap> map_ = std::make_unique<ClusterMap>(ClusterContext{http1_, shard_});
};

TEST_F(ClusterTest, IsMadeAtItsFirstUse) {
  map_->Put(Spec(), Endpoints({{1, 1}}));
  EXPECT_EQ(map_->size(), 1u);
  EXPECT_EQ(map_->live(), 0u);
  EXPECT_EQ(map_->Get("other"), nullptr);
  EXPECT_NE(map_->Get("c"), nullptr);
  EXPECT_EQ(map_->live(), 1u);
  map_->Remove("c");
  EXPECT_EQ(map_->live(), 0u);
  EXPECT_EQ(map_->Get("c"), nullptr);
}

TEST_F(ClusterTest, PicksByWeight) {
  map_->Put(Spec(), Endpoints({{1, 1}, {2, 3}, {3, 0}}));
  Cluster* c = map_->Get("c");
  std::map<std::string, int> picked;
  for (int i = 0; i < 400; ++i) ++picked[c->Pick(7)->address_text()];
  EXPECT_EQ(picked["192.0.2.1:80"], 100);
  EXPECT_EQ(picked["192.0.2.2:80"], 300);
  EXPECT_EQ(picked.size(), 2u) << "a weight of 0 takes no request";
}

TEST_F(ClusterTest, RandomIsBalancedToo) {
  auto spec = Spec();
  spec->lb_policy = LbPolicy::kRandom;
  map_->Put(spec, Endpoints({{1, 1}, {2, 3}}));
  Cluster* c = map_->Get("c");
  int first = 0;
  for (uint64_t i = 0; i < 4000; ++i)
    first += c->Pick(i * 0x9e3779b97f4a7c15)->endpoint().weight == 1;
  EXPECT_NEAR(first, 1000, 150);
}

TEST_F(ClusterTest, WorkersBeginAtDifferentPlaces) {
  std::map<std::string, int> first;
  for (uint64_t worker = 0; worker < 40; ++worker) {
    ClusterMap other(ClusterContext{http1_, shard_});
    other.Put(Spec(), Endpoints({{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
    ++first[other.Get("c")->Pick(worker * 0x9e3779b97f4a7c15)->address_text()];
  }
  EXPECT_EQ(first.size(), 4u) << "the first request of each worker goes to the same host";
}

TEST_F(ClusterTest, NoUsableHostIsNull) {
  map_->Put(Spec(), nullptr);
  EXPECT_EQ(map_->Get("c")->Pick(1), nullptr);
  map_->PutEndpoints("c", Endpoints({}));
  EXPECT_EQ(map_->Get("c")->Pick(1), nullptr);
  map_->PutEndpoints("c", Endpoints({{1, 0}}));
  EXPECT_EQ(map_->Get("c")->Pick(1), nullptr);
}

TEST_F(ClusterTest, HostsWhoseAddressStaysAreKept) {
  map_->Put(Spec(), Endpoints({{1, 1}, {2, 1}}));
  Cluster* c = map_->Get("c");
  Host* one = c->hosts()[0].get();
  map_->PutEndpoints("c", Endpoints({{3, 1}, {1, 5}, {1, 5}}));
  EXPECT_EQ(map_->Get("c"), c);
  ASSERT_EQ(c->hosts().size(), 3u);
  EXPECT_EQ(c->hosts()[1].get(), one);
  EXPECT_EQ(one->endpoint().weight, 5u);
  EXPECT_NE(c->hosts()[2].get(), one) << "twice the same address: two hosts";
}

TEST_F(ClusterTest, WhoWaitsForARemovedHostChoosesAgain) {
  map_->Put(Spec(), Endpoints({{1, 1}}));
  Wish again, w;
  Rc<Host> held(map_->Get("c")->Pick(0));
  Rc<Host> next;
  w.then = [&] {
    held.reset();  // the last reference to the host whose pool tells this
    next = Rc<Host>(map_->Get("c")->Pick(0));
    next->Acquire(&again);
  };
  held->Acquire(&w);
  map_->PutEndpoints("c", Endpoints({{2, 1}}));
  EXPECT_EQ(w.failed, 1);
  EXPECT_EQ(w.error.code, ErrorCode::kDrain);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->address_text(), "192.0.2.2:80");
  EXPECT_EQ(again.failed + again.ready, 0);
  again.Cancel();
}

TEST_F(ClusterTest, ANewSpecificationTakesWhoWaitsAlong) {
  map_->Put(Spec(), Endpoints({{1, 1}}));
  Wish w;
  Rc<Host> held(map_->Get("c")->Pick(0));
  Cluster* before = map_->Get("c");
  Cluster* after = nullptr;
  w.then = [&] { after = map_->Get("c"); };
  held->Acquire(&w);
  Rc<Cluster> keep(before);  // so that its address is not used again
  map_->Put(Spec(), nullptr);
  EXPECT_EQ(w.error.code, ErrorCode::kDrain);
  EXPECT_NE(after, nullptr);
  EXPECT_NE(after, before);
  EXPECT_EQ(map_->live(), 1u);
  EXPECT_EQ(after->hosts().size(), 1u) << "the endpoints are kept";
  held.reset();
}

// The map has no copy of a name: it looks at the one of the specification that it has now.
TEST_F(ClusterTest, IsFoundByItsNameWhenTheFirstSpecificationIsGone) {
  const std::string name = "outbound|9080||reviews.default.svc.cluster.local";
  for (int i = 0; i < 3; ++i) {
    auto spec = Spec();
    spec->name = name;
    map_->Put(std::move(spec), i == 0 ? Endpoints({{1, 1}}) : nullptr);
    EXPECT_EQ(map_->size(), 1u);
    ASSERT_NE(map_->Get(name), nullptr);
    EXPECT_EQ(map_->Get(name)->hosts().size(), 1u);
  }
  map_->PutEndpoints(name, Endpoints({{1, 1}, {2, 1}}));
  EXPECT_EQ(map_->Get(name)->hosts().size(), 2u);
  map_->Remove(name);
  EXPECT_EQ(map_->Get(name), nullptr);
  EXPECT_EQ(map_->size() + map_->live(), 0u);
}

}  // namespace
}  // namespace weft::upstream
