#pragma once

#include <string>

#include "dataplane/config/compile_common.h"
#include "dataplane/http/h2/options.h"
#include "envoy/config/core/v3/protocol.pb.h"

namespace weft::config {

// Http2ProtocolOptions of a listener or a cluster; `defaults` where a field is unset. Limits of
// heads and streams that other messages hold are their callers' to set.
http::h2::SessionOptions CompileHttp2(const envoy::config::core::v3::Http2ProtocolOptions& options,
                                      const std::string& path,
                                      const http::h2::SessionOptions& defaults,
                                      decide::Errors* errors);

}  // namespace weft::config
