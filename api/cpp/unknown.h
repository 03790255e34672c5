// Parts of a message that this program's schema does not have.
#pragma once

#include <string>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace weft::api {

// Our protos are a trimmed subset of upstream's, so a field that we do not have arrives as an unknown field. This names
// each, for a refusal or a warning instead of silence:
//   "virtual_hosts[0].routes[1].route: field 15 of envoy.config.route.v3.RouteAction"
// Walks the whole message, not into Any (whoever unpacks it asks again). At most `limit` entries.
std::vector<std::string> FindUnknownFields(const google::protobuf::Message& message, size_t limit = 20);

}  // namespace weft::api
