// weftctl dev with the real weftctl, and programs that only pretend: what is tested is who is
// started, kept and ended.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <csignal>
#include <filesystem>
#include <map>

#include "test/tools/run.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/http_get.h"
#include "tools/weftctl/process.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using test::BinaryPath;
using test::Eventually;
using test::RunResult;
using test::Shell;
using test::Slurp;
using testing::HasSubstr;
using testing::Not;
using weft::dev::v1::MeshState;
using weft::dev::v1::ProcessState;

class DevTest : public testing::Test {
 protected:
  void SetUp() override {
    // Short, since a socket's path is; of its own, since tests run side by side.
    folder_ = "/tmp/weft-dev-test." + std::to_string(getpid());
    state_ = folder_ + "/s";
    fs::create_directories(folder_ + "/bin");
    fs::create_directories(folder_ + "/config");
    for (const char* name : {"weft-proxy", "weft-controller"}) {
      fs::create_symlink(BinaryPath("test/tools/fake_binary"), folder_ + "/bin/" + name);
    }
    loopback_ = "127." + std::to_string(20 + getpid() % 200);
    setenv("FAKE_INBOUND_PORT", "9080", 1);
    WriteMesh("");
  }
  void TearDown() override {
    Shell(Ctl("dev down --state " + state_));
    fs::remove_all(folder_);
  }

  // Two programs, which are the sample's ratings and details.
  void WriteMesh(const std::string& more) {
    std::ofstream(folder_ / fs::path("mesh.yaml"))
        << "name: pair\nconfigDirectory: config\nrestart: {firstDelay: 50ms, longestDelay: 100ms}\n"
           "workloads:\n"
           "- name: ratings\n  command: ["
        << BinaryPath("tools/demo/bookinfo")
        << ", ratings]\n  ports: [{number: 9080}]\n"
           "- name: details\n  command: ["
        << BinaryPath("tools/demo/bookinfo") << ", details]\n  ports: [{number: 9080}]\n"
        << more;
  }
  std::string Ctl(const std::string& arguments) {
    return BinaryPath("tools/weftctl/weftctl") + " " + arguments;
  }
  RunResult Up(const std::string& more = "") {
    const bool has_range = more.find("--loopback") != std::string::npos;
    return Shell(Ctl("dev up " + folder_ + "/mesh.yaml --state " + state_ + " --bin " + folder_ +
                     "/bin " + (has_range ? "" : "--loopback " + loopback_) + " " + more));
  }
  MeshState State() {
    MeshState out;
    ReadMessage(state_ + "/state.json", &out).IgnoreError();
    return out;
  }
  ProcessState Process(const std::string& name) {
    const MeshState state = State();
    for (const auto& process : state.processes()) {
      if (process.name() == name) return process;
    }
    ADD_FAILURE() << "no process " << name;
    return {};
  }
  std::vector<ProcessId> All() {
    std::vector<ProcessId> out;
    const MeshState state = State();
    for (const auto& process : state.processes()) {
      if (process.has_process()) out.push_back(ToId(process.process()));
    }
    return out;
  }

  std::string folder_, state_, loopback_;
};

TEST_F(DevTest, UpStartsEverythingAndDownLeavesNothing) {
  const RunResult up = Up();
  ASSERT_EQ(up.code, 0) << up.output;
  EXPECT_THAT(up.output, HasSubstr("everything is ready"));
  EXPECT_THAT(up.output, HasSubstr("spiffe://cluster.local/ns/default/sa/default"));
  const auto all = All();
  ASSERT_EQ(all.size(), 5u);  // A controller, and two programs with a sidecar each.
  for (const auto& id : all) EXPECT_TRUE(IsAlive(id));
  const auto reply = HttpGet(loopback_ + ".1.1:9080", "/ratings/0", std::chrono::seconds(2));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->body, HasSubstr("Reviewer1"));
  EXPECT_EQ(fs::status(state_ + "/mgmt").permissions(), fs::perms::owner_all);
  EXPECT_TRUE(fs::exists(state_ + "/registry/service.default.ratings.yaml"));
  EXPECT_TRUE(fs::exists(state_ + "/proxy/details-v1-1/bootstrap.yaml"));

  const RunResult status = Shell(Ctl("dev status --state " + state_));
  EXPECT_EQ(status.code, 0);
  EXPECT_THAT(status.output, HasSubstr("ratings-v1-1/sidecar"));
  EXPECT_THAT(status.output, Not(HasSubstr("\x1b"))) << "colour in a pipe";

  const RunResult down = Shell(Ctl("dev down --state " + state_));
  EXPECT_EQ(down.code, 0) << down.output;
  for (const auto& id : all) EXPECT_FALSE(IsAlive(id));
  EXPECT_FALSE(fs::exists(state_));
}

TEST_F(DevTest, ASecondUpSaysThatItIsUpAndStartsNothing) {
  ASSERT_EQ(Up().code, 0);
  const auto before = All();
  const RunResult again = Up();
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.output, HasSubstr("is already up"));
  const auto after = All();
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].pid, after[i].pid);
}

TEST_F(DevTest, AKilledProcessIsStartedAgainAndReported) {
  ASSERT_EQ(Up().code, 0);
  for (const char* name : {"ratings-v1-1", "details-v1-1/sidecar", "controller"}) {
    const ProcessId victim = ToId(Process(name).process());
    ASSERT_TRUE(Signal(victim, SIGKILL, false));
    ASSERT_TRUE(Eventually([&] {
      return Process(name).restarts() == 1 && Process(name).state() == ProcessState::RUNNING;
    })) << name;
    EXPECT_EQ(Process(name).last_exit(), "killed by SIGKILL");
    EXPECT_NE(Process(name).process().pid(), victim.pid);
  }
  ASSERT_TRUE(Eventually(
      [&] { return HttpGet(loopback_ + ".1.1:9080", "/health", std::chrono::seconds(1)).ok(); }));
  const RunResult status = Shell(Ctl("dev status --state " + state_));
  EXPECT_THAT(status.output, HasSubstr("killed by SIGKILL"));
  const RunResult logs = Shell(Ctl("dev logs supervisor --state " + state_));
  EXPECT_THAT(logs.output, HasSubstr("ratings-v1-1: ended by itself (killed by SIGKILL)"));
}

TEST_F(DevTest, EverythingDiesWithTheSupervisorAndTheLeftoversAreRecognised) {
  ASSERT_EQ(Up().code, 0);
  const auto all = All();
  Signal(ToId(State().supervisor()), SIGKILL, false);
  for (const auto& id : all) EXPECT_TRUE(WaitGone(id, std::chrono::seconds(10)));
  const RunResult status = Shell(Ctl("dev status --state " + state_));
  EXPECT_NE(status.code, 0);
  EXPECT_THAT(status.output, HasSubstr("the supervisor of this mesh has ended"));
  const RunResult up = Up();
  EXPECT_EQ(up.code, 0) << up.output;
  EXPECT_THAT(up.output, HasSubstr("did not end properly"));
  EXPECT_EQ(All().size(), 5u);
}

TEST_F(DevTest, DownAfterACrashCleansUp) {
  ASSERT_EQ(Up().code, 0);
  Signal(ToId(State().supervisor()), SIGKILL, false);
  const RunResult down = Shell(Ctl("dev down --state " + state_));
  EXPECT_EQ(down.code, 0) << down.output;
  EXPECT_FALSE(fs::exists(state_));
}

TEST_F(DevTest, ATakenAddressIsNamedAndNothingIsStarted) {
  ASSERT_EQ(Up().code, 0);
  const RunResult other = Shell(Ctl("dev up " + folder_ + "/mesh.yaml --state " + folder_ +
                                    "/other --bin " + folder_ + "/bin --loopback " + loopback_));
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.output,
              HasSubstr(loopback_ + ".0.1:15010, wanted by the controller (xDS), is in use by"));
  EXPECT_THAT(other.output,
              HasSubstr(loopback_ + ".1.1:9080, wanted by ratings-v1-1, is in use by"));
  EXPECT_FALSE(fs::exists(folder_ + "/other"));
}

TEST_F(DevTest, AutoTakesAddressesThatAreFree) {
  // 127.0 is not free, as the controller's address there is taken here.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(15010);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // When somebody else has it, so much the better.
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) listen(fd, 1);
  const RunResult up = Up("--loopback auto");
  ASSERT_EQ(up.code, 0) << up.output;
  EXPECT_FALSE(State().workloads(0).sidecar_address().starts_with("127.0."));
  EXPECT_TRUE(TakesConnections(State().workloads(0).sidecar_address() + ":15000"));
  close(fd);
}

TEST_F(DevTest, AProgramThatKeepsEndingFailsTheStartWithItsLastWords) {
  WriteMesh(
      "- name: broken\n  command: [/bin/sh, -c, 'echo I can not work here >&2; exit 3']\n  ports: "
      "[{number: 9081}]\n");
  const RunResult up = Up();
  EXPECT_EQ(up.code, 1);
  EXPECT_THAT(up.output, HasSubstr("broken-v1-1 keeps ending (exit code 3)"));
  EXPECT_THAT(up.output, HasSubstr("I can not work here"));
  EXPECT_FALSE(fs::exists(state_)) << "what was started is ended";
}

TEST_F(DevTest, AProxyThatFailsIsReported) {
  const RunResult up =
      Shell("FAKE_PROXY_EXIT=7 " + Ctl("dev up " + folder_ + "/mesh.yaml --state " + state_ +
                                       " --bin " + folder_ + "/bin --loopback " + loopback_));
  EXPECT_EQ(up.code, 1);
  EXPECT_THAT(up.output, HasSubstr("/sidecar keeps ending (exit code 7)"));
  EXPECT_THAT(up.output, HasSubstr("this proxy was told to fail"));
}

TEST_F(DevTest, BadInputIsRefusedBeforeAnythingStarts) {
  EXPECT_THAT(Shell(Ctl("dev up /nonexistent.yaml")).output,
              HasSubstr("cannot read /nonexistent.yaml: No such file"));
  std::ofstream(folder_ + "/mesh.yaml") << "name: pair\nworkload: []\n";
  const RunResult up = Up();
  EXPECT_EQ(up.code, 1);
  EXPECT_THAT(up.output, HasSubstr("mesh.yaml:2:1"));
  EXPECT_THAT(up.output, HasSubstr("nothing was started"));
  std::ofstream(folder_ + "/precious") << "x";
  WriteMesh("");
  const RunResult foreign = Shell(
      Ctl("dev up " + folder_ + "/mesh.yaml --state " + folder_ + " --bin " + folder_ + "/bin"));
  EXPECT_EQ(foreign.code, 1);
  EXPECT_THAT(foreign.output, HasSubstr("is not empty, and was not made by weftctl dev up"));
  const std::string long_path = folder_ + "/" + std::string(100, 'x');
  EXPECT_THAT(Shell(Ctl("dev up " + folder_ + "/mesh.yaml --state " + long_path + " --bin " +
                        folder_ + "/bin"))
                  .output,
              HasSubstr("too long for a socket"));
  EXPECT_THAT(Shell("cd " + folder_ + "/config && " + Ctl("get")).output,
              HasSubstr("no mesh is running here"));
  EXPECT_THAT(Shell(Ctl("dve up")).output, HasSubstr("did you mean dev?"));
}

TEST_F(DevTest, CopiedConfigurationLeavesTheOriginalAlone) {
  std::ofstream(folder_ + "/config/a.yaml") << "# routes\n";
  ASSERT_EQ(Up("--copy-config").code, 0);
  EXPECT_EQ(Slurp(state_ + "/config/a.yaml"), "# routes\n");
  EXPECT_EQ(State().config_directory(), state_ + "/config");
  std::ofstream(state_ + "/config/a.yaml") << "# changed\n";
  EXPECT_EQ(Slurp(folder_ + "/config/a.yaml"), "# routes\n");
}

TEST_F(DevTest, ForegroundEndsEverythingOnSigint) {
  SpawnSpec spec;
  spec.args = {BinaryPath("tools/weftctl/weftctl"),
               "dev",
               "up",
               folder_ + "/mesh.yaml",
               "--state",
               state_,
               "--bin",
               folder_ + "/bin",
               "--loopback",
               loopback_,
               "--foreground"};
  spec.env = {"PATH=/usr/bin:/bin", "FAKE_INBOUND_PORT=9080"};
  spec.log_file = folder_ + "/up.log";
  const auto up = Spawn(spec);
  ASSERT_TRUE(up.ok());
  ASSERT_TRUE(Eventually([&] {
    return Slurp(folder_ + "/up.log").find("Ctrl-C ends the mesh") != std::string::npos;
  })) << Slurp(folder_ + "/up.log");
  const auto all = All();
  ASSERT_EQ(all.size(), 5u);
  Signal(*up, SIGINT, false);
  int status = 0;
  waitpid(up->pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0) << Slurp(folder_ + "/up.log");
  for (const auto& id : all) EXPECT_FALSE(IsAlive(id));
  EXPECT_FALSE(fs::exists(state_));
}

TEST_F(DevTest, WatchShowsRatesFromTheSidecars) {
  ASSERT_EQ(Up().code, 0);
  const RunResult watch = Shell(Ctl("dev watch --seconds 1 --state " + state_));
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output, HasSubstr("ratings 0/s"));  // The fake's counters stand still.
}

}  // namespace
}  // namespace weft::cli
