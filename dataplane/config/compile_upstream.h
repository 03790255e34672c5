#pragma once

#include <memory>
#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/net/dial_options.h"
#include "dataplane/upstream/cluster_spec.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/config/core/v3/protocol.pb.h"

namespace weft::config {

// How a cluster connects: which HTTP version it speaks, with which limits, from where, over what.
// Sets those parts of `spec`.
void CompileConnections(const envoy::config::cluster::v3::Cluster& cluster,
                        const std::string& cluster_path, const CompileEnv& env,
                        upstream::ClusterSpec* spec, decide::Errors* errors);

// source_address, freebind and socket_options into `options`.
void CompileBindConfig(const envoy::config::core::v3::BindConfig& bind, const std::string& path,
                       net::DialOptions* options, decide::Errors* errors);

}  // namespace weft::config
