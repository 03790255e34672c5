#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/yaml.h"
#include "controlplane/model/object.h"

namespace weft::ctl {

struct ReadObjectsOptions {
  std::string default_namespace = "default";
  uint32_t source = 0;
  uint32_t directory = 0;
};

// One document. Without a key it could not be told which object it is, or the text has the object already; with a key
// and without an object it has errors.
struct ReadObject {
  std::optional<ObjectKey> key;
  ObjectPtr object;
  std::string api_version;
  int line = 0;
  std::vector<api::SourceError> errors;  // and warnings, also of an object that is good
};

struct ReadObjectsResult {
  std::vector<ReadObject> objects;        // one a document, in order
  std::vector<api::SourceError> errors;   // that belong to no document (not YAML at all)
  // All documents that could be objects told which: what is missing here is not in the text.
  bool complete = true;
};

// Text of a file -> objects that are valid by themselves (model/validate.h). References are the engine's to check.
// Pure. Used by FileSource, and by whoever validates or applies text.
ReadObjectsResult ReadObjects(std::string_view text, const std::string& file, const ReadObjectsOptions& options = {});

// "VirtualService", "virtualservices", "vs" -> "VirtualService"; empty when unknown. KnownKinds for did-you-mean.
std::string CanonicalKind(std::string_view name);
const std::vector<std::string>& KnownKinds();

}  // namespace weft::ctl
