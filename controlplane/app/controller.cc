#include "controlplane/app/controller.h"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "api/cpp/envoy_types.h"
#include "controlplane/ingest/file/file_source.h"
#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::ctl::app {

Controller::Controller(Options options) : options_(std::move(options)) {
  // As the file source names them in positions.
  for (std::string& directory : options_.directories) {
    while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  }
}

Controller::~Controller() { Stop(); }

absl::Status Controller::CheckDirectories() const {
  for (const std::string& directory : options_.directories) {
    DIR* dir = opendir(directory.c_str());
    if (dir != nullptr) {
      closedir(dir);
      continue;
    }
    const int error = errno;
    const std::string what = StrCat("--config ", directory, ": ");
    if (error == ENOENT) {
      return absl::NotFoundError(StrCat(what, "there is no such directory; create it (mkdir -p ",
                                        directory, ") or name another"));
    }
    if (error == ENOTDIR)
      return absl::InvalidArgumentError(
          StrCat(what, "is not a directory; name the one that the file is in"));
    return absl::PermissionDeniedError(
        StrCat(what, "can't be read (", std::strerror(error), "), by uid ", geteuid()));
  }
  return absl::OkStatus();
}

absl::Status Controller::Start(const std::function<bool()>& cancelled) {
  const auto started = std::chrono::steady_clock::now();
  // What can't succeed fails before anything is read.
  absl::Status status = CheckDirectories();
  if (!status.ok()) return status;
  status = xds::CheckListen(options_.xds_address, "--xds-address");
  if (!status.ok()) return status;
  status = xds::CheckListen(options_.admin_address, "--admin-address");
  if (!status.ok()) return status;
  api::LinkEnvoyTypes();

  MeshOptions mesh;
  mesh.trust_domain = options_.trust_domain;
  mesh.domain_suffix = options_.domain_suffix;
  engine_ = std::make_unique<ConfigEngine>(mesh);
  provider_ = std::make_unique<xds::ConfigProvider>(engine_.get());
  xds::HubOptions hub_options;
  hub_options.max_sessions = options_.max_proxies;
  hub_ = std::make_unique<xds::Hub>(provider_.get(), hub_options);

  handlers_ = std::make_unique<admin::AdminHandlers>(engine_.get(), hub_.get(), kVersion);
  admin_ = std::make_unique<admin::AdminServer>(handlers_.get());
  status = admin_->Start(options_.admin_address);
  if (!status.ok()) return status;

  FileSourceOptions files;
  files.directories = options_.directories;
  engine_->AddSource(std::make_unique<FileSource>(files));
  engine_->OnNewState([this](const StatePtr&, const StateChange&) { hub_->OnNewState(); });
  engine_->Start();
  while (!engine_->state()->synced()) {
    if (cancelled && cancelled())
      return absl::CancelledError("stopped before the configuration was read");
    engine_->WaitForConfigGeneration(1, std::chrono::milliseconds(100));
  }

  xds::AdsServerOptions ads_options;
  ads_options.address = options_.xds_address;
  ads_ = std::make_unique<xds::AdsServer>(hub_.get(), ads_options);
  status = ads_->Start();
  if (!status.ok()) return status;

  if (!options_.mgmt_socket.empty()) {
    mgmt_ = std::make_unique<admin::MgmtServer>(options_.mgmt_socket, geteuid());
    admin::ManagementOptions mgmt_options;
    mgmt_options.version = kVersion;
    mgmt_options.directories = options_.directories;
    mgmt_options.trust_domain = options_.trust_domain;
    mgmt_options.xds_address = ads_->address();
    mgmt_options.admin_address = admin_->address();
    management_ = std::make_unique<admin::ManagementService>(
        engine_.get(), hub_.get(), mgmt_options,
        [this](const grpc::ServerContext& context) { return mgmt_->Who(context); });
    status = mgmt_->Start(management_.get());
    if (!status.ok()) return status;
  }

  size_t in_effect = 0;
  for (const ObjectStatus& object : engine_->Statuses()) in_effect += object.in_effect();
  size_t errors = 0;
  for (const api::SourceError& error : engine_->Errors()) errors += !error.warning;
  std::string from;
  for (const std::string& directory : options_.directories)
    StrAppend(&from, from.empty() ? "" : ", ", directory);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  LogInfo(StrCat("weft-controller ", kVersion, " serves xDS on ", ads_->address(),
                 ", debug endpoints on ", admin_->address(),
                 mgmt_ == nullptr ? "" : ", management on ", options_.mgmt_socket, "; read ",
                 in_effect, " objects from ", from, " in ", ms.count(), " ms",
                 errors == 0 ? std::string() : StrCat("; ", errors, " errors in them, see above")));
  return absl::OkStatus();
}

void Controller::Stop() {
  if (mgmt_ != nullptr) mgmt_->Stop();
  if (admin_ != nullptr) admin_->Stop();
  if (ads_ != nullptr) ads_->Stop();
  if (engine_ != nullptr) engine_->Stop();
  if (hub_ != nullptr) hub_->Shutdown();
}

}  // namespace weft::ctl::app
