// YAML and JSON text to protocol buffer messages, with the place of each mistake.
//
// One way in for every file that a person writes: Envoy bootstrap files, Istio resources, mesh files. The text is read by
// libyaml (JSON is read as the YAML that it is) into a flat tape of nodes with positions; a reflection walker then reads
// the tape into any generated message. Rules: README.md in the folder above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace weft::api {

namespace internal {
struct Tape;
}

// A mistake in a text, and where: `mesh.yaml:12:9: spec.http[0].route[1].weight: expected a number, got "ten"`.
struct SourceError {
  std::string file;
  int line = 0;  // 1-based; 0: the file as a whole
  int column = 0;
  std::string path;  // field path as written in the file; may be empty
  std::string message;
  bool warning = false;

  std::string ToString() const;
};

// All of them, one a line.
std::string ToString(const std::vector<SourceError>& errors);
// Whether one of them is not a warning.
bool HasError(const std::vector<SourceError>& errors);

enum class UnknownFields {
  kRefuse,
  kWarn,  // for text of newer versions and of other tools (Kubernetes' metadata)
};

enum class DurationStyle {
  kProtoJson,  // "0.25s": Envoy
  kGo,         // "100ms", "1h30m", "0.25s": Istio
};

struct ReadOptions {
  UnknownFields unknown = UnknownFields::kRefuse;
  DurationStyle durations = DurationStyle::kProtoJson;
};

// One YAML or JSON document. Cheap to copy: copies share one immutable tape.
//
// Owner: whoever parsed it. Thread: any, also several at a time. Destroyed when: the last copy goes.
//
// Paths are written as in errors: `spec.http[0].match`, `metadata.labels["app.kubernetes.io/name"]`. A key is looked up as
// written, then without regard to case and underscores, so that `traffic_policy` finds `trafficPolicy`.
class Document {
 public:
  std::string_view file() const;
  int line() const;  // of its first node
  int column() const;

  // The scalar at the path as text, unquoted; nothing when it is absent, null or not a scalar.
  std::optional<std::string> ScalarAt(std::string_view path) const;

  // Reads the document, or what is at `key` ("" is the whole), into `out`, which is cleared first. All errors are
  // collected (at most 100); true when none of them is of error severity. An absent or null `key` leaves `out` empty.
  // Well-known types have their JSON forms; `google.protobuf.Any` is a mapping with "@type" whose message type must be
  // linked into the program (generated pool).
  bool ReadInto(google::protobuf::Message* out, const ReadOptions& options, std::vector<SourceError>* errors,
                std::string_view key = "") const;

  // Keys of the top mapping in the order of the file; empty when the document is not a mapping.
  std::vector<std::string> Keys() const;

  // An error that points at the node at `path`, or at the nearest ancestor that the file has. A path into an Any or a
  // map works as well. The path is reported as given.
  SourceError ErrorAt(std::string_view path, std::string message) const;

 private:
  friend class DocumentBuilder;
  std::shared_ptr<const internal::Tape> tape_;
};

struct ParseLimits {
  size_t max_bytes = 64u << 20;
  int max_depth = 100;              // of nesting
  size_t max_nodes = 4u << 20;      // keys and values in the whole text
  size_t max_alias_nodes = 65536;   // of those, nodes that aliases (*name) repeat
};

// Splits a text into documents. A document with a mistake in its syntax is reported and left out, the others are
// returned; so are, left out, documents with a key twice at the top, merge keys (<<), keys that are no scalars, and
// tags other than YAML's own. Empty documents are skipped. Repeated keys further down are errors of ReadInto.
std::vector<Document> ParseDocuments(std::string_view text, std::string file, std::vector<SourceError>* errors,
                                     const ParseLimits& limits = {});

}  // namespace weft::api
