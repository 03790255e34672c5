// The sample application by itself, without a mesh: four programs that find each other by
// environment.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <unistd.h>
#include <csignal>
#include <map>
#include <memory>

#include "test/tools/run.h"
#include "tools/demo/page.h"
#include "tools/weftctl/process.h"

namespace weft::demo {
namespace {

using cli::ProcessId;
using test::BinaryPath;
using test::Eventually;
using testing::HasSubstr;
using testing::Not;

class DemoTest : public testing::Test {
 protected:
  void SetUp() override { prefix_ = "127." + std::to_string(20 + getpid() % 200) + ".77."; }
  void TearDown() override {
    for (const auto& [name, id] : running_) {
      cli::Signal(id, SIGKILL, true);
      waitpid(id.pid, nullptr, 0);
    }
  }

  // Address of each: 1 productpage, 2 details, 3 reviews, 4 ratings.
  std::string Host(int number) { return prefix_ + std::to_string(number); }
  void Start(const std::string& program, int number, const std::string& version = "v1") {
    cli::SpawnSpec spec;
    spec.args = {BinaryPath("tools/demo/bookinfo"), program};
    spec.env = {"BIND_ADDRESS=" + Host(number), "SERVICE_VERSION=" + version,
                "POD_NAME=" + program + "-pod", "DETAILS_HOSTNAME=" + Host(2),
                "REVIEWS_HOSTNAME=" + Host(3),  "RATINGS_HOSTNAME=" + Host(4)};
    const auto id = cli::Spawn(spec);
    ASSERT_TRUE(id.ok()) << id.status();
    running_[program] = *id;
    ASSERT_TRUE(Eventually([&] {
      return bool(httplib::Client(Host(number), 9080).Get("/health"));
    })) << program;
  }
  void StartAll(const std::string& reviews_version) {
    Start("ratings", 4);
    Start("reviews", 3, reviews_version);
    Start("details", 2);
    Start("productpage", 1);
  }
  void Stop(const std::string& program) {
    cli::Signal(running_[program], SIGTERM, true);
    EXPECT_TRUE(cli::WaitGone(running_[program], std::chrono::seconds(5)))
        << program << " does not end on SIGTERM";
    waitpid(running_[program].pid, nullptr, 0);
    running_.erase(program);
  }
  httplib::Result Get(const std::string& path, const httplib::Headers& headers = {}) {
    return httplib::Client(Host(1), 9080).Get(path, headers);
  }

  std::string prefix_;
  std::map<std::string, ProcessId> running_;
};

TEST_F(DemoTest, PageAndApiShowWhatTheProgramsAnswer) {
  StartAll("v3");
  const auto page = Get("/productpage");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->status, 200);
  EXPECT_THAT(page->body, HasSubstr("stars red"));
  EXPECT_THAT(page->body, HasSubstr("reviews v3, served by reviews-pod"));
  EXPECT_THAT(page->body, HasSubstr("Selvedge House"));
  EXPECT_THAT(Get("/api/v1/products/0/reviews")->body, HasSubstr("\"color\":\"red\""));
  EXPECT_THAT(Get("/api/v1/products/0")->body, HasSubstr("\"ISBN-13\""));
  EXPECT_THAT(Get("/api/v1/products/0/ratings")->body, HasSubstr("\"Reviewer1\":5"));
  EXPECT_THAT(Get("/api/v1/products")->body, HasSubstr("\"id\":0"));
  EXPECT_EQ(Get("/api/v1/products/99")->status, 404);
  EXPECT_EQ(Get("/productpage?id=99")->status, 404);
}

TEST_F(DemoTest, VersionsOfReviewsDifferByStars) {
  StartAll("v2");
  EXPECT_THAT(Get("/api/v1/products/0/reviews")->body, HasSubstr("\"color\":\"black\""));
  Stop("reviews");
  Start("reviews", 3, "v1");
  EXPECT_THAT(Get("/api/v1/products/0/reviews")->body, Not(HasSubstr("rating")));
}

TEST_F(DemoTest, APartThatFailsDoesNotTakeThePage) {
  StartAll("v2");
  Stop("ratings");
  EXPECT_THAT(Get("/productpage")->body, HasSubstr("Ratings are not to be had"));
  Stop("reviews");
  auto page = Get("/productpage");
  EXPECT_EQ(page->status, 200);
  EXPECT_THAT(page->body, HasSubstr("Sorry, product reviews are currently unavailable"));
  EXPECT_THAT(page->body, HasSubstr("Selvedge House"));
  EXPECT_EQ(Get("/api/v1/products/0/reviews")->status, 503);
  Stop("details");
  EXPECT_THAT(Get("/productpage")->body,
              HasSubstr("Sorry, product details are currently unavailable"));
}

TEST_F(DemoTest, TracingHeadersAndTheUserArePassedOn) {
  // A stand-in for reviews that shows what it was sent.
  httplib::Server reviews;
  std::mutex mutex;
  httplib::Headers seen;
  reviews.Get(R"(/reviews/\d+)", [&](const httplib::Request& request, httplib::Response& response) {
    std::lock_guard lock(mutex);
    seen = request.headers;
    response.set_content("{\"reviews\": []}", "application/json");
  });
  reviews.set_socket_options([](socket_t fd) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  ASSERT_TRUE(reviews.bind_to_port(Host(3).c_str(), 9080));
  std::jthread thread([&] { reviews.listen_after_bind(); });
  Start("productpage", 1);
  const httplib::Headers sent{{"x-request-id", "r1"},
                              {"x-b3-traceid", "t1"},
                              {"traceparent", "00-a-b-01"},
                              {"x-ot-span-context", "o1"},
                              {"x-other", "no"}};
  ASSERT_TRUE(Get("/api/v1/products/0/reviews", sent));
  const auto header = [&](const std::string& name) {
    std::lock_guard lock(mutex);
    const auto found = seen.find(name);
    return found == seen.end() ? std::string("-") : found->second;
  };
  EXPECT_EQ(header("x-request-id"), "r1");
  EXPECT_EQ(header("x-b3-traceid"), "t1");
  EXPECT_EQ(header("traceparent"), "00-a-b-01");
  EXPECT_EQ(header("x-ot-span-context"), "o1");
  EXPECT_EQ(header("x-other"), "-");
  EXPECT_EQ(header("end-user"), "-");
  Get("/api/v1/products/0/reviews", {{"Cookie", "theme=dark; user=jason"}});
  EXPECT_EQ(header("end-user"), "jason");
  Get("/api/v1/products/0/reviews", {{"end-user", "anna"}});
  EXPECT_EQ(header("end-user"), "anna");
  reviews.stop();
}

TEST_F(DemoTest, SigningInSetsACookieThatCannotSmuggle) {
  Start("productpage", 1);
  httplib::Client client(Host(1), 9080);
  auto login =
      client.Post("/login", "username=jason&passwd=x", "application/x-www-form-urlencoded");
  ASSERT_TRUE(login);
  EXPECT_EQ(login->status, 302);
  EXPECT_EQ(login->get_header_value("Location"), "/productpage");
  EXPECT_THAT(login->get_header_value("Set-Cookie"), HasSubstr("user=jason;"));
  login = client.Post("/login", "username=a%0d%0aX-Evil:%201;b&passwd=x",
                      "application/x-www-form-urlencoded");
  EXPECT_FALSE(login->has_header("X-Evil"));
  EXPECT_THAT(client.Get("/logout")->get_header_value("Set-Cookie"), HasSubstr("Max-Age=0"));
  EXPECT_THAT(client.Get("/productpage", {{"Cookie", "user=<script>alert(1)</script>"}})->body,
              Not(HasSubstr("<script>")));
}

TEST_F(DemoTest, RatingsCanBeChanged) {
  Start("ratings", 4);
  httplib::Client client(Host(4), 9080);
  EXPECT_THAT(client.Post("/ratings/0", "{\"Reviewer1\": 2}", "application/json")->body,
              HasSubstr("\"Reviewer1\":2"));
  EXPECT_THAT(client.Get("/ratings/0")->body, HasSubstr("\"Reviewer1\":2"));
  EXPECT_EQ(client.Post("/ratings/0", "{\"Reviewer1\": 6}", "application/json")->status, 400);
  EXPECT_EQ(client.Post("/ratings/0", "nonsense", "application/json")->status, 400);
  EXPECT_EQ(client.Get("/ratings/x")->status, 400);
}

TEST_F(DemoTest, ATakenPortIsSaidAndIsAnError) {
  Start("ratings", 4);
  const auto second =
      test::Shell("BIND_ADDRESS=" + Host(4) + " " + BinaryPath("tools/demo/bookinfo") + " details");
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.output,
              HasSubstr("cannot listen on " + Host(4) + ":9080: Address already in use"));
  EXPECT_EQ(test::Shell("PORT=99999 " + BinaryPath("tools/demo/bookinfo") + " details").code, 2);
  EXPECT_EQ(test::Shell(BinaryPath("tools/demo/bookinfo") + " nonsense").code, 2);
}

TEST(Escape, LeavesNoMarkup) {
  EXPECT_EQ(Escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
}

}  // namespace
}  // namespace weft::demo
