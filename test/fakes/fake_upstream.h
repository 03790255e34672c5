#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "test/fakes/raw_upstream.h"

namespace weft::fakes {

// An HTTP/1 origin on a free loopback port, a thread a connection. It reads one request at a time
// (head and body) and sends exactly the bytes that the script returns, so a test can be as hostile
// as it likes.
class FakeUpstream {
 public:
  struct Action {
    std::string bytes;         // sent as they are
    bool close_after = false;  // close behind them
    bool reset = false;        // RST instead of an orderly end
    int delay_ms = 0;          // before sending
  };
  // `request` is the whole request text; `n` counts requests on this connection from 0.
  using Script = std::function<Action(const std::string& request, int n)>;

  explicit FakeUpstream(Script script);

  const net::Address& address() const { return server_.address(); }
  // Requests seen so far, in order of arrival.
  std::vector<std::string> requests() const;
  int connections() const { return server_.connections(); }

  // "HTTP/1.1 200 OK" with a body.
  static std::string Ok(std::string_view body, std::string_view extra_headers = "");

 private:
  void Serve(int fd);
  Script script_;
  mutable std::mutex mu_;
  std::vector<std::string> requests_;
  RawUpstream server_;  // last: its threads use what is above
};

}  // namespace weft::fakes
