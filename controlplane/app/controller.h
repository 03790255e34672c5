#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "controlplane/admin/admin_server.h"
#include "controlplane/admin/handlers.h"
#include "controlplane/admin/mgmt/management.h"
#include "controlplane/admin/mgmt/mgmt_server.h"
#include "controlplane/app/options.h"
#include "controlplane/translate/config_engine.h"
#include "controlplane/xds/ads_server.h"
#include "controlplane/xds/config_provider.h"
#include "controlplane/xds/hub.h"

namespace weft::ctl::app {

// The whole controller, wired:
//   files -> FileSource -> ConfigEngine -> ConfigProvider -> Hub -> AdsServer -> proxies
//                              `-> AdminHandlers -> AdminServer (HTTP), ManagementService ->
//                              MgmtServer (Unix socket)
// Owner: main, or a test. Thread: Start and Stop by the owner. Destroyed when: the process stops.
class Controller {
 public:
  explicit Controller(Options options);
  ~Controller();

  // Returns when proxies are served, that is, when the directories have been read once; broken
  // files in them are reported and do not keep it from starting. `cancelled` is asked while it
  // waits. An error says what to do.
  absl::Status Start(const std::function<bool()>& cancelled = nullptr);
  void Stop();

  // With the ports that were bound.
  const std::string& xds_address() const { return ads_->address(); }
  const std::string& admin_address() const { return admin_->address(); }

 private:
  absl::Status CheckDirectories() const;

  Options options_;
  std::unique_ptr<ConfigEngine> engine_;
  std::unique_ptr<xds::ConfigProvider> provider_;
  std::unique_ptr<xds::Hub> hub_;
  std::unique_ptr<admin::AdminHandlers> handlers_;
  std::unique_ptr<admin::AdminServer> admin_;
  std::unique_ptr<xds::AdsServer> ads_;
  std::unique_ptr<admin::MgmtServer> mgmt_;
  std::unique_ptr<admin::ManagementService> management_;
};

}  // namespace weft::ctl::app
