#include "dataplane/net/listener.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::net {
namespace {

std::string Explain(const Address& address, const char* what, int error) {
  std::string s = "cannot listen on " + address.ToString() + ": ";
  switch (error) {
    case EADDRINUSE:
      return s +
             "another process already uses this address; stop it (see `ss -ltnp`) or choose "
             "another port";
    case EADDRNOTAVAIL:
      return s + "no interface of this machine has this address";
    case EACCES:
      return s +
             "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, socket files a writable "
             "directory";
    default:
      return s + what + ": " + strerror(error);
  }
}

}  // namespace

int OpenListenSocket(const Address& address, const ListenOptions& options, std::string* error) {
  int fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    *error = Explain(address, "socket", errno);
    return -1;
  }
  int on = 1;
  auto fail = [&](const char* what) {
    *error = Explain(address, what, errno);
    close(fd);
    return -1;
  };
  if (address.is_unix()) {
    // A socket file that nobody listens on is left over from a process that ended; a live one is
    // not ours to take.
    struct stat st;
    std::string path = address.Ip();
    if (path[0] != '@' && stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      bool dead = probe >= 0 && connect(probe, address.sa(), address.length()) != 0 &&
                  errno == ECONNREFUSED;
      if (probe >= 0) close(probe);
      if (dead) unlink(path.c_str());
    }
  } else {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (options.reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
      return fail("SO_REUSEPORT");
    if (options.freebind) setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
  }
  if (bind(fd, address.sa(), address.length()) != 0) return fail("bind");
  if (listen(fd, options.backlog) != 0) return fail("listen");
  return fd;
}

Listener::Listener(event::Loop& loop, int fd, Handler* handler)
    : resume_(
          loop.timers(), [](void* self) { static_cast<Listener*>(self)->SetAccepting(true); },
          this),
      handler_(handler),
      fd_(fd) {
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len) == 0) {
    local_ = Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  }
  watcher_.Start(loop, fd, event::FdWatcher::kRead, this);
}

Listener::~Listener() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  watcher_.Stop();
  if (fd_ >= 0) close(fd_);
}

int Listener::Release() {
  watcher_.Stop();
  resume_.Cancel();
  return std::exchange(fd_, -1);
}

void Listener::SetAccepting(bool on) {
  resume_.Cancel();
  watcher_.SetInterest(on ? event::FdWatcher::kRead : event::FdWatcher::kNone);
}

void Listener::OnFdReady(uint8_t) { Accept(kMaxAcceptsPerTurn); }

void Listener::AcceptPending() { Accept(kMaxPending); }

void Listener::Accept(int max) {
  bool destroyed = false;
  destroyed_ = &destroyed;
  for (int i = 0; i < max && fd_ >= 0; ++i) {
    sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&ss), &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // Out of descriptors or memory, or something that another try at once won't cure: a ready
      // socket that nobody can accept from must not spin.
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        SetAccepting(false);
        resume_.Arm(kPauseWithoutDescriptors);
      }
      break;
    }
    handler_->OnAccept(fd, Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len));
    if (destroyed) return;
  }
  destroyed_ = nullptr;
}

}  // namespace weft::net
