#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"

namespace grpc {
class Server;
class ServerContext;
class Service;
}  // namespace grpc

namespace weft::ctl::admin {

// gRPC on a Unix socket, for this user and root only. gRPC's own Unix listener hides who connects,
// so the socket is ours: accept4, SO_PEERCRED, and then the connection is handed to gRPC. Owner:
// app. Thread: Start and Stop by the owner; accepts in a thread of its own. Destroyed when: the
// process stops, before the services.
class MgmtServer {
 public:
  // `allowed_uid` besides root.
  MgmtServer(std::string socket_path, uid_t allowed_uid);
  ~MgmtServer();

  // The socket's directory is made with mode 0700 when it is missing; one that others may enter is
  // refused. A socket that a dead controller left is replaced. Errors say what to do.
  absl::Status Start(grpc::Service* service);
  void Stop();

  const std::string& socket_path() const { return socket_path_; }
  // "uid 1000 (pid 17)": who sent a request that this server serves.
  std::string Who(const grpc::ServerContext& context) const;
  // How many were turned away.
  uint64_t refused() const;

 private:
  struct Peer {
    uid_t uid;
    pid_t pid;
  };

  absl::Status PrepareDirectory() const;
  absl::Status RemoveStale() const;
  absl::Status Listen();
  void Run();
  void Admit(int fd);

  const std::string socket_path_;
  const uid_t allowed_uid_;
  int listen_ = -1, stop_ = -1;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::map<int, Peer> peers_;  // by descriptor; the newest connection that has it
  uint64_t refused_ = 0;
};

}  // namespace weft::ctl::admin
