#include "controlplane/translate/proxy_key.h"

#include <arpa/inet.h>

#include <utility>

#include "api/cpp/names.h"
#include "controlplane/model/hash.h"
#include "dataplane/base/strings.h"

namespace weft::ctl {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

absl::Status BadField(const std::string& name, const char* expected) {
  return absl::InvalidArgumentError(StrCat("node.metadata.", name, ": expected ", expected));
}

bool IsAddress(const std::string& text) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, text.c_str(), buffer) == 1 || inet_pton(AF_INET6, text.c_str(), buffer) == 1;
}

bool IsPort(const Value& value) {
  return value.kind_case() == Value::kNumberValue && value.number_value() >= 1 && value.number_value() <= 65535 &&
         value.number_value() == static_cast<uint32_t>(value.number_value());
}

// Reads known fields of the metadata; absent ones keep what they have.
class MetadataReader {
 public:
  explicit MetadataReader(const Struct& metadata) : metadata_(metadata) {}

  void String(const char* name, std::string* out) {
    const Value* value = Find(name);
    if (value == nullptr) return;
    if (value->kind_case() != Value::kStringValue) return Fail(name, "a string");
    *out = value->string_value();
  }
  void Address(const char* name, std::string* out) {
    String(name, out);
    if (!out->empty() && !IsAddress(*out)) Fail(name, "an IPv4 or IPv6 address");
  }
  void Port(const char* name, uint32_t* out) {
    const Value* value = Find(name);
    if (value == nullptr) return;
    if (!IsPort(*value)) return Fail(name, "a port from 1 to 65535");
    *out = static_cast<uint32_t>(value->number_value());
  }
  template <typename F>
  void Map(const char* name, const char* expected, F add) {
    const Value* value = Find(name);
    if (value == nullptr) return;
    if (value->kind_case() != Value::kStructValue) return Fail(name, expected);
    for (const auto& [key, entry] : value->struct_value().fields()) {
      if (!add(key, entry)) return Fail(name, expected);
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  const Value* Find(const char* name) const {
    auto it = metadata_.fields().find(name);
    return it == metadata_.fields().end() || it->second.kind_case() == Value::kNullValue ? nullptr : &it->second;
  }
  void Fail(const char* name, const char* expected) {
    if (status_.ok()) status_ = BadField(name, expected);
  }

  const Struct& metadata_;
  absl::Status status_;
};

}  // namespace

uint64_t ProxyKey::Hash() const {
  uint64_t hash = StableHash(name);
  for (const std::string* text : {&ns, &address, &dns_domain, &service_account, &cluster_id, &app_address,
                                  &outbound_address, &access_log}) {
    hash = StableHash(*text, hash);
  }
  hash = StableHash(std::to_string(http_proxy_port), hash);
  for (const auto& [key, value] : labels) hash = StableHash(value, StableHash(key, hash));
  for (const auto& [key, port] : service_listeners) hash = StableHash(std::to_string(port), StableHash(key, hash));
  return hash;
}

absl::StatusOr<ProxyKey> ProxyKeyFromNode(const envoy::config::core::v3::Node& node) {
  const auto id = api::ParseNodeId(node.id());
  if (!id.has_value() || !IsAddress(id->address)) {
    return absl::InvalidArgumentError(
        StrCat("node.id: expected \"sidecar~ADDRESS~NAME.NAMESPACE~DOMAIN\", such as "
               "\"sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local\", got \"",
               node.id(), "\""));
  }
  if (id->type != "sidecar") {
    return absl::InvalidArgumentError(
        StrCat("node.id: proxies of type \"", id->type, "\" are not supported by this version: only \"sidecar\""));
  }
  ProxyKey key;
  key.name = id->name;
  key.ns = id->ns;
  key.address = id->address;
  key.dns_domain = id->domain;
  key.app_address = id->address.find(':') == std::string::npos ? "127.0.0.1" : "::1";
  MetadataReader metadata(node.metadata());
  metadata.String("NAMESPACE", &key.ns);
  metadata.String("SERVICE_ACCOUNT", &key.service_account);
  metadata.String("CLUSTER_ID", &key.cluster_id);
  metadata.Address("APP_ADDRESS", &key.app_address);
  metadata.Address("OUTBOUND_ADDRESS", &key.outbound_address);
  metadata.Port("HTTP_PROXY_PORT", &key.http_proxy_port);
  metadata.String("ACCESS_LOG", &key.access_log);
  metadata.Map("LABELS", "a mapping of strings to strings", [&](const std::string& name, const Value& value) {
    key.labels[name] = value.string_value();
    return value.kind_case() == Value::kStringValue;
  });
  metadata.Map("SERVICE_LISTENERS", "a mapping of \"host:port\" to ports", [&](const std::string& name, const Value& value) {
    if (!api::ParseHostPort(name).has_value() || !IsPort(value)) return false;
    key.service_listeners[name] = static_cast<uint32_t>(value.number_value());
    return true;
  });
  if (!metadata.status().ok()) return metadata.status();
  if (key.ns.empty()) {
    return absl::InvalidArgumentError("node: no namespace, neither in the id nor as node.metadata.NAMESPACE");
  }
  return key;
}

ProxyScope::ProxyScope(std::shared_ptr<const ProxyKey> key, uint64_t number)
    : key_(std::move(key)), own_(StrCat("proxy/", number)), ns_(StrCat("ns/", key_->ns)) {}

const std::string& ProxyScope::Of(ResourceType type, std::string_view name) const {
  switch (type) {
    case ResourceType::kListener:
      return own_;
    case ResourceType::kRoute:
      // By port, or all: a service's short name depends on who calls. A single service's has no names at all.
      return name.find(':') == std::string_view::npos ? ns_ : shared_;
    case ResourceType::kCluster:
      return name.starts_with("inbound|") ? own_ : shared_;
    case ResourceType::kEndpoint:
      return shared_;
  }
  return own_;
}

}  // namespace weft::ctl
