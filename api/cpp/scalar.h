// What an unquoted scalar means, and the text forms of numbers, durations and times. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::api {

// How YAML 1.1 readers (Kubernetes, Envoy) understand a scalar without quotes.
enum class Plain { kNull, kBool, kInt, kFloat, kString };
Plain ResolvePlain(std::string_view text);

// true, yes, on, y and their opposites, in lower, upper or title case.
std::optional<bool> ParsePlainBool(std::string_view text);

// An integer as sign and magnitude. Decimal, 0x1f, 0o17, 0b1; also 5.0 and 1e3 when whole.
struct Integer {
  bool negative = false;
  uint64_t magnitude = 0;
};
enum class IntegerResult {
  kOk,
  kNotANumber,
  kNotWhole,    // 1.5
  kTooLarge,    // does not fit 64 bits
  kAmbiguous,   // 0644: octal to YAML 1.1, decimal to YAML 1.2
  kUnderscore,  // 1_000
};
IntegerResult ParseInteger(std::string_view text, Integer* out);

// Decimal numbers, NaN, Infinity, -Infinity, .nan, .inf. Nothing when it is no number; an overflow is an infinity.
std::optional<double> ParseDouble(std::string_view text);
// Shortest decimal that reads back as the same value. NaN, Infinity, -Infinity.
std::string FormatDouble(double value);
std::string FormatFloat(float value);

struct SecondsAndNanos {
  int64_t seconds = 0;
  int32_t nanos = 0;  // same sign as seconds
  bool operator==(const SecondsAndNanos&) const = default;
};
// Largest magnitude of google.protobuf.Duration: 10,000 years.
inline constexpr int64_t kMaxDurationSeconds = 315'576'000'000;

// "3s", "-0.25s", up to 9 decimals (protobuf's JSON mapping).
std::optional<SecondsAndNanos> ParseProtoDuration(std::string_view text);
// "1h30m", "100ms", "-1.5h", "0" (Go's time.ParseDuration); parts of a nanosecond are cut off.
std::optional<SecondsAndNanos> ParseGoDuration(std::string_view text);
// "3s", "0.250s": 0, 3, 6 or 9 decimals.
std::string FormatDuration(SecondsAndNanos value);

// Years 1 to 9999, the range of google.protobuf.Timestamp.
inline constexpr int64_t kFirstTimestamp = -62'135'596'800;
inline constexpr int64_t kLastTimestamp = 253'402'300'799;
// RFC 3339: "2024-05-01T10:00:00.5Z", with an offset as well.
std::optional<SecondsAndNanos> ParseTimestamp(std::string_view text);  // nanos >= 0
std::string FormatTimestamp(SecondsAndNanos value);

// Text in double quotes with escapes that both JSON and YAML read; bytes that are not UTF-8 become U+FFFD.
std::string Quote(std::string_view text);
// The same, cut to about `limit` characters, for messages.
std::string QuoteShort(std::string_view text, size_t limit = 40);

}  // namespace weft::api
