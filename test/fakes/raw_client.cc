#include "test/fakes/raw_client.h"

#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace weft::fakes {

RawClient::RawClient(const net::Address& to) {
  fd_ = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd_, to.sa(), to.length()) != 0) {
    close(fd_);
    fd_ = -1;
  }
}

RawClient::~RawClient() {
  if (fd_ >= 0) close(fd_);
}

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool RawClient::Fill(int timeout_ms) {
  pollfd p = {fd_, POLLIN, 0};
  if (fd_ < 0 || poll(&p, 1, timeout_ms) <= 0) return false;
  char buf[65536];
  ssize_t n = recv(fd_, buf, sizeof(buf), 0);
  if (n <= 0) return false;
  in_.append(buf, static_cast<size_t>(n));
  return true;
}

const std::string& RawClient::ReadUntil(std::string_view marker) {
  while (in_.find(marker) == std::string::npos && Fill()) {
  }
  return in_;
}

std::string RawClient::ReadResponse(bool to_head) {
  ReadUntil("\r\n\r\n");
  size_t head = in_.find("\r\n\r\n");
  if (head == std::string::npos) return std::exchange(in_, {});
  size_t end = head + 4;
  std::string length = HeaderOf(in_, "content-length");
  int status = StatusOf(in_);
  if (to_head || status == 204 || status == 304 || status < 200) {
  } else if (!length.empty()) {
    end += static_cast<size_t>(atoll(length.c_str()));
    while (in_.size() < end && Fill()) {
    }
  } else if (HeaderOf(in_, "transfer-encoding") == "chunked") {
    while (in_.find("0\r\n", end) == std::string::npos ||
           in_.find("\r\n\r\n", end) == std::string::npos) {
      if (!Fill()) break;
    }
    size_t last = in_.find("\r\n0\r\n", end - 2);
    end = in_.find("\r\n\r\n", last == std::string::npos ? end : last);
    end = end == std::string::npos ? in_.size() : end + 4;
  } else {
    while (Fill()) {
    }
    end = in_.size();
  }
  std::string out = in_.substr(0, end);
  in_.erase(0, end);
  return out;
}

std::string RawClient::ReadAll() {
  while (Fill()) {
  }
  return std::exchange(in_, {});
}

bool RawClient::WaitClosed() {
  pollfd p = {fd_, POLLIN, 0};
  for (;;) {
    if (poll(&p, 1, 5000) <= 0) return false;
    char buf[4096];
    ssize_t n = recv(fd_, buf, sizeof(buf), 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
    if (n < 0) return false;
    in_.append(buf, static_cast<size_t>(n));
  }
}

void RawClient::ShutdownWrite() { shutdown(fd_, SHUT_WR); }

void RawClient::Reset() {
  linger l = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  close(fd_);
  fd_ = -1;
}

int StatusOf(std::string_view r) {
  if (r.size() < 12 || r.substr(0, 5) != "HTTP/") return 0;
  return atoi(std::string(r.substr(9, 3)).c_str());
}

std::string BodyOf(std::string_view r) {
  size_t head = r.find("\r\n\r\n");
  return head == std::string_view::npos ? "" : std::string(r.substr(head + 4));
}

std::string HeaderOf(std::string_view r, std::string_view name) {
  size_t end = r.find("\r\n\r\n");
  size_t at = r.find("\r\n");
  while (at != std::string_view::npos && at < end) {
    size_t next = r.find("\r\n", at + 2);
    std::string_view line = r.substr(at + 2, next - at - 2);
    size_t colon = line.find(':');
    if (colon == name.size() && strncasecmp(line.data(), name.data(), colon) == 0) {
      std::string_view v = line.substr(colon + 1);
      while (!v.empty() && v.front() == ' ') v.remove_prefix(1);
      return std::string(v);
    }
    at = next;
  }
  return "";
}

}  // namespace weft::fakes
