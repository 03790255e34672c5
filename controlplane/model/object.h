#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/cpp/yaml.h"
#include "google/protobuf/message.h"
#include "weft/meta/v1/meta.pb.h"

namespace weft::ctl {

// Which object: the same in every version of it. `kind` is the resource's, "VirtualService".
struct ObjectKey {
  std::string kind;
  std::string ns;
  std::string name;

  std::string ToString() const { return kind + " " + ns + "/" + name; }
  auto operator<=>(const ObjectKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ObjectKey& k) {
    return H::combine(std::move(h), k.kind, k.ns, k.name);
  }
};

// Where an object is written. Its order is the precedence among objects with the same key: the least one is in effect.
// Sources rank as they were added to the engine, directories as they were named, files by path, documents by line.
struct Origin {
  uint32_t source = 0;
  uint32_t directory = 0;
  std::string file;  // empty for a source that has no files
  int line = 0;

  std::string ToString() const { return file.empty() ? "" : file + ":" + std::to_string(line); }
  auto operator<=>(const Origin&) const = default;
};

// One version of one object that a person or a registry wrote.
// Owner: shared by whoever uses the version. Thread: immutable, any.
struct Object {
  ObjectKey key;
  std::string api_version;  // "networking.istio.io/v1"
  weft::meta::v1::ObjectMeta meta;
  std::shared_ptr<const google::protobuf::Message> spec;  // istio::networking::v1alpha3::<kind>
  Origin origin;
  // Hash of spec, labels and annotations: equal versions say the same, wherever they are written. StampContent sets it.
  uint64_t content_hash = 0;
  // Grows by one with each different content of the key; resource_version is the configuration generation that
  // brought it. Both are 0 until the engine has taken the object in.
  int64_t generation = 0;
  uint64_t resource_version = 0;
  // Kept for kinds that refer to others, so that a wrong reference can be pointed at.
  std::optional<api::Document> document;

  template <typename T>
  const T& SpecAs() const {
    return static_cast<const T&>(*spec);
  }
  // An error at that field ("spec.http[0].route[1]"), or at the object's first line.
  api::SourceError ErrorAt(std::string_view path, std::string message) const;
};
void StampContent(Object& object);
using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace weft::ctl
