// Between the plain messages and bytes of envoy.service.discovery.v3. No gRPC here, so that it can
// be tested without.
#pragma once

#include <string>

#include "controlplane/xds/messages.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace weft::ctl::xds {

// Serialized DeltaDiscoveryResponse or DiscoveryResponse. Written by hand, since a generated
// message would copy each resource twice.
std::string EncodeResponse(Protocol protocol, const Response& response);

// They take the strings out of the message.
Request TakeRequest(envoy::service::discovery::v3::DeltaDiscoveryRequest& message);
Request TakeRequest(envoy::service::discovery::v3::DiscoveryRequest& message);

}  // namespace weft::ctl::xds
