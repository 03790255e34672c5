#include "test/fakes/fake_upstream.h"

#include <sys/socket.h>

#include <chrono>
#include <cstdlib>

#include "test/fakes/raw_client.h"

namespace weft::fakes {

FakeUpstream::FakeUpstream(Script script)
    : script_(std::move(script)), server_([this](int fd) { Serve(fd); }) {}

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
    RawUpstream::Send(fd, a.bytes);
    if (a.reset) RawUpstream::ResetOnClose(fd);
    if (a.close_after || a.reset) break;
  }
}

}  // namespace weft::fakes
