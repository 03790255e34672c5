// Protocol buffer messages to JSON and YAML text.
//
// Written for robustness on what comes over the wire: an Any of a type that is not linked in is printed as its bytes, an
// enum value without a name as its number, text that is not UTF-8 with U+FFFD; printing never fails.
#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace weft::api {

struct PrintOptions {
  bool pretty = true;                // JSON only: one field a line, two spaces
  bool proto_field_names = false;    // snake_case (Envoy's files) instead of camelCase (JSON mapping, Istio's files)
  bool always_print = false;         // fields without presence also when they have their default, empty lists and maps
};

// protobuf's JSON mapping (64-bit integers are strings, bytes base64, Duration "1.5s", Any with "@type"). Fields in the
// order of the .proto, map entries sorted by key: equal messages give equal text.
std::string MessageToJson(const google::protobuf::Message& message, const PrintOptions& options = {});

// The same as YAML in block style; reads back to the same message. Ends with a newline.
std::string MessageToYaml(const google::protobuf::Message& message, const PrintOptions& options = {});

// A resource document: apiVersion, kind, metadata, spec.
std::string ResourceToYaml(std::string_view api_version, std::string_view kind, const google::protobuf::Message& metadata,
                           const google::protobuf::Message& spec, const PrintOptions& options = {});
std::string ResourceToJson(std::string_view api_version, std::string_view kind, const google::protobuf::Message& metadata,
                           const google::protobuf::Message& spec, const PrintOptions& options = {});

}  // namespace weft::api
