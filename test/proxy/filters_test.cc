// What filters may do to an exchange, and in which order they are asked.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dataplane/proxy/exchange.h"
#include "dataplane/proxy/filter.h"
#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"

namespace weft::proxy {
namespace {

using fakes::BodyOf;
using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::StatusOf;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";

// Calls to hooks, in order, from any worker.
struct Journal {
  void Add(const std::string& s) {
    std::lock_guard<std::mutex> lock(mu);
    text += s + " ";
  }
  std::string Take() {
    std::lock_guard<std::mutex> lock(mu);
    return std::exchange(text, {});
  }
  std::mutex mu;
  std::string text;
};

using Hook = std::function<Verdict(Exchange&)>;

// A filter whose hooks are what the test gives; null: continue. With state or without.
class FakeFilterFactory final : public FilterFactory {
 public:
  FakeFilterFactory(std::string name, Journal& journal, Hook request = {}, Hook response = {},
                    bool stateful = true)
      : name_(std::move(name)),
        journal_(journal),
        request_(std::move(request)),
        response_(std::move(response)),
        stateful_(stateful) {}
  std::string_view name() const override { return name_; }
  std::unique_ptr<Filter> Create() const override {
    return stateful_ ? std::make_unique<FakeFilter>(*this) : nullptr;
  }
  Verdict OnRequestHead(Exchange& e) const override { return Request(e); }
  Verdict OnResponseHead(Exchange& e) const override { return Response(e); }

 private:
  class FakeFilter final : public Filter {
   public:
    explicit FakeFilter(const FakeFilterFactory& f) : f_(f) {}
    Verdict OnRequestHead(Exchange& e) override { return f_.Request(e); }
    Verdict OnResponseHead(Exchange& e) override { return f_.Response(e); }

   private:
    const FakeFilterFactory& f_;
  };
  Verdict Request(Exchange& e) const {
    journal_.Add(name_ + ">");
    return request_ ? request_(e) : Verdict::kContinue;
  }
  Verdict Response(Exchange& e) const {
    journal_.Add("<" + name_);
    return response_ ? response_(e) : Verdict::kContinue;
  }
  const std::string name_;
  Journal& journal_;
  const Hook request_, response_;
  const bool stateful_;
};

class FiltersTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, Hook request = {}, Hook response = {}, bool stateful = true) {
    filters_.push_back(std::make_shared<FakeFilterFactory>(name, journal_, std::move(request),
                                                           std::move(response), stateful));
  }
  void Listen(const std::function<void(HttpManagerSpec&)>& change = {}) {
    proxy_.Cluster("c", {up_.address()});
    proxy_.Listen(ProxyUnderTest::AllTo("c"), [&](HttpManagerSpec& s) {
      s.filters = filters_;
      if (change) change(s);
    });
  }
  std::string Ask(const std::string& request = kGet) {
    RawClient c(proxy_.address());
    c.Send(request);
    return c.ReadResponse();
  }
  // A hook that pauses; Resume() on the worker's loop.
  Hook Pausing() {
    return [this](Exchange& e) {
      paused_ = &e;
      ++pauses_;
      return Verdict::kPause;
    };
  }
  // On the worker's own thread, as a filter's timer or call would do it.
  void OnWorker(const std::function<void()>& f) {
    on_worker_ = f;
    trigger_ = true;
    EXPECT_EQ(StatusOf(Ask("GET /trigger HTTP/1.1\r\nHost: s\r\n\r\n")), 204);
  }
  // The first filter of such tests: runs what OnWorker() was given, on the worker.
  Hook Trigger() {
    return [this](Exchange& e) {
      if (e.request().path == "/trigger" && trigger_.exchange(false)) {
        on_worker_();
        e.Reply(204, "", "trigger");
        return Verdict::kDone;
      }
      return Verdict::kContinue;
    };
  }

  Journal journal_;
  FakeUpstream up_{
      [](const std::string&, int) { return FakeUpstream::Action{FakeUpstream::Ok("up")}; }};
  std::vector<std::shared_ptr<const FilterFactory>> filters_;
  std::atomic<Exchange*> paused_{nullptr};
  std::atomic<int> pauses_{0};
  std::atomic<bool> trigger_{false};
  std::function<void()> on_worker_;
  ProxyUnderTest proxy_;
};

TEST_F(FiltersTest, RequestsPassInOrderAndResponsesInReverse) {
  Add("a");
  Add("b", {}, {}, false);
  Add("c");
  Listen();
  EXPECT_EQ(BodyOf(Ask()), "up");
  EXPECT_EQ(journal_.Take(), "a> b> c> <c <b <a ");
}

TEST_F(FiltersTest, DoneEndsTheRequestPhaseAndTheReplyPassesAllResponseHooks) {
  Add("a");
  Add("b", [](Exchange& e) {
    e.Reply(403, "no", "denied", ResponseFlag::kUnauthorizedExternalService);
    return Verdict::kDone;
  });
  Add("c");
  Listen();
  std::string r = Ask();
  EXPECT_EQ(StatusOf(r), 403);
  EXPECT_EQ(BodyOf(r), "no");
  EXPECT_EQ(journal_.Take(), "a> b> <c <b <a ");
  EXPECT_TRUE(up_.requests().empty());
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_rq_4xx", 1));
}

TEST_F(FiltersTest, AResponseHookMayReplaceTheResponse) {
  Add("a");
  Add("b", {}, [](Exchange& e) {
    EXPECT_EQ(e.response().status, 200);
    e.Reply(502, "replaced", "by b");
    return Verdict::kDone;
  });
  Add("c");
  Listen();
  for (int i = 0; i < 3; ++i) {
    std::string r = Ask();
    EXPECT_EQ(StatusOf(r), 502);
    EXPECT_EQ(BodyOf(r), "replaced");
    EXPECT_EQ(journal_.Take(), "a> b> c> <c <b <a ") << "each hook once";
  }
  EXPECT_TRUE(proxy_.WaitStat("cluster.c.upstream_rq_active", 0));
}

TEST_F(FiltersTest, AResponseHookThatRepliesToEverythingDoesNotGoRoundForEver) {
  Add("a", {}, [](Exchange& e) {
    e.Reply(500, "a", "a");
    return Verdict::kDone;
  });
  Add("b", {}, [](Exchange& e) {
    e.Reply(500, "b", "b");
    return Verdict::kDone;
  });
  Listen();
  std::string r = Ask("GET / HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_EQ(StatusOf(r), 500);
  EXPECT_EQ(BodyOf(r), "a") << "the last word is the first filter's";
}

TEST_F(FiltersTest, ReroutesAreBounded) {
  std::atomic<int> calls{0};
  Add("a", [&](Exchange& e) {
    e.request().path = "/other";
    return ++calls == 1 ? Verdict::kReroute : Verdict::kContinue;
  });
  Add("b");
  Listen();
  proxy_.Routes(
      "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n  routes:\n"
      "  - match: {path: /other}\n    direct_response: {status: 299, body: {inline_string: "
      "other}}\n"
      "  - match: {prefix: /}\n    route: {cluster: c}\n");
  EXPECT_EQ(StatusOf(Ask()), 299) << "routed again by the changed path";
  EXPECT_EQ(journal_.Take(), "a> b> <b <a ") << "filters that ran don't run again";

  filters_.clear();
  for (int i = 0; i < 8; ++i) {
    Add(std::string(1, static_cast<char>('a' + i)), [](Exchange&) { return Verdict::kReroute; });
  }
  Listen();
  std::string r = Ask();
  EXPECT_EQ(StatusOf(r), 500);
  EXPECT_EQ(BodyOf(r), "too many reroutes");
  EXPECT_EQ(journal_.Take().substr(0, 18), "a> b> c> d> e> f> ")
      << "5 are done, the 6th is refused";

  filters_.resize(5);
  Listen();
  EXPECT_EQ(StatusOf(Ask()), 200);
}

TEST_F(FiltersTest, PauseHoldsTheRequestUntilResume) {
  Add("t", Trigger());
  Add("a", Pausing());
  Add("b");
  Listen();
  RawClient c(proxy_.address());
  c.Send(kGet);
  while (pauses_ == 0) std::this_thread::yield();
  EXPECT_EQ(journal_.Take(), "t> a> ");
  EXPECT_TRUE(up_.requests().empty());
  OnWorker([&] {
    paused_.load()->Resume();
    paused_.load()->Resume();  // once too often does no harm
  });
  EXPECT_EQ(BodyOf(c.ReadResponse()), "up");
}

TEST_F(FiltersTest, PauseHoldsTheResponseUntilResume) {
  Add("t", Trigger());
  Add("a");
  Add("b", {}, [this](Exchange& e) {
    return e.response().status == 200 ? Pausing()(e) : Verdict::kContinue;
  });
  Listen();
  RawClient c(proxy_.address());
  c.Send(kGet);
  while (pauses_ == 0) std::this_thread::yield();
  EXPECT_EQ(proxy_.Stat("http.test.downstream_rq_active"), 1);
  OnWorker([&] { paused_.load()->Resume(); });
  EXPECT_EQ(BodyOf(c.ReadResponse()), "up");
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_rq_active", 0));
}

TEST_F(FiltersTest, ResumeInsideTheHookIsNotForgotten) {
  Add(
      "a",
      [](Exchange& e) {
        e.Resume();  // what it waited for was there at once
        return Verdict::kPause;
      },
      [](Exchange& e) {
        e.Resume();
        return Verdict::kPause;
      });
  Listen();
  EXPECT_EQ(BodyOf(Ask()), "up");
}

TEST_F(FiltersTest, AClientThatLeavesEndsAPausedExchange) {
  Add("a", Pausing());
  Listen();
  {
    RawClient c(proxy_.address());
    c.Send(kGet);
    while (pauses_ == 0) std::this_thread::yield();
    c.Reset();
  }
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_rq_active", 0));
  EXPECT_TRUE(proxy_.WaitStat("http.test.downstream_cx_active", 0));
}

TEST_F(FiltersTest, ATimeoutEndsAPausedResponse) {
  Add("t", Trigger());
  Add("a", {}, [this](Exchange& e) {
    return e.response().status == 200 ? Pausing()(e) : Verdict::kContinue;
  });
  Listen();
  proxy_.Routes(ProxyUnderTest::AllTo("c", "timeout: 0.1s"));
  RawClient c(proxy_.address());
  c.Send(kGet);
  std::string r = c.ReadResponse();
  EXPECT_EQ(StatusOf(r), 504);
  EXPECT_EQ(journal_.Take(), "t> a> <a <a <t ") << "the reply passes all response hooks again";
  OnWorker([&] { paused_.load()->Resume(); });  // too late: nothing is held any more
  c.Send(kGet);
  EXPECT_EQ(StatusOf(c.ReadResponse()), 504);
}

TEST_F(FiltersTest, FiltersLiveAsLongAsTheirExchange) {
  static std::atomic<int> alive{0};
  struct Counting final : FilterFactory {
    struct One final : Filter {
      One() { ++alive; }
      ~One() override { --alive; }
    };
    std::string_view name() const override { return "counting"; }
    std::unique_ptr<Filter> Create() const override { return std::make_unique<One>(); }
  };
  filters_.push_back(std::make_shared<Counting>());
  Add("a", Pausing());
  Listen();
  {
    RawClient c(proxy_.address());
    c.Send(kGet);
    while (pauses_ == 0) std::this_thread::yield();
    EXPECT_EQ(alive, 1);
  }
  ASSERT_TRUE(proxy_.WaitStat("http.test.downstream_rq_active", 0));
  for (int i = 0; i < 200 && alive != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace weft::proxy
