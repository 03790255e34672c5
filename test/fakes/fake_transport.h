#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "dataplane/net/transport.h"

namespace weft::fakes {

// The peer's end of a FakeTransport, which outlives it. What the peer sent waits in `in` until the
// connection reads it, as in a kernel; what the connection wrote is in `out`, up to `room`.
struct FakePeer {
  std::string in, out;
  bool eof = false;            // after `in`
  int read_error = 0;          // after `in`: a positive errno
  size_t max_read = SIZE_MAX;  // bytes a read gives at most
  size_t room = SIZE_MAX;      // bytes that writes take before they would block
  int write_error = 0;         // a positive errno
  bool reading = true, want_write = false, shut = false, reset_on_close = false, closed = false;
  net::Transport::Handler* handler = nullptr;

  bool readable() const { return !closed && (!in.empty() || eof || read_error != 0); }
  // Tells the connection as often as a level-triggered loop would, until it has had enough.
  void Deliver() {
    for (int i = 0; i < 100'000 && reading && readable(); ++i) handler->OnReadable();
  }
  void Send(std::string_view bytes) {
    in.append(bytes);
    Deliver();
  }
  // Lets the connection write `n` more bytes.
  void MakeRoom(size_t n) {
    room = n;
    if (std::exchange(want_write, false) && !closed) handler->OnWritable();
  }
  std::string TakeOut() { return std::exchange(out, {}); }
};

// A transport without a socket: a test is its peer. Single-threaded.
class FakeTransport final : public net::Transport {
 public:
  explicit FakeTransport(FakePeer& peer) : peer_(peer) {}
  ~FakeTransport() override { peer_.closed = true; }
  void set_handler(Handler* handler) override { peer_.handler = handler; }
  ssize_t Read(const iovec* iov, int count) override {
    if (peer_.in.empty())
      return peer_.read_error != 0 ? -peer_.read_error : peer_.eof ? 0 : -EAGAIN;
    size_t n = std::min({peer_.in.size(), iov->iov_len, peer_.max_read});
    memcpy(iov->iov_base, peer_.in.data(), n);
    peer_.in.erase(0, n);
    return static_cast<ssize_t>(n);
  }
  ssize_t Write(const iovec* iov, int count) override {
    if (peer_.write_error != 0) return -peer_.write_error;
    size_t written = 0;
    for (int i = 0; i < count && peer_.room > 0; ++i) {
      size_t n = std::min(iov[i].iov_len, peer_.room);
      peer_.out.append(static_cast<const char*>(iov[i].iov_base), n);
      if (peer_.room != SIZE_MAX) peer_.room -= n;
      written += n;
      if (n < iov[i].iov_len) break;
    }
    return written == 0 ? -EAGAIN : static_cast<ssize_t>(written);
  }
  void WantWrite() override { peer_.want_write = true; }
  void SetReading(bool on) override { peer_.reading = on; }
  void ShutdownWrite() override { peer_.shut = true; }
  void SetResetOnClose() override { peer_.reset_on_close = true; }
  const net::Address& local_address() override { return address_; }
  const net::Address& peer_address() const override { return address_; }

 private:
  FakePeer& peer_;
  net::Address address_ = *net::Address::FromIp("127.0.0.1", 1);
};

}  // namespace weft::fakes
