#pragma once

// What the four programs of the sample share: settings from the environment, an HTTP server, calls
// to the other programs. Nothing here knows of the mesh. A program finds its peers by name and
// port, passes tracing headers on, and that is all.

#include <httplib.h>
#include <rapidjson/document.h>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace weft::demo {

// Environment variable `name`, or `fallback` when it is unset or empty.
std::string Env(const char* name, const std::string& fallback);

// Headers that a program hands on from the request it serves to the requests it makes, so that
// traces stay whole and routing by user works behind the first hop.
httplib::Headers PassOn(const httplib::Request& request);

// The answer of another program. `status` 0: there was none, and `error` says why.
struct Answer {
  int status = 0;
  std::string body, error;
  bool ok() const { return status >= 200 && status < 300; }
};

// Another program of the sample, found by <NAME>_HOSTNAME and <NAME>_SERVICE_PORT. Keeps
// connections for reuse. Owner: the program that calls it. Thread: any. Destroyed when: the program
// ends, after its server.
class Peer {
 public:
  explicit Peer(const std::string& name);
  // GET `path`; gives up after `timeout`, then tries again up to `retries` times when there was no
  // good answer.
  Answer Get(const std::string& path, const httplib::Headers& headers,
             std::chrono::milliseconds timeout, int retries = 0);
  const std::string& address() const { return address_; }

 private:
  std::unique_ptr<httplib::Client> Take();
  void GiveBack(std::unique_ptr<httplib::Client> client);

  std::string host_, address_;
  int port_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<httplib::Client>> idle_;
};

// Sends `value` as JSON.
void SendJson(httplib::Response* response, const rapidjson::Value& value, int status = 200);
// Sends {"error": message}.
void SendError(httplib::Response* response, int status, const std::string& message);

// Listens on BIND_ADDRESS:PORT and serves what `set_up` registers, until SIGTERM or SIGINT. Returns
// the exit code. /health is added: {"status": "<Title> is healthy"}.
int Serve(const std::string& title, const std::function<void(httplib::Server*)>& set_up);

// One function a program; each returns the exit code.
int RunProductPage();
int RunDetails();
int RunReviews();
int RunRatings();

}  // namespace weft::demo
