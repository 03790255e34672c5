#pragma once

#include <string>
#include <string_view>

#include "dataplane/net/address.h"

namespace weft::fakes {

// A blocking TCP client for tests: sends exactly the bytes that it is given. Every wait is bounded
// (5 s).
class RawClient {
 public:
  explicit RawClient(const net::Address& to);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return fd_ >= 0; }
  // False when the peer does not take it.
  bool Send(std::string_view bytes);
  // Reads until the received text ends with or contains `marker`, the peer closes, or time is up;
  // returns what is there so far without consuming it.
  const std::string& ReadUntil(std::string_view marker);
  // Reads one whole response (Content-Length, chunked, or to the end) and consumes it. `to_head`:
  // has no body.
  std::string ReadResponse(bool to_head = false);
  // Reads to the end of the stream.
  std::string ReadAll();
  // True when the peer has closed (or closes within the bound).
  bool WaitClosed();
  void ShutdownWrite();
  void Reset();  // close with RST
  std::string& buffer() { return in_; }

 private:
  bool Fill(int timeout_ms = 5000);
  int fd_ = -1;
  std::string in_;
};

// Status code of a response text; 0 when it is none.
int StatusOf(std::string_view response);
std::string BodyOf(std::string_view response);
// First value of a header, any case; "" when absent.
std::string HeaderOf(std::string_view response, std::string_view name);

}  // namespace weft::fakes
