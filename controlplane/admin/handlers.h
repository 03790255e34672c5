#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "controlplane/translate/config_engine.h"
#include "controlplane/xds/hub.h"

namespace weft::ctl::admin {

struct AdminRequest {
  std::string_view method = "GET", path, query;
};
struct AdminResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// The debug endpoints of the controller: functions from a request to an answer, without a
// transport.
//   /ready  /metrics  /debug/syncz  /debug/configz  /debug/endpointz  /debug/config_dump?proxyID=
// Owner: app. Thread: any. Destroyed when: before the engine and the hub.
class AdminHandlers {
 public:
  AdminHandlers(ConfigEngine* engine, const xds::Hub* hub, std::string version)
      : engine_(engine), hub_(hub), version_(std::move(version)) {}

  AdminResponse Handle(const AdminRequest& request) const;

 private:
  AdminResponse Ready() const;
  AdminResponse Metrics() const;
  AdminResponse Syncz() const;
  AdminResponse Configz() const;
  AdminResponse Endpointz(std::string_view query) const;
  AdminResponse ConfigDump(std::string_view query) const;

  ConfigEngine* const engine_;
  const xds::Hub* const hub_;
  const std::string version_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
};

}  // namespace weft::ctl::admin
