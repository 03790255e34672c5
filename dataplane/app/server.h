#pragma once

#include <memory>
#include <string>

#include "dataplane/admin/admin.h"
#include "dataplane/app/options.h"
#include "dataplane/config/manager.h"
#include "dataplane/event/loop.h"
#include "dataplane/event/signals.h"
#include "dataplane/observe/access_log.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/runtime/overload_manager.h"
#include "dataplane/runtime/worker_pool.h"
#include "dataplane/tls/reloader.h"

namespace weft::app {

// The process: everything that is not per worker, wired. Owner: main(). Thread: main.
class Server {
 public:
  explicit Server(const Options& options);
  ~Server();

  // Reads the bootstrap; false when it can't be used (everything wrong was printed).
  bool ReadConfiguration();
  // Serves until it is told to end; returns the exit code.
  int Run();

 private:
  bool StartAdmin(std::string* error);
  admin::Hooks AdminHooks();
  void StartOverloadManager();
  void OnOverload(OverloadAction action, uint16_t level);
  void BeginDrain();
  void StopAccepting();
  void RefreshStats();

  const Options& options_;
  const MonoNanos start_ = MonotonicNow();
  observe::Registry registry_;
  observe::AccessLogs access_logs_;
  event::Loop loop_;
  buffer::Slab slab_;
  event::Signals signals_{loop_};
  tls::Reloader tls_files_;
  event::Timer drain_timer_;  // cuts off
  event::Timer accept_timer_;  // ends accepting
  std::unique_ptr<config::Bootstrap> bootstrap_;
  std::unique_ptr<runtime::WorkerPool> workers_;
  std::unique_ptr<runtime::OverloadManager> overload_;
  std::unique_ptr<config::ConfigManager> manager_;
  std::unique_ptr<admin::Admin> admin_;
  std::unique_ptr<http::SimpleServer> admin_server_;
  observe::Shard* shard_ = nullptr;
  bool draining_ = false, announced_ready_ = false;
  int exit_code_ = 0;
};

}  // namespace weft::app
