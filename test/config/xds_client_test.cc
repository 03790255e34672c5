#include "dataplane/config/xds_client.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "api/cpp/names.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "test/config/fake_xds_transport.h"
#include "test/http/h2/fake_server.h"

namespace weft::config {
namespace {

using test::FakeXdsTransport;
namespace ds = envoy::service::discovery::v3;

const std::string kCluster(api::kClusterType), kEndpoint(api::kEndpointType), kListener(api::kListenerType);

std::string NameBytes(const std::string& name, const std::string& more = "") {
  envoy::config::cluster::v3::Cluster c;
  c.set_name(name);
  c.set_alt_stat_name(more);
  return c.SerializeAsString();
}

struct DeltaReply {
  ds::DeltaDiscoveryResponse m;
  DeltaReply(const std::string& type, const std::string& nonce) {
    m.set_type_url(type);
    m.set_nonce(nonce);
    m.set_system_version_info("s" + nonce);
  }
  DeltaReply& Put(const std::string& name, const std::string& version, const std::string& type = "") {
    auto* r = m.add_resources();
    r->set_name(name);
    r->set_version(version);
    r->mutable_resource()->set_type_url(type.empty() ? m.type_url() : type);
    r->mutable_resource()->set_value(NameBytes(name, version));
    return *this;
  }
  DeltaReply& Remove(const std::string& name) {
    m.add_removed_resources(name);
    return *this;
  }
};

struct SotwReply {
  ds::DiscoveryResponse m;
  SotwReply(const std::string& type, const std::string& version, const std::string& nonce) {
    m.set_type_url(type);
    m.set_nonce(nonce);
    m.set_version_info(version);
  }
  SotwReply& Put(const std::string& name) {
    auto* a = m.add_resources();
    a->set_type_url(m.type_url());
    a->set_value(NameBytes(name, m.version_info()));
    return *this;
  }
};

class XdsClientTest : public ::testing::Test, public XdsClient::Watcher {
 protected:
  void Make(bool delta = true) {
    XdsOptions o;
    o.delta = delta;
    envoy::config::core::v3::Node node;
    node.set_id("me");
    o.node = node.SerializeAsString();
    o.random = [this] { return random_; };
    o.backoff_min = backoff_min_;
    o.backoff_max = 5 * backoff_min_;
    client_ = std::make_unique<XdsClient>(loop_, t_, o, this);
    client_->AddType(kCluster, true);
    client_->AddType(kEndpoint, false);
    client_->AddType(kListener, true);
  }
  void Connect() {
    ASSERT_TRUE(Until([&] { return t_.open(); }));
    t_.Ready();
  }
  void StartAll(bool delta = true) {
    Make(delta);
    client_->SubscribeAll(kCluster);
    client_->Start();
    Connect();
  }
  std::string Next() {
    loop_.RunOnce();
    return t_.Next();
  }
  bool Until(const std::function<bool()>& f) { return test::RunUntil(loop_, f); }

  void OnXdsUpdate(XdsUpdate u, XdsClient::Done done) override {
    std::vector<XdsRefusal> refused;
    std::string text = FakeXdsTransport::Short(u.type_url);
    for (auto& r : u.resources) {
      text += " " + r.name + "=" + r.version;
      if (bad_.contains(r.name)) refused.push_back({r.name, r.version, bad_[r.name]});
    }
    for (auto& n : u.removed) text += " -" + n;
    heard_.push_back(text);
    if (hold_) {
      held_.emplace_back(std::move(done), std::move(refused));
    } else {
      done(std::move(refused));
    }
  }
  void OnXdsConnection(bool connected, const std::string& detail) override {
    connections_.push_back((connected ? "up " : "down ") + detail);
  }
  std::string Heard() {
    std::string out;
    for (auto& h : heard_) out += (out.empty() ? "" : "; ") + h;
    heard_.clear();
    return out;
  }
  ResourceState State(const std::string& type, const std::string& name) { return client_->Find(type, name)->state; }

  event::Loop loop_;
  FakeXdsTransport t_;
  std::unique_ptr<XdsClient> client_;
  std::map<std::string, std::string> bad_;
  bool hold_ = false;
  double random_ = 0;
  MonoNanos backoff_min_ = 8 * kMillisecond;
  std::vector<std::pair<XdsClient::Done, std::vector<XdsRefusal>>> held_;
  std::vector<std::string> heard_, connections_;
};

TEST_F(XdsClientTest, DeltaFirstRequestAndAck) {
  StartAll();
  EXPECT_EQ(Next(), "Cluster node=me");
  EXPECT_EQ(Next(), "");
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").Put("b", "1").m);
  EXPECT_EQ(Heard(), "Cluster a=1 b=1");
  EXPECT_EQ(Next(), "Cluster nonce=n1");
  EXPECT_EQ(Next(), "");
  EXPECT_EQ(State(kCluster, "a"), ResourceState::kExists);
  EXPECT_EQ(client_->Find(kCluster, "a")->version, "1");
  EXPECT_EQ(connections_, std::vector<std::string>{"up server0"});
}

TEST_F(XdsClientTest, DeltaNackListsEachRefusedResource) {
  StartAll();
  Next();
  bad_ = {{"b", "connect_timeout: must be above 0"}, {"d", "name: too long"}};
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").Put("b", "1").Put("c", "1").Put("d", "4").m);
  EXPECT_EQ(Next(),
            "Cluster nonce=n1 nack=3{b: connect_timeout: must be above 0\nd: name: too long}"
            " detail={b|connect_timeout: must be above 0} detail={d|name: too long}");
  EXPECT_EQ(State(kCluster, "a"), ResourceState::kExists);
  EXPECT_EQ(State(kCluster, "b"), ResourceState::kRefused);
  EXPECT_EQ(client_->Find(kCluster, "d")->refused_version, "4");
  EXPECT_EQ(client_->Find(kCluster, "d")->version, "");
  bad_.clear();
  t_.Reply(DeltaReply(kCluster, "n2").Put("b", "2").m);
  EXPECT_EQ(Next(), "Cluster nonce=n2");
  EXPECT_EQ(State(kCluster, "b"), ResourceState::kExists);
  EXPECT_EQ(client_->Find(kCluster, "b")->reason, "");
}

TEST_F(XdsClientTest, RefusalKeepsTheVersionThatIsHeld) {
  StartAll();
  Next();
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").m);
  Next();
  bad_ = {{"a", "no"}};
  t_.Reply(DeltaReply(kCluster, "n2").Put("a", "2").m);
  EXPECT_EQ(Next(), "Cluster nonce=n2 nack=3{a: no} detail={a|no}");
  EXPECT_EQ(client_->Find(kCluster, "a")->version, "1");
  t_.Close();
  Connect();
  EXPECT_EQ(Next(), "Cluster node=me a=1");
}

TEST_F(XdsClientTest, AnswersWaitForDoneAndKeepTheirOrder) {
  StartAll();
  Next();
  hold_ = true;
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").m);
  t_.Reply(DeltaReply(kCluster, "n2").Put("a", "2").m);
  t_.Reply(DeltaReply(kCluster, "n3").Remove("a").m);
  EXPECT_EQ(Heard(), "Cluster a=1; Cluster a=2; Cluster -a");
  EXPECT_EQ(Next(), "");
  held_[1].first({});
  EXPECT_EQ(Next(), "");
  held_[0].first({{"a", "1", "bad"}});
  EXPECT_EQ(Next(), "Cluster nonce=n1 nack=3{a: bad} detail={a|bad}");
  EXPECT_EQ(Next(), "Cluster nonce=n2");
  EXPECT_EQ(client_->Find(kCluster, "a")->version, "2");
  held_[2].first({});
  EXPECT_EQ(Next(), "Cluster nonce=n3");
  EXPECT_EQ(client_->Find(kCluster, "a"), nullptr);
}

TEST_F(XdsClientTest, DoneAfterTheStreamIsGoneAnswersNobody) {
  StartAll();
  Next();
  hold_ = true;
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").m);
  t_.Close();
  Connect();
  EXPECT_EQ(Next(), "");  // not before it is known what is held
  held_[0].first({});
  EXPECT_EQ(Next(), "Cluster node=me a=1");
  EXPECT_EQ(Next(), "");
}

TEST_F(XdsClientTest, DoneAfterTheClientIsGone) {
  StartAll();
  hold_ = true;
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").m);
  client_.reset();
  held_[0].first({});
}

TEST_F(XdsClientTest, ReconnectCarriesWhatIsHeld) {
  StartAll();
  client_->Subscribe(kEndpoint, "e1", 0);
  client_->Subscribe(kEndpoint, "e2", 0);
  Next(), Next();
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "7").Put("b", "8").m);
  t_.Reply(DeltaReply(kEndpoint, "n2").Put("e1", "9").m);
  Next(), Next();
  t_.Close("connection reset");
  EXPECT_EQ(connections_.back(), "down server0: UNAVAILABLE: connection reset");
  EXPECT_FALSE(client_->status().connected);
  Connect();
  EXPECT_EQ(Next(), "Cluster node=me a=7 b=8");
  EXPECT_EQ(Next(), "ClusterLoadAssignment +e1,e2 e1=9");
  t_.Reply(DeltaReply(kCluster, "m1").Remove("b").m);
  EXPECT_EQ(Next(), "Cluster nonce=m1");
  EXPECT_EQ(client_->Find(kCluster, "b"), nullptr);
  EXPECT_TRUE(client_->status().connected);
}

TEST_F(XdsClientTest, SubscriptionsOfOneTurnAreOneRequest) {
  StartAll();
  Next();
  client_->Subscribe(kEndpoint, "e1", 0);
  client_->Subscribe(kEndpoint, "e2", 0);
  EXPECT_EQ(Next(), "ClusterLoadAssignment +e1,e2");
  client_->Unsubscribe(kEndpoint, "e1");
  client_->Subscribe(kEndpoint, "e3", 0);
  EXPECT_EQ(Next(), "ClusterLoadAssignment +e3 -e1");
  client_->Unsubscribe(kEndpoint, "e3");
  client_->Subscribe(kEndpoint, "e3", 0);
  EXPECT_EQ(Next(), "ClusterLoadAssignment +e3");
  client_->Unsubscribe(kEndpoint, "nobody");
  client_->Subscribe(kEndpoint, "e3", 0);
  EXPECT_EQ(Next(), "");
}

TEST_F(XdsClientTest, WildcardTogetherWithNamesHasTheStar) {
  Make();
  client_->SubscribeAll(kCluster);
  client_->Subscribe(kCluster, "on-demand", 0);
  client_->Start();
  Connect();
  EXPECT_EQ(Next(), "Cluster node=me +*,on-demand");
}

TEST_F(XdsClientTest, ResourcesThatNobodyAskedForAreDropped) {
  StartAll();
  client_->Subscribe(kEndpoint, "e1", 0);
  Next(), Next();
  t_.Reply(DeltaReply(kEndpoint, "n1").Put("e1", "1").Put("stranger", "1").m);
  EXPECT_EQ(Heard(), "ClusterLoadAssignment e1=1");
  EXPECT_EQ(Next(), "ClusterLoadAssignment nonce=n1");
}

TEST_F(XdsClientTest, UnknownTypeIsRefused) {
  StartAll();
  Next();
  t_.Reply(DeltaReply("type.googleapis.com/a.b.Thing", "n1").Put("x", "1").m);
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(Next(), "Thing nonce=n1 nack=3{this proxy did not ask for resources of type \"type.googleapis.com/a.b.Thing\"}");
}

TEST_F(XdsClientTest, MalformedResources) {
  StartAll();
  Next();
  DeltaReply r(kCluster, "n1");
  r.Put("good", "1").Put("twice", "1").Put("twice", "2").Put("other", "1", kEndpoint).Put("", "1");
  r.m.add_resources()->set_name("empty");
  t_.Reply(r.m);
  EXPECT_EQ(Heard(), "Cluster good=1 twice=1");
  EXPECT_EQ(Next(),
            "Cluster nonce=n1 nack=3{twice: appears twice in one response\nother: is of type " + kEndpoint +
                " in a response of type " + kCluster + "\n: has no name\nempty: has no body}" +
                " detail={twice|appears twice in one response} detail={other|is of type " + kEndpoint +
                " in a response of type " + kCluster + "} detail={|has no name} detail={empty|has no body}");
}

TEST_F(XdsClientTest, BytesThatAreNoMessageEndTheStream) {
  StartAll();
  Next();
  t_.ReplyBytes("\xff\xff\xff garbage");
  EXPECT_EQ(connections_.back(), "down server0: INTERNAL: server sent bytes that are no DeltaDiscoveryResponse");
  int opened = t_.opened;
  ASSERT_TRUE(Until([&] { return t_.opened == opened + 1; }));
}

TEST_F(XdsClientTest, ServerSaysThatANameDoesNotExist) {
  StartAll();
  client_->Subscribe(kEndpoint, "e1", 0);
  Next(), Next();
  EXPECT_EQ(State(kEndpoint, "e1"), ResourceState::kRequested);
  t_.Reply(DeltaReply(kEndpoint, "n1").Remove("e1").Remove("unknown").m);
  EXPECT_EQ(Heard(), "ClusterLoadAssignment -e1");
  EXPECT_EQ(State(kEndpoint, "e1"), ResourceState::kAbsent);
  t_.Reply(DeltaReply(kEndpoint, "n2").Put("e1", "1").m);
  EXPECT_EQ(State(kEndpoint, "e1"), ResourceState::kExists);
}

TEST_F(XdsClientTest, ResourceErrors) {
  StartAll();
  client_->Subscribe(kEndpoint, "missing", 0);
  client_->Subscribe(kEndpoint, "held", 0);
  Next(), Next();
  t_.Reply(DeltaReply(kEndpoint, "n1").Put("held", "1").m);
  Heard();
  DeltaReply r(kEndpoint, "n2");
  for (const char* name : {"missing", "held"}) {
    auto* e = r.m.add_resource_errors();
    e->mutable_resource_name()->set_name(name);
    e->mutable_error_detail()->set_code(14);
    e->mutable_error_detail()->set_message("backend down");
  }
  t_.Reply(r.m);
  EXPECT_EQ(Heard(), "ClusterLoadAssignment -missing");
  EXPECT_EQ(client_->Find(kEndpoint, "missing")->reason, "server: backend down");
  EXPECT_EQ(client_->Find(kEndpoint, "held")->version, "1");
}

TEST_F(XdsClientTest, NamedResourceThatDoesNotComeInTime) {
  StartAll();
  client_->Subscribe(kEndpoint, "slow", 20 * kMillisecond);
  client_->Subscribe(kEndpoint, "quick", 20 * kMillisecond);
  Next(), Next();
  t_.Reply(DeltaReply(kEndpoint, "n1").Put("quick", "1").m);
  Heard();
  ASSERT_TRUE(Until([&] { return !heard_.empty(); }));
  EXPECT_EQ(Heard(), "ClusterLoadAssignment -slow");
  EXPECT_EQ(client_->Find(kEndpoint, "slow")->reason, "the server did not send it in time");
  EXPECT_EQ(State(kEndpoint, "quick"), ResourceState::kExists);
  EXPECT_EQ(Next(), "ClusterLoadAssignment nonce=n1");
  EXPECT_EQ(Next(), "");  // nothing to answer
}

TEST_F(XdsClientTest, TimeToLive) {
  StartAll();
  Next();
  DeltaReply r(kCluster, "n1");
  r.Put("a", "1").Put("b", "1");
  r.m.mutable_resources(0)->mutable_ttl()->set_nanos(30'000'000);
  t_.Reply(r.m);
  Heard();
  // A heartbeat without a body prolongs it.
  DeltaReply beat(kCluster, "n2");
  beat.m.add_resources()->set_name("a");
  beat.m.mutable_resources(0)->mutable_ttl()->set_nanos(80'000'000);
  MonoNanos start = MonotonicNow();
  t_.Reply(beat.m);
  EXPECT_EQ(Heard(), "Cluster");
  ASSERT_TRUE(Until([&] { return !heard_.empty(); }));
  EXPECT_GE(MonotonicNow() - start, 80 * kMillisecond);
  EXPECT_EQ(Heard(), "Cluster -a");
  EXPECT_EQ(client_->Find(kCluster, "a"), nullptr);
  EXPECT_NE(client_->Find(kCluster, "b"), nullptr);
}

TEST_F(XdsClientTest, BackOffGrowsAndStartsAnewAfterAResponse) {
  random_ = 0.999999;
  StartAll();
  std::vector<int> waits;
  for (int i = 0; i < 5; ++i) {
    int opened = t_.opened;
    t_.Close();
    MonoNanos start = MonotonicNow();
    ASSERT_TRUE(Until([&] { return t_.opened > opened; }));
    waits.push_back(static_cast<int>((MonotonicNow() - start) / kMillisecond));
  }
  // 8, 16, 32, 40, 40 ms, and up to a tick and some scheduling more.
  EXPECT_GE(waits[0], 7);
  EXPECT_GE(waits[1], 15);
  EXPECT_GE(waits[2], 31);
  EXPECT_GE(waits[3], 39);
  EXPECT_GE(waits[4], 39);
  EXPECT_LT(waits[0], waits[3]);
  t_.Ready();
  t_.Reply(DeltaReply(kCluster, "n1").Put("a", "1").m);
  int opened = t_.opened;
  t_.Close();
  MonoNanos start = MonotonicNow();
  ASSERT_TRUE(Until([&] { return t_.opened > opened; }));
  EXPECT_LT((MonotonicNow() - start) / kMillisecond, 35);
}

TEST_F(XdsClientTest, EachServerGetsItsTurnBeforeThePause) {
  t_.server_count = 3;
  StartAll();
  MonoNanos start = MonotonicNow();
  t_.Close();
  ASSERT_TRUE(Until([&] { return t_.opened == 2; }));
  t_.Close();
  ASSERT_TRUE(Until([&] { return t_.opened == 3; }));
  EXPECT_LT(MonotonicNow() - start, 400 * kMillisecond);
  EXPECT_EQ(client_->status().server, "server2");
  t_.Close();
  start = MonotonicNow();
  ASSERT_TRUE(Until([&] { return t_.opened == 4; }));
  EXPECT_GE(MonotonicNow() - start, 3 * kMillisecond);
  EXPECT_EQ(client_->status().server, "server0");
}

TEST_F(XdsClientTest, ServerThatServedIsLeftAtARandomMoment) {
  t_.server_count = 2;
  random_ = 0.5;
  backoff_min_ = 400 * kMillisecond;
  StartAll();
  EXPECT_EQ(Next(), "Cluster node=me");
  t_.Reply(DeltaReply(kCluster, "n1").Remove("a").m);
  MonoNanos start = MonotonicNow();
  t_.Close();
  ASSERT_TRUE(Until([&] { return t_.opened == 2; }));
  EXPECT_GE(MonotonicNow() - start, 190 * kMillisecond);
  EXPECT_EQ(client_->status().server, "server1");
}

TEST_F(XdsClientTest, SeedsAreSentByTheNextStream) {
  StartAll();
  EXPECT_EQ(Next(), "Cluster node=me");
  client_->Seed(kCluster, "a", "disk1");
  client_->Restart();
  Connect();
  EXPECT_EQ(Next(), "Cluster node=me a=disk1");
  t_.Reply(DeltaReply(kCluster, "n1").Remove("a").m);
  EXPECT_EQ(Heard(), "Cluster -a");
}

TEST_F(XdsClientTest, NameInWire) {
  EXPECT_EQ(NameInWire(NameBytes("x", "y")), "x");
  EXPECT_EQ(NameInWire(""), "");
  EXPECT_EQ(NameInWire("\xff"), "");
  EXPECT_EQ(NameInWire(std::string("\x0a\x05" "abc", 5)), "");     // shorter than it says
  EXPECT_EQ(NameInWire(std::string("\x12\x01z\x0a\x01n", 6)), "n");  // field 2 before field 1
  EXPECT_EQ(NameInWire(std::string("\x0b\x0c", 2)), "");           // a group
}

// ---- state of the world ----

TEST_F(XdsClientTest, SotwConversation) {
  StartAll(false);
  client_->Subscribe(kEndpoint, "e1", 0);
  EXPECT_EQ(Next(), "Cluster node=me");
  EXPECT_EQ(Next(), "ClusterLoadAssignment [e1]");
  t_.Reply(SotwReply(kCluster, "v1", "n1").Put("a").Put("b").m);
  EXPECT_EQ(Heard(), "Cluster a=v1 b=v1");
  EXPECT_EQ(Next(), "Cluster version=v1 nonce=n1");
  t_.Reply(SotwReply(kEndpoint, "v1", "n2").Put("e1").Put("stranger").m);
  EXPECT_EQ(Heard(), "ClusterLoadAssignment e1=v1");
  EXPECT_EQ(Next(), "ClusterLoadAssignment [e1] version=v1 nonce=n2");
  // What a complete response lacks is gone; a response about named resources says nothing about others.
  t_.Reply(SotwReply(kCluster, "v2", "n3").Put("b").m);
  EXPECT_EQ(Heard(), "Cluster b=v2 -a");
  EXPECT_EQ(Next(), "Cluster version=v2 nonce=n3");
  t_.Reply(SotwReply(kEndpoint, "v2", "n4").m);
  EXPECT_EQ(Heard(), "ClusterLoadAssignment");
  EXPECT_EQ(Next(), "ClusterLoadAssignment [e1] version=v2 nonce=n4");
  client_->Subscribe(kEndpoint, "e2", 0);
  EXPECT_EQ(Next(), "ClusterLoadAssignment [e1,e2] version=v2 nonce=n4");
  client_->Unsubscribe(kEndpoint, "e1");
  client_->Unsubscribe(kEndpoint, "e2");
  EXPECT_EQ(Next(), "ClusterLoadAssignment version=v2 nonce=n4");
}

TEST_F(XdsClientTest, SotwNackKeepsTheAcceptedVersion) {
  StartAll(false);
  Next();
  t_.Reply(SotwReply(kCluster, "v1", "n1").Put("a").m);
  Next();
  bad_ = {{"a", "broken"}};
  t_.Reply(SotwReply(kCluster, "v2", "n2").Put("a").Put("b").m);
  EXPECT_EQ(Next(), "Cluster version=v1 nonce=n2 nack=3{a: broken} detail={a|broken}");
  EXPECT_EQ(State(kCluster, "b"), ResourceState::kExists);
  EXPECT_EQ(client_->Find(kCluster, "a")->version, "v1");
  t_.Close();
  Connect();
  EXPECT_EQ(Next(), "Cluster node=me version=v1");
}

TEST_F(XdsClientTest, SotwWrappedAndBrokenResources) {
  StartAll(false);
  Next();
  SotwReply r(kCluster, "v1", "n1");
  ds::Resource wrapped;
  wrapped.set_name("w");
  wrapped.mutable_resource()->set_type_url(kCluster);
  wrapped.mutable_resource()->set_value(NameBytes("w"));
  r.m.add_resources()->PackFrom(wrapped);
  auto* broken = r.m.add_resources();
  broken->set_type_url(kCluster);
  broken->set_value("\x0a\x7f");
  r.Put("a");
  t_.Reply(r.m);
  EXPECT_EQ(Heard(), "Cluster w=v1 a=v1");
  EXPECT_EQ(Next(), "Cluster nonce=n1 nack=3{resources[1]: has no name, or is not a valid message}"
                    " detail={resources[1]|has no name, or is not a valid message}");
}

TEST_F(XdsClientTest, SotwUnknownType) {
  StartAll(false);
  Next();
  t_.Reply(SotwReply("x/y.Z", "v", "n").m);
  EXPECT_EQ(Next(), "Z nonce=n nack=3{this proxy did not ask for resources of type \"x/y.Z\"}");
}

// ---- property: whatever happens, in the end both sides agree ----

// A delta server over a plain map; sends what the client lacks, as the protocol says.
struct ModelServer {
  std::map<std::string, std::map<std::string, int>> state;  // type -> name -> version
  struct Sub {
    bool wildcard = false;
    std::set<std::string> names;
    std::map<std::string, int> client_has;  // -1: told absent
  };
  std::map<std::string, Sub> subs;
  int nonce = 0, nacks = 0;

  void OnRequest(const ds::DeltaDiscoveryRequest& r) {
    bool first = !subs.contains(r.type_url());
    Sub& s = subs[r.type_url()];
    if (r.has_error_detail()) ++nacks;
    if (first) {
      if (r.resource_names_subscribe_size() == 0) s.wildcard = true;
      for (const auto& [n, v] : r.initial_resource_versions()) s.client_has[n] = std::stoi(v);
    }
    for (const auto& n : r.resource_names_subscribe()) {
      s.names.insert(n);
      if (!first) s.client_has.erase(n);
    }
    for (const auto& n : r.resource_names_unsubscribe()) {
      s.names.erase(n);
      s.client_has.erase(n);
    }
  }
  // The next response that is due.
  bool Due(ds::DeltaDiscoveryResponse* out, std::mt19937& rnd) {
    for (auto& [type, s] : subs) {
      DeltaReply reply(type, std::to_string(++nonce));
      bool any = false;
      std::set<std::string> wanted = s.names;
      if (s.wildcard) {
        for (auto& [n, v] : state[type]) wanted.insert(n);
        for (auto& [n, v] : s.client_has) wanted.insert(n);
      }
      for (const std::string& n : wanted) {
        auto it = state[type].find(n);
        int now = it == state[type].end() ? -1 : it->second;
        auto has = s.client_has.find(n);
        if (has != s.client_has.end() && has->second == now) continue;
        if (rnd() % 4 == 0) continue;  // in a later response
        any = true;
        if (now == -1) {
          reply.Remove(n);
          if (s.names.contains(n)) {
            s.client_has[n] = -1;
          } else {
            s.client_has.erase(n);
          }
        } else {
          reply.Put(n, std::to_string(now));
          s.client_has[n] = now;
        }
      }
      if (any) {
        *out = reply.m;
        return true;
      }
    }
    return false;
  }
};

class XdsProperty : public XdsClientTest, public ::testing::WithParamInterface<int> {};

TEST_P(XdsProperty, BothSidesAgreeInTheEnd) {
  std::mt19937 rnd(static_cast<unsigned>(GetParam()));
  Make();
  client_->SubscribeAll(kCluster);
  client_->Start();
  ModelServer server;
  int version = 0;
  std::set<std::string> subscribed;
  hold_ = true;
  auto apply_done = [&](bool all) {
    while (!held_.empty() && (all || rnd() % 2 == 0)) {
      size_t i = all ? 0 : rnd() % held_.size();
      auto [done, refused] = std::move(held_[i]);
      held_.erase(held_.begin() + static_cast<ptrdiff_t>(i));
      done(std::move(refused));
    }
  };
  auto drain_requests = [&] {
    loop_.RunOnce();
    while (!t_.sent.empty()) {
      ds::DeltaDiscoveryRequest r;
      ASSERT_TRUE(r.ParseFromString(t_.sent.front()));
      t_.sent.pop_front();
      server.OnRequest(r);
    }
  };
  auto reconnect = [&] {
    ASSERT_TRUE(Until([&] { return t_.open(); }));
    t_.sent.clear();
    server.subs.clear();
    t_.Ready();
  };
  auto step_server = [&] {
    ds::DeltaDiscoveryResponse response;
    if (!server.Due(&response, rnd)) return false;
    t_.Reply(response);
    return true;
  };
  reconnect();
  for (int step = 0; step < 300; ++step) {
    std::string name = "r" + std::to_string(rnd() % 12);
    const std::string& type = rnd() % 2 ? kCluster : kEndpoint;
    switch (rnd() % 12) {
      case 0: case 1: case 2:
        server.state[type][name] = ++version;
        break;
      case 3:
        server.state[type].erase(name);
        break;
      case 4:
        client_->Subscribe(kEndpoint, name, 0);
        subscribed.insert(name);
        break;
      case 5:
        client_->Unsubscribe(kEndpoint, name);
        subscribed.erase(name);
        break;
      case 6:
        apply_done(false);
        break;
      case 7:
        if (rnd() % 5 == 0) {
          t_.Close();
          reconnect();
        }
        break;
      case 8:
        bad_ = rnd() % 3 == 0 ? std::map<std::string, std::string>{{name, "bad"}} : std::map<std::string, std::string>{};
        break;
      case 9:
        if (rnd() % 6 == 0) client_->Restart(), reconnect();
        break;
      default:
        step_server();
    }
    drain_requests();
  }
  bad_.clear();
  for (auto& [t, names] : server.state) {  // a newer version of everything, so that no refusal is left
    for (auto& [n, v] : names) v = ++version;
  }
  for (int i = 0; i < 100; ++i) {
    drain_requests();
    bool busy = step_server();
    apply_done(true);
    drain_requests();
    if (!busy && i > 50) break;
  }
  for (const std::string& type : {kCluster, kEndpoint}) {
    for (int i = 0; i < 12; ++i) {
      std::string name = "r" + std::to_string(i);
      const XdsClient::ResourceInfo* info = client_->Find(type, name);
      bool wanted = type == kCluster || subscribed.contains(name);
      auto it = server.state[type].find(name);
      if (!wanted) {
        EXPECT_EQ(info, nullptr) << name;
      } else if (it == server.state[type].end()) {
        EXPECT_TRUE(info == nullptr || info->state == ResourceState::kAbsent) << type << " " << name;
      } else {
        ASSERT_NE(info, nullptr) << type << " " << name;
        EXPECT_EQ(info->version, std::to_string(it->second)) << type << " " << name;
        EXPECT_EQ(info->state, ResourceState::kExists);
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, XdsProperty, ::testing::Range(1, 60));

}  // namespace
}  // namespace weft::config
