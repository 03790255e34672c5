// Discovery requests and responses without a transport: what both protocol variants have in common,
// as plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/xds/resource.h"

namespace weft::ctl::xds {

enum class Protocol : uint8_t { kDelta, kStateOfTheWorld };

// One resource that a proxy did not take.
struct Refusal {
  std::string name;
  std::string version;
  std::string field_path;
  std::string reason;
};

// error_detail of a request that refuses a response.
struct Nack {
  int code = 0;
  std::string message;
  // From error_detail.details, by proxies that say which resources they refused (all others of the
  // response are then accepted). Empty: the proxy did not say.
  std::vector<Refusal> refusals;
};

struct Request {
  std::string type_url;
  std::string nonce;
  std::optional<Nack> nack;

  // Delta.
  std::vector<std::string> subscribe;
  std::vector<std::string> unsubscribe;
  std::vector<std::pair<std::string, std::string>> initial_versions;

  // State of the world.
  std::vector<std::string> names;
  std::string version_info;
};

struct Response {
  std::string type_url;
  std::string nonce;
  // version_info or system_version_info: a hash over everything that the client has of the type
  // after this response.
  std::string version;
  std::vector<ResourcePtr> resources;
  // Delta only.
  std::vector<std::string> removed;
  // About the size on the wire.
  size_t bytes = 0;
};

}  // namespace weft::ctl::xds
