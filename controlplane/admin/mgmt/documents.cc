#include "controlplane/admin/mgmt/documents.h"

#include <utility>

#include "api/cpp/json.h"
#include "controlplane/admin/mgmt/document_text.h"
#include "controlplane/ingest/read.h"
#include "dataplane/base/strings.h"

namespace weft::ctl::admin {
namespace {

namespace pb = weft::mgmt::v1;

// The same key when read from the directory?
bool ReadsBackAs(const std::string& text, const ObjectKey& key,
                 const std::string& directory_namespace) {
  ReadObjectsOptions options;
  options.default_namespace = directory_namespace;
  const ReadObjectsResult read = ReadObjects(text, "", options);
  return read.objects.size() == 1 && read.objects[0].key == key;
}

// Puts "namespace: x" above "name: y", with its indentation. Empty when the text is not laid out
// so.
std::string WithNamespace(const std::string& text, const std::string& ns) {
  std::vector<api::SourceError> errors;
  const std::vector<api::Document> documents = api::ParseDocuments(text, "", &errors);
  if (documents.size() != 1) return "";
  const int line = documents[0].ErrorAt("metadata.name", "").line;
  size_t start = 0;
  for (int i = 1; i < line && start != std::string::npos; ++i) {
    start = text.find('\n', start);
    if (start != std::string::npos) ++start;
  }
  if (start == std::string::npos) return "";
  const size_t name = text.find_first_not_of(' ', start);
  if (name == std::string::npos || text.compare(name, 5, "name:") != 0) return "";
  return StrCat(text.substr(0, start), std::string(name - start, ' '), "namespace: ", ns, "\n",
                text.substr(start));
}

ConfigWriter::Text TextOf(std::string_view body, const Object& object,
                          const std::string& directory_namespace) {
  // The caller's own words, with comments. What the system writes into metadata would only be noise
  // in a file.
  weft::meta::v1::ObjectMeta meta = object.meta;
  meta.clear_uid();
  meta.clear_resource_version();
  meta.clear_generation();
  meta.clear_creation_timestamp();
  ConfigWriter::Text text;
  text.json = api::ResourceToJson(object.api_version, object.key.kind, meta, *object.spec);
  if (!text.json.ends_with('\n')) text.json += '\n';
  text.yaml = TrimDocument(body);
  if (ReadsBackAs(text.yaml, object.key, directory_namespace)) return text;
  text.yaml = WithNamespace(text.yaml, object.key.ns);
  if (!text.yaml.empty() && ReadsBackAs(text.yaml, object.key, directory_namespace)) return text;
  text.yaml = api::ResourceToYaml(object.api_version, object.key.kind, meta, *object.spec);
  return text;
}

}  // namespace

Input ReadInput(const google::protobuf::RepeatedPtrField<pb::Source>& sources,
                const std::string& default_namespace, const std::string& directory_namespace) {
  Input input;
  std::map<ObjectKey, std::string> seen;
  for (const pb::Source& source : sources) {
    const std::string file = source.file_name().empty() ? "input" : source.file_name();
    ReadObjectsOptions options;
    options.default_namespace = default_namespace.empty() ? directory_namespace : default_namespace;
    ReadObjectsResult read = ReadObjects(source.text(), file, options);
    input.errors.insert(input.errors.end(), read.errors.begin(), read.errors.end());
    if (read.objects.empty() && read.errors.empty()) {
      input.errors.push_back({file, 0, 0, "", "has no resource in it", false});
    }
    DocumentText parts(source.text());
    for (ReadObject& object : read.objects) {
      InputDocument document;
      document.api_version = object.api_version;
      document.key = object.key;
      document.object = object.object;
      input.errors.insert(input.errors.end(), object.errors.begin(), object.errors.end());
      if (document.object != nullptr) {
        document.text = TextOf(parts.body(parts.IndexOfLine(object.line)), *document.object,
                               directory_namespace);
        const std::string place = StrCat(file, ":", object.line);
        if (auto [it, first] = seen.emplace(*object.key, place); !first) {
          input.errors.push_back(object.object->ErrorAt(
              "", StrCat(object.key->ToString(), " is given twice, first at ", it->second)));
          document.object = nullptr;
        }
      }
      input.documents.push_back(std::move(document));
    }
  }
  return input;
}

pb::Diagnostic ToDiagnostic(const api::SourceError& error) {
  pb::Diagnostic out;
  out.set_severity(error.warning ? pb::Diagnostic::WARNING : pb::Diagnostic::ERROR);
  out.set_file(error.file);
  out.set_line(error.line);
  out.set_column(error.column);
  out.set_field_path(error.path);
  out.set_message(error.message);
  return out;
}

weft::meta::v1::ResourceRef ToRef(const std::string& api_version, const ObjectKey& key) {
  weft::meta::v1::ResourceRef ref;
  ref.set_api_version(api_version);
  ref.set_kind(key.kind);
  ref.set_namespace_(key.ns);
  ref.set_name(key.name);
  return ref;
}

google::protobuf::Timestamp ToTimestamp(std::chrono::system_clock::time_point time) {
  const auto ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  google::protobuf::Timestamp out;
  out.set_seconds(ns / 1000000000);
  out.set_nanos(static_cast<int32_t>(ns % 1000000000));
  return out;
}

pb::ProxyState ToProxyState(const xds::ConnectionStatus& connection) {
  pb::ProxyState out;
  out.set_node_id(connection.node_id);
  out.set_cluster(connection.cluster);
  out.set_peer_address(connection.peer);
  *out.mutable_connected_since() = ToTimestamp(connection.since);
  out.set_protocol(connection.protocol == xds::Protocol::kDelta
                       ? pb::ProxyState::DELTA
                       : pb::ProxyState::STATE_OF_THE_WORLD);
  out.set_client(connection.client);
  for (const xds::TypeStatus& type : connection.types) {
    pb::TypeState& state = *out.add_types();
    state.set_type_url(type.type_url);
    state.set_generated_version(type.generated_version);
    state.set_pushed_version(type.pushed_version);
    state.set_accepted_version(type.accepted_version);
    switch (type.state) {
      case xds::SyncState::kSynced: state.set_status(pb::TypeState::SYNCED); break;
      case xds::SyncState::kNotSent: state.set_status(pb::TypeState::NOT_SENT); break;
      case xds::SyncState::kStale: state.set_status(pb::TypeState::STALE); break;
      case xds::SyncState::kRefused: state.set_status(pb::TypeState::REFUSED); break;
    }
    state.set_reason(type.reason);
    state.set_subscribed(static_cast<uint32_t>(type.subscribed));
    state.set_resources(static_cast<uint32_t>(type.resources));
    for (const xds::Refusal& refusal : type.refused) {
      pb::RefusedResource& refused = *state.add_refused();
      refused.set_name(refusal.name);
      refused.set_version(refusal.version);
      refused.set_field_path(refusal.field_path);
      refused.set_reason(refusal.reason);
    }
    if (type.last_push) *state.mutable_last_push() = ToTimestamp(*type.last_push);
    if (type.last_answer) *state.mutable_last_answer() = ToTimestamp(*type.last_answer);
  }
  return out;
}

}  // namespace weft::ctl::admin
