#include "test/fakes/fake_upstream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "test/fakes/raw_client.h"

namespace weft::fakes {

FakeUpstream::FakeUpstream(Script script) : script_(std::move(script)) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  net::Address any = *net::Address::FromIp("127.0.0.1", 0);
  if (bind(fd_, any.sa(), any.length()) != 0 || listen(fd_, 128) != 0) abort();
  sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  getsockname(fd_, reinterpret_cast<sockaddr*>(&ss), &len);
  address_ = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
  acceptor_ = std::thread([this] {
    for (;;) {
      int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (stop_ || fd < 0) {
        if (fd >= 0) close(fd);
        return;
      }
      ++connections_;
      std::lock_guard<std::mutex> lock(mu_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { Serve(fd); });
    }
  });
}

FakeUpstream::~FakeUpstream() {
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

std::vector<std::string> FakeUpstream::requests() const {
  std::lock_guard<std::mutex> lock(mu_);
  return requests_;
}

std::string FakeUpstream::Ok(std::string_view body, std::string_view extra) {
  std::string s = "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n";
  s.append(extra).append("\r\n").append(body);
  return s;
}

void FakeUpstream::Serve(int fd) {
  std::string in;
  bool open = true;
  for (int n = 0; open; ++n) {
    char buf[65536];
    auto fill = [&] {
      ssize_t got = recv(fd, buf, sizeof(buf), 0);
      if (got <= 0) return false;
      in.append(buf, static_cast<size_t>(got));
      return true;
    };
    while (in.find("\r\n\r\n") == std::string::npos && (open = fill())) {
    }
    if (!open) break;
    size_t end = in.find("\r\n\r\n") + 4;
    std::string length = HeaderOf(in, "content-length");
    if (!length.empty()) {
      end += static_cast<size_t>(atoll(length.c_str()));
      while (in.size() < end && (open = fill())) {
      }
    } else if (!HeaderOf(in, "transfer-encoding").empty()) {
      size_t last;
      while (((last = in.find("\r\n0\r\n", end - 2)) == std::string::npos ||
              in.find("\r\n\r\n", last) == std::string::npos) &&
             (open = fill())) {
      }
      if (open) end = in.find("\r\n\r\n", last) + 4;
    }
    if (!open) break;
    std::string request = in.substr(0, end);
    in.erase(0, end);
    {
      std::lock_guard<std::mutex> lock(mu_);
      requests_.push_back(request);
    }
    Action a = script_(request, n);
    if (a.delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(a.delay_ms));
    std::string_view left = a.bytes;
    while (!left.empty()) {
      ssize_t sent = send(fd, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      left.remove_prefix(static_cast<size_t>(sent));
    }
    if (a.reset) {
      linger l = {1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    }
    if (a.close_after || a.reset) break;
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    open_.erase(std::find(open_.begin(), open_.end(), fd));
  }
  close(fd);
}

}  // namespace weft::fakes
