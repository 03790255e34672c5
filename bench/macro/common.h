#pragma once

// What the load generator, the origin and the relay share: addresses, flags, the clock, the body
// that the origin sends and the load generator expects.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::bench {

[[noreturn]] inline void Fail(const std::string& program, const std::string& message) {
  fprintf(stderr, "%s: %s\n", program.c_str(), message.c_str());
  exit(2);
}

inline uint64_t ReadClock(clockid_t id) {
  timespec ts{};
  if (clock_gettime(id, &ts) != 0) return 0;
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(ts.tv_nsec);
}

inline uint64_t NowNs() { return ReadClock(CLOCK_MONOTONIC); }

// "127.0.0.1:8080". Loopback only: a load generator that can be pointed at other machines is a
// weapon.
inline bool ParseLoopback(const std::string& text, sockaddr_in* out) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  *out = {};
  out->sin_family = AF_INET;
  if (inet_pton(AF_INET, text.substr(0, colon).c_str(), &out->sin_addr) != 1) return false;
  if ((ntohl(out->sin_addr.s_addr) >> 24) != 127) return false;
  char* end = nullptr;
  const unsigned long port = strtoul(text.c_str() + colon + 1, &end, 10);
  if (*end != '\0' || end == text.c_str() + colon + 1 || port > 65535) return false;
  out->sin_port = htons(static_cast<uint16_t>(port));
  return true;
}

inline void SetNoDelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// `--name value` pairs, in order; a name may come more than once.
class Flags {
 public:
  Flags(int argc, char** argv, std::vector<std::string_view> known) : program_(argv[0]) {
    for (int i = 1; i < argc; i += 2) {
      const std::string_view name = argv[i];
      bool found = false;
      for (std::string_view k : known) found = found || name == k;
      if (!found) Fail(program_, "unknown flag " + std::string(name));
      if (i + 1 == argc) Fail(program_, std::string(name) + " needs a value");
      values_.emplace_back(name, argv[i + 1]);
    }
  }

  std::string Get(std::string_view name, std::string fallback) const {
    for (const auto& [n, v] : values_) {
      if (n == name) fallback = v;
    }
    return fallback;
  }

  std::vector<std::string> All(std::string_view name) const {
    std::vector<std::string> out;
    for (const auto& [n, v] : values_) {
      if (n == name) out.push_back(v);
    }
    return out;
  }

  double Number(std::string_view name, double fallback, double low, double high) const {
    const std::string text = Get(name, "");
    if (text.empty()) return fallback;
    char* end = nullptr;
    const double value = strtod(text.c_str(), &end);
    if (*end != '\0' || !(value >= low && value <= high)) {
      Fail(program_, std::string(name) + ": expected a number from " + std::to_string(low) +
                         " to " + std::to_string(high) + ", got \"" + text + "\"");
    }
    return value;
  }

  sockaddr_in Loopback(std::string_view name) const {
    sockaddr_in out{};
    if (!ParseLoopback(Get(name, ""), &out)) {
      Fail(program_,
           std::string(name) + ": expected 127.x.y.z:PORT, got \"" + Get(name, "") + "\"");
    }
    return out;
  }

  const std::string& program() const { return program_; }

 private:
  std::string program_;
  std::vector<std::pair<std::string, std::string>> values_;
};

// The body of every answer: byte i is 'a' + i % 26, so that a chunk can be checked at any offset
// without keeping state.
class BodyPattern {
 public:
  static constexpr size_t kPeriod = 26;
  static constexpr size_t kChunk = 1 << 16;

  BodyPattern() {
    bytes_.resize(kChunk + kPeriod);
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>('a' + i % kPeriod);
  }

  std::string Make(size_t size) const {
    std::string out;
    out.reserve(size);
    while (out.size() < size) {
      out.append(bytes_, out.size() % kPeriod, std::min(kChunk, size - out.size()));
    }
    return out;
  }

  // `data` of at most kChunk bytes, which begins at `offset` of the body.
  bool Matches(size_t offset, std::string_view data) const {
    return memcmp(bytes_.data() + offset % kPeriod, data.data(), data.size()) == 0;
  }

 private:
  std::string bytes_;
};

}  // namespace weft::bench
