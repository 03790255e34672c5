#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "api/cpp/yaml.h"
#include "controlplane/admin/mgmt/config_writer.h"
#include "controlplane/model/object.h"
#include "controlplane/xds/hub.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "weft/mgmt/v1/mgmt.pb.h"

// Requests' texts to objects, and what there is to say about them. Pure.
namespace weft::ctl::admin {

// One document of a request, in order.
struct InputDocument {
  std::string api_version;
  std::optional<ObjectKey> key;
  ObjectPtr object;         // null: it has errors
  ConfigWriter::Text text;  // to be written; set with `object`
};

struct Input {
  std::vector<InputDocument> documents;
  std::vector<api::SourceError> errors;
};

// `default_namespace` is the request's; documents that are written into a directory whose default
// is another get it spelled out.
Input ReadInput(const google::protobuf::RepeatedPtrField<weft::mgmt::v1::Source>& sources,
                const std::string& default_namespace, const std::string& directory_namespace);

weft::mgmt::v1::Diagnostic ToDiagnostic(const api::SourceError& error);
weft::meta::v1::ResourceRef ToRef(const std::string& api_version, const ObjectKey& key);
google::protobuf::Timestamp ToTimestamp(std::chrono::system_clock::time_point time);
weft::mgmt::v1::ProxyState ToProxyState(const xds::ConnectionStatus& connection);

}  // namespace weft::ctl::admin
