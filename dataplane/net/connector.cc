#include "dataplane/net/connector.h"

#include <netinet/in.h>
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

static int SetOptions(int fd, const DialOptions& options, bool after_bind) {
  for (const SocketOption& o : options.socket_options) {
    if (o.after_bind == after_bind &&
        setsockopt(fd, o.level, o.name, o.value.data(), static_cast<socklen_t>(o.value.size())) !=
            0) {
      return errno;
    }
  }
  return 0;
}

// Prepares the socket; the errno of what was refused, or 0.
int Connector::Open(const DialOptions& options) {
  fd_ = socket(to_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return errno;
  if (to_.is_unix()) return 0;
  if (options.keep_alive.on) SetKeepAlive(fd_, options.keep_alive);
  bind_failed_ = true;
  if (int error = SetOptions(fd_, options, false); error != 0) return error;
  if (options.source.valid()) {
    int one = 1;
    if (options.freebind) {
      setsockopt(fd_, to_.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP,
                 to_.is_v6() ? IPV6_FREEBIND : IP_FREEBIND, &one, sizeof(one));
    }
    // The port is chosen by connect(2) then, when both ends are known: many more connections from
    // one address.
    if (options.source.port() == 0) {
      setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    }
    if (options.source.family() != to_.family()) return EAFNOSUPPORT;
    if (bind(fd_, options.source.sa(), options.source.length()) != 0) return errno;
  }
  if (int error = SetOptions(fd_, options, true); error != 0) return error;
  bind_failed_ = false;
  return 0;
}

void Connector::Start(const Address& to, MonoNanos timeout, const DialOptions& options) {
  to_ = to;
  error_ = Open(options);
  if (error_ == 0) {
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
