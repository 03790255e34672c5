#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "controlplane/model/resource.h"
#include "controlplane/model/service.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::ctl {

// Everything about a node that its resources may depend on. Equal keys get equal resources.
struct ProxyKey {
  std::string name;       // "reviews-v1-1"
  std::string ns;         // metadata NAMESPACE, else the node id's
  std::string address;    // of the node id: where the sidecar listens ("127.0.2.1")
  std::string dns_domain; // "default.svc.cluster.local"
  Labels labels;
  std::string service_account;
  std::string cluster_id;
  std::string app_address;       // APP_ADDRESS: where the program listens; loopback by default
  std::string outbound_address;  // OUTBOUND_ADDRESS: listeners by port; empty: none
  uint32_t http_proxy_port = 0;  // HTTP_PROXY_PORT: 0: no such listener
  // SERVICE_LISTENERS: "host:port" -> the port of a listener for that service alone.
  std::map<std::string, uint32_t> service_listeners;
  std::string access_log;  // ACCESS_LOG: a file, or /dev/stdout; empty: none

  bool operator==(const ProxyKey&) const = default;
  // Over all fields; for interning.
  uint64_t Hash() const;
};

// InvalidArgument: the id is not `sidecar~ADDRESS~NAME.NAMESPACE~DOMAIN`, or metadata has a field of the wrong kind; the
// message says which and what would be right.
absl::StatusOr<ProxyKey> ProxyKeyFromNode(const envoy::config::core::v3::Node& node);

// A key while proxies with it are connected: interned by ConfigEngine::Attach, so that looking a resource up does not
// hash labels. Owner: sessions share it. Thread: immutable, any. Destroyed when: the last session lets go; what was
// generated for it alone then goes too.
class ProxyScope {
 public:
  ProxyScope(std::shared_ptr<const ProxyKey> key, uint64_t number);
  const ProxyKey& key() const { return *key_; }
  const std::shared_ptr<const ProxyKey>& shared_key() const { return key_; }
  const std::string& own() const { return own_; }

  // The scope of that resource for this proxy: "" (the same for everybody), "ns/<namespace>", or own().
  const std::string& Of(ResourceType type, std::string_view name) const;

 private:
  const std::shared_ptr<const ProxyKey> key_;
  const std::string own_, ns_, shared_;
};
using ProxyRef = std::shared_ptr<const ProxyScope>;

}  // namespace weft::ctl
