// Stands in for weft-controller and weft-proxy in tests of `weftctl dev`: takes their command
// lines, listens where they would, answers /ready, and does nothing else. Called weft-controller it
// is one, called weft-proxy it is the other. FAKE_PROXY_EXIT=N in the environment: the proxy writes
// a line and ends with that code at once.

#include <httplib.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/cpp/names.h"
#include "api/cpp/yaml.h"

namespace {

std::vector<std::unique_ptr<httplib::Server>> servers;
std::vector<std::jthread> threads;

void Listen(const std::string& host, int port) {
  servers.push_back(std::make_unique<httplib::Server>());
  httplib::Server* server = servers.back().get();
  server->set_socket_options([](socket_t fd) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  server->Get("/ready", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("LIVE\n", "text/plain");
  });
  server->Get("/stats", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(
        "cluster.inbound|9080||.upstream_rq_completed: 10\ncluster.inbound|9080||.upstream_rq_5xx: "
        "1\n",
        "text/plain");
  });
  if (!server->bind_to_port(host.c_str(), port)) {
    std::fprintf(stderr, "cannot listen on %s:%d\n", host.c_str(), port);
    std::exit(1);
  }
  threads.emplace_back([server] { server->listen_after_bind(); });
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  if (flags.contains("--xds-address")) {
    for (const char* flag : {"--xds-address", "--admin-address"}) {
      const auto address = weft::api::ParseHostPort(flags[flag]);
      Listen(address->host, address->port);
    }
  } else {
    if (const char* code = std::getenv("FAKE_PROXY_EXIT")) {
      std::fprintf(stderr, "this proxy was told to fail\n");
      return std::atoi(code);
    }
    std::ifstream in(flags["-c"]);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    std::vector<weft::api::SourceError> errors;
    const auto documents = weft::api::ParseDocuments(text, flags["-c"], &errors);
    if (documents.size() != 1) return 1;
    const std::string host = *documents[0].ScalarAt("admin.address.socket_address.address");
    Listen(host,
           std::atoi(documents[0].ScalarAt("admin.address.socket_address.port_value")->c_str()));
    Listen(host, std::atoi(std::getenv("FAKE_INBOUND_PORT")));
  }
  for (auto& thread : threads) thread.join();
  return 0;
}
