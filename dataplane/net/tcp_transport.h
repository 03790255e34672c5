#pragma once

#include <memory>

#include "dataplane/event/fd_watcher.h"
#include "dataplane/net/transport.h"

namespace weft::net {

// A connected TCP or Unix stream socket. Owns its descriptor.
class TcpTransport final : public Transport, private event::FdWatcher::Handler {
 public:
  // Takes `fd`, connected and non-blocking. `local` may be invalid: it is asked of the kernel when
  // needed.
  TcpTransport(event::Loop& loop, int fd, const Address& peer, const Address& local = Address());
  ~TcpTransport() override;

  void set_handler(Transport::Handler* handler) override;
  ssize_t Read(const iovec* iov, int count) override;
  ssize_t Write(const iovec* iov, int count) override;
  void WantWrite() override;
  void SetReading(bool on) override;
  void ShutdownWrite() override;
  void SetResetOnClose() override;
  const Address& local_address() override;
  const Address& peer_address() const override { return peer_; }
  int fd() const { return fd_; }

 private:
  void OnFdReady(uint8_t ready) override;

  event::Loop& loop_;
  event::FdWatcher watcher_;
  Transport::Handler* handler_ = nullptr;
  int fd_;
  bool* destroyed_ = nullptr;  // set while a callback is on the stack
  Address peer_, local_;
};

}  // namespace weft::net
