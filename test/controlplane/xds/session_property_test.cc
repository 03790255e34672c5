// After any sequence of changes, answers, subscriptions and reconnects a client that applies what
// it is sent ends with exactly what the provider has.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controlplane/xds/proxy_session.h"
#include "test/controlplane/xds/fake_provider.h"

namespace weft::ctl::xds {
namespace {

using std::chrono::milliseconds;

const std::string kTypes[] = {std::string(kListenerUrl), std::string(kRouteUrl),
                              std::string(kClusterUrl), std::string(kEndpointUrl)};

bool IsComplete(const std::string& type) { return type == kListenerUrl || type == kClusterUrl; }
bool IsBad(const std::string& value) { return absl::StartsWith(value, "bad"); }

enum class Refusing {
  kWhole,   // gRPC-like: nothing of a response is taken
  kNaming,  // Weft: takes the good ones, names the bad
};

struct Held {
  std::string version, value;
};

// One proxy. It outlives its streams.
class Client {
 public:
  Client(Protocol protocol, Refusing refusing, FakeProvider* provider, unsigned seed)
      : protocol_(protocol), refusing_(refusing), provider_(provider), random_(seed) {
    wildcard_ = {kTypes[0], kTypes[2]};
    Connect();
  }

  void Connect() {
    pending_answers_.clear();
    last_nonce_.clear();
    session_ = std::make_unique<ProxySession>(protocol_, options_, &counters_);
    session_->OnState(provider_->Current(), now_);
    for (const std::string& type : kTypes) {
      if (!IsComplete(type) && names_[type].empty()) continue;
      Request r;
      r.type_url = type;
      if (protocol_ == Protocol::kDelta) {
        if (wildcard_.contains(type)) {
          if (!names_[type].empty() || Chance(50)) r.subscribe.push_back("*");
        }
        for (const std::string& name : names_[type]) r.subscribe.push_back(name);
        for (const auto& [name, held] : held_[type])
          r.initial_versions.emplace_back(name, held.version);
      } else {
        if (!IsComplete(type)) r.names.assign(names_[type].begin(), names_[type].end());
      }
      Send(r);
      subscribed_.insert(type);
    }
  }

  void Reconnect() {
    subscribed_.clear();
    Connect();
  }

  void ChangeSubscription() {
    const std::string& type = kTypes[random_() % 4];
    if (protocol_ == Protocol::kStateOfTheWorld && IsComplete(type)) return;
    // In this variant a name that is dropped and wanted again while a response is on its way looks
    // as if nothing had happened; no server can tell. Clients keep such a resource.
    if (protocol_ == Protocol::kStateOfTheWorld && !pending_answers_.empty()) return;
    const std::string name = absl::StrCat("n", random_() % 12);
    Request r;
    r.type_url = type;
    if (names_[type].contains(name) && Chance(70)) {
      names_[type].erase(name);
      // With a wildcard the server says whether the resource stays.
      if (!wildcard_.contains(type)) held_[type].erase(name);
      r.unsubscribe = {name};
    } else {
      names_[type].insert(name);
      r.subscribe = {name};
    }
    if (protocol_ == Protocol::kStateOfTheWorld) {
      r = {};
      r.type_url = type;
      r.names.assign(names_[type].begin(), names_[type].end());
      r.nonce = last_nonce_[type];
    }
    Send(r);
    subscribed_.insert(type);
  }

  // One response, if there is one.
  bool Receive() {
    session_->OnState(provider_->Current(), now_);
    auto next = session_->Next(now_);
    EXPECT_TRUE(next.ok()) << next.status();
    if (!next.ok() || !*next) return false;
    pending_answers_.push_back(*std::move(*next));
    return true;
  }

  // Applies and answers the oldest response that has not been.
  bool Answer() {
    if (pending_answers_.empty()) return false;
    Response response = std::move(pending_answers_.front());
    pending_answers_.pop_front();
    const std::string& type = response.type_url;
    last_nonce_[type] = response.nonce;
    std::optional<Nack> nack;
    for (const ResourcePtr& r : response.resources) {
      if (!IsBad(r->value)) continue;
      if (!nack) nack = Nack{.code = 3, .message = "bad resource", .refusals = {}};
      if (refusing_ == Refusing::kNaming)
        nack->refusals.push_back({r->name, r->version, "", "bad"});
    }
    if (!nack || refusing_ == Refusing::kNaming) {
      std::map<std::string, Held> now_held;
      for (const ResourcePtr& r : response.resources) {
        if (!Wants(type, r->name)) continue;  // unsubscribed meanwhile
        if (IsBad(r->value)) {
          if (auto it = held_[type].find(r->name); it != held_[type].end())
            now_held[r->name] = it->second;
        } else {
          now_held[r->name] = {r->version, r->value};
        }
      }
      if (protocol_ == Protocol::kStateOfTheWorld && IsComplete(type)) {
        held_[type] = now_held;
      } else {
        for (auto& [name, held] : now_held) held_[type][name] = held;
      }
      for (const std::string& name : response.removed) held_[type].erase(name);
    }
    Request r;
    r.type_url = type;
    r.nonce = response.nonce;
    r.nack = std::move(nack);
    if (protocol_ == Protocol::kStateOfTheWorld && !IsComplete(type)) {
      r.names.assign(names_[type].begin(), names_[type].end());
    }
    Send(r);
    return true;
  }

  void Wait(milliseconds time) { now_ += time; }

  // Until nothing moves any more, with time going by when needed.
  void Settle() {
    for (int steps = 0; steps < 2000; ++steps) {
      if (Receive() || Answer()) continue;
      if (!session_->deadline()) return;
      now_ = std::max(now_, *session_->deadline());
    }
    ADD_FAILURE() << "the conversation does not come to an end";
  }

  void Check() {
    const FakeProvider::Map all = provider_->map();
    for (const std::string& type : kTypes) {
      std::set<std::string> seen;
      for (const auto& [key, resource] : all) {
        if (key.first != type || !Wants(type, key.second)) continue;
        seen.insert(key.second);
        auto it = held_[type].find(key.second);
        if (!IsBad(resource->value)) {
          ASSERT_NE(it, held_[type].end()) << type << " " << key.second << " is missing";
          EXPECT_EQ(it->second.value, resource->value) << type << " " << key.second;
        } else if (it != held_[type].end()) {
          EXPECT_FALSE(IsBad(it->second.value));
        }
      }
      // A state-of-the-world client drops routes and endpoints by itself.
      if (protocol_ == Protocol::kStateOfTheWorld && !IsComplete(type)) continue;
      for (const auto& [name, held] : held_[type]) {
        EXPECT_TRUE(seen.contains(name)) << type << " " << name << " should have been removed";
      }
    }
    for (const TypeStatus& status : session_->Status(now_)) {
      bool bad = false;
      for (const auto& [key, resource] : all) {
        bad |=
            key.first == status.type_url && Wants(key.first, key.second) && IsBad(resource->value);
      }
      if (bad) {
        EXPECT_EQ(status.state, SyncState::kRefused) << status.type_url << ": " << status.reason;
      } else {
        EXPECT_NE(status.state, SyncState::kRefused) << status.type_url << ": " << status.reason;
        EXPECT_NE(status.state, SyncState::kStale) << status.type_url << ": " << status.reason;
      }
    }
  }

  bool Wants(const std::string& type, const std::string& name) {
    if (!subscribed_.contains(type)) return false;
    return wildcard_.contains(type) || names_[type].contains(name);
  }

  const Counters& counters() const { return counters_; }

 private:
  bool Chance(unsigned percent) { return random_() % 100 < percent; }
  void Send(const Request& request) {
    absl::Status status = session_->OnRequest(request, now_);
    EXPECT_TRUE(status.ok()) << status;
  }

  const Protocol protocol_;
  const Refusing refusing_;
  FakeProvider* const provider_;
  std::mt19937 random_;
  SessionOptions options_;
  Counters counters_;
  SteadyTime now_ = SteadyTime() + std::chrono::hours(1);
  std::unique_ptr<ProxySession> session_;
  std::set<std::string> wildcard_, subscribed_;
  std::map<std::string, std::set<std::string>> names_;
  std::map<std::string, std::map<std::string, Held>> held_;
  std::map<std::string, std::string> last_nonce_;
  std::deque<Response> pending_answers_;
};

struct Params {
  Protocol protocol;
  Refusing refusing;
  bool bad;
  bool knows_changes;
};

class SessionProperty : public ::testing::TestWithParam<Params> {};

TEST_P(SessionProperty, ClientEndsWithTheProvidersState) {
  const Params p = GetParam();
  const char* more = std::getenv("WEFT_PROPERTY_RUNS");
  const unsigned runs = more != nullptr ? static_cast<unsigned>(std::atoi(more)) : 60;
  for (unsigned seed = 1; seed <= runs; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed * 7919);
    FakeProvider provider(p.knows_changes);
    Client client(p.protocol, p.refusing, &provider, seed);
    int value = 0;
    for (int step = 0; step < 250; ++step) {
      switch (random() % 8) {
        case 0:
        case 1: {
          const char* prefix = p.bad && random() % 6 == 0 ? "bad" : "";
          provider.Set(kTypes[random() % 4], absl::StrCat("n", random() % 12),
                       absl::StrCat(prefix, ++value));
          break;
        }
        case 2: provider.Remove(kTypes[random() % 4], absl::StrCat("n", random() % 12)); break;
        case 3: client.ChangeSubscription(); break;
        case 4: client.Receive(); break;
        case 5: client.Answer(); break;
        case 6: client.Wait(milliseconds(random() % 3000)); break;
        case 7:
          if (random() % 8 == 0) client.Reconnect();
          break;
      }
      if (step % 50 == 49) {
        client.Settle();
        client.Check();
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SessionProperty,
    ::testing::Values(Params{Protocol::kDelta, Refusing::kWhole, false, false},
                      Params{Protocol::kDelta, Refusing::kWhole, false, true},
                      Params{Protocol::kDelta, Refusing::kWhole, true, true},
                      Params{Protocol::kDelta, Refusing::kNaming, true, false},
                      Params{Protocol::kStateOfTheWorld, Refusing::kWhole, false, true},
                      Params{Protocol::kStateOfTheWorld, Refusing::kNaming, true, true}),
    [](const auto& p) {
      return absl::StrCat(p.param.protocol == Protocol::kDelta ? "Delta" : "Sotw",
                          !p.param.bad                            ? ""
                          : p.param.refusing == Refusing::kNaming ? "Naming"
                                                                  : "Refusing",
                          p.param.knows_changes ? "Told" : "Scanned");
    });

}  // namespace
}  // namespace weft::ctl::xds
