#include "dataplane/app/server.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>

#include "api/cpp/json.h"
#include "api/cpp/names.h"
#include "dataplane/app/config_dump.h"
#include "dataplane/base/strings.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::app {
namespace {

config::CompileEnv Environment(observe::AccessLogs& logs, tls::Reloader& tls_files) {
  config::CompileEnv env;
  env.read_file = [](const std::string& path) { return config::ReadSmallFile(path); };
  env.watch_tls = [&tls_files](const std::shared_ptr<tls::Context>& c) { tls_files.Watch(c); };
  env.open_log = [&logs](const std::string& path) {
    auto opened = logs.Open(path);
    return opened.ok() ? std::string() : std::string(opened.status().message());
  };
  return env;
}

}  // namespace

Server::Server(const Options& options)
    : options_(options),
      tls_files_(loop_,
                 [](bool failed, const std::string& message) {
                   failed ? LogError(message) : LogInfo(message);
                 }),
      drain_timer_(
          loop_.timers(),
          [](void* self) {
            LogWarning("drain time is over: open connections are cut");
            static_cast<Server*>(self)->loop_.Stop();
          },
          this),
      accept_timer_(
          loop_.timers(), [](void* self) { static_cast<Server*>(self)->StopAccepting(); }, this) {}

Server::~Server() {
  admin_server_.reset();
  manager_.reset();
  if (workers_ != nullptr) workers_->Stop();
}

bool Server::ReadConfiguration() {
  config::BootstrapOptions o;
  o.service_node = options_.service_node;
  o.service_cluster = options_.service_cluster;
  o.service_zone = options_.service_zone;
  o.version = Version().substr(Version().find(' ') + 1);
  o.ignore_unknown_fields = options_.ignore_unsupported;
  config::CompileEnv env = Environment(access_logs_, tls_files_);
  if (options_.validate) env.open_log = nullptr;  // a check changes nothing
  env.refuse_unknown_fields = !options_.ignore_unsupported;
  std::vector<api::SourceError> errors;
  bootstrap_ = options_.config_path.empty()
                   ? config::ReadBootstrap(options_.config_yaml, "--config-yaml", o, env, &errors)
                   : config::ReadBootstrapFile(options_.config_path, o, env, &errors);
  for (const api::SourceError& e : errors) {
    fprintf(stderr, "%s%s\n", e.warning ? "" : "error: ", e.ToString().c_str());
  }
  return bootstrap_ != nullptr;
}

int Server::Run() {
  shard_ = registry_.NewShard();
  std::string error;
  if (!StartAdmin(&error)) {
    LogError(error);
    return 1;
  }
  workers_ = std::make_unique<runtime::WorkerPool>(loop_, registry_, access_logs_, options_.concurrency);
  StartOverloadManager();
  workers_->Start();

  config::ManagerOptions m;
  m.env = Environment(access_logs_, tls_files_);
  m.env.refuse_unknown_fields = false;  // by xDS they are warnings; security messages refuse them by themselves
  m.state_dir = options_.state_dir;
  manager_ = std::make_unique<config::ConfigManager>(
      loop_, slab_, std::move(bootstrap_), std::move(m),
      [this](std::shared_ptr<const config::Update> update, config::ConfigManager::Applied done) {
        workers_->Apply(std::move(update), [done = std::move(done)](runtime::ApplyResult r) {
          done(std::move(r.refused_listeners));
        });
      });
  manager_->OnStaticApplied([this](std::vector<std::pair<std::string, std::string>> refused) {
    for (const auto& [name, why] : refused) LogError(StrCat("listener ", name, ": ", why));
    if (refused.empty()) return;
    exit_code_ = 1;
    loop_.Stop();
  });
  manager_->OnReadyChange([this] {
    if (announced_ready_ || !manager_->ready()) return;
    announced_ready_ = true;
    auto s = manager_->status();
    LogInfo(StrCat("ready after ", (MonotonicNow() - start_) / kMillisecond, " ms: ", s.listeners, " listeners, ",
                   s.clusters, " clusters, ", workers_->size(), " workers",
                   s.source == config::ConfigSourceKind::kDisk ? "; configuration from disk, no controller answers" : ""));
  });
  manager_->Start();

  for (int s : {SIGTERM, SIGINT}) {
    signals_.On(s, [this](int) {
      if (draining_) {
        loop_.Stop();  // asked twice
      } else {
        BeginDrain();
      }
    });
  }
  signals_.On(SIGUSR1, [this](int) { access_logs_.Reopen(); });
  loop_.Run();

  manager_->SaveNow();
  admin_server_.reset();
  workers_->Stop();
  access_logs_.Flush();
  return exit_code_;
}

bool Server::StartAdmin(std::string* error) {
  if (!bootstrap_->admin.has_value()) return true;
  admin_ = std::make_unique<admin::Admin>(loop_, registry_, AdminHooks());
  admin_server_ = std::make_unique<http::SimpleServer>(
      loop_, [this](const http::SimpleRequest& q, http::SimpleServer::Respond r) { admin_->Handle(q, std::move(r)); });
  if (!admin_server_->Listen(*bootstrap_->admin, error)) {
    *error = "admin: " + *error;
    return false;
  }
  LogInfo(StrCat("admin on ", admin_server_->address().ToString()));
  if (!options_.admin_address_path.empty()) {
    std::ofstream out(options_.admin_address_path);
    out << admin_server_->address().ToString();
    if (!out) {
      *error = "cannot write the admin address to " + options_.admin_address_path;
      return false;
    }
  }
  return true;
}

admin::Hooks Server::AdminHooks() {
  admin::Hooks h;
  h.version = Version();
  h.state = [this] {
    if (draining_) return admin::ServerState::kDraining;
    if (manager_ == nullptr) return admin::ServerState::kPreInitializing;
    return manager_->ready() ? admin::ServerState::kLive : admin::ServerState::kInitializing;
  };
  h.state_detail = [this] { return manager_ == nullptr ? std::string("starting") : manager_->WaitingFor(); };
  h.config_dump = [this](const std::string& resource, const std::string& name, bool eds) {
    return ConfigDumpJson(*manager_, resource, name, eds);
  };
  h.clusters = [this] {
    std::vector<admin::ClusterView> out;
    manager_->ForEachCluster([&](const std::shared_ptr<const upstream::ClusterSpec>& spec,
                                 const std::shared_ptr<const upstream::EndpointSet>& endpoints, bool is_static) {
      out.push_back({spec, endpoints, !is_static});
    });
    return out;
  };
  h.hosts = [this](std::function<void(std::vector<upstream::HostStatus>)> done) { workers_->CollectHosts(std::move(done)); };
  h.listeners = [this] { return workers_->ListenAddresses(); };
  h.command_line = [this] { return options_.given; };
  h.node_json = [this] {
    envoy::config::core::v3::Node node;
    node.ParseFromString(manager_->bootstrap().node);
    return api::MessageToJson(node, {.proto_field_names = true});
  };
  h.refresh_stats = [this] { RefreshStats(); };
  h.drain_listeners = [this] { workers_->Drain([] {}); };
  h.quit = [this] { BeginDrain(); };
  h.reopen_logs = [this] { access_logs_.Reopen(); };
  return h;
}

void Server::StartOverloadManager() {
  const std::shared_ptr<const config::OverloadSpec> spec = bootstrap_->overload;
  if (spec == nullptr) return;
  workers_->overload().set_max_connections(spec->max_downstream_connections);
  overload_ = std::make_unique<runtime::OverloadManager>(
      loop_, spec, workers_->overload(), *shard_, runtime::NewResourceReader(),
      [this](OverloadAction action, uint16_t level) { OnOverload(action, level); });
  overload_->Refresh();
}

// What workers can't see by themselves.
void Server::OnOverload(OverloadAction action, uint16_t level) {
  switch (action) {
    case OverloadAction::kStopAcceptingConnections:
      workers_->SetAccepting(level != OverloadState::kSaturated);
      break;
    case OverloadAction::kResetHighMemoryStream:
      if (level != 0) workers_->ResetLargestStreams(level);
      break;
    case OverloadAction::kShrinkHeap:
      if (level == OverloadState::kSaturated) runtime::ReturnFreeMemory();
      break;
    case OverloadAction::kStopAcceptingRequests:
    case OverloadAction::kDisableHttpKeepalive:
    case OverloadAction::kRejectIncomingConnections:
    case OverloadAction::kCount:
      break;
  }
}

// Clients are told at once, while new connections are still served for a moment: who sends them
// learns of the drain (GOAWAY, connection: close, /ready) only now. Then requests under way finish.
// All of it takes at most the drain time.
void Server::BeginDrain() {
  if (draining_) return;
  draining_ = true;
  LogInfo(StrCat("draining: accepting ends in ", options_.drain_accept_ms,
                 " ms; requests under way may take up to ", options_.drain_time_s, " s"));
  drain_timer_.Arm(options_.drain_time_s * kSecond);
  workers_->AnnounceDrain();
  if (options_.drain_accept_ms == 0) {
    StopAccepting();
  } else {
    accept_timer_.Arm(options_.drain_accept_ms * kMillisecond);
  }
}

void Server::StopAccepting() {
  workers_->Drain([this] { loop_.Stop(); });
}

// Numbers of the process that are known when they are asked for.
void Server::RefreshStats() {
  auto gauge = [this](const char* scope, const char* name, int64_t value) {
    shard_->GetGauge({observe::ScopeId::Process(scope), name})->Set(value);
  };
  gauge("server", "uptime", (MonotonicNow() - start_) / kSecond);
  gauge("server", "concurrency", options_.concurrency);
  gauge("server", "live", draining_ ? 0 : 1);
  gauge("server", "state", draining_ ? 1 : manager_->ready() ? 0 : 3);
  gauge("server", "version", 1);
  gauge("server", "tls_files_reloaded", static_cast<int64_t>(tls_files_.reloads()));
  gauge("server", "tls_files_refused", static_cast<int64_t>(tls_files_.failures()));
  if (int64_t expiry = tls_files_.first_expiry(); expiry != INT64_MAX) {
    gauge("server", "days_until_first_cert_expiring",
          std::max<int64_t>(0, (expiry - WallMicros() / 1'000'000) / 86400));
  }
  manager_->ForEachCluster([this](const std::shared_ptr<const upstream::ClusterSpec>& spec,
                                  const std::shared_ptr<const upstream::EndpointSet>& endpoints, bool) {
    if (endpoints == nullptr) return;
    int64_t usable = 0;
    for (const upstream::EndpointSpec& e : endpoints->endpoints) usable += e.usable();
    observe::ClusterCounters* c = shard_->Cluster(spec->stat_name());
    c->membership_total.Set(static_cast<int64_t>(endpoints->endpoints.size()));
    c->membership_healthy.Set(usable);
  });
  config::ConfigStatus s = manager_->status();
  gauge("cluster_manager", "active_clusters", static_cast<int64_t>(s.clusters));
  gauge("cluster_manager", "warming_clusters", static_cast<int64_t>(s.warming_clusters));
  gauge("listener_manager", "total_listeners_active", static_cast<int64_t>(s.listeners));
  gauge("listener_manager", "total_listeners_warming", static_cast<int64_t>(s.warming_listeners));
  if (s.has_xds) {
    gauge("control_plane", "connected_state", s.xds.connected ? 1 : 0);
    gauge("control_plane", "config_from_disk", s.source == config::ConfigSourceKind::kDisk ? 1 : 0);
  }
}

}  // namespace weft::app
