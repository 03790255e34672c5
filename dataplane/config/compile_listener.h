#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/config/update.h"
#include "dataplane/decide/route_table.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace weft::config {

struct CompiledListener {
  std::shared_ptr<const ListenerSpec> spec;
  // Route configurations to subscribe to, with how long to wait for each; those of chains with inline
  // routes are not among them.
  std::map<std::string, MonoNanos> rds;
};

// Compiles envoy.config.listener.v3.Listener with Envoy's meaning and defaults. Nothing, and errors with field paths,
// when a field is out of range or set to what is not supported.
std::optional<CompiledListener> CompileListener(const envoy::config::listener::v3::Listener& listener,
                                                const std::string& path, const CompileEnv& env, decide::Errors* errors);

struct CompiledHttpManager {
  std::shared_ptr<const proxy::HttpManagerSpec> spec;
  std::string rds_name;
  MonoNanos rds_timeout = 0;
};
std::optional<CompiledHttpManager> CompileHttpManager(
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager& manager,
    const std::string& path, const CompileEnv& env, decide::Errors* errors);

// Fills what of `spec` is about listener filters.
void CompileListenerFilters(const envoy::config::listener::v3::Listener& listener, const std::string& path,
                            const CompileEnv& env, ListenerSpec* spec, decide::Errors* errors);

// Null, and errors, when it can't be used.
std::shared_ptr<const proxy::TcpProxySpec> CompileTcpProxy(
    const envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy& proxy, const std::string& path,
    const CompileEnv& env, decide::Errors* errors);

// Compiles a route configuration with everything that decide leaves to its caller: per-route filter configurations,
// files, unknown fields. `check_clusters`: it is part of a static listener.
std::shared_ptr<const decide::RouteTable> CompileRoutes(const envoy::config::route::v3::RouteConfiguration& routes,
                                                        const std::string& path, bool check_clusters,
                                                        const CompileEnv& env, decide::Errors* errors);

}  // namespace weft::config
