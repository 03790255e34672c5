#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/base/substitution/stream_fields.h"

namespace weft {

// How a compiled format writes values.
enum class FormatStyle : uint8_t {
  kLog,     // unknown = "-"; control characters, '"' and '\' in what a peer sent are escaped, so that no peer can
            // forge a log line
  kHeader,  // unknown = nothing; bytes as they are, without line breaks and NUL
};

// A text with %COMMAND%s, compiled once to a list of steps (Envoy docs: access_log/usage "Command operators").
// Shared by access logs (observe) and header values in routes and filters (decide).
// Owner: the log or the route that it belongs to. Thread: immutable after Compile, any.
class Format {
 public:
  Format() = default;  // empty text

  // An unknown or malformed command is an error that names it and its position.
  static absl::StatusOr<Format> Compile(std::string_view text);

  // Appends to `out`; allocates nothing but what `out` needs to grow.
  void Append(const StreamFields& fields, FormatStyle style, std::string* out) const;

  // No command in it: `literal()` is the whole value.
  bool is_literal() const { return steps_.empty() || (steps_.size() == 1 && steps_[0].command == Command::kLiteral); }
  // The fixed text (which may come from the environment) holds a line break or NUL: not fit for a header.
  bool has_line_break() const;
  std::string_view literal() const { return steps_.empty() ? std::string_view() : steps_[0].text; }

 private:
  enum class Command : uint8_t {
    kLiteral,
    kStartTime,
    kRequestHeader,
    kResponseHeader,
    kTrailer,
    kProtocol,
    kResponseCode,
    kResponseCodeDetails,
    kGrpcStatus,
    kConnectionTerminationDetails,
    kResponseFlags,
    kResponseFlagsLong,
    kBytesReceived,
    kBytesSent,
    kDuration,
    kRequestDuration,
    kResponseDuration,
    kResponseTxDuration,
    kUpstreamHost,
    kUpstreamCluster,
    kUpstreamLocalAddress,
    kUpstreamTransportFailureReason,
    kUpstreamRequestAttemptCount,
    kDownstreamRemoteAddress,
    kDownstreamRemoteAddressWithoutPort,
    kDownstreamRemotePort,
    kDownstreamDirectRemoteAddress,
    kDownstreamDirectRemoteAddressWithoutPort,
    kDownstreamLocalAddress,
    kDownstreamLocalAddressWithoutPort,
    kDownstreamLocalPort,
    kRouteName,
    kVirtualHostName,
    kRequestedServerName,
    kConnectionId,
    kStreamId,
    kDownstreamTls,  // Step::tls says what
    kUpstreamTls,
    kHostname,     // becomes kLiteral while compiling
    kEnvironment,  // the same
  };
  enum class Argument : uint8_t { kNone, kOptional, kRequired };
  struct Definition {
    std::string_view name;
    Command command;
    Argument argument;
    TlsSource::Value tls = TlsSource::Value::kVersion;
  };
  // A piece of a START_TIME argument: strftime text, or `digits` of the second's fraction, or seconds since the epoch.
  struct TimePiece {
    enum Kind : uint8_t { kStrftime, kFraction, kEpochSeconds } kind;
    uint8_t digits = 0;
    std::string text;
  };
  struct Step {
    Command command = Command::kLiteral;
    TlsSource::Value tls = TlsSource::Value::kVersion;
    uint32_t max_length = 0;  // 0: no limit
    std::string text;         // literal, or lower-case header name
    std::string alternative;  // header to take when the first is absent
    std::vector<TimePiece> time;
  };

  static const Definition* Find(std::string_view name);
  static std::string KnownCommands();
  static absl::Status ParseTime(std::string_view spec, std::vector<TimePiece>* out);
  static absl::Status ParseHeaderNames(std::string_view argument, Step* step);
  static absl::StatusOr<Step> ParseCommand(std::string_view text, size_t* at);
  void AddLiteral(std::string_view text);
  static void AppendStep(const Step& step, const StreamFields& fields, FormatStyle style, std::string* out);
  static void AppendTime(const std::vector<TimePiece>& pieces, int64_t wall_micros, std::string* out);

  std::vector<Step> steps_;
};

// Envoy's default access-log format, including the newline at the end.
extern const char kDefaultAccessLogFormat[];

// "127.0.0.1:80" -> "127.0.0.1", "[::1]:80" -> "::1"; anything else comes back as it is.
std::string_view WithoutPort(std::string_view address);
// "127.0.0.1:80" -> "80"; empty when there is none.
std::string_view PortOf(std::string_view address);

}  // namespace weft
