#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

// Looks up one header of a message. Implemented over http::HeaderMap by the data plane, over a plain map by tools and
// tests, so that deciders and formatters need to know neither.
// Owner: the caller, on its stack. Thread: the caller's.
class HeaderSource {
 public:
  virtual ~HeaderSource() = default;
  // `lower_case_name` is never a pseudo header. Several values of one name: joined with "," by the implementer, whose
  // answer has to stay alive as long as the message does.
  virtual std::optional<std::string_view> Get(std::string_view lower_case_name) const = 0;
};

// What a TLS connection tells of itself, by the second half of an operator's name. Implemented over net::TlsInfo by the
// data plane. Owner: the caller, on its stack. Thread: the caller's.
class TlsSource {
 public:
  enum class Value : uint8_t {
    kVersion,
    kCipher,
    kPeerUriSan,
    kPeerDnsSan,
    kPeerSubject,
    kPeerIssuer,
    kPeerSerial,
    kPeerFingerprint256,
    kPeerCert,
    kLocalUriSan,
    kLocalSubject,
  };
  virtual ~TlsSource() = default;
  // Several names: joined with ",". The answer has to stay alive as long as the fields do.
  virtual std::string_view Get(Value value) const = 0;
};

// What is known about one request and its response: the input of access-log formats and of %COMMAND%s in header values.
// All views are borrowed for the time of one call. An empty view or a negative number is "unknown" ("-" in a log).
// Owner: the caller, on its stack. Thread: the caller's.
struct StreamFields {
  int64_t start_wall_micros = 0;           // since the epoch
  // Nanoseconds since the start of the request; -1: has not happened.
  int64_t request_end_nanos = -1;          // last byte of the request was read
  int64_t response_first_byte_nanos = -1;  // first byte of the upstream's answer was read
  int64_t response_end_nanos = -1;         // last byte was sent downstream
  int64_t duration_nanos = -1;             // the stream ended

  std::string_view method, path, scheme, authority;  // of the request; path with query
  std::string_view protocol;                         // "HTTP/1.1"
  const HeaderSource* request_headers = nullptr;
  const HeaderSource* response_headers = nullptr;
  const HeaderSource* response_trailers = nullptr;

  int response_code = 0;                   // 0: no answer was sent
  int grpc_status = -1;                    // -1: not a gRPC call, or unknown
  std::string_view response_code_details;
  uint64_t response_flags = 0;             // set of ResponseFlag
  uint64_t bytes_received = 0, bytes_sent = 0;
  std::string_view connection_termination_details;

  // Addresses as "127.0.0.1:80" or "[::1]:80".
  std::string_view downstream_remote_address, downstream_local_address;
  std::string_view downstream_direct_remote_address;  // empty: the same as downstream_remote_address
  std::string_view upstream_host, upstream_local_address;
  std::string_view upstream_cluster, upstream_transport_failure_reason;
  uint32_t upstream_attempts = 0;

  std::string_view route_name, virtual_host_name, requested_server_name;
  uint64_t connection_id = 0, stream_id = 0;

  // Null: a plain connection, or none.
  const TlsSource* downstream_tls = nullptr;
  const TlsSource* upstream_tls = nullptr;
};

}  // namespace weft
