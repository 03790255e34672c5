#include "controlplane/xds/wire.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string_view>
#include <utility>

#include "google/rpc/status.pb.h"

namespace weft::ctl::xds {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::ResourceError;

// https://protobuf.dev/programming-guides/encoding: a field of wire type 2 is tag, length, bytes.
void AddVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

void AddHead(std::string* out, int field, size_t length) {
  out->push_back(static_cast<char>(field << 3 | 2));  // all our field numbers are below 16
  AddVarint(out, length);
}

void AddBytes(std::string* out, int field, std::string_view bytes) {
  AddHead(out, field, bytes.size());
  out->append(bytes);
}

size_t FieldSize(size_t length) { return 1 + VarintSize(length) + length; }

// google.protobuf.Any: type_url = 1, value = 2.
size_t AnySize(std::string_view type_url, const Resource& r) {
  return FieldSize(type_url.size()) + FieldSize(r.value.size());
}
void AddAny(std::string* out, int field, std::string_view type_url, const Resource& r) {
  AddHead(out, field, AnySize(type_url, r));
  AddBytes(out, 1, type_url);
  AddBytes(out, 2, r.value);
}

// "virtual_hosts[0].routes[1].match: missing" -> field path and reason. Text that does not begin
// with a path is all reason.
void SplitReason(const std::string& text, Refusal* refusal) {
  const size_t end = text.find(": ");
  const bool path =
      end != std::string::npos && end > 0 &&
      std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(end), [](unsigned char c) {
        return std::isalnum(c) || c == '_' || c == '.' || c == '[' || c == ']';
      });
  refusal->field_path = path ? text.substr(0, end) : "";
  refusal->reason = path ? text.substr(end + 2) : text;
}

Nack TakeNack(google::rpc::Status& status) {
  Nack nack;
  nack.code = status.code();
  nack.message = std::move(*status.mutable_message());
  for (const google::protobuf::Any& detail : status.details()) {
    ResourceError error;
    if (!detail.Is<ResourceError>() || !detail.UnpackTo(&error)) continue;
    Refusal& refusal = nack.refusals.emplace_back();
    refusal.name = std::move(*error.mutable_resource_name()->mutable_name());
    SplitReason(error.error_detail().message(), &refusal);
  }
  return nack;
}

}  // namespace

std::string EncodeResponse(Protocol protocol, const Response& response) {
  const bool delta = protocol == Protocol::kDelta;
  std::string out;
  size_t size = response.type_url.size() + response.nonce.size() + response.version.size() + 32;
  for (const ResourcePtr& r : response.resources) {
    size += AnySize(response.type_url, *r) + r->name.size() + r->version.size() + 40;
  }
  for (const std::string& name : response.removed) size += FieldSize(name.size());
  out.reserve(size);

  AddBytes(&out, 1, response.version);  // system_version_info, version_info
  for (const ResourcePtr& r : response.resources) {
    if (!delta) {
      AddAny(&out, 2, response.type_url, *r);
      continue;
    }
    // discovery.v3.Resource: version = 1, resource = 2, name = 3.
    AddHead(&out, 2,
            FieldSize(r->version.size()) + FieldSize(AnySize(response.type_url, *r)) +
                FieldSize(r->name.size()));
    AddBytes(&out, 1, r->version);
    AddAny(&out, 2, response.type_url, *r);
    AddBytes(&out, 3, r->name);
  }
  AddBytes(&out, 4, response.type_url);
  AddBytes(&out, 5, response.nonce);
  if (delta) {
    for (const std::string& name : response.removed) AddBytes(&out, 6, name);
  }
  return out;
}

Request TakeRequest(DeltaDiscoveryRequest& message) {
  Request request;
  request.type_url = std::move(*message.mutable_type_url());
  request.nonce = std::move(*message.mutable_response_nonce());
  if (message.has_error_detail()) request.nack = TakeNack(*message.mutable_error_detail());
  for (std::string& name : *message.mutable_resource_names_subscribe())
    request.subscribe.push_back(std::move(name));
  for (std::string& name : *message.mutable_resource_names_unsubscribe()) {
    request.unsubscribe.push_back(std::move(name));
  }
  for (auto& [name, version] : *message.mutable_initial_resource_versions()) {
    request.initial_versions.emplace_back(name, std::move(version));
  }
  return request;
}

Request TakeRequest(DiscoveryRequest& message) {
  Request request;
  request.type_url = std::move(*message.mutable_type_url());
  request.nonce = std::move(*message.mutable_response_nonce());
  request.version_info = std::move(*message.mutable_version_info());
  if (message.has_error_detail()) request.nack = TakeNack(*message.mutable_error_detail());
  for (std::string& name : *message.mutable_resource_names())
    request.names.push_back(std::move(name));
  return request;
}

}  // namespace weft::ctl::xds
