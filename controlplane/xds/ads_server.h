#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "controlplane/xds/hub.h"

namespace weft::ctl::xds {

struct AdsServerOptions {
  std::string address = "127.0.0.1:15010";  // port 0: any free one
  // initial_resource_versions of a large mesh are about 100 bytes a name.
  size_t max_request_bytes = 16u << 20;
  std::chrono::milliseconds keepalive_time{30000}, keepalive_timeout{10000};
  // How long Stop waits for clients to take the end of their streams.
  std::chrono::milliseconds stop_limit{2000};
};

// envoy.service.discovery.v3.AggregatedDiscoveryService over gRPC, both variants; a thin adapter of
// Hub. Owner: app. Thread: Start and Stop by the owner; streams run in gRPC's threads. Destroyed
// when: the process stops, before the Hub.
class AdsServer {
 public:
  AdsServer(Hub* hub, AdsServerOptions options);
  ~AdsServer();

  // Errors say which address and why.
  absl::Status Start();
  // The hub's streams are ended (Hub::Shutdown), then the port is closed.
  void Stop();
  // With the port that was bound.
  const std::string& address() const { return address_; }

 private:
  class Impl;
  Hub* const hub_;
  const AdsServerOptions options_;
  std::string address_;
  std::unique_ptr<Impl> impl_;
};

// Whether "host:port" (a numeric address or localhost) can be listened on now; the error says why
// not, in words.
absl::Status CheckListen(const std::string& address, const std::string& flag);

}  // namespace weft::ctl::xds
