#include "controlplane/xds/proxy_session.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "test/controlplane/xds/fake_provider.h"

namespace weft::ctl::xds {
namespace {

using std::chrono::milliseconds;
using Names = std::vector<std::string>;

const std::string kLds(kListenerUrl), kRds(kRouteUrl), kCds(kClusterUrl), kEds(kEndpointUrl);

// One session with its provider and a clock; says what goes over the wire in a compact form:
// "CDS a=1 b=2 -c" is a response of clusters a in version 1, b in version 2, and c removed.
class Conversation {
 public:
  explicit Conversation(Protocol protocol, SessionOptions options = {}, bool knows_changes = false)
      : provider(knows_changes), session(protocol, options, &counters), protocol_(protocol) {
    session.OnState(provider.Current(), now);
  }

  void Send(Request request) { ASSERT_TRUE(TrySend(std::move(request)).ok()); }
  absl::Status TrySend(Request request) { return session.OnRequest(request, now); }

  void Subscribe(const std::string& type, Names names,
                 std::vector<std::pair<std::string, std::string>> initial = {}) {
    Request r;
    r.type_url = type;
    r.subscribe = std::move(names);
    r.initial_versions = std::move(initial);
    Send(std::move(r));
  }
  void Unsubscribe(const std::string& type, Names names) {
    Request r;
    r.type_url = type;
    r.unsubscribe = std::move(names);
    Send(std::move(r));
  }
  // State of the world: a request with the last nonce.
  void Want(const std::string& type, Names names) {
    Request r;
    r.type_url = type;
    r.names = names;
    r.nonce = last[type].nonce;
    wanted_[type] = std::move(names);
    Send(std::move(r));
  }
  void Ack(const std::string& type) { Answer(last[type], std::nullopt); }
  void Nack(const std::string& type, std::string message, std::vector<Refusal> refusals = {}) {
    xds::Nack nack;
    nack.message = std::move(message);
    nack.refusals = std::move(refusals);
    Answer(last[type], std::move(nack));
  }
  void Answer(const Response& response, std::optional<xds::Nack> nack) {
    Request r;
    r.type_url = response.type_url;
    r.nonce = response.nonce;
    r.nack = std::move(nack);
    if (protocol_ == Protocol::kStateOfTheWorld) r.names = wanted_[r.type_url];
    Send(std::move(r));
  }

  // "" when there is nothing to send.
  std::string Next() {
    session.OnState(provider.Current(), now);
    absl::StatusOr<std::optional<Response>> next = session.Next(now);
    if (!next.ok()) return std::string(next.status().message());
    if (!*next) return "";
    const Response& r = **next;
    last[r.type_url] = r;
    std::string text = r.type_url == kLds   ? "LDS"
                       : r.type_url == kRds ? "RDS"
                       : r.type_url == kCds ? "CDS"
                       : r.type_url == kEds ? "EDS"
                                            : r.type_url;
    for (const ResourcePtr& resource : r.resources)
      absl::StrAppend(&text, " ", resource->name, "=", resource->value);
    for (const std::string& name : r.removed) absl::StrAppend(&text, " -", name);
    return text;
  }
  // Next, and acknowledged.
  std::string NextAck() {
    std::string text = Next();
    if (text.size() >= 3) {
      const std::string head = text.substr(0, 3);
      Ack(head == "LDS" ? kLds : head == "RDS" ? kRds : head == "CDS" ? kCds : kEds);
    }
    return text;
  }
  // All that comes when everything is acknowledged.
  Names Drain() {
    Names all;
    for (std::string text = NextAck(); !text.empty(); text = NextAck()) all.push_back(text);
    return all;
  }
  TypeStatus Status(const std::string& type) {
    for (TypeStatus& status : session.Status(now)) {
      if (status.type_url == type) return status;
    }
    return {};
  }

  FakeProvider provider;
  Counters counters;
  ProxySession session;
  SteadyTime now = SteadyTime() + std::chrono::hours(1);
  std::map<std::string, Response> last;

 private:
  const Protocol protocol_;
  std::map<std::string, Names> wanted_;
};

// Both ways that a session learns what changed must say the same.
class DeltaTest : public ::testing::TestWithParam<bool> {
 protected:
  Conversation c{Protocol::kDelta, {}, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Changes, DeltaTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Told" : "Scanned"; });

TEST_P(DeltaTest, LegacyWildcardGetsEverythingOnceAndThenChangesOnly) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kCds, "b", "1");
  c.Subscribe(kCds, {});
  EXPECT_EQ(c.Next(), "CDS a=1 b=1");
  EXPECT_EQ(c.Status(kCds).state, SyncState::kStale);
  EXPECT_EQ(c.Next(), "");
  c.Ack(kCds);
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.Status(kCds).state, SyncState::kSynced);
  EXPECT_EQ(c.Status(kCds).generated_version, c.Status(kCds).accepted_version);
  c.provider.Set(kCds, "b", "2");
  c.provider.Set(kCds, "c", "1");
  EXPECT_EQ(c.NextAck(), "CDS b=2 c=1");
  c.provider.Remove(kCds, "a");
  EXPECT_EQ(c.NextAck(), "CDS -a");
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.counters.acks, 3u);
}

TEST_P(DeltaTest, WildcardWithoutResourcesIsAnsweredSoThatTheClientGoesOn) {
  c.Subscribe(kLds, {"*"});
  EXPECT_EQ(c.Next(), "LDS");
  c.Ack(kLds);
  EXPECT_EQ(c.Next(), "");
}

TEST_P(DeltaTest, EmptyFirstRequestForRoutesIsNoWildcard) {
  c.provider.Set(kRds, "80", "1");
  c.Subscribe(kRds, {});
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.Status(kRds).state, SyncState::kNotSent);
}

TEST_P(DeltaTest, ReconnectSendsOnlyWhatDiffers) {
  c.provider.Set(kCds, "same", "1");
  c.provider.Set(kCds, "changed", "2");
  c.provider.Set(kCds, "new", "1");
  c.Subscribe(kCds, {}, {{"same", "v-1"}, {"changed", "v-1"}, {"gone", "v-1"}});
  EXPECT_EQ(c.NextAck(), "CDS changed=2 new=1");
  EXPECT_EQ(c.NextAck(), "CDS -gone");
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.Status(kCds).resources, 3u);
}

TEST_P(DeltaTest, ReconnectWithEverythingGetsNoResource) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kEds, "a", "1");
  c.Subscribe(kCds, {}, {{"a", "v-1"}});
  c.Subscribe(kEds, {"a"}, {{"a", "v-1"}});
  EXPECT_EQ(c.Drain(), Names{"CDS"});  // an empty answer to the wildcard
  EXPECT_EQ(c.counters.pushed_resources, 0u);
  EXPECT_EQ(c.Status(kEds).state, SyncState::kSynced);
  c.provider.Set(kEds, "a", "2");
  EXPECT_EQ(c.NextAck(), "EDS a=2");
}

TEST_P(DeltaTest, InitialVersionsOfNamesThatAreNotSubscribedAreIgnored) {
  c.provider.Set(kEds, "a", "1");
  c.Subscribe(kEds, {"a"}, {{"a", "v-1"}, {"b", "v-1"}});
  EXPECT_EQ(c.Next(), "");
}

TEST_P(DeltaTest, NamedOnesThatDoNotExistAreRemovedOnceAndSentWhenTheyAppear) {
  c.provider.Set(kRds, "80", "1");
  c.Subscribe(kRds, {"80", "81"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1 -81");
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.Status(kRds).missing, Names{"81"});
  c.provider.Set(kRds, "82", "1");
  EXPECT_EQ(c.Next(), "");
  c.provider.Set(kRds, "81", "1");
  EXPECT_EQ(c.NextAck(), "RDS 81=1");
  c.provider.Remove(kRds, "81");
  EXPECT_EQ(c.NextAck(), "RDS -81");
  EXPECT_EQ(c.Next(), "");
}

TEST_P(DeltaTest, UnsubscribedIsForgotten) {
  c.provider.Set(kRds, "80", "1");
  c.Subscribe(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1");
  c.Unsubscribe(kRds, {"80", "never-subscribed"});
  c.provider.Set(kRds, "80", "2");
  EXPECT_EQ(c.Next(), "");
  c.Subscribe(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=2");
}

TEST_P(DeltaTest, RepeatedSubscriptionIsAnswered) {
  c.provider.Set(kRds, "80", "1");
  c.Subscribe(kRds, {"80", "81"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1 -81");
  c.Subscribe(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1");
  c.Subscribe(kRds, {"81"});
  EXPECT_EQ(c.NextAck(), "RDS -81");
  EXPECT_EQ(c.Next(), "");
}

TEST_P(DeltaTest, NameUnderWildcardUnsubscribedIsToldWhetherItStays) {
  c.provider.Set(kCds, "a", "1");
  c.Subscribe(kCds, {"*", "a", "absent"});
  EXPECT_EQ(c.NextAck(), "CDS a=1 -absent");
  c.Unsubscribe(kCds, {"a", "absent"});
  EXPECT_EQ(c.NextAck(), "CDS a=1 -absent");
  c.provider.Set(kCds, "b", "1");
  EXPECT_EQ(c.NextAck(), "CDS b=1");
  EXPECT_EQ(c.Next(), "");
}

TEST_P(DeltaTest, WildcardUnsubscribedLeavesTheNames) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kCds, "b", "1");
  c.Subscribe(kCds, {"*", "a"});
  EXPECT_EQ(c.NextAck(), "CDS a=1 b=1");
  c.Unsubscribe(kCds, {"*"});
  c.provider.Set(kCds, "a", "2");
  c.provider.Set(kCds, "b", "2");
  c.provider.Set(kCds, "c", "1");
  EXPECT_EQ(c.Drain(), Names{"CDS a=2"});
}

TEST_P(DeltaTest, RefusedIsNotSentAgainUntilItChanges) {
  c.provider.Set(kCds, "a", "1");
  c.Subscribe(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS a=1");
  c.provider.Set(kCds, "a", "bad");
  EXPECT_EQ(c.Next(), "CDS a=bad");
  c.Nack(kCds, "a: no such lb_policy");
  EXPECT_EQ(c.Next(), "");
  c.now += std::chrono::hours(1);
  EXPECT_EQ(c.Next(), "");
  TypeStatus status = c.Status(kCds);
  EXPECT_EQ(status.state, SyncState::kRefused);
  EXPECT_EQ(status.reason, "a: no such lb_policy");
  ASSERT_EQ(status.refused.size(), 1u);
  EXPECT_EQ(status.refused[0].name, "a");
  EXPECT_EQ(status.refused[0].version, "v-bad");
  EXPECT_NE(status.accepted_version, status.pushed_version);
  c.provider.Set(kCds, "b", "1");
  EXPECT_EQ(c.NextAck(), "CDS b=1");
  EXPECT_EQ(c.Status(kCds).state, SyncState::kRefused);
  c.provider.Set(kCds, "a", "2");
  EXPECT_EQ(c.NextAck(), "CDS a=2");
  EXPECT_EQ(c.Status(kCds).state, SyncState::kSynced);
}

TEST_P(DeltaTest, ProxyThatNamesWhatItRefusedTookTheRest) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kCds, "b", "bad");
  c.provider.Set(kCds, "c", "1");
  c.Subscribe(kCds, {});
  EXPECT_EQ(c.Next(), "CDS a=1 b=bad c=1");
  c.Nack(kCds, "1 of 3 refused", {{"b", "", "lb_policy", "unknown"}});
  EXPECT_EQ(c.Next(), "");
  TypeStatus status = c.Status(kCds);
  EXPECT_EQ(status.resources, 2u);
  ASSERT_EQ(status.refused.size(), 1u);
  EXPECT_EQ(status.refused[0].name, "b");
  EXPECT_EQ(status.refused[0].version, "v-bad");
  EXPECT_EQ(status.refused[0].field_path, "lb_policy");
  EXPECT_EQ(status.refused[0].reason, "unknown");
}

TEST_P(DeltaTest, CulpritIsFoundByHalvesWhenTheProxyDoesNotSay) {
  for (const char* name : {"a", "b", "c", "d", "e"}) c.provider.Set(kCds, name, "1");
  c.provider.Set(kCds, "d", "bad");
  c.Subscribe(kCds, {});
  int responses = 0;
  while (!c.Next().empty()) {
    ASSERT_LT(++responses, 12);
    bool bad = false;
    for (const ResourcePtr& r : c.last[kCds].resources) bad |= r->value == "bad";
    if (bad) {
      c.Nack(kCds, "bad thing");
    } else {
      c.Ack(kCds);
    }
  }
  TypeStatus status = c.Status(kCds);
  EXPECT_EQ(status.state, SyncState::kRefused);
  EXPECT_EQ(status.resources, 4u);
  ASSERT_EQ(status.refused.size(), 1u);
  EXPECT_EQ(status.refused[0].name, "d");
  EXPECT_EQ(status.refused[0].reason, "bad thing");
}

TEST_P(DeltaTest, RefusedRemovalDoesNotLoop) {
  c.provider.Set(kCds, "a", "1");
  c.Subscribe(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS a=1");
  c.provider.Remove(kCds, "a");
  EXPECT_EQ(c.Next(), "CDS -a");
  c.Nack(kCds, "in use");
  EXPECT_EQ(c.Next(), "");
  EXPECT_EQ(c.Status(kCds).reason, "in use");
}

TEST_P(DeltaTest, ChangesMergeWhileAnAnswerIsOutstanding) {
  c.provider.Set(kEds, "a", "1");
  c.Subscribe(kEds, {"a"});
  EXPECT_EQ(c.Next(), "EDS a=1");
  for (int i = 2; i < 100; ++i) {
    c.provider.Set(kEds, "a", absl::StrCat(i));
    EXPECT_EQ(c.Next(), "");
  }
  ASSERT_TRUE(c.session.deadline().has_value());
  c.Ack(kEds);
  EXPECT_EQ(c.Next(), "EDS a=99");
  EXPECT_EQ(c.counters.pushes, 2u);
}

TEST_P(DeltaTest, ProxyThatNeverAnswersIsBoundedAndStillServed) {
  c.provider.Set(kEds, "a", "1");
  c.Subscribe(kEds, {"a"});
  EXPECT_EQ(c.Next(), "EDS a=1");
  const Response first = c.last[kEds];
  for (int i = 2; i < 10; ++i) {
    c.provider.Set(kEds, "a", absl::StrCat(i));
    EXPECT_EQ(c.Next(), "");
    c.now = *c.session.deadline();
    EXPECT_EQ(c.Next(), absl::StrCat("EDS a=", i));
  }
  EXPECT_EQ(c.counters.answer_timeouts, 8u);
  c.Answer(first, std::nullopt);  // far too late
  EXPECT_EQ(c.counters.stale_nonces, 1u);
  EXPECT_EQ(c.Status(kEds).state, SyncState::kStale);
  c.Ack(kEds);
  EXPECT_EQ(c.Status(kEds).state, SyncState::kSynced);
}

TEST_P(DeltaTest, ChangedBackBeforeItWasSentIsNotSent) {
  c.provider.Set(kEds, "a", "1");
  c.Subscribe(kEds, {"a"});
  EXPECT_EQ(c.NextAck(), "EDS a=1");
  c.provider.Set(kEds, "a", "2");
  c.session.OnState(c.provider.Current(), c.now);
  c.provider.Set(kEds, "a", "1");
  EXPECT_EQ(c.Next(), "");
}

class FullClient : public DeltaTest {
 protected:
  void SetUp() override {
    c.provider.Set(kCds, "c1", "1");
    c.provider.Set(kEds, "c1", "1");
    c.provider.Set(kLds, "l1", "1");
    c.provider.Set(kRds, "r1", "1");
    c.Subscribe(kLds, {});
    c.Subscribe(kCds, {});
    EXPECT_EQ(c.NextAck(), "CDS c1=1");
    c.Subscribe(kEds, {"c1"});
    c.Subscribe(kRds, {"r1"});
    EXPECT_EQ(c.Drain(), (Names{"EDS c1=1", "LDS l1=1", "RDS r1=1"}));
  }
};
INSTANTIATE_TEST_SUITE_P(Changes, FullClient, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Told" : "Scanned"; });

TEST_P(FullClient, ClustersEndpointsListenersRoutesThenRemovals) {
  c.provider.Set(kRds, "r1", "2");
  c.provider.Set(kLds, "l2", "1");
  c.provider.Remove(kLds, "l1");
  c.provider.Set(kEds, "c1", "2");
  c.provider.Set(kCds, "c2", "1");
  c.provider.Remove(kCds, "c1");
  EXPECT_EQ(c.Drain(), (Names{"CDS c2=1", "EDS c1=2", "LDS l2=1 -l1", "RDS r1=2", "CDS -c1"}));
}

TEST_P(FullClient, RouteWaitsForItsClusterAndEndpoints) {
  c.provider.Set(kCds, "c2", "1");
  c.provider.Set(kEds, "c2", "1");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "CDS c2=1");
  EXPECT_EQ(c.Next(), "");
  EXPECT_NE(c.Status(kRds).reason.find("waits"), std::string::npos);
  c.Ack(kCds);
  EXPECT_EQ(c.Next(), "");  // the client has yet to ask for the endpoints
  c.now += milliseconds(20);
  c.Subscribe(kEds, {"c2"});
  EXPECT_EQ(c.Next(), "EDS c2=1");
  EXPECT_EQ(c.Next(), "");
  c.Ack(kEds);
  EXPECT_EQ(c.Next(), "RDS r1=2");
  EXPECT_EQ(c.counters.hold_timeouts, 0u);
}

TEST_P(FullClient, RouteWaitsAtMostFiveSeconds) {
  c.provider.Set(kCds, "c2", "1");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "CDS c2=1");
  EXPECT_EQ(c.Next(), "");
  c.now += milliseconds(4999);
  EXPECT_EQ(c.Next(), "");
  ASSERT_TRUE(c.session.deadline().has_value());
  c.now = *c.session.deadline();
  EXPECT_EQ(c.Next(), "RDS r1=2");
  EXPECT_EQ(c.counters.hold_timeouts, 1u);
}

TEST_P(FullClient, RefusedClusterDoesNotHoldRoutes) {
  c.provider.Set(kCds, "c2", "bad");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "CDS c2=bad");
  c.Nack(kCds, "bad");
  EXPECT_EQ(c.Next(), "RDS r1=2");
}

TEST_P(FullClient, EndpointChangesDoNotWaitForAnything) {
  c.provider.Set(kCds, "c2", "1");
  EXPECT_EQ(c.Next(), "CDS c2=1");
  c.provider.Set(kEds, "c1", "2");
  EXPECT_EQ(c.Next(), "EDS c1=2");
}

TEST_P(FullClient, ClusterGoesAfterTheRouteThatUsedIt) {
  c.provider.Remove(kCds, "c1");
  c.provider.Remove(kEds, "c1");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "RDS r1=2");
  EXPECT_EQ(c.Next(), "");
  c.Ack(kRds);
  EXPECT_EQ(c.Next(), "CDS -c1");
  EXPECT_EQ(c.Next(), "EDS -c1");
}

TEST_P(FullClient, RemovalWaitsAtMostFiveSeconds) {
  c.provider.Remove(kCds, "c1");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "RDS r1=2");
  EXPECT_EQ(c.Next(), "");
  c.now += milliseconds(5000);
  EXPECT_EQ(c.Next(), "CDS -c1");
}

TEST_P(FullClient, ClusterThatComesBackWhileItsRemovalWaitsStays) {
  c.provider.Remove(kCds, "c1");
  c.provider.Set(kRds, "r1", "2");
  EXPECT_EQ(c.Next(), "RDS r1=2");
  c.provider.Set(kCds, "c1", "1");
  c.Ack(kRds);
  EXPECT_EQ(c.Next(), "");
}

TEST_P(FullClient, ChangedClusterGetsItsEndpointsAgain) {
  c.provider.Set(kCds, "c1", "2");
  EXPECT_EQ(c.Drain(), (Names{"CDS c1=2", "EDS c1=1"}));
}

TEST_P(DeltaTest, ChangedClusterGetsItsEndpointsAgainAfterAReconnect) {
  c.provider.Set(kCds, "a", "2");
  c.provider.Set(kCds, "b", "1");
  c.provider.Set(kEds, "a", "1");
  c.provider.Set(kEds, "b", "1");
  c.Subscribe(kCds, {}, {{"a", "v-1"}, {"b", "v-1"}});
  EXPECT_EQ(c.NextAck(), "CDS a=2");
  c.Subscribe(kEds, {"a", "b"}, {{"a", "v-1"}, {"b", "v-1"}});
  EXPECT_EQ(c.Drain(), Names{"EDS a=1"});
}

TEST_P(DeltaTest, StaleNonceCountsButItsSubscriptionsHold) {
  c.provider.Set(kRds, "80", "1");
  c.provider.Set(kRds, "81", "1");
  c.Subscribe(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1");
  Request r;
  r.type_url = kRds;
  r.nonce = "from-another-stream";
  r.subscribe = {"81"};
  c.Send(r);
  EXPECT_EQ(c.counters.stale_nonces, 1u);
  EXPECT_EQ(c.NextAck(), "RDS 81=1");
}

TEST_P(DeltaTest, UnknownTypeIsAnsweredAsAbsent) {
  c.Subscribe("type.googleapis.com/some.Type", {"x"});
  EXPECT_EQ(c.Next(), "type.googleapis.com/some.Type -x");
}

TEST_P(DeltaTest, RequestWithoutTypeEndsTheStream) {
  absl::Status status = c.TrySend({});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("type_url"), absl::string_view::npos);
}

TEST(DeltaLimits, TypesAndNames) {
  SessionOptions options;
  options.max_types = 2;
  options.max_names_per_type = 3;
  Conversation c(Protocol::kDelta, options);
  c.Subscribe("a", {"1"});
  c.Subscribe("b", {"1", "2", "3"});
  Request r;
  r.type_url = "c";
  EXPECT_EQ(c.TrySend(r).code(), absl::StatusCode::kResourceExhausted);
  r.type_url = "b";
  r.subscribe = {"4"};
  EXPECT_EQ(c.TrySend(r).code(), absl::StatusCode::kResourceExhausted);
}

TEST(DeltaLimits, LargeResponsesAreSplitAndOneResourceAlwaysGoes) {
  SessionOptions options;
  options.max_response_bytes = 1500;  // the version has the value in it, too
  Conversation c(Protocol::kDelta, options);
  c.provider.Set(kCds, "a", std::string(300, 'a'));
  c.provider.Set(kCds, "b", std::string(300, 'b'));
  c.provider.Set(kCds, "c", std::string(300, 'c'));
  c.provider.Set(kCds, "d", std::string(5000, 'd'));
  c.Subscribe(kCds, {});
  int responses = 0;
  for (std::string text = c.NextAck(); !text.empty(); text = c.NextAck()) ++responses;
  EXPECT_EQ(responses, 3);  // a and b, c, d
  EXPECT_EQ(c.Status(kCds).resources, 4u);
}

TEST(Version, DoesNotDependOnTheWayThere) {
  Conversation a(Protocol::kDelta), b(Protocol::kDelta);
  a.provider.Set(kCds, "x", "1");
  a.provider.Set(kCds, "y", "1");
  a.Subscribe(kCds, {});
  a.Drain();
  b.provider.Set(kCds, "y", "1");
  b.provider.Set(kCds, "z", "1");
  b.Subscribe(kCds, {});
  b.Drain();
  EXPECT_NE(a.Status(kCds).accepted_version, b.Status(kCds).accepted_version);
  b.provider.Remove(kCds, "z");
  b.provider.Set(kCds, "x", "1");
  b.Drain();
  EXPECT_EQ(a.Status(kCds).accepted_version, b.Status(kCds).accepted_version);
}

// --- state of the world ---

class SotwTest : public ::testing::Test {
 protected:
  Conversation c{Protocol::kStateOfTheWorld};
};

TEST_F(SotwTest, ClustersAreAlwaysComplete) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kCds, "b", "1");
  c.Want(kCds, {});
  EXPECT_EQ(c.Next(), "CDS a=1 b=1");
  const std::string version = c.last[kCds].version;
  EXPECT_FALSE(version.empty());
  c.Ack(kCds);
  EXPECT_EQ(c.Next(), "");
  c.provider.Set(kCds, "b", "2");
  EXPECT_EQ(c.NextAck(), "CDS a=1 b=2");
  EXPECT_NE(c.last[kCds].version, version);
  c.provider.Remove(kCds, "a");
  EXPECT_EQ(c.NextAck(), "CDS b=2");
  c.provider.Remove(kCds, "b");
  EXPECT_EQ(c.NextAck(), "CDS");
  EXPECT_EQ(c.Next(), "");
}

TEST_F(SotwTest, RoutesAreTheRequestedOnesAndThenTheChangedOnes) {
  c.provider.Set(kRds, "80", "1");
  c.provider.Set(kRds, "81", "1");
  c.provider.Set(kRds, "82", "1");
  c.Want(kRds, {"80", "81"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1 81=1");
  c.provider.Set(kRds, "81", "2");
  c.provider.Set(kRds, "82", "2");
  EXPECT_EQ(c.NextAck(), "RDS 81=2");
  EXPECT_EQ(c.Next(), "");
}

TEST_F(SotwTest, ChangedListOfNamesIsAnswered) {
  c.provider.Set(kRds, "80", "1");
  c.provider.Set(kRds, "81", "1");
  c.Want(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=1");
  c.Want(kRds, {"80", "81"});
  EXPECT_EQ(c.NextAck(), "RDS 81=1");
  c.Want(kRds, {"81"});
  EXPECT_EQ(c.Next(), "");
  c.provider.Set(kRds, "80", "2");
  EXPECT_EQ(c.Next(), "");
  c.Want(kRds, {"80", "81", "82"});
  EXPECT_EQ(c.NextAck(), "RDS 80=2");
  c.Want(kRds, {});
  c.provider.Set(kRds, "80", "3");
  EXPECT_EQ(c.Next(), "");
}

TEST_F(SotwTest, NamesThatDoNotExistAreAnsweredAndSentWhenTheyAppear) {
  c.Want(kEds, {"a"});
  EXPECT_EQ(c.NextAck(), "EDS");
  EXPECT_EQ(c.Next(), "");
  c.provider.Set(kEds, "a", "1");
  EXPECT_EQ(c.NextAck(), "EDS a=1");
  c.provider.Remove(kEds, "a");
  EXPECT_EQ(c.Next(), "");
  c.provider.Set(kEds, "a", "1");
  EXPECT_EQ(c.NextAck(), "EDS a=1");
}

TEST_F(SotwTest, NamedListenersAsGrpcClientsAskForThem) {
  c.provider.Set(kLds, "greeter", "1");
  c.provider.Set(kLds, "other", "1");
  c.Want(kLds, {"greeter", "absent"});
  EXPECT_EQ(c.NextAck(), "LDS greeter=1");
  c.Want(kLds, {"greeter", "absent", "other"});
  EXPECT_EQ(c.NextAck(), "LDS greeter=1 other=1");
  c.provider.Remove(kLds, "greeter");
  EXPECT_EQ(c.NextAck(), "LDS other=1");
  c.Want(kLds, {});  // after names, an empty list means none
  c.provider.Set(kLds, "other", "2");
  EXPECT_EQ(c.Next(), "");
}

TEST_F(SotwTest, AnswersToOlderResponsesAreIgnored) {
  SessionOptions options;
  options.answer_limit = milliseconds(0);
  Conversation c(Protocol::kStateOfTheWorld, options);
  c.provider.Set(kRds, "80", "1");
  c.provider.Set(kRds, "81", "1");
  c.Want(kRds, {"80"});
  EXPECT_EQ(c.Next(), "RDS 80=1");
  const Response older = c.last[kRds];
  c.provider.Set(kRds, "80", "2");
  EXPECT_EQ(c.Next(), "RDS 80=2");
  Request stale;
  stale.type_url = kRds;
  stale.nonce = older.nonce;
  stale.names = {"80", "81"};
  c.Send(stale);
  EXPECT_EQ(c.Next(), "");
  stale.nonce = c.last[kRds].nonce;
  c.Send(stale);
  EXPECT_EQ(c.NextAck(), "RDS 81=1");
}

TEST_F(SotwTest, FirstRequestOfAStreamMayCarryAnOldNonceAndVersion) {
  c.provider.Set(kCds, "a", "1");
  Request r;
  r.type_url = kCds;
  r.nonce = "17";
  r.version_info = "whatever";
  c.Send(r);
  EXPECT_EQ(c.NextAck(), "CDS a=1");
}

TEST_F(SotwTest, RemovedClusterStaysInTheSetUntilRoutesHaveMoved) {
  c.provider.Set(kCds, "old", "1");
  c.provider.Set(kRds, "80", "old");
  c.Want(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS old=1");
  c.Want(kRds, {"80"});
  EXPECT_EQ(c.NextAck(), "RDS 80=old");
  c.provider.Remove(kCds, "old");
  c.provider.Set(kCds, "new", "1");
  c.provider.Set(kRds, "80", "new");
  EXPECT_EQ(c.Drain(), (Names{"CDS new=1 old=1", "RDS 80=new", "CDS new=1"}));
}

TEST_F(SotwTest, RefusedSetIsNotSentAgainUntilSomethingChanges) {
  c.provider.Set(kCds, "a", "1");
  c.Want(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS a=1");
  c.provider.Set(kCds, "b", "bad");
  EXPECT_EQ(c.Next(), "CDS a=1 b=bad");
  c.Nack(kCds, "no");
  EXPECT_EQ(c.Next(), "");
  TypeStatus status = c.Status(kCds);
  EXPECT_EQ(status.state, SyncState::kRefused);
  ASSERT_EQ(status.refused.size(), 1u);
  EXPECT_EQ(status.refused[0].name, "b");
  c.provider.Set(kCds, "c", "1");
  EXPECT_EQ(c.NextAck(), "CDS a=1 c=1");  // b is known to be refused
  EXPECT_EQ(c.Status(kCds).state, SyncState::kRefused);
  c.provider.Set(kCds, "b", "2");
  EXPECT_EQ(c.NextAck(), "CDS a=1 b=2 c=1");
  EXPECT_EQ(c.Status(kCds).state, SyncState::kSynced);
}

TEST_F(SotwTest, ChangedClusterGetsItsEndpointsAgain) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kEds, "a", "1");
  c.Want(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS a=1");
  c.Want(kEds, {"a"});
  EXPECT_EQ(c.NextAck(), "EDS a=1");
  c.provider.Set(kCds, "a", "2");
  EXPECT_EQ(c.Drain(), (Names{"CDS a=2", "EDS a=1"}));
}

// The client's next list of names is equal to its last one, so no request asks for them.
TEST_F(SotwTest, ClusterRemovedAndAddedAgainGetsItsEndpointsAgain) {
  c.provider.Set(kCds, "a", "1");
  c.provider.Set(kEds, "a", "1");
  c.Want(kCds, {});
  EXPECT_EQ(c.NextAck(), "CDS a=1");
  c.Want(kEds, {"a"});
  EXPECT_EQ(c.NextAck(), "EDS a=1");
  c.provider.Remove(kCds, "a");
  EXPECT_EQ(c.Drain(), Names{"CDS"});
  c.provider.Set(kCds, "a", "1");
  EXPECT_EQ(c.Drain(), (Names{"CDS a=1", "EDS a=1"}));
}

TEST_F(SotwTest, SetThatIsTooLargeEndsTheStreamWithTheReason) {
  SessionOptions options;
  options.max_unsplit_bytes = 1000;
  Conversation c(Protocol::kStateOfTheWorld, options);
  c.provider.Set(kCds, "a", std::string(2000, 'a'));
  c.Want(kCds, {});
  EXPECT_NE(c.Next().find("can't be split"), std::string::npos);
}

}  // namespace
}  // namespace weft::ctl::xds
