#include "tools/demo/service.h"

#include <pthread.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/socket.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace weft::demo {
namespace {

// A connection that waits for its next request holds a thread of cpp-httplib, so there are more
// threads than connections that a sidecar keeps open, and idle ones end before they are many.
constexpr size_t kThreads = 96;
constexpr int kIdleSeconds = 30;

int Port(const std::string& text, const char* variable) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > 65535) {
    std::fprintf(stderr, "error: %s must be a port number from 1 to 65535, but is \"%s\"\n",
                 variable, text.c_str());
    std::exit(2);
  }
  return static_cast<int>(value);
}

std::string Upper(std::string name) {
  for (char& c : name)
    c = static_cast<char>(c == '-' ? '_' : toupper(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

std::string Env(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? fallback : value;
}

httplib::Headers PassOn(const httplib::Request& request) {
  // The sets that the tracers of today and yesterday use, and what the sample routes by.
  static constexpr const char* kNames[] = {"x-request-id",
                                           "x-b3-traceid",
                                           "x-b3-spanid",
                                           "x-b3-parentspanid",
                                           "x-b3-sampled",
                                           "x-b3-flags",
                                           "b3",
                                           "traceparent",
                                           "tracestate",
                                           "x-ot-span-context",
                                           "x-cloud-trace-context",
                                           "grpc-trace-bin",
                                           "x-datadog-trace-id",
                                           "x-datadog-parent-id",
                                           "x-datadog-sampling-priority",
                                           "sw8",
                                           "end-user",
                                           "user-agent",
                                           "authorization",
                                           "cookie",
                                           "jwt"};
  httplib::Headers out;
  for (const char* name : kNames) {
    if (request.has_header(name)) out.emplace(name, request.get_header_value(name));
  }
  return out;
}

Peer::Peer(const std::string& name) {
  const std::string prefix = Upper(name);
  const std::string port_variable = prefix + "_SERVICE_PORT";
  host_ = Env((prefix + "_HOSTNAME").c_str(), name);
  port_ = Port(Env(port_variable.c_str(), "9080"), port_variable.c_str());
  address_ = host_ + ":" + std::to_string(port_);
}

std::unique_ptr<httplib::Client> Peer::Take() {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    auto client = std::make_unique<httplib::Client>(host_, port_);
    client->set_keep_alive(true);
    client->set_tcp_nodelay(true);
    return client;
  }
  auto client = std::move(idle_.back());
  idle_.pop_back();
  return client;
}

void Peer::GiveBack(std::unique_ptr<httplib::Client> client) {
  std::lock_guard lock(mutex_);
  if (idle_.size() < 32) idle_.push_back(std::move(client));
}

Answer Peer::Get(const std::string& path, const httplib::Headers& headers,
                 std::chrono::milliseconds timeout, int retries) {
  Answer answer;
  for (int attempt = 0; attempt <= retries && !answer.ok(); ++attempt) {
    auto client = Take();
    client->set_connection_timeout(timeout);
    client->set_read_timeout(timeout);
    client->set_write_timeout(timeout);
    auto result = client->Get(path, headers);
    if (result) {
      answer = {result->status, result->body, ""};
      GiveBack(std::move(client));
    } else {
      answer = {0, "", address_ + ": " + httplib::to_string(result.error())};
    }
  }
  return answer;
}

void SendJson(httplib::Response* response, const rapidjson::Value& value, int status) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  response->status = status;
  response->set_content(buffer.GetString(), buffer.GetSize(), "application/json");
}

void SendError(httplib::Response* response, int status, const std::string& message) {
  rapidjson::Document out(rapidjson::kObjectType);
  out.AddMember("error", rapidjson::Value(message.c_str(), out.GetAllocator()), out.GetAllocator());
  SendJson(response, out, status);
}

int Serve(const std::string& title, const std::function<void(httplib::Server*)>& set_up) {
  // Blocked in every thread, taken by one that waits for them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  const std::string address = Env("BIND_ADDRESS", "0.0.0.0");
  const int port = Port(Env("PORT", "9080"), "PORT");
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(1000000);
  server.set_keep_alive_timeout(kIdleSeconds);
  server.set_tcp_nodelay(true);
  // The library's default is SO_REUSEPORT, with which a second program on the same port would go
  // unnoticed.
  server.set_socket_options([](socket_t fd) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  server.Get("/health", [&](const httplib::Request&, httplib::Response& response) {
    rapidjson::Document out(rapidjson::kObjectType);
    out.AddMember("status", rapidjson::Value((title + " is healthy").c_str(), out.GetAllocator()),
                  out.GetAllocator());
    SendJson(&response, out);
  });
  if (!Env("LOG_REQUESTS", "").empty()) {
    server.set_logger([](const httplib::Request& request, const httplib::Response& response) {
      std::printf("%s %s %d\n", request.method.c_str(), request.path.c_str(), response.status);
      std::fflush(stdout);
    });
  }
  set_up(&server);
  if (!server.bind_to_port(address.c_str(), port)) {
    std::fprintf(
        stderr, "error: cannot listen on %s:%d: %s. Set BIND_ADDRESS and PORT to a free address.\n",
        address.c_str(), port, std::strerror(errno));
    return 1;
  }
  std::thread([&] {
    int which = 0;
    sigwait(&signals, &which);
    server.stop();
    // stop() waits for kept-alive connections until they are idle for kIdleSeconds. Answers under
    // way get a moment, then the program ends.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    std::_Exit(0);
  }).detach();
  std::printf("%s %s listens on %s:%d\n", title.c_str(), Env("SERVICE_VERSION", "v1").c_str(),
              address.c_str(), port);
  std::fflush(stdout);
  // Returns by itself only when accepting failed for good; the thread above ends the program
  // otherwise.
  if (!server.listen_after_bind()) return 1;
  std::this_thread::sleep_for(std::chrono::seconds(2));
  return 0;
}

}  // namespace weft::demo
