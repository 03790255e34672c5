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

  // Gives back what was read and is for somebody else: the next reads return it first, and
  // OnReadable comes for it. At most once at a time.
  void Unread(buffer::Slice bytes);
  // In place of the socket's own, for a connection that came through somebody who told (PROXY
  // protocol) or that was redirected. An invalid one stays as it is.
  void set_addresses(const Address& peer, const Address& local);

 private:
  // Bytes that were given back. They are not the kernel's, so the loop does not tell of them.
  struct UnreadBytes final : event::TurnEndTask {
    explicit UnreadBytes(TcpTransport& t)
        : transport(t),
          later(
              t.loop_.timers(),
              [](void* self) { static_cast<UnreadBytes*>(self)->transport.DeliverUnread(); }, this) {}
    void RunAtTurnEnd() override { transport.DeliverUnread(); }
    TcpTransport& transport;
    buffer::Slice bytes;
    event::Timer later;  // for a handler that did not read: asked again, but not in this turn
  };
  void OnFdReady(uint8_t ready) override;
  void DeliverUnread();
  ssize_t ReadUnread(const iovec* iov, int count);

  event::Loop& loop_;
  event::FdWatcher watcher_;
  Transport::Handler* handler_ = nullptr;
  int fd_;
  bool* destroyed_ = nullptr;  // set while a callback is on the stack
  Address peer_, local_;
  std::unique_ptr<UnreadBytes> unread_;  // null: none, which is the rule
};

}  // namespace weft::net
