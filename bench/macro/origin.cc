// The origin behind every proxy of the macro bench: HTTP/1.1 keep-alive GET on raw epoll, one read
// and one write a request, the answer prepared beforehand. It must cost far less than any proxy, as
// it shares a core with the load. A connection that begins with the HTTP/2 preface is HTTP/2 (RFC
// 9113 section 3.4), by nghttp2: h2_answers.h says what it answers.
//
//   origin --listen 127.0.0.1:0 --bytes 1024
//
// Prints "listening 127.0.0.1:PORT". Paths: `/-/stats` counts (JSON), `/-/echo` the request head as
// it arrived here (to see what a proxy adds), anything else the body. Only GET is answered; other
// methods get 405 and a close. A GET with `upgrade: websocket` gets 101 and silence.

#include <errno.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "bench/macro/common.h"
#include "bench/macro/h2_answers.h"

namespace weft::bench {
namespace {

constexpr size_t kMaxHead = 64 << 10;
constexpr size_t kH2Batch = 128 << 10;  // so much is made at a time and written by one call
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Connection {
  int fd = -1;
  std::string in;      // a head that came in pieces
  std::string out;     // an answer that the socket did not take at once
  size_t written = 0;  // of `out`
  bool waits = false;  // for room in the socket
  bool close_after_write = false;
  bool tunnel = false;  // a WebSocket: whatever comes is dropped
  std::unique_ptr<H2Answers> h2;
};

// Whether a field line of `head` begins with `line`, in any case.
bool HasLine(std::string_view head, std::string_view line) {
  for (size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at + 2)) {
    const std::string_view rest = head.substr(at + 2);
    if (rest.size() >= line.size() && strncasecmp(rest.data(), line.data(), line.size()) == 0)
      return true;
  }
  return false;
}

class Origin {
 public:
  Origin(const sockaddr_in& address, size_t bytes) : body_(BodyPattern().Make(bytes)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_, 4096) != 0) {
      Fail("origin", std::string("cannot listen: ") + strerror(errno));
    }
    sockaddr_in bound{};
    socklen_t length = sizeof bound;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length);
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &bound.sin_addr, host, sizeof host);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
    printf("listening %s:%u\n", host, ntohs(bound.sin_port));
    fflush(stdout);
  }

  [[noreturn]] void Run() {
    epoll_event events[256];
    while (true) {
      const int n = epoll_wait(epoll_, events, 256, -1);
      if (n < 0 && errno != EINTR) Fail("origin", std::string("epoll_wait: ") + strerror(errno));
      RefreshDate();
      for (int i = 0; i < n; ++i) {
        if (events[i].data.ptr == nullptr) {
          Accept();
          continue;
        }
        auto* connection = static_cast<Connection*>(events[i].data.ptr);
        if (events[i].events & EPOLLOUT) {
          if (!Flush(connection)) continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) OnReadable(connection);
      }
    }
  }

 private:
  // A new Date once a second, as real origins send one.
  void RefreshDate() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == second_) return;
    second_ = now.tv_sec;
    tm parts{};
    gmtime_r(&second_, &parts);
    char date[64];
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    answer_ = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: " + std::string(date) +
              "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body_.size()) +
              "\r\n\r\n" + body_;
  }

  void Accept() {
    while (true) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      SetNoDelay(fd);
      ++connections_;
      auto* connection = new Connection;
      connection->fd = fd;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = connection;
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }
  }

  void Close(Connection* connection) {
    close(connection->fd);
    delete connection;
  }

  void OnReadable(Connection* connection) {
    const ssize_t n = read(connection->fd, buffer_.get(), kBufferSize);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return Close(connection);
    std::string_view data(buffer_.get(), static_cast<size_t>(n));
    if (connection->tunnel) return;
    if (connection->h2) return OnH2(connection, data);
    if (!connection->in.empty()) {
      connection->in.append(data);
      data = connection->in;
    }
    if (data.substr(0, kPreface.size()) == kPreface) {
      connection->h2 = std::make_unique<H2Answers>(&body_, &requests_);
      const std::string first(data);
      connection->in.clear();
      return OnH2(connection, first);
    }
    size_t used = 0;
    std::string_view
        reply;  // the common case, one request, sends the prepared answer without copying it
    std::string many;
    while (!connection->close_after_write) {
      const size_t end = data.find("\r\n\r\n", used);
      if (end == std::string_view::npos) break;
      const std::string_view head = data.substr(used, end + 4 - used);
      used = end + 4;
      const std::string_view one = Answer(connection, head);
      if (reply.empty() && many.empty()) {
        reply = one;
        if (one.data() != answer_.data()) many = std::string(one), reply = {};
      } else {
        if (many.empty()) many = std::string(reply), reply = {};
        many.append(one);
      }
    }
    std::string rest(data.substr(used));
    connection->in.swap(rest);
    if (connection->in.size() > kMaxHead) return Close(connection);
    if (!many.empty()) reply = many;
    if (!reply.empty()) Send(connection, reply);
  }

  // The answer to one head; a view of `answer_` or of `special_`.
  std::string_view Answer(Connection* connection, std::string_view head) {
    if (head.substr(0, 4) != "GET ") {
      connection->close_after_write = true;
      return "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    }
    if (head.substr(4, 3) == "/-/") {
      const bool stats = head.substr(7, 5) == "stats";
      const std::string body = stats ? "{\"requests\": " + std::to_string(requests_) +
                                           ", \"connections\": " + std::to_string(connections_) +
                                           "}\n"
                                     : std::string(head);
      special_ = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n" + body;
      return special_;
    }
    ++requests_;
    if (HasLine(head, "upgrade: websocket")) {
      connection->tunnel = true;
      // The proof is that of RFC 6455's example key, which the benches send: proxies may check it.
      return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    }
    return answer_;
  }

  void OnH2(Connection* connection, std::string_view data) {
    if (!connection->h2->Feed(data)) return Close(connection);
    if (!connection->waits) PumpH2(connection);
  }

  // Makes and writes until there is nothing more, or no room. False when the connection is gone.
  bool PumpH2(Connection* connection) {
    while (true) {
      if (connection->out.empty()) {
        if (!connection->h2->Fill(&connection->out, kH2Batch)) {
          Close(connection);
          return false;
        }
        if (connection->out.empty()) return true;
      }
      if (!WriteOut(connection)) return false;
      if (!connection->out.empty()) {
        SetInterest(connection, EPOLLIN | EPOLLOUT);
        return true;
      }
    }
  }

  // Writes what `out` has, as far as there is room; false when the connection is gone.
  bool WriteOut(Connection* connection) {
    const std::string_view rest = std::string_view(connection->out).substr(connection->written);
    const ssize_t n = write(connection->fd, rest.data(), rest.size());
    if (n < 0 && errno != EAGAIN) {
      Close(connection);
      return false;
    }
    if (n > 0) connection->written += static_cast<size_t>(n);
    if (connection->written == connection->out.size()) {
      connection->out.clear();
      connection->written = 0;
    }
    return true;
  }

  void Send(Connection* connection, std::string_view data) {
    if (!connection->out.empty()) {
      connection->out.append(data);
      return;
    }
    ssize_t n = write(connection->fd, data.data(), data.size());
    if (n < 0 && errno != EAGAIN) return Close(connection);
    if (n < 0) n = 0;
    if (static_cast<size_t>(n) == data.size()) {
      if (connection->close_after_write) Close(connection);
      return;
    }
    connection->out.assign(data.substr(static_cast<size_t>(n)));
    SetInterest(connection, EPOLLOUT);
  }

  // False when the connection is gone.
  bool Flush(Connection* connection) {
    if (!WriteOut(connection)) return false;
    if (!connection->out.empty()) return true;
    if (connection->close_after_write) {
      Close(connection);
      return false;
    }
    SetInterest(connection, EPOLLIN);
    return connection->h2 ? PumpH2(connection) : true;
  }

  void SetInterest(Connection* connection, uint32_t events) {
    connection->waits = (events & EPOLLOUT) != 0;
    epoll_event event{};
    event.events = events;
    event.data.ptr = connection;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, connection->fd, &event);
  }

  static constexpr size_t kBufferSize = 1 << 16;

  const std::string body_;
  std::string answer_;
  std::string special_;
  time_t second_ = 0;
  int listener_ = -1;
  int epoll_ = -1;
  uint64_t requests_ = 0;
  uint64_t connections_ = 0;
  std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kBufferSize);
};

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  const weft::bench::Flags flags(argc, argv, {"--listen", "--bytes"});
  const auto bytes = static_cast<size_t>(flags.Number("--bytes", 1024, 0, 1 << 30));
  signal(SIGPIPE, SIG_IGN);  // the load goes away in the middle of an answer
  weft::bench::Origin(flags.Loopback("--listen"), bytes).Run();
}
