#include "dataplane/config/grpc_framing.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "dataplane/base/strings.h"

namespace weft::config {

std::string_view GrpcCodeName(GrpcCode code) {
  static constexpr std::string_view kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",   "NOT_FOUND",
      "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
      "UNIMPLEMENTED",  "INTERNAL",  "UNAVAILABLE",       "DATA_LOSS",          "UNAUTHENTICATED"};
  size_t i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : "UNKNOWN";
}

std::string GrpcStatus::ToString() const {
  return message.empty() ? std::string(GrpcCodeName(code)) : StrCat(GrpcCodeName(code), ": ", message);
}

GrpcCode GrpcCodeOfHttpStatus(int status) {
  switch (status) {
    case 400: return GrpcCode::kInternal;
    case 401: return GrpcCode::kUnauthenticated;
    case 403: return GrpcCode::kPermissionDenied;
    case 404: return GrpcCode::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return GrpcCode::kUnavailable;
    default: return GrpcCode::kUnknown;
  }
}

std::string PercentDecode(std::string_view s) {
  auto hex = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '%' && i + 2 < s.size() && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex(s[i + 1]) * 16 + hex(s[i + 2])));
      i += 2;
    } else {
      out.push_back(s[i]);
    }
  }
  return out;
}

GrpcStatus ParseGrpcStatus(std::string_view code, std::string_view message) {
  int n = -1;
  auto [end, ec] = std::from_chars(code.data(), code.data() + code.size(), n);
  if (ec != std::errc() || end != code.data() + code.size() || n < 0 || n > 16) {
    return {GrpcCode::kUnknown, StrCat("peer sent grpc-status \"", code, "\": ", PercentDecode(message))};
  }
  return {static_cast<GrpcCode>(n), PercentDecode(message)};
}

void WriteGrpcHeader(uint32_t length, char out[GrpcDecoder::kHeaderBytes]) {
  out[0] = 0;
  for (int i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(length >> (24 - 8 * i));
}

GrpcStatus GrpcDecoder::Decode(buffer::SliceBuffer& in, std::vector<std::string>* out) {
  for (size_t i = 0; i < in.slice_count() && failed_.ok(); ++i) failed_ = DecodePiece(in.slice(i).view(), out);
  in.Clear();
  return failed_;
}

GrpcStatus GrpcDecoder::DecodePiece(std::string_view piece, std::vector<std::string>* out) {
  while (!piece.empty() || (in_message_ && message_.size() == length_)) {
    if (!in_message_) {
      size_t n = std::min(piece.size(), kHeaderBytes - header_size_);
      std::copy_n(piece.begin(), n, header_ + header_size_);
      header_size_ = static_cast<uint8_t>(header_size_ + n);
      piece.remove_prefix(n);
      if (header_size_ < kHeaderBytes) break;
      if (header_[0] != 0) {
        return {GrpcCode::kInternal, header_[0] == 1 ? "peer sent a compressed message although none was asked for"
                                                     : "peer sent a message with reserved flags"};
      }
      length_ = 0;
      for (int i = 1; i < 5; ++i) length_ = length_ << 8 | static_cast<unsigned char>(header_[i]);
      if (length_ > max_) {
        return {GrpcCode::kResourceExhausted,
                StrCat("peer sent a message of ", length_, " bytes; the limit is ", max_)};
      }
      in_message_ = true;
    }
    size_t n = std::min(piece.size(), length_ - message_.size());
    message_.append(piece.substr(0, n));
    piece.remove_prefix(n);
    if (message_.size() < length_) break;
    out->push_back(std::move(message_));
    message_ = std::string();
    in_message_ = false;
    header_size_ = 0;
  }
  return {};
}

}  // namespace weft::config
