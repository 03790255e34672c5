#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/http/simple_server.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/upstream/cluster.h"

namespace weft::admin {

// Envoy's server states (envoy docs: admin /server_info).
enum class ServerState { kLive, kDraining, kPreInitializing, kInitializing };
const char* ServerStateName(ServerState state);

// One cluster as it is configured now.
struct ClusterView {
  std::shared_ptr<const upstream::ClusterSpec> spec;
  std::shared_ptr<const upstream::EndpointSet> endpoints;  // null: not there yet
  bool added_via_api = false;
};

// What the endpoints show and do. app/ fills it in; every function is called on the main thread.
struct Hooks {
  std::function<ServerState()> state;
  std::function<std::string()>
      state_detail;  // one line behind INITIALIZING: what is being waited for
  // JSON text in the shape of envoy.admin.v3.ConfigDump; `resource`, `name` and `include_eds` are
  // the query's.
  std::function<std::string(const std::string& resource, const std::string& name, bool include_eds)>
      config_dump;
  std::function<std::vector<ClusterView>()> clusters;
  std::function<void(std::function<void(std::vector<upstream::HostStatus>)>)> hosts;
  std::function<std::vector<std::pair<std::string, net::Address>>()> listeners;
  std::function<std::vector<std::pair<std::string, std::string>>()> command_line;  // flag, value
  std::function<std::string()> node_json;
  std::function<void()> refresh_stats;  // before statistics are read
  std::function<void()> drain_listeners, quit, reopen_logs;
  std::string version;
};

// The admin endpoints, with Envoy's paths and formats. Requests that change something are POST.
// Owner: app/. Thread: main. Destroyed when: the process ends.
class Admin {
 public:
  Admin(event::Loop& loop, observe::Registry& registry, Hooks hooks);

  // Answers one request; what http::SimpleServer calls, and tests.
  void Handle(const http::SimpleRequest& request, http::SimpleServer::Respond respond);

 private:
  struct Endpoint {
    const char* path;
    const char* help;
    bool post;
    void (Admin::*handle)(const http::SimpleRequest&, const http::SimpleServer::Respond&);
  };
  static const Endpoint kEndpoints[];

  using Request = http::SimpleRequest;
  using Respond = http::SimpleServer::Respond;
  void Home(const Request&, const Respond&);
  void Help(const Request&, const Respond&);
  void Ready(const Request&, const Respond&);
  void Stats(const Request&, const Respond&);
  void Prometheus(const Request&, const Respond&);
  void ConfigDump(const Request&, const Respond&);
  void Clusters(const Request&, const Respond&);
  void Listeners(const Request&, const Respond&);
  void ServerInfo(const Request&, const Respond&);
  void Logging(const Request&, const Respond&);
  void Memory(const Request&, const Respond&);
  void Drain(const Request&, const Respond&);
  void ReopenLogs(const Request&, const Respond&);
  void Quit(const Request&, const Respond&);

  event::Loop& loop_;
  observe::Registry& registry_;
  Hooks hooks_;
  MonoNanos start_;
};

}  // namespace weft::admin
