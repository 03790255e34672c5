#pragma once

// weftctl proxy-config: what a proxy runs with, from its own admin port. Reads Envoy's
// /config_dump, so that it shows a real Envoy as well.

#include <string>

#include "absl/status/statusor.h"
#include "tools/weftctl/terminal.h"

namespace weft::cli {

enum class ConfigPart { kListener, kRoute, kCluster, kEndpoint };

struct ProxyConfigOptions {
  std::string proxy;  // "reviews-v1-1", or "reviews" when it has one replica; as in `dev status`.
  std::string admin;  // host:port in place of that.
  std::string state, mesh;
  std::string filter;  // Only what has this text in its name.
  Format format = Format::kTable;
};
int ProxyConfig(ConfigPart part, const ProxyConfigOptions& options);

// The table for the texts that an admin port answered with: /config_dump?include_eds, and for
// endpoints /clusters?format=json. Pure. An error when the text is not what such a port answers.
absl::StatusOr<Table> ConfigTable(ConfigPart part, const std::string& json,
                                  const std::string& filter);

}  // namespace weft::cli
