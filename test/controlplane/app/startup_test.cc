// weft-controller as a user starts it: messages, exit codes, signals.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "dataplane/net/address.h"
#include "test/controlplane/admin/temp_directory.h"

namespace weft::ctl::app {
namespace {

std::string Binary() {
  // Beside the test's own: bazel-bin/controlplane/app; run from the workspace or from bazel's
  // runfiles.
  for (const char* path :
       {"controlplane/app/weft-controller", "bazel-bin/controlplane/app/weft-controller"}) {
    if (access(path, X_OK) == 0) return std::filesystem::absolute(path).string();
  }
  return "";
}

// A port that was free a moment ago.
std::string FreeAddress(int* keep_open = nullptr) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  net::Address address = *net::Address::FromIp("127.0.0.1", 0);
  EXPECT_EQ(bind(fd, address.sa(), address.length()), 0);
  sockaddr_storage bound;
  socklen_t length = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  if (keep_open != nullptr) {
    EXPECT_EQ(listen(fd, 1), 0);
    *keep_open = fd;
  } else {
    close(fd);
  }
  return net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&bound), length).ToString();
}

// A child process whose output goes into a file.
class Process {
 public:
  Process(const TempDirectory& directory, std::vector<std::string> args)
      : output_(directory / "output") {
    args.insert(args.begin(), Binary());
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    unlink(output_.c_str());  // of the process before
    pid_ = fork();
    if (pid_ == 0) {
      const int fd = open(output_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      dup2(fd, 1);
      dup2(fd, 2);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  void Signal(int number) { kill(pid_, number); }
  // Its exit code, or -1: still running after 20 s, or killed.
  int Wait() {
    for (int i = 0; i < 20000; ++i) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return -1;
  }
  std::string Output() const {
    std::ifstream in(output_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  bool WaitForOutput(const std::string& text) const {
    for (int i = 0; i < 20000; ++i) {
      if (Output().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

 private:
  const std::string output_;
  pid_t pid_ = -1;
};

class StartupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(Binary(), "") << "weft-controller is not where the test looks for it";
  }
  std::vector<std::string> Args(std::vector<std::string> more) {
    std::vector<std::string> args = {"--xds-address", xds, "--admin-address", admin};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TempDirectory directory, config;
  std::string xds = FreeAddress(), admin = FreeAddress();
};

TEST_F(StartupTest, MissingDirectoryIsNamed) {
  Process process(directory, Args({"--config", config / "absent"}));
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_NE(process.Output().find("--config " + (config / "absent") +
                                  ": there is no such directory; create it (mkdir -p"),
            std::string::npos)
      << process.Output();
}

TEST_F(StartupTest, FileInsteadOfDirectory) {
  config.Write("a.yaml", "");
  Process process(directory, Args({"--config", config / "a.yaml"}));
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_NE(process.Output().find("is not a directory"), std::string::npos) << process.Output();
}

TEST_F(StartupTest, PortsInUseAreNamed) {
  int taken = -1;
  const std::string address = FreeAddress(&taken);
  {
    Process process(
        directory, {"--config", config.path(), "--xds-address", address, "--admin-address", admin});
    EXPECT_EQ(process.Wait(), 1);
    EXPECT_NE(process.Output().find("can't listen on " + address + ": the address is in use"),
              std::string::npos)
        << process.Output();
    EXPECT_NE(process.Output().find("--xds-address"), std::string::npos);
  }
  {
    Process process(directory,
                    {"--config", config.path(), "--xds-address", xds, "--admin-address", address});
    EXPECT_EQ(process.Wait(), 1);
    EXPECT_NE(process.Output().find("can't listen on " + address), std::string::npos)
        << process.Output();
    EXPECT_NE(process.Output().find("--admin-address"), std::string::npos);
  }
  close(taken);
}

TEST_F(StartupTest, SocketInAnOpenDirectoryIsRefused) {
  chmod(config.path().c_str(), 0755);
  Process process(directory,
                  Args({"--config", config.path(), "--mgmt-socket", config / "mgmt.sock"}));
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_NE(process.Output().find("0700"), std::string::npos) << process.Output();
}

TEST_F(StartupTest, NoConfigIsAMistakeOfTheCommandLine) {
  Process process(directory, {});
  EXPECT_EQ(process.Wait(), 2);
  EXPECT_NE(process.Output().find("--config DIR is required"), std::string::npos)
      << process.Output();
}

TEST_F(StartupTest, StartsWithBrokenFilesSaysSoAndEndsOnSignals) {
  config.Write("broken.yaml", "a: [\n");
  for (int signal_number : {SIGTERM, SIGINT}) {
    Process process(directory, Args({"--config", config.path(), "--mgmt-socket",
                                     directory / "mgmt/mgmt.sock"}));
    ASSERT_TRUE(process.WaitForOutput("serves xDS on " + xds)) << process.Output();
    EXPECT_NE(process.Output().find(config / "broken.yaml:"), std::string::npos)
        << process.Output();
    EXPECT_TRUE(std::filesystem::exists(directory / "mgmt/mgmt.sock"));
    process.Signal(signal_number);
    EXPECT_EQ(process.Wait(), 0);
    EXPECT_FALSE(std::filesystem::exists(directory / "mgmt/mgmt.sock"));
  }
}

}  // namespace
}  // namespace weft::ctl::app
