#include "controlplane/admin/mgmt/mgmt_server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::ctl::admin {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

MgmtServer::MgmtServer(std::string socket_path, uid_t allowed_uid)
    : socket_path_(std::filesystem::absolute(socket_path).lexically_normal().string()),
      allowed_uid_(allowed_uid) {}

MgmtServer::~MgmtServer() { Stop(); }

absl::Status MgmtServer::PrepareDirectory() const {
  const std::filesystem::path directory = std::filesystem::path(socket_path_).parent_path();
  std::error_code error;
  std::filesystem::create_directories(directory.parent_path(), error);
  if (mkdir(directory.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno != EEXIST) {
    return absl::FailedPreconditionError(StrCat(
        "can't make ", directory.string(), " for the management socket: ", std::strerror(errno),
        "; choose another by --mgmt-socket"));
  }
  struct stat s;
  if (stat(directory.c_str(), &s) != 0 || !S_ISDIR(s.st_mode)) {
    return absl::FailedPreconditionError(
        StrCat(directory.string(), " is not a directory; choose another place for --mgmt-socket"));
  }
  if ((s.st_mode & 0077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", s.st_mode & 07777u);
    return absl::FailedPreconditionError(StrCat(
        directory.string(), " may be entered by others (mode ", static_cast<const char*>(mode),
        "), but the management socket needs a directory of its own with mode 0700: give "
        "--mgmt-socket a new "
        "directory, or chmod 0700 this one"));
  }
  if (s.st_uid != geteuid()) {
    return absl::FailedPreconditionError(StrCat(directory.string(), " belongs to uid ", s.st_uid,
                                                ", not to this user (uid ", geteuid(),
                                                "); choose another place for --mgmt-socket"));
  }
  return absl::OkStatus();
}

absl::Status MgmtServer::RemoveStale() const {
  struct stat s;
  if (lstat(socket_path_.c_str(), &s) != 0) return absl::OkStatus();
  if (!S_ISSOCK(s.st_mode)) {
    return absl::FailedPreconditionError(
        StrCat(socket_path_, " exists and is not a socket; choose another by --mgmt-socket"));
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = AddressOf(socket_path_);
  const bool alive = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  if (alive) {
    return absl::UnavailableError(StrCat("another weft-controller listens on ", socket_path_,
                                         "; stop it or choose another socket by --mgmt-socket"));
  }
  unlink(socket_path_.c_str());
  return absl::OkStatus();
}

absl::Status MgmtServer::Listen() {
  listen_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listen_ < 0) return absl::InternalError(StrCat("socket: ", std::strerror(errno)));
  const sockaddr_un address = AddressOf(socket_path_);
  // The directory keeps others out; the mode is a second lock, set before anybody can connect.
  if (fchmod(listen_, 0600) != 0 ||
      bind(listen_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      chmod(socket_path_.c_str(), 0600) != 0 || listen(listen_, 16) != 0) {
    return absl::UnavailableError(StrCat("can't listen on ", socket_path_, ": ",
                                         std::strerror(errno),
                                         "; choose another by --mgmt-socket"));
  }
  return absl::OkStatus();
}

absl::Status MgmtServer::Start(grpc::Service* service) {
  if (socket_path_.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(StrCat("--mgmt-socket ", socket_path_,
                                             " is too long: a socket's path has at most ",
                                             sizeof(sockaddr_un::sun_path) - 1, " characters"));
  }
  for (absl::Status status : {PrepareDirectory(), RemoveStale()}) {
    if (!status.ok()) return status;
  }
  absl::Status status = Listen();
  if (!status.ok()) {
    if (listen_ >= 0) close(std::exchange(listen_, -1));
    return status;
  }
  grpc::ServerBuilder builder;
  builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(-1);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  grpc::ResourceQuota quota("mgmt");
  quota.SetMaxThreads(16);
  builder.SetResourceQuota(quota);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    close(std::exchange(listen_, -1));
    return absl::InternalError("can't start the management server");
  }
  stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void MgmtServer::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(stop_, &one, sizeof(one));
  thread_.join();
  unlink(socket_path_.c_str());
  close(std::exchange(listen_, -1));
  close(std::exchange(stop_, -1));
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  server_->Wait();
}

void MgmtServer::Run() {
  while (true) {
    pollfd fds[2] = {{stop_, POLLIN, 0}, {listen_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    if (fds[1].revents == 0) continue;
    const int fd = accept4(listen_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      Admit(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The connection stays in the queue; do not spin on it.
      LogError(StrCat("mgmt: can't accept: ", std::strerror(errno)));
      poll(fds, 1, 100);
    }
  }
}

void MgmtServer::Admit(int fd) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
  if (!known || (peer.uid != allowed_uid_ && peer.uid != 0)) {
    LogWarning(StrCat("mgmt: refused a connection of uid ",
                      known ? std::to_string(peer.uid) : "(unknown)", " (pid ", peer.pid,
                      "): only uid ", allowed_uid_, " and root may"));
    close(fd);
    std::lock_guard lock(mutex_);
    ++refused_;
    return;
  }
  {
    std::lock_guard lock(mutex_);
    peers_[fd] = {peer.uid, peer.pid};
  }
  grpc::AddInsecureChannelFromFd(server_.get(), fd);
}

std::string MgmtServer::Who(const grpc::ServerContext& context) const {
  // gRPC names the peer of a connection that it was given by its descriptor: "fd:12".
  const std::string peer = context.peer();
  int fd = -1;
  if (peer.starts_with("fd:")) std::from_chars(peer.data() + 3, peer.data() + peer.size(), fd);
  std::lock_guard lock(mutex_);
  auto it = peers_.find(fd);
  return it == peers_.end() ? peer : StrCat("uid ", it->second.uid, " (pid ", it->second.pid, ")");
}

uint64_t MgmtServer::refused() const {
  std::lock_guard lock(mutex_);
  return refused_;
}

}  // namespace weft::ctl::admin
