#include "controlplane/admin/mgmt/mgmt_server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/controlplane/admin/temp_directory.h"
#include "weft/mgmt/v1/mgmt.grpc.pb.h"

namespace weft::ctl::admin {
namespace {

namespace pb = weft::mgmt::v1;

// Answers with who asked.
class Echo final : public pb::Management::Service {
 public:
  explicit Echo(MgmtServer* server) : server_(server) {}
  grpc::Status GetInfo(grpc::ServerContext* context, const pb::GetInfoRequest*,
                       pb::GetInfoResponse* response) override {
    response->set_version(server_->Who(*context));
    return grpc::Status::OK;
  }

 private:
  MgmtServer* const server_;
};

grpc::Status Ask(const std::string& socket, std::string* answer) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt("grpc.use_local_subchannel_pool", 1);
  auto stub = pb::Management::NewStub(
      grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), args));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  pb::GetInfoResponse response;
  grpc::Status status = stub->GetInfo(&context, {}, &response);
  *answer = response.version();
  return status;
}

// Connects to the socket as another user (in a child, when this one is root). True when the server
// closed at once.
bool ClosedForStranger(const std::string& socket_path) {
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(3);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) _exit(4);
    timeval limit{10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    char byte;
    _exit(read(fd, &byte, 1) == 0 ? 0 : 5);  // gRPC would have sent its SETTINGS
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(MgmtServer, SameUserIsServedAndNamed) {
  TempDirectory directory;
  MgmtServer server(directory / "mgmt/mgmt.sock", geteuid());
  Echo echo(&server);
  absl::Status status = server.Start(&echo);
  ASSERT_TRUE(status.ok()) << status;
  struct stat s;
  ASSERT_EQ(stat((directory / "mgmt").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0700u);
  ASSERT_EQ(stat((directory / "mgmt/mgmt.sock").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0600u);
  for (int i = 0; i < 5; ++i) {
    std::string who;
    grpc::Status answer = Ask(server.socket_path(), &who);
    ASSERT_TRUE(answer.ok()) << answer.error_message();
    EXPECT_EQ(who, "uid " + std::to_string(geteuid()) + " (pid " + std::to_string(getpid()) + ")");
  }
  server.Stop();
  EXPECT_FALSE(directory.Exists("mgmt/mgmt.sock"));
  std::string who;
  EXPECT_FALSE(Ask(server.socket_path(), &who).ok());
}

TEST(MgmtServer, OtherUsersAreTurnedAway) {
  TempDirectory directory;
  // Without root there is no other user at hand: then this one is the stranger.
  MgmtServer server(directory / "mgmt/mgmt.sock", geteuid() == 0 ? 0 : geteuid() + 1);
  Echo echo(&server);
  ASSERT_TRUE(server.Start(&echo).ok());
  // The directory is the first lock; this is about the second.
  chmod(directory.path().c_str(), 0755);
  chmod((directory / "mgmt").c_str(), 0755);
  chmod((directory / "mgmt/mgmt.sock").c_str(), 0666);
  EXPECT_TRUE(ClosedForStranger(server.socket_path()));
  for (int i = 0; i < 1000 && server.refused() == 0; ++i) usleep(1000);
  EXPECT_EQ(server.refused(), 1u);
}

TEST(MgmtServer, DirectoryThatOthersMayEnterIsRefused) {
  TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "open").c_str(), 0755), 0);
  chmod((directory / "open").c_str(), 0755);
  MgmtServer server(directory / "open/mgmt.sock", geteuid());
  Echo echo(&server);
  absl::Status status = server.Start(&echo);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("0700"), absl::string_view::npos) << status;
}

TEST(MgmtServer, SocketOfADeadControllerIsReplacedOfALivingOneNot) {
  TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "mgmt").c_str(), 0700), 0);
  const std::string path = directory / "mgmt/mgmt.sock";
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(fd);  // never listened, and is gone

  MgmtServer first(path, geteuid());
  Echo echo(&first);
  absl::Status status = first.Start(&echo);
  ASSERT_TRUE(status.ok()) << status;
  MgmtServer second(path, geteuid());
  status = second.Start(&echo);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("another weft-controller"), absl::string_view::npos) << status;
  std::string who;
  EXPECT_TRUE(Ask(path, &who).ok());
}

TEST(MgmtServer, PathProblemsAreExplained) {
  TempDirectory directory;
  Echo echo(nullptr);
  {
    MgmtServer server(directory / std::string(120, 'x'), geteuid());
    EXPECT_NE(server.Start(&echo).message().find("too long"), absl::string_view::npos);
  }
  directory.Write("m/mgmt.sock", "a file");
  chmod((directory / "m").c_str(), 0700);
  {
    MgmtServer server(directory / "m/mgmt.sock", geteuid());
    EXPECT_NE(server.Start(&echo).message().find("not a socket"), absl::string_view::npos);
    EXPECT_TRUE(directory.Exists("m/mgmt.sock"));
  }
  {
    MgmtServer server(directory / "m/mgmt.sock/mgmt.sock", geteuid());
    EXPECT_FALSE(server.Start(&echo).ok());
  }
}

}  // namespace
}  // namespace weft::ctl::admin
