#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dataplane/net/address.h"

namespace weft::fakes {

// An origin on a free loopback port that speaks whatever its script speaks: one call a connection,
// on a thread of its own; the connection is closed when it returns.
class RawUpstream {
 public:
  using Script = std::function<void(int fd)>;

  explicit RawUpstream(Script script) : script_(std::move(script)) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    net::Address any = *net::Address::FromIp("127.0.0.1", 0);
    if (bind(fd_, any.sa(), any.length()) != 0 || listen(fd_, 128) != 0) abort();
    sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&ss), &len);
    address_ = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~RawUpstream() {
    stop_ = true;
    shutdown(fd_, SHUT_RDWR);
    acceptor_.join();
    close(fd_);
    {
      std::lock_guard<std::mutex> lock(mu_);
      for (int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (auto& t : threads_) t.join();
  }
  const net::Address& address() const { return address_; }
  int connections() const { return connections_; }
  // For waits in scripts: true when the test is over.
  bool stopping() const { return stop_; }

  static bool Send(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Reads until `marker` is there or the peer closes.
  static std::string ReadUntil(int fd, std::string_view marker) {
    std::string in;
    char c;
    while (in.find(marker) == std::string::npos && recv(fd, &c, 1, 0) == 1) in.push_back(c);
    return in;
  }
  static void ResetOnClose(int fd) {
    linger l = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  }

 private:
  void Accept() {
    for (;;) {
      int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (stop_ || fd < 0) {
        if (fd >= 0) close(fd);
        return;
      }
      ++connections_;
      std::lock_guard<std::mutex> lock(mu_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] {
        script_(fd);
        std::lock_guard<std::mutex> l(mu_);
        std::erase(open_, fd);
        close(fd);
      });
    }
  }
  Script script_;
  net::Address address_;
  int fd_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::mutex mu_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace weft::fakes
