#include "controlplane/model/object.h"

#include <map>

#include "controlplane/model/hash.h"
#include "controlplane/model/serialize.h"

namespace weft::ctl {
namespace {

uint64_t HashMap(const google::protobuf::Map<std::string, std::string>& map, uint64_t hash) {
  for (const auto& [key, value] : std::map<std::string, std::string>(map.begin(), map.end())) {
    hash = StableHash(value, StableHash(key, hash));
  }
  return hash;
}

}  // namespace

api::SourceError Object::ErrorAt(std::string_view path, std::string message) const {
  if (document.has_value()) return document->ErrorAt(path, std::move(message));
  api::SourceError error;
  error.file = origin.file;
  error.line = origin.line;
  error.path = std::string(path);
  error.message = std::move(message);
  return error;
}

void StampContent(Object& object) {
  uint64_t hash = object.spec == nullptr ? 0 : StableHash(DeterministicBytes(*object.spec));
  hash = HashMap(object.meta.labels(), hash);
  object.content_hash = HashMap(object.meta.annotations(), hash + 1);
}

}  // namespace weft::ctl
