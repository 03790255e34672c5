#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "controlplane/translate/config_engine.h"
#include "controlplane/xds/hub.h"
#include "weft/mgmt/v1/mgmt.grpc.pb.h"

namespace weft::ctl::admin {

struct ManagementOptions {
  std::string version;
  // As the file source reads them; the last one is written to.
  std::vector<std::string> directories;
  // Origin::source of the file source.
  uint32_t file_source = 0;
  std::string default_namespace = "default";
  std::string trust_domain, xds_address, admin_address;
  // How long Apply and Delete wait until the controller has read what they wrote.
  std::chrono::milliseconds taken_limit{5000};
};

// weft.mgmt.v1.Management: what people and tools do to a controller. Writes go into the
// configuration directory, whose files stay the truth; the file source then takes them in like
// anybody's edits. Owner: app. Thread: gRPC's, several at a time. Destroyed when: its server has
// stopped.
class ManagementService final : public weft::mgmt::v1::Management::Service {
 public:
  // `who` names the caller of a request for the audit log ("uid 1000 (pid 17)").
  using Who = std::function<std::string(const grpc::ServerContext&)>;

  ManagementService(ConfigEngine* engine, xds::Hub* hub, ManagementOptions options, Who who);

  grpc::Status GetInfo(grpc::ServerContext*, const weft::mgmt::v1::GetInfoRequest*,
                       weft::mgmt::v1::GetInfoResponse* response) override;
  grpc::Status Validate(grpc::ServerContext*, const weft::mgmt::v1::ValidateRequest* request,
                        weft::mgmt::v1::ValidateResponse* response) override;
  grpc::Status Apply(grpc::ServerContext* context, const weft::mgmt::v1::ApplyRequest* request,
                     weft::mgmt::v1::ApplyResponse* response) override;
  grpc::Status Get(grpc::ServerContext*, const weft::mgmt::v1::GetRequest* request,
                   weft::mgmt::v1::GetResponse* response) override;
  grpc::Status Delete(grpc::ServerContext* context, const weft::mgmt::v1::DeleteRequest* request,
                      weft::mgmt::v1::DeleteResponse* response) override;
  grpc::Status ProxyStatus(grpc::ServerContext*, const weft::mgmt::v1::ProxyStatusRequest* request,
                           weft::mgmt::v1::ProxyStatusResponse* response) override;

 private:
  struct Expected {
    ObjectKey key;
    uint64_t content_hash = 0;  // 0: it is gone
  };

  grpc::Status CheckReady() const;
  const std::string& writable() const { return options_.directories.back(); }
  // The place of the object when it is not in the writable directory, where it would win; else
  // empty.
  std::string ElsewhereThan(const ObjectKey& key,
                            const std::vector<ConfigEngine::StoredObject>& all) const;
  bool WaitUntilTaken(const std::vector<Expected>& expected) const;
  void Audit(const grpc::ServerContext& context, const std::string& what) const;

  ConfigEngine* const engine_;
  xds::Hub* const hub_;
  const ManagementOptions options_;
  const Who who_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  std::mutex write_mutex_;  // one change of the directory at a time
};

}  // namespace weft::ctl::admin
