#include "controlplane/ingest/read.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include "api/cpp/suggest.h"
#include "controlplane/model/convert.h"
#include "controlplane/model/validate.h"
#include "dataplane/base/strings.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/service_entry.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "istio/networking/v1alpha3/workload_entry.pb.h"

namespace weft::ctl {
namespace {

namespace istio = ::istio::networking::v1alpha3;

const std::vector<std::string>& ApiVersions() {
  static const auto& versions = *new std::vector<std::string>{
      "networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"};
  return versions;
}

std::shared_ptr<google::protobuf::Message> NewSpec(const std::string& kind) {
  if (kind == kServiceEntry) return std::make_shared<istio::ServiceEntry>();
  if (kind == kWorkloadEntry) return std::make_shared<istio::WorkloadEntry>();
  if (kind == kVirtualService) return std::make_shared<istio::VirtualService>();
  if (kind == kDestinationRule) return std::make_shared<istio::DestinationRule>();
  return nullptr;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = api::Nearest(word, candidates);
  if (!nearest.empty()) return StrCat("; did you mean \"", nearest, "\"?");
  std::string all;
  for (const std::string& candidate : candidates) StrAppend(&all, all.empty() ? "" : ", ", candidate);
  return StrCat("; known are ", all);
}

// apiVersion and kind. Empty kind: not one of ours, and reported.
std::string ReadKind(const api::Document& document, ReadObject& out) {
  const auto kind = document.ScalarAt("kind");
  const auto version = document.ScalarAt("apiVersion");
  if (document.Keys().empty()) {
    out.errors.push_back(document.ErrorAt("", "expected a resource: a mapping with apiVersion, kind, metadata and spec"));
    return "";
  }
  if (!version.has_value()) {
    out.errors.push_back(document.ErrorAt("apiVersion", "apiVersion is required (\"networking.istio.io/v1\")"));
  }
  if (!kind.has_value()) out.errors.push_back(document.ErrorAt("kind", "kind is required (\"VirtualService\", ...)"));
  if (!version.has_value() || !kind.has_value()) return "";

  out.api_version = *version;
  const auto& kinds = KnownKinds();
  const bool known_kind = std::find(kinds.begin(), kinds.end(), *kind) != kinds.end();
  const auto& versions = ApiVersions();
  if (std::find(versions.begin(), versions.end(), *version) == versions.end()) {
    // A resource of somebody else, as in a file of many; or one of ours with a wrong version.
    const bool ours = version->starts_with("networking.istio.io") || known_kind;
    out.errors.push_back(document.ErrorAt(
        "apiVersion", StrCat("\"", *version, "\" is not supported by this version",
                             ours ? DidYouMean(*version, versions) : "; known are the versions of networking.istio.io")));
    return "";
  }
  if (!known_kind) {
    out.errors.push_back(
        document.ErrorAt("kind", StrCat("\"", *kind, "\" is not supported by this version", DidYouMean(*kind, kinds))));
    return "";
  }
  return *kind;
}

void CheckTopKeys(const api::Document& document, std::vector<api::SourceError>& errors) {
  static const auto& known = *new std::vector<std::string>{"apiVersion", "kind", "metadata", "spec", "status"};
  for (const std::string& key : document.Keys()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    errors.push_back(document.ErrorAt(key, StrCat("unknown field \"", key, "\"", DidYouMean(key, known))));
  }
}

ReadObject ReadOne(const api::Document& document, const std::string& file, const ReadObjectsOptions& options) {
  ReadObject out;
  out.line = document.line();
  const std::string kind = ReadKind(document, out);
  if (kind.empty()) return out;

  auto object = std::make_shared<Object>();
  // What other tools keep in metadata (managedFields) does no harm.
  document.ReadInto(&object->meta, {.unknown = api::UnknownFields::kWarn, .durations = api::DurationStyle::kGo},
                    &out.errors, "metadata");
  if (object->meta.namespace_().empty()) object->meta.set_namespace_(options.default_namespace);
  object->key = {kind, object->meta.namespace_(), object->meta.name()};
  if (object->key.name.empty()) {
    out.errors.push_back(document.ErrorAt("metadata.name", "metadata.name is required"));
    return out;
  }
  out.key = object->key;
  CheckTopKeys(document, out.errors);

  auto spec = NewSpec(kind);
  const bool read = document.ReadInto(
      spec.get(), {.unknown = api::UnknownFields::kRefuse, .durations = api::DurationStyle::kGo}, &out.errors, "spec");
  // Rules make sense only for what could be read: a number that was not one would be reported as missing.
  if (read) {
    for (FieldIssue& issue : ValidateObject(object->key, *spec)) {
      api::SourceError error = document.ErrorAt(issue.path, std::move(issue.message));
      error.warning = issue.warning;
      out.errors.push_back(std::move(error));
    }
  }
  if (api::HasError(out.errors)) return out;

  object->api_version = out.api_version;
  object->spec = std::move(spec);
  object->origin = {options.source, options.directory, file, document.line()};
  if (kind == kVirtualService || kind == kDestinationRule) object->document = document;
  StampContent(*object);
  out.object = std::move(object);
  return out;
}

}  // namespace

const std::vector<std::string>& KnownKinds() {
  static const auto& kinds =
      *new std::vector<std::string>{kDestinationRule, kServiceEntry, kVirtualService, kWorkloadEntry};
  return kinds;
}

std::string CanonicalKind(std::string_view name) {
  static const auto& names = *new std::map<std::string, std::string, std::less<>>{
      {"destinationrule", kDestinationRule}, {"destinationrules", kDestinationRule}, {"dr", kDestinationRule},
      {"serviceentry", kServiceEntry},       {"serviceentries", kServiceEntry},      {"se", kServiceEntry},
      {"virtualservice", kVirtualService},   {"virtualservices", kVirtualService},   {"vs", kVirtualService},
      {"workloadentry", kWorkloadEntry},     {"workloadentries", kWorkloadEntry},    {"we", kWorkloadEntry},
  };
  auto it = names.find(AsciiLower(name));
  return it == names.end() ? "" : it->second;
}

ReadObjectsResult ReadObjects(std::string_view text, const std::string& file, const ReadObjectsOptions& options) {
  ReadObjectsResult out;
  const std::vector<api::Document> documents = api::ParseDocuments(text, file, &out.errors);
  out.complete = !api::HasError(out.errors);
  std::map<ObjectKey, int> lines;
  for (const api::Document& document : documents) {
    ReadObject read = ReadOne(document, file, options);
    if (!read.key.has_value()) {
      out.complete = false;
    } else if (auto [it, first] = lines.emplace(*read.key, read.line); !first) {
      read.object = nullptr;
      read.errors.push_back(document.ErrorAt(
          "metadata.name", StrCat(read.key->ToString(), " is in this file twice, first at line ", it->second,
                                  ": that one is used")));
      read.key.reset();
    }
    out.objects.push_back(std::move(read));
  }
  return out;
}

}  // namespace weft::ctl
