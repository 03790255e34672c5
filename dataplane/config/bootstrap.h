#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/yaml.h"
#include "dataplane/config/compile_cluster.h"
#include "dataplane/config/compile_listener.h"
#include "dataplane/config/grpc_xds_transport.h"
#include "dataplane/config/overload_spec.h"

namespace weft::config {

struct BootstrapOptions {
  // --service-node, --service-cluster, --service-zone: override the file's.
  std::string service_node, service_cluster, service_zone;
  std::string version;  // of this program, told to management servers
  // --ignore-unsupported: fields that we do not know are warnings.
  bool ignore_unknown_fields = false;
};

// What `dynamic_resources` asks for.
struct XdsSettings {
  bool delta = true;
  std::string cluster;  // of the management servers
  XdsServers servers;
  bool listeners = false, clusters = false;
  MonoNanos listeners_timeout = 15 * kSecond, clusters_timeout = 15 * kSecond;
};

// One resource of the file, compiled, with its wire form for /config_dump.
struct StaticCluster {
  std::string wire;
  CompiledCluster compiled;
};
struct StaticListener {
  std::string wire;
  CompiledListener compiled;
};

// An Envoy v3 bootstrap (envoy.config.bootstrap.v3.Bootstrap), read and compiled: nothing in it is wrong, and what the
// environment can refuse (ports) is all that may still fail.
// Owner: app, then ConfigManager. Thread: main.
struct Bootstrap {
  std::string wire;  // the whole message
  std::string node_id, node_cluster;
  std::string node;  // serialized envoy.config.core.v3.Node, as sent to management servers
  std::optional<net::Address> admin;
  // cluster_manager.upstream_bind_config, for clusters that come later; null: there is none.
  std::shared_ptr<const net::DialOptions> upstream_bind;
  std::vector<StaticCluster> clusters;
  std::vector<StaticListener> listeners;
  std::optional<XdsSettings> xds;
  std::shared_ptr<const OverloadSpec> overload;  // null: there is none
};

// Reads YAML or JSON text. Null when there is an error; all errors and warnings are collected, each with file, line,
// column and field path.
std::unique_ptr<Bootstrap> ReadBootstrap(std::string_view text, const std::string& file, const BootstrapOptions& options,
                                         const CompileEnv& env, std::vector<api::SourceError>* errors);
// The same of a file.
std::unique_ptr<Bootstrap> ReadBootstrapFile(const std::string& file, const BootstrapOptions& options,
                                             const CompileEnv& env, std::vector<api::SourceError>* errors);

}  // namespace weft::config
