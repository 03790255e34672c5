#include "dataplane/http/simple_server.h"

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "test/fakes/raw_client.h"

namespace weft::http {
namespace {

using fakes::BodyOf;
using fakes::HeaderOf;
using fakes::RawClient;
using fakes::StatusOf;

class SimpleServerTest : public ::testing::Test {
 protected:
  void Serve(SimpleServer::Handler handler) {
    server_ = std::make_unique<SimpleServer>(loop_, std::move(handler));
    std::string error;
    ASSERT_TRUE(server_->Listen(*net::Address::FromIp("127.0.0.1", 0), &error)) << error;
    address_ = server_->address();
    thread_ = std::thread([this] { loop_.Run(); });
  }
  void OnLoop(const std::function<void()>& f) {
    std::promise<void> done;
    loop_.Post([&] {
      f();
      done.set_value();
    });
    done.get_future().get();
  }
  ~SimpleServerTest() override {
    if (!thread_.joinable()) return;
    OnLoop([this] { server_.reset(); });
    loop_.StopFromAnyThread();
    thread_.join();
  }
  event::Loop loop_;
  std::unique_ptr<SimpleServer> server_;
  net::Address address_;
  std::thread thread_;
};

TEST_F(SimpleServerTest, AnswersAndKeepsTheConnection) {
  Serve([](const SimpleRequest& q, const SimpleServer::Respond& respond) {
    SimpleResponse r;
    r.body = q.method + " " + q.path + " " + q.query + " " + q.host + " " + q.body;
    r.headers.emplace_back("x-more", "1");
    respond(std::move(r));
  });
  RawClient c(address_);
  for (int i = 0; i < 3; ++i) {
    c.Send("POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    std::string r = c.ReadResponse();
    EXPECT_EQ(StatusOf(r), 200);
    EXPECT_EQ(BodyOf(r), "POST /a b=c h hi");
    EXPECT_EQ(HeaderOf(r, "x-more"), "1");
    EXPECT_EQ(HeaderOf(r, "cache-control"), "no-store");
  }
  c.Send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse(true)), 200);
  c.Send(
      "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n1\r\nx\r\n1\r\ny\r\n0\r\n\r\n");
  EXPECT_EQ(BodyOf(c.ReadResponse()), "POST /a  h xy");
}

TEST_F(SimpleServerTest, ABodyThatIsTooLargeIsRefused) {
  Serve([](const SimpleRequest&, const SimpleServer::Respond& respond) { respond({}); });
  RawClient c(address_);
  c.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n" +
         std::string(2'000'000, 'x'));
  EXPECT_EQ(StatusOf(c.ReadResponse()), 413);
  c.ShutdownWrite();
  EXPECT_TRUE(c.WaitClosed());
}

TEST_F(SimpleServerTest, MayAnswerLaterOrTooLate) {
  SimpleServer::Respond later;
  std::promise<void> asked;
  Serve([&](const SimpleRequest&, SimpleServer::Respond respond) {
    later = std::move(respond);
    asked.set_value();
  });
  {
    RawClient c(address_);
    c.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    asked.get_future().get();
    OnLoop([&] { later({202, "late"}); });
    EXPECT_EQ(StatusOf(c.ReadResponse()), 202);
    asked = {};
    c.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    asked.get_future().get();
    c.Reset();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  OnLoop([&] { later({200, "nobody is there"}); });
  OnLoop([&] { later({200, "nobody is there"}); });
}

TEST_F(SimpleServerTest, DestroyedWithRequestsUnderWayAndAnsweredAfterwards) {
  SimpleServer::Respond later;
  std::promise<void> asked;
  Serve([&](const SimpleRequest&, SimpleServer::Respond respond) {
    later = std::move(respond);
    asked.set_value();
  });
  RawClient idle(address_), busy(address_);
  busy.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  asked.get_future().get();
  // On the loop, as owners do it: from a callback, while the loop runs.
  OnLoop([&] { server_.reset(); });
  OnLoop([&] { later({200, "too late"}); });
  EXPECT_TRUE(idle.WaitClosed());
  EXPECT_TRUE(busy.WaitClosed());
  EXPECT_FALSE(RawClient(address_).connected());
}

TEST_F(SimpleServerTest, DestroyedInsideItsHandler) {
  std::promise<void> asked;
  auto captured = std::make_shared<int>(7);
  Serve([&, captured](const SimpleRequest&, const SimpleServer::Respond& respond) {
    server_.reset();
    EXPECT_EQ(*captured, 7) << "the handler is still running";
    respond({200, "gone"});
    asked.set_value();
  });
  RawClient c(address_);
  c.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  asked.get_future().get();
  EXPECT_TRUE(c.WaitClosed());
}

TEST_F(SimpleServerTest, DestroyedAfterTheLoopEnded) {
  Serve([](const SimpleRequest&, const SimpleServer::Respond& respond) { respond({200, "x"}); });
  RawClient c(address_);
  c.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(StatusOf(c.ReadResponse()), 200);
  loop_.StopFromAnyThread();
  thread_.join();
  server_.reset();
}

TEST_F(SimpleServerTest, ATakenAddressIsSaid) {
  Serve([](const SimpleRequest&, const SimpleServer::Respond& respond) { respond({}); });
  std::string error;
  OnLoop([&] {
    SimpleServer second(loop_, [](const SimpleRequest&, const SimpleServer::Respond&) {});
    EXPECT_FALSE(second.Listen(address_, &error));
  });
  EXPECT_NE(error.find(address_.ToString()), std::string::npos) << error;
}

TEST(QueryParameter, DecodesAndFinds) {
  EXPECT_EQ(QueryParameter("a=1&b=x%20y+z&c", "b"), "x y z");
  EXPECT_EQ(QueryParameter("a=1", "b"), "");
  EXPECT_TRUE(HasQueryParameter("a=1&c", "c"));
  EXPECT_FALSE(HasQueryParameter("ac=1", "c"));
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%zz%41"), "%zzA");
}

}  // namespace
}  // namespace weft::http
