#pragma once

#include <string_view>

#include "api/cpp/names.h"

namespace weft::ctl::xds {

inline constexpr std::string_view kListenerUrl = api::kListenerType;
inline constexpr std::string_view kRouteUrl = api::kRouteType;
inline constexpr std::string_view kClusterUrl = api::kClusterType;
inline constexpr std::string_view kEndpointUrl = api::kEndpointType;

// Order of pushes: what is used before what uses it. Types from kListenerRank on use the ones
// below.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
inline constexpr int kListenerRank = 3;
inline int PushRank(std::string_view url) {
  if (url == kClusterUrl) return 0;
  if (url == kEndpointUrl) return 1;
  if (url == kListenerUrl) return kListenerRank;
  if (url == kRouteUrl) return 4;
  return 2;
}

}  // namespace weft::ctl::xds
