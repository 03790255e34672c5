#pragma once

#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/decide/route_table.h"
#include "google/protobuf/text_format.h"

namespace weft::decide {

// Headers from a map.
class MapHeaders : public HeaderSource {
 public:
  MapHeaders() = default;
  MapHeaders(std::initializer_list<std::pair<const std::string, std::string>> h) : headers_(h) {}
  std::optional<std::string_view> Get(std::string_view name) const override {
    auto it = headers_.find(name);
    if (it == headers_.end()) return std::nullopt;
    return it->second;
  }

 private:
  std::map<std::string, std::string, std::less<>> headers_;
};

template <typename Proto>
Proto FromText(const std::string& text) {
  Proto proto;
  if (!google::protobuf::TextFormat::ParseFromString(text, &proto)) {
    std::cerr << "not a " << proto.GetTypeName() << ": " << text << std::endl;
    std::abort();
  }
  return proto;
}

// Errors and warnings as "path: message" lines.
inline std::string Lines(const std::vector<api::SourceError>& errors) {
  std::string out;
  for (const api::SourceError& e : errors) {
    out += (e.warning ? "warning: " : "") + e.path + ": " + e.message + "\n";
  }
  return out;
}

inline std::shared_ptr<const RouteTable> CompileText(const std::string& text) {
  std::vector<api::SourceError> errors;
  auto table = RouteTable::Compile(FromText<envoy::config::route::v3::RouteConfiguration>(text), &errors);
  if (table == nullptr) std::cerr << Lines(errors) << std::endl;
  return table;
}

}  // namespace weft::decide
