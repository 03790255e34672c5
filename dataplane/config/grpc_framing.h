#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/buffer/slice_buffer.h"

namespace weft::config {

// gRPC status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
enum class GrpcCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
std::string_view GrpcCodeName(GrpcCode code);  // "UNAVAILABLE"

struct GrpcStatus {
  GrpcCode code = GrpcCode::kOk;
  std::string message;
  bool ok() const { return code == GrpcCode::kOk; }
  std::string ToString() const;  // "UNAVAILABLE: connection refused"
};

// What an answer without a grpc-status means (gRPC's doc/http-grpc-status-mapping.md).
GrpcCode GrpcCodeOfHttpStatus(int status);
// "grpc-status" and the percent-encoded "grpc-message" of trailers; a code that is no number is UNKNOWN.
GrpcStatus ParseGrpcStatus(std::string_view code, std::string_view message);
std::string PercentDecode(std::string_view s);

// Splits body bytes into messages: a flag byte, four bytes of length, the message, again and again. Compression is not
// asked for and therefore refused. A message takes memory as it arrives, never because its length was announced.
// Owner: a gRPC stream. Thread: the loop's.
class GrpcDecoder {
 public:
  static constexpr size_t kHeaderBytes = 5;
  explicit GrpcDecoder(size_t max_message_bytes) : max_(max_message_bytes) {}

  // Consumes `in`. Complete messages are appended to `out`. Not OK: the stream is broken, and stays so.
  GrpcStatus Decode(buffer::SliceBuffer& in, std::vector<std::string>* out);
  // Whether the bytes so far end at the end of a message.
  bool at_boundary() const { return header_size_ == 0 && !in_message_; }
  size_t buffered() const { return message_.size(); }

 private:
  GrpcStatus DecodePiece(std::string_view piece, std::vector<std::string>* out);

  const size_t max_;
  char header_[kHeaderBytes];
  uint8_t header_size_ = 0;
  bool in_message_ = false;
  size_t length_ = 0;
  std::string message_;
  GrpcStatus failed_;
};

// The five bytes before a message of that length.
void WriteGrpcHeader(uint32_t length, char out[GrpcDecoder::kHeaderBytes]);

}  // namespace weft::config
