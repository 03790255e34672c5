#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/net/address.h"

namespace weft::http {

struct SimpleRequest {
  std::string method, path, query, body;  // `path` without the query, not percent-decoded
  std::string host;
};

struct SimpleResponse {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers;
};

// Value of a query parameter, percent-decoded; empty when it is not there.
std::string QueryParameter(std::string_view query, std::string_view name);
bool HasQueryParameter(std::string_view query, std::string_view name);
std::string PercentDecode(std::string_view s);

// A small HTTP/1.1 server for pages and debug endpoints: whole requests (at most 1 MB), whole
// answers. For traffic there is proxy/. Owner: app/ of either plane. Thread: the loop's; `respond`
// may be called later, on that thread, and does nothing when the client is gone. Destroyed when:
// the owner likes, also inside its handler; before the loop. Open connections are cut.
class SimpleServer {
 public:
  using Respond = std::function<void(SimpleResponse)>;
  using Handler = std::function<void(const SimpleRequest&, Respond)>;

  SimpleServer(event::Loop& loop, Handler handler);
  ~SimpleServer();

  // False, and why, when the address can't be had.
  bool Listen(const net::Address& address, std::string* error);
  // With the port that was chosen when 0 was asked for.
  const net::Address& address() const;

  static constexpr size_t kMaxBodyBytes = 1 << 20;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::http
