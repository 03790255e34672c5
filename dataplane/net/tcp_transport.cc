#include "dataplane/net/tcp_transport.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weft::net {

TcpTransport::TcpTransport(event::Loop& loop, int fd, const Address& peer, const Address& local)
    : loop_(loop), fd_(fd), peer_(peer), local_(local) {
  if (!peer.is_unix()) {
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
}

TcpTransport::~TcpTransport() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  watcher_.Stop();
  close(fd_);
}

void TcpTransport::set_handler(Transport::Handler* handler) {
  handler_ = handler;
  if (!watcher_.started()) watcher_.Start(loop_, fd_, event::FdWatcher::kRead, this);
  if (unread_ != nullptr) loop_.AtTurnEnd(unread_.get());
}

void TcpTransport::Unread(buffer::Slice bytes) {
  if (bytes.empty()) return;
  unread_ = std::make_unique<UnreadBytes>(*this);
  unread_->bytes = std::move(bytes);
  if (watcher_.started()) loop_.AtTurnEnd(unread_.get());
}

void TcpTransport::set_addresses(const Address& peer, const Address& local) {
  if (peer.valid()) peer_ = peer;
  if (local.valid()) local_ = local;
}

void TcpTransport::DeliverUnread() {
  if (!(watcher_.interest() & event::FdWatcher::kRead)) return;  // SetReading(true) comes back
  const size_t before = unread_->bytes.size();
  bool destroyed = false;
  destroyed_ = &destroyed;
  handler_->OnReadable();
  if (destroyed) return;
  destroyed_ = nullptr;
  if (unread_ == nullptr || !(watcher_.interest() & event::FdWatcher::kRead)) return;
  if (unread_->bytes.size() < before) {
    loop_.AtTurnEnd(unread_.get());
  } else {
    unread_->later.Arm(0);
  }
}

ssize_t TcpTransport::ReadUnread(const iovec* iov, int count) {
  size_t copied = 0;
  buffer::Slice& s = unread_->bytes;
  for (int i = 0; i < count && !s.empty(); ++i) {
    size_t n = std::min(iov[i].iov_len, s.size());
    memcpy(iov[i].iov_base, s.data(), n);
    s.RemovePrefix(n);
    copied += n;
  }
  if (s.empty()) unread_.reset();
  return static_cast<ssize_t>(copied);
}

ssize_t TcpTransport::Read(const iovec* iov, int count) {
  if (unread_ != nullptr) [[unlikely]] return ReadUnread(iov, count);
  ssize_t n;
  do {
    n = count == 1 ? recv(fd_, iov->iov_base, iov->iov_len, 0) : readv(fd_, iov, count);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

ssize_t TcpTransport::Write(const iovec* iov, int count) {
  ssize_t n;
  do {
    if (count == 1) {
      n = send(fd_, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    } else {
      msghdr m = {};
      m.msg_iov = const_cast<iovec*>(iov);
      m.msg_iovlen = static_cast<size_t>(count);
      n = sendmsg(fd_, &m, MSG_NOSIGNAL);
    }
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

void TcpTransport::WantWrite() {
  watcher_.SetInterest(watcher_.interest() | event::FdWatcher::kWrite);
}

void TcpTransport::SetReading(bool on) {
  uint8_t write = watcher_.interest() & event::FdWatcher::kWrite;
  watcher_.SetInterest(static_cast<uint8_t>(write | (on ? event::FdWatcher::kRead : 0)));
  if (on && unread_ != nullptr) loop_.AtTurnEnd(unread_.get());
}

void TcpTransport::ShutdownWrite() { shutdown(fd_, SHUT_WR); }

void TcpTransport::SetResetOnClose() {
  linger l = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

const Address& TcpTransport::local_address() {
  if (!local_.valid()) {
    sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd_, reinterpret_cast<sockaddr*>(&ss), &len) == 0) {
      local_ = Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
    }
  }
  return local_;
}

void TcpTransport::OnFdReady(uint8_t ready) {
  bool destroyed = false;
  destroyed_ = &destroyed;
  if (ready & event::FdWatcher::kWrite) {
    watcher_.SetInterest(static_cast<uint8_t>(watcher_.interest() & ~event::FdWatcher::kWrite));
    handler_->OnWritable();
    if (destroyed) return;
  }
  // OnWritable may have turned reading off.
  if (ready & watcher_.interest() & event::FdWatcher::kRead) {
    handler_->OnReadable();
    if (destroyed) return;
  }
  destroyed_ = nullptr;
}

}  // namespace weft::net
