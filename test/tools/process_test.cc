#include "tools/weftctl/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/dev/supervisor.h"

namespace weft::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

std::string Slurp(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// Waits for `condition`; the test fails when it does not come true in 10 s.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("process_test." + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  SpawnSpec Shell(const std::string& script) {
    return {.args = {"/bin/sh", "-c", script},
            .env = {"PATH=/usr/bin:/bin", "WORD=hello"},
            .directory = folder_.string(),
            .log_file = (folder_ / "log").string()};
  }
  std::filesystem::path folder_;
};

TEST_F(ProcessTest, RunsWithItsOwnEnvironmentFolderAndLog) {
  const auto id = Spawn(Shell("echo $WORD; pwd; echo oops >&2"));
  ASSERT_TRUE(id.ok()) << id.status();
  int status = 0;
  ASSERT_EQ(waitpid(id->pid, &status, 0), id->pid);
  EXPECT_EQ(DescribeExit(status), "exit code 0");
  EXPECT_EQ(Slurp(folder_ / "log"),
            "hello\n" + std::filesystem::canonical(folder_).string() + "\noops\n");
}

TEST_F(ProcessTest, SaysWhichStepFailed) {
  SpawnSpec spec = Shell("true");
  spec.args[0] = "/nonexistent/program";
  EXPECT_THAT(std::string(Spawn(spec).status().message()),
              HasSubstr("cannot run /nonexistent/program: No such file"));
  spec = Shell("true");
  spec.directory = "/nonexistent";
  EXPECT_THAT(std::string(Spawn(spec).status().message()),
              HasSubstr("cannot enter the folder /nonexistent"));
  spec = Shell("true");
  spec.log_file = "/nonexistent/log";
  EXPECT_THAT(std::string(Spawn(spec).status().message()),
              HasSubstr("cannot open the log file /nonexistent/log"));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a failed start left a zombie";
}

TEST_F(ProcessTest, ARecycledPidIsNotTheSameProcess) {
  const auto id = Spawn(Shell("exec sleep 100"));
  ASSERT_TRUE(id.ok());
  EXPECT_TRUE(IsAlive(*id));
  const ProcessId other{id->pid, id->start_time + 1};  // As if the number had been used again.
  EXPECT_FALSE(IsAlive(other));
  EXPECT_FALSE(Signal(other, SIGKILL, true));
  EXPECT_TRUE(IsAlive(*id)) << "the wrong process was killed";
  EXPECT_FALSE(WaitGone(*id, milliseconds(20)));
  EXPECT_TRUE(Signal(*id, SIGTERM, true));
  EXPECT_TRUE(WaitGone(*id, seconds(10)));
  EXPECT_FALSE(IsAlive(*id)) << "a zombie counts as gone";
  int status = 0;
  waitpid(id->pid, &status, 0);
  EXPECT_EQ(DescribeExit(status), "killed by SIGTERM");
}

TEST_F(ProcessTest, ASignalToTheGroupReachesWhatTheProgramStarted) {
  const auto id = Spawn(Shell("sleep 100 & echo $! > child; wait"));
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(Eventually([&] { return Slurp(folder_ / "child").ends_with("\n"); }));
  const pid_t child = std::stoi(Slurp(folder_ / "child"));
  const ProcessId child_id{child, StartTime(child).value_or(0)};
  ASSERT_TRUE(IsAlive(child_id));
  Signal(*id, SIGKILL, true);
  EXPECT_TRUE(WaitGone(child_id, seconds(10)));
  waitpid(id->pid, nullptr, 0);
}

TEST_F(ProcessTest, AChildDiesWithItsParent) {
  // A parent that starts one and is killed.
  const pid_t parent = fork();
  if (parent == 0) {
    const auto id = Spawn(Shell("echo $$ > pid; exec sleep 100"));
    pause();
    _exit(id.ok() ? 0 : 1);
  }
  ASSERT_TRUE(Eventually([&] { return Slurp(folder_ / "pid").ends_with("\n"); }));
  const pid_t pid = std::stoi(Slurp(folder_ / "pid"));
  const ProcessId child{pid, StartTime(pid).value_or(0)};
  ASSERT_TRUE(IsAlive(child));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  EXPECT_TRUE(WaitGone(child, seconds(10)));
}

TEST(BackOff, DoublesUpToTheLongestAndForgetsAfterHealth) {
  BackOff back_off(milliseconds(100), milliseconds(500), seconds(10));
  const BackOff::Time start{};
  const auto soon = start + seconds(1), late = start + seconds(10);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 100);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 200);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 400);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 500);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 500);
  EXPECT_EQ(back_off.AfterExit(start, late).count(), 100);
  EXPECT_EQ(back_off.AfterExit(start, soon).count(), 200);
}

TEST_F(ProcessTest, StateDirectoryTellsWhoseItIs) {
  const std::string state = (folder_ / ".weft" / "shop").string();
  EXPECT_EQ(LookAtState(state).kind, StateKind::kAbsent);
  ASSERT_TRUE(ClaimState(state).ok());
  EXPECT_EQ(LookAtState(state).kind, StateKind::kStarting);  // By this process.
  EXPECT_FALSE(ClaimState(state).ok()) << "two can't have it";
  weft::dev::v1::MeshState mesh;
  mesh.set_mesh("shop");
  *mesh.mutable_supervisor() = ToRef(Self());
  ASSERT_TRUE(WriteMessage(state + "/state.json", mesh).ok());
  EXPECT_EQ(LookAtState(state).kind, StateKind::kRunning);
  EXPECT_EQ(LookAtState(state).state.mesh(), "shop");
  mesh.mutable_supervisor()->set_start_time(mesh.supervisor().start_time() + 1);
  ASSERT_TRUE(WriteMessage(state + "/state.json", mesh).ok());
  EXPECT_EQ(LookAtState(state).kind, StateKind::kStale);
  EXPECT_TRUE(RemoveState(state).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / ".weft"));
}

TEST_F(ProcessTest, AFolderOfSomebodyElseIsLeftAlone) {
  std::ofstream(folder_ / "thesis.txt") << "years of work";
  EXPECT_EQ(LookAtState(folder_.string()).kind, StateKind::kForeign);
  EXPECT_FALSE(RemoveState(folder_.string()).ok());
  EXPECT_FALSE(ClaimState(folder_.string()).ok());
  EXPECT_EQ(Slurp(folder_ / "thesis.txt"), "years of work");
}

}  // namespace
}  // namespace weft::cli
