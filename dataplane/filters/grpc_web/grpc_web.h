#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "dataplane/proxy/exchange.h"

namespace weft::filters {

// envoy.filters.http.grpc_web: gRPC for programs that can't read trailers (browsers); README.md.
// Owner: the manager's specification, shared. Thread: any.
class GrpcWebFilter final : public proxy::FilterFactory {
 public:
  explicit GrpcWebFilter(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  std::unique_ptr<proxy::Filter> Create() const override;

 private:
  const std::string name_;
};

// Base64 in pieces (RFC 4648 section 4). A group may be padded and another may follow, as clients
// send that encode each message for itself.
class Base64Decoder {
 public:
  // Appends what the bytes stand for. False when they are not base64.
  bool Decode(std::string_view in, std::string* out);
  // Whether the text may end here.
  bool complete() const { return count_ == 0; }

 private:
  uint32_t bits_ = 0;
  uint8_t count_ = 0;   // characters of the group so far, padding included
  uint8_t padding_ = 0;
};

void AppendBase64(std::string_view in, std::string* out);

}  // namespace weft::filters
