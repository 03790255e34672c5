#pragma once

#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/proxy/http_manager_spec.h"
#include "dataplane/upstream/cluster_spec.h"
#include "envoy/config/core/v3/protocol.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace weft::config {

// envoy.config.core.v3.Http1ProtocolOptions of a connection manager.
void CompileDownstreamHttp1(const envoy::config::core::v3::Http1ProtocolOptions& options,
                            const std::string& path, const CompileEnv& env,
                            proxy::HttpManagerSpec* spec, decide::Errors* errors);

// The same of a cluster.
void CompileUpstreamHttp1(const envoy::config::core::v3::Http1ProtocolOptions& options,
                          const std::string& path, const CompileEnv& env,
                          upstream::ClusterSpec* spec, decide::Errors* errors);

// upgrade_configs of a connection manager.
void CompileUpgrades(
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager,
    const std::string& path, proxy::HttpManagerSpec* spec, decide::Errors* errors);

}  // namespace weft::config
