#include "dataplane/net/connector.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "dataplane/net/tcp_transport.h"

namespace weft::net {

Connector::Connector(event::Loop& loop, Handler* handler)
    : loop_(loop),
      handler_(handler),
      timer_(
          loop.timers(), [](void* self) { static_cast<Connector*>(self)->OnTimer(); }, this) {}

Connector::~Connector() {
  watcher_.Stop();
  if (fd_ >= 0) close(fd_);
}

static void SetKeepAlive(int fd, const KeepAlive& k) {
  auto set = [fd](int level, int name, uint32_t value) {
    int v = static_cast<int>(value);
    if (value != 0) setsockopt(fd, level, name, &v, sizeof(v));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, k.probes);
  set(IPPROTO_TCP, TCP_KEEPIDLE, k.time_s);
  set(IPPROTO_TCP, TCP_KEEPINTVL, k.interval_s);
}

void Connector::Start(const Address& to, MonoNanos timeout, const KeepAlive& keep_alive) {
  to_ = to;
  fd_ = socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    error_ = errno;
  } else {
    if (keep_alive.on && !to.is_unix()) SetKeepAlive(fd_, keep_alive);
    int rc;
    do {
      rc = connect(fd_, to.sa(), to.length());
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EINPROGRESS) {
      error_ = errno;
    } else {
      int err = watcher_.Start(loop_, fd_, event::FdWatcher::kWrite, this);
      if (err != 0) error_ = -err;
    }
  }
  if (error_ != 0) {
    timer_.Arm(
        0);  // reported from the loop, so that a caller never sees its callback inside Start()
  } else if (timeout > 0) {
    timer_.Arm(timeout);
  }
}

void Connector::OnTimer() { Fail(error_ != 0 ? error_ : ETIMEDOUT); }

void Connector::Fail(int error) {
  watcher_.Stop();
  timer_.Cancel();
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  handler_->OnConnectFailed(error);
}

void Connector::OnFdReady(uint8_t) {
  int error = 0;
  socklen_t len = sizeof(error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
  if (error != 0) {
    Fail(error);
    return;
  }
  watcher_.Stop();
  timer_.Cancel();
  auto transport = std::make_unique<TcpTransport>(loop_, std::exchange(fd_, -1), to_);
  handler_->OnConnected(std::move(transport));
}

}  // namespace weft::net
