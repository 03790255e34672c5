// The load generator of the macro bench: HTTP/1.1 keep-alive GET on raw epoll, one thread, one read
// and one write a request.
//
//   load --connect 127.0.0.1:PORT --connections 64 --seconds 5 --warmup 0.5 --watch proxy=PID,PID
//   --core 0
//
// Closed loop: each connection sends its next request when the last answer is complete. With
// `--rate R`: R requests a second at fixed moments, whether answers came or not, and latency
// counted from the moment at which a request was due. Every answer is checked: status 200,
// Content-Length as expected, each byte of the body. The last line of output is a JSON object. Exit
// status 0 when the window was measured (with or without errors: they are in the JSON), 1 when not.

#include <errno.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "bench/macro/common.h"
#include "bench/macro/histogram.h"
#include "bench/macro/watch.h"

namespace weft::bench {
namespace {

constexpr size_t kBufferSize = 1 << 16;
constexpr size_t kMaxHead = 64 << 10;
constexpr uint64_t kAnswerTimeoutNs = 5'000'000'000;
constexpr uint64_t kReconnectDelayNs = 20'000'000;

struct Options {
  sockaddr_in address{};
  size_t connections = 64;
  double seconds = 5;
  double warmup = 0.5;
  double rate = 0;  // 0: closed loop
  size_t bytes = 1024;
  std::string host = "bench.local";
  std::string path = "/";
  std::vector<WatchedGroup> watched;
  int core = -1;
};

enum class State { kConnecting, kIdle, kHead, kBody, kClosed };

struct Connection {
  int fd = -1;
  State state = State::kClosed;
  std::string head;       // a head that came in pieces
  size_t body_done = 0;   // bytes of the body that were checked
  uint64_t started = 0;   // when the request was sent, or due
  uint64_t retry_at = 0;  // kClosed: when to connect again
  bool last = false;      // the peer announced that it closes
};

struct Errors {
  uint64_t connect = 0, reset = 0, eof = 0, status = 0, length = 0, body = 0, malformed = 0,
           timeout = 0;
  uint64_t Sum() const {
    return connect + reset + eof + status + length + body + malformed + timeout;
  }
};

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text.substr(0, 400)) {
    char escaped[8];
    if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e) {
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "\"";
}

class Load {
 public:
  explicit Load(Options options)
      : options_(std::move(options)), connections_(options_.connections) {
    request_ = "GET " + options_.path + " HTTP/1.1\r\nHost: " + options_.host +
               "\r\nUser-Agent: weft-bench\r\nAccept: */*\r\n\r\n";
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
  }

  int Run() {
    if (!ConnectAll()) return 1;
    const uint64_t start = NowNs();
    const uint64_t begin = start + static_cast<uint64_t>(options_.warmup * 1e9);
    const uint64_t end = begin + static_cast<uint64_t>(options_.seconds * 1e9);
    if (options_.rate > 0) {
      interval_ns_ = 1e9 / options_.rate;
      first_due_ = start;
    } else {
      for (Connection& c : connections_) Send(&c, start);
    }
    Turn(begin);
    measuring_ = true;
    reconnects_ = 0;
    const uint64_t measured_from = NowNs();
    const std::vector<ProcessUse> before = ReadWatched();
    const CoreUse core_before = CoreUse::Read(options_.core);
    const uint64_t own_before = ReadClock(CLOCK_PROCESS_CPUTIME_ID);
    Turn(end);
    const std::vector<ProcessUse> after = ReadWatched();
    const uint64_t measured_to = NowNs();
    const CoreUse core_after = CoreUse::Read(options_.core);
    const uint64_t own = ReadClock(CLOCK_PROCESS_CPUTIME_ID) - own_before;
    Print(measured_to - measured_from, own, before, after, core_before, core_after);
    return 0;
  }

 private:
  std::vector<ProcessUse> ReadWatched() const {
    std::vector<ProcessUse> out;
    for (const WatchedGroup& group : options_.watched) out.push_back(group.Read());
    return out;
  }

  bool ConnectAll() {
    const uint64_t deadline = NowNs() + kAnswerTimeoutNs;
    for (Connection& c : connections_) Connect(&c);
    while (true) {
      size_t ready = 0;
      for (const Connection& c : connections_) ready += c.state == State::kIdle;
      if (ready == connections_.size()) return true;
      if (NowNs() > deadline || errors_.Sum() > 0) {
        fprintf(stderr, "load: %zu of %zu connections came up: %s\n", ready, connections_.size(),
                first_error_.empty() ? "no answer within 5 s" : first_error_.c_str());
        return false;
      }
      Poll(NowNs() + 10'000'000);
    }
  }

  void Connect(Connection* c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = State::kConnecting;
    c->head.clear();
    c->last = false;
    c->started = NowNs();
    if (c->fd < 0) return Broken(c, &errors_.connect, std::string("socket: ") + strerror(errno));
    SetNoDelay(c->fd);
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.ptr = c;
    if (connect(c->fd, reinterpret_cast<const sockaddr*>(&options_.address),
                sizeof options_.address) != 0 &&
        errno != EINPROGRESS) {
      return Broken(c, &errors_.connect, std::string("connect: ") + strerror(errno));
    }
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c->fd, &event);
  }

  void OnConnected(Connection* c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return Broken(c, &errors_.connect, std::string("connect: ") + strerror(error));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = c;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c->fd, &event);
    c->state = State::kIdle;
    if (!running_) return;
    if (options_.rate == 0)
      Send(c, now_);
    else
      idle_.push_back(c);
  }

  void Send(Connection* c, uint64_t started) {
    c->state = State::kHead;
    c->started = started;
    c->head.clear();
    const ssize_t n = write(c->fd, request_.data(), request_.size());
    // A request is some hundred bytes and the socket is empty: less than all means that the
    // connection is broken.
    if (n != static_cast<ssize_t>(request_.size())) {
      Broken(c, &errors_.reset,
             n < 0 ? std::string("write: ") + strerror(errno) : "write: took only a part");
    }
  }

  void Close(Connection* c, uint64_t delay) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->state = State::kClosed;
    c->retry_at = NowNs() + delay;
    ++closed_;
  }

  void Broken(Connection* c, uint64_t* counter, const std::string& why) {
    ++*counter;
    if (first_error_.empty()) first_error_ = why;
    Close(c, kReconnectDelayNs);
  }

  // Runs until `until`. Request starts, timeouts and reconnects included.
  void Turn(uint64_t until) {
    running_ = true;
    now_ = NowNs();
    uint64_t next_sweep = now_ + 10'000'000;
    while (now_ < until) {
      uint64_t wake = std::min(until, next_sweep);
      if (options_.rate > 0) wake = std::min(wake, StartDue());
      Poll(wake);
      now_ = NowNs();
      if (now_ >= next_sweep) {
        Sweep();
        next_sweep = now_ + 10'000'000;
      }
    }
  }

  // Open loop: sends what is due, as far as there are free connections; the moment of the next one.
  uint64_t StartDue() {
    while (true) {
      const uint64_t due =
          first_due_ + static_cast<uint64_t>(static_cast<double>(started_) * interval_ns_);
      if (due > now_) return due;
      if (idle_.empty() && started_ == 0) {
        for (Connection& c : connections_) idle_.push_back(&c);
      }
      if (idle_.empty())
        return UINT64_MAX;  // an answer must come first; the request keeps its due time
      Connection* c = idle_.front();
      idle_.pop_front();
      if (c->state != State::kIdle) continue;
      ++started_;
      Send(c, due);
    }
  }

  void Sweep() {
    if (closed_ == 0 && now_ < next_timeout_check_) return;
    next_timeout_check_ = now_ + 500'000'000;
    closed_ = 0;
    for (Connection& c : connections_) {
      if (c.state == State::kClosed) {
        if (now_ < c.retry_at) {
          ++closed_;
          continue;
        }
        ++reconnects_;
        Connect(&c);
      } else if (c.state != State::kIdle && now_ > c.started + kAnswerTimeoutNs) {
        Broken(&c, &errors_.timeout, "no complete answer within 5 s");
      }
    }
  }

  void Poll(uint64_t wake) {
    const uint64_t now = NowNs();
    const uint64_t left = wake > now ? wake - now : 0;
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000),
                           static_cast<long>(left % 1'000'000'000)};
    epoll_event events[256];
    const int n = epoll_pwait2(epoll_, events, 256, &timeout, nullptr);
    if (n < 0 && errno != EINTR) Fail("load", std::string("epoll_wait: ") + strerror(errno));
    for (int i = 0; i < n; ++i) {
      auto* c = static_cast<Connection*>(events[i].data.ptr);
      if (c->state == State::kConnecting) {
        OnConnected(c);
      } else if (c->state != State::kClosed) {
        OnReadable(c);
      }
    }
  }

  void OnReadable(Connection* c) {
    const ssize_t n = read(c->fd, buffer_.get(), kBufferSize);
    now_ = NowNs();
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return Broken(c, &errors_.reset, std::string("read: ") + strerror(errno));
    if (n == 0) {
      // Between two answers the peer may close a connection; that is counted as a reconnect, not as
      // an error.
      if (c->state == State::kIdle) return Close(c, 0);
      return Broken(c, &errors_.eof, "the connection ended before a complete answer");
    }
    std::string_view data(buffer_.get(), static_cast<size_t>(n));
    if (c->state == State::kIdle) return Broken(c, &errors_.malformed, "bytes after the answer");
    if (c->state == State::kHead) {
      if (!c->head.empty()) {
        c->head.append(data);
        data = c->head;
      }
      const size_t end = data.find("\r\n\r\n");
      if (end == std::string_view::npos) {
        if (c->head.empty()) c->head.assign(data);
        if (c->head.size() > kMaxHead)
          Broken(c, &errors_.malformed, "no end of the head within 64 KB");
        return;
      }
      if (!CheckHead(c, data.substr(0, end + 2))) return;
      data.remove_prefix(end + 4);
      c->state = State::kBody;
      c->body_done = 0;
    }
    if (data.size() > options_.bytes - c->body_done) {
      return Broken(c, &errors_.malformed, "bytes after the answer");
    }
    for (size_t done = 0; done < data.size();) {
      const std::string_view part = data.substr(done, BodyPattern::kChunk);
      if (!pattern_.Matches(c->body_done, part))
        return Broken(c, &errors_.body, "the body differs from the origin's");
      done += part.size();
      c->body_done += part.size();
    }
    if (c->body_done == options_.bytes) OnAnswer(c);
  }

  // Status and Content-Length. `head` ends with the last field's CRLF.
  bool CheckHead(Connection* c, std::string_view head) {
    if (head.substr(0, 9) != "HTTP/1.1 ") {
      Broken(c, &errors_.malformed, "not HTTP/1.1: " + std::string(head.substr(0, 40)));
      return false;
    }
    if (head.substr(9, 4) != "200 ") {
      Broken(c, &errors_.status, std::string(head));
      return false;
    }
    size_t length = SIZE_MAX;
    for (size_t at = head.find("\r\n"); at + 2 < head.size();) {
      const std::string_view rest = head.substr(at + 2);
      const size_t line_end = rest.find("\r\n");
      const std::string_view line = rest.substr(0, line_end);
      if (line.size() > 15 && strncasecmp(line.data(), "content-length:", 15) == 0) {
        size_t i = 15, value = 0;
        while (i < line.size() && line[i] == ' ') ++i;
        for (; i < line.size() && line[i] >= '0' && line[i] <= '9'; ++i)
          value = value * 10 + static_cast<size_t>(line[i] - '0');
        length = i == line.size() ? value : SIZE_MAX;
      } else if (line.size() > 11 && strncasecmp(line.data(), "connection:", 11) == 0) {
        c->last = line.find("close") != std::string_view::npos;
      }
      at += 2 + line_end;
    }
    if (length != options_.bytes) {
      Broken(c, &errors_.length,
             "expected Content-Length: " + std::to_string(options_.bytes) + ", got " +
                 std::string(head));
      return false;
    }
    return true;
  }

  void OnAnswer(Connection* c) {
    if (measuring_) latency_.Add(now_ - c->started);
    c->state = State::kIdle;
    if (c->last) return Close(c, 0);
    if (options_.rate == 0)
      Send(c, now_);
    else
      idle_.push_back(c);
  }

  void Print(uint64_t wall, uint64_t own, const std::vector<ProcessUse>& before,
             const std::vector<ProcessUse>& after, const CoreUse& core_before,
             const CoreUse& core_after) const {
    const auto requests = static_cast<double>(latency_.total());
    printf(
        "{\"requests\": %.0f, \"wall_s\": %.6f, \"requests_per_s\": %.1f, "
        "\"load_cpu_us_per_request\": %.3f",
        requests, static_cast<double>(wall) / 1e9, requests / (static_cast<double>(wall) / 1e9),
        requests > 0 ? static_cast<double>(own) / 1e3 / requests : 0);
    printf(", \"latency_us\": {");
    for (auto [name, q] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}}) {
      printf("\"%s\": %.1f, ", name, static_cast<double>(latency_.Quantile(q)) / 1e3);
    }
    printf("\"max\": %.1f}", static_cast<double>(latency_.max()) / 1e3);
    printf(
        ", \"errors\": {\"total\": %lu, \"connect\": %lu, \"reset\": %lu, \"eof\": %lu, "
        "\"status\": %lu, \"length\": %lu, "
        "\"body\": %lu, \"malformed\": %lu, \"timeout\": %lu, \"first\": %s}",
        errors_.Sum(), errors_.connect, errors_.reset, errors_.eof, errors_.status, errors_.length,
        errors_.body, errors_.malformed, errors_.timeout, JsonString(first_error_).c_str());
    printf(", \"reconnects\": %lu, \"watched\": {", reconnects_);
    for (size_t i = 0; i < after.size(); ++i) {
      printf(
          "%s%s: {\"alive\": %s, \"cpu_us_per_request\": %.3f, \"ticks_us_per_request\": %.3f, "
          "\"busy\": %.4f, "
          "\"waited\": %.4f}",
          i == 0 ? "" : ", ", JsonString(options_.watched[i].name()).c_str(),
          after[i].alive ? "true" : "false",
          requests > 0 ? static_cast<double>(after[i].cpu_ns - before[i].cpu_ns) / 1e3 / requests
                       : 0,
          requests > 0
              ? static_cast<double>(after[i].ticks_ns - before[i].ticks_ns) / 1e3 / requests
              : 0,
          static_cast<double>(after[i].cpu_ns - before[i].cpu_ns) / static_cast<double>(wall),
          static_cast<double>(after[i].wait_ns - before[i].wait_ns) / static_cast<double>(wall));
    }
    printf("}");
    if (options_.core >= 0) {
      auto share = [wall](uint64_t from, uint64_t to) {
        return static_cast<double>(to - from) / static_cast<double>(wall);
      };
      printf(
          ", \"core\": {\"user\": %.3f, \"system\": %.3f, \"irq\": %.3f, \"softirq\": %.3f, "
          "\"steal\": %.3f, \"idle\": %.3f}",
          share(core_before.user, core_after.user), share(core_before.system, core_after.system),
          share(core_before.irq, core_after.irq), share(core_before.softirq, core_after.softirq),
          share(core_before.steal, core_after.steal), share(core_before.idle, core_after.idle));
    }
    printf("}\n");
  }

  const Options options_;
  std::string request_;
  std::vector<Connection> connections_;
  std::deque<Connection*> idle_;  // open loop only
  std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kBufferSize);
  BodyPattern pattern_;
  Histogram latency_;
  Errors errors_;
  std::string first_error_;
  int epoll_ = -1;
  bool running_ = false;
  bool measuring_ = false;
  uint64_t now_ = 0;
  uint64_t next_timeout_check_ = 0;
  uint64_t closed_ = 0;
  uint64_t reconnects_ = 0;
  uint64_t started_ = 0;
  uint64_t first_due_ = 0;
  double interval_ns_ = 0;
};

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  using namespace weft::bench;
  const Flags flags(argc, argv,
                    {"--connect", "--connections", "--seconds", "--warmup", "--rate", "--bytes",
                     "--host", "--path", "--watch", "--core"});
  Options options;
  options.address = flags.Loopback("--connect");
  options.connections = static_cast<size_t>(flags.Number("--connections", 64, 1, 50000));
  options.seconds = flags.Number("--seconds", 5, 0.05, 86400);
  options.warmup = flags.Number("--warmup", 0.5, 0, 3600);
  options.rate = flags.Number("--rate", 0, 0, 1e7);
  options.bytes = static_cast<size_t>(flags.Number("--bytes", 1024, 0, 1 << 30));
  options.core = static_cast<int>(flags.Number("--core", -1, -1, 1023));
  options.host = flags.Get("--host", options.host);
  options.path = flags.Get("--path", options.path);
  for (const std::string& text : flags.All("--watch")) {
    WatchedGroup group;
    if (!WatchedGroup::Parse(text, &group))
      Fail(flags.program(), "--watch: expected name=PID,PID, got \"" + text + "\"");
    options.watched.push_back(group);
  }
  return Load(std::move(options)).Run();
}
