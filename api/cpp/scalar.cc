#include "api/cpp/scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "dataplane/base/strings.h"

namespace weft::api {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; }

// `value` in decimal with zeros in front up to `width`.
std::string Padded(int64_t value, size_t width) {
  std::string digits = StrCat(value);
  return digits.size() >= width ? digits : std::string(width - digits.size(), '0') + digits;
}

// lower, Title or UPPER case of `word` (given in lower case): YAML 1.1 takes these and no other mixture.
bool IsWord(std::string_view text, std::string_view word) {
  if (text.size() != word.size()) return false;
  if (text == word) return true;
  bool upper = true, title = true;
  for (size_t i = 0; i < word.size(); ++i) {
    const char up = Upper(word[i]);
    upper &= text[i] == up;
    title &= text[i] == (i == 0 ? up : word[i]);
  }
  return upper || title;
}

bool IsNull(std::string_view text) { return text.empty() || text == "~" || IsWord(text, "null"); }

std::string_view WithoutSign(std::string_view text, bool* negative) {
  *negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    *negative = text[0] == '-';
    text.remove_prefix(1);
  }
  return text;
}

// Base of 0x1f, 0o17, 0b1; the prefix is cut off. 10 without a prefix.
int TakeBase(std::string_view* digits) {
  if (digits->size() > 2 && (*digits)[0] == '0') {
    const int base = (*digits)[1] == 'x' ? 16 : (*digits)[1] == 'o' ? 8 : (*digits)[1] == 'b' ? 2 : 10;
    if (base != 10) digits->remove_prefix(2);
    return base;
  }
  return 10;
}

bool IsDigitOfBase(char c, int base) {
  if (base == 16) return IsHexDigit(c);
  return c >= '0' && c < '0' + base;
}

// Digits, in which '_' may stand between.
bool IsInteger(std::string_view text) {
  bool negative;
  std::string_view digits = WithoutSign(text, &negative);
  const int base = TakeBase(&digits);
  if (digits.empty() || !IsDigitOfBase(digits[0], base)) return false;
  return std::all_of(digits.begin(), digits.end(), [base](char c) { return c == '_' || IsDigitOfBase(c, base); });
}

// Decimal with a point or an exponent, or both: 1.5, .5, 5., 1e3.
bool IsDecimalFloat(std::string_view text) {
  bool negative;
  std::string_view rest = WithoutSign(text, &negative);
  size_t i = 0, digits = 0;
  bool point = false, exponent = false;
  while (i < rest.size() && IsDigit(rest[i])) ++i, ++digits;
  if (i < rest.size() && rest[i] == '.') {
    point = true;
    ++i;
    while (i < rest.size() && IsDigit(rest[i])) ++i, ++digits;
  }
  if (digits == 0) return false;
  if (i < rest.size() && (rest[i] == 'e' || rest[i] == 'E')) {
    exponent = true;
    ++i;
    if (i < rest.size() && (rest[i] == '-' || rest[i] == '+')) ++i;
    const size_t first = i;
    while (i < rest.size() && IsDigit(rest[i])) ++i;
    if (i == first) return false;
  }
  return i == rest.size() && (point || exponent);
}

bool IsSpecialFloat(std::string_view text) {
  bool negative;
  std::string_view rest = WithoutSign(text, &negative);
  if (rest == ".inf" || rest == ".Inf" || rest == ".INF") return true;
  return text == ".nan" || text == ".NaN" || text == ".NAN";
}

}  // namespace

std::optional<bool> ParsePlainBool(std::string_view text) {
  for (std::string_view word : {"true", "yes", "on", "y"}) {
    if (IsWord(text, word)) return true;
  }
  for (std::string_view word : {"false", "no", "off", "n"}) {
    if (IsWord(text, word)) return false;
  }
  return std::nullopt;
}

Plain ResolvePlain(std::string_view text) {
  if (IsNull(text)) return Plain::kNull;
  if (ParsePlainBool(text)) return Plain::kBool;
  if (IsInteger(text)) return Plain::kInt;
  if (IsDecimalFloat(text) || IsSpecialFloat(text)) return Plain::kFloat;
  return Plain::kString;
}

IntegerResult ParseInteger(std::string_view text, Integer* out) {
  std::string_view digits = WithoutSign(text, &out->negative);
  out->magnitude = 0;
  if (IsInteger(text)) {
    const int base = TakeBase(&digits);
    if (digits.find('_') != std::string_view::npos) return IntegerResult::kUnderscore;
    if (base == 10 && digits.size() > 1 && digits[0] == '0') return IntegerResult::kAmbiguous;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out->magnitude, base);
    if (error == std::errc::result_out_of_range) return IntegerResult::kTooLarge;
    if (error != std::errc() || end != digits.data() + digits.size()) return IntegerResult::kNotANumber;
    return IntegerResult::kOk;
  }
  if (!IsDecimalFloat(text)) return IsSpecialFloat(text) ? IntegerResult::kNotWhole : IntegerResult::kNotANumber;
  // protobuf's JSON mapping takes 5.0 and 1e3 for integers. Above 2^53 a double no longer tells neighbours apart.
  const std::optional<double> value = ParseDouble(digits);
  if (!value.has_value()) return IntegerResult::kNotANumber;
  if (*value > 9007199254740992.0) return IntegerResult::kTooLarge;
  if (*value != std::floor(*value)) return IntegerResult::kNotWhole;
  out->magnitude = static_cast<uint64_t>(*value);
  return IntegerResult::kOk;
}

std::optional<double> ParseDouble(std::string_view text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  bool negative;
  const std::string_view rest = WithoutSign(text, &negative);
  if (IsSpecialFloat(text)) {
    if (EqualsIgnoreCase(rest, ".nan")) return std::numeric_limits<double>::quiet_NaN();
    return negative ? -kInfinity : kInfinity;
  }
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return kInfinity;
  if (text == "-Infinity") return -kInfinity;
  if (!IsDecimalFloat(text)) {
    Integer integer;
    const IntegerResult result = ParseInteger(text, &integer);
    if (result == IntegerResult::kOk && !std::all_of(rest.begin(), rest.end(), IsDigit)) {
      const double value = static_cast<double>(integer.magnitude);  // 0x1f
      return negative ? -value : value;
    }
    if (result != IntegerResult::kOk && result != IntegerResult::kTooLarge) return std::nullopt;
    if (!std::all_of(rest.begin(), rest.end(), IsDigit)) return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error == std::errc::result_out_of_range) {
    value = std::strtod(std::string(rest).c_str(), nullptr);  // tells too large (infinite) from too small (0)
  } else if (error != std::errc() || end != rest.data() + rest.size()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

namespace {
template <typename T>
std::string FormatShortest(T value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  // Whole numbers without an exponent as far as every digit is true.
  std::array<char, 64> buffer;
  std::to_chars_result result{};
  if (value == std::floor(value) && std::fabs(value) < 1e15) {
    result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  } else {
    result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  }
  return std::string(buffer.data(), result.ptr);
}
}  // namespace

std::string FormatDouble(double value) { return FormatShortest(value); }
std::string FormatFloat(float value) { return FormatShortest(value); }

std::optional<SecondsAndNanos> ParseProtoDuration(std::string_view text) {
  if (text.size() < 2 || text.back() != 's') return std::nullopt;
  text.remove_suffix(1);
  bool negative = false;
  if (text[0] == '-') {
    negative = true;
    text.remove_prefix(1);
  }
  const size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
  if (whole.empty() || whole.size() > 12 || part.size() > 9 || (point != std::string_view::npos && part.empty())) {
    return std::nullopt;
  }
  if (!std::all_of(whole.begin(), whole.end(), IsDigit) || !std::all_of(part.begin(), part.end(), IsDigit)) {
    return std::nullopt;
  }
  SecondsAndNanos out;
  for (char c : whole) out.seconds = out.seconds * 10 + (c - '0');
  for (size_t i = 0; i < 9; ++i) out.nanos = out.nanos * 10 + (i < part.size() ? part[i] - '0' : 0);
  if (out.seconds > kMaxDurationSeconds) return std::nullopt;
  if (negative) out = {-out.seconds, -out.nanos};
  return out;
}

std::optional<SecondsAndNanos> ParseGoDuration(std::string_view text) {
  bool negative;
  text = WithoutSign(text, &negative);
  if (text == "0") return SecondsAndNanos{};
  if (text.empty()) return std::nullopt;
  constexpr __int128 kLimit = static_cast<__int128>(kMaxDurationSeconds) * 1'000'000'000;
  __int128 nanos = 0;
  while (!text.empty()) {
    // A decimal number: whole part, fraction as numerator over scale.
    __int128 whole = 0, fraction = 0, scale = 1;
    size_t i = 0, digits = 0;
    for (; i < text.size() && IsDigit(text[i]); ++i, ++digits) {
      whole = whole * 10 + (text[i] - '0');
      if (whole > kLimit) return std::nullopt;
    }
    if (i < text.size() && text[i] == '.') {
      for (++i; i < text.size() && IsDigit(text[i]); ++i, ++digits) {
        if (scale < 1'000'000'000'000'000) {  // further digits are below a nanosecond in any unit
          fraction = fraction * 10 + (text[i] - '0');
          scale *= 10;
        }
      }
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(i);
    struct Unit {
      std::string_view name;
      int64_t nanos;
    };
    // Both micro signs: U+00B5 and the Greek letter U+03BC.
    static constexpr Unit kUnits[] = {{"ns", 1},
                                      {"us", 1'000},
                                      {"\xC2\xB5s", 1'000},
                                      {"\xCE\xBCs", 1'000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000}};
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (!text.starts_with(candidate.name)) continue;
      if (unit == nullptr || candidate.name.size() > unit->name.size()) unit = &candidate;
    }
    if (unit == nullptr) return std::nullopt;
    text.remove_prefix(unit->name.size());
    nanos += whole * unit->nanos + fraction * unit->nanos / scale;
    if (nanos > kLimit) return std::nullopt;
  }
  if (negative) nanos = -nanos;
  return SecondsAndNanos{static_cast<int64_t>(nanos / 1'000'000'000), static_cast<int32_t>(nanos % 1'000'000'000)};
}

namespace {
// "", ".250", ".250000", ".000000001"
std::string FormatFraction(int32_t nanos) {
  if (nanos == 0) return "";
  if (nanos % 1'000'000 == 0) return "." + Padded(nanos / 1'000'000, 3);
  if (nanos % 1'000 == 0) return "." + Padded(nanos / 1'000, 6);
  return "." + Padded(nanos, 9);
}
}  // namespace

std::string FormatDuration(SecondsAndNanos value) {
  const bool negative = value.seconds < 0 || value.nanos < 0;
  const uint64_t seconds = value.seconds < 0 ? 0 - static_cast<uint64_t>(value.seconds) : value.seconds;
  const int32_t nanos = static_cast<int32_t>(std::min<int64_t>(std::abs(int64_t{value.nanos}), 999'999'999));
  return StrCat(negative ? "-" : "", seconds, FormatFraction(nanos), "s");
}

namespace {
// Exactly `count` digits at `at`; -1 when they are not there.
int Digits(std::string_view text, size_t at, size_t count) {
  if (text.size() < at + count) return -1;
  int value = 0;
  for (char c : text.substr(at, count)) {
    if (!IsDigit(c)) return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}
}  // namespace

std::optional<SecondsAndNanos> ParseTimestamp(std::string_view text) {
  const int year = Digits(text, 0, 4), month = Digits(text, 5, 2), day = Digits(text, 8, 2);
  const int hour = Digits(text, 11, 2), minute = Digits(text, 14, 2), second = Digits(text, 17, 2);
  if (year < 1 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  SecondsAndNanos out;
  std::string_view rest = text.substr(19);
  if (rest.starts_with(".")) {
    size_t digits = 0;
    for (rest.remove_prefix(1); !rest.empty() && IsDigit(rest[0]); rest.remove_prefix(1)) {
      if (++digits <= 9) out.nanos = out.nanos * 10 + (rest[0] - '0');
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 9; ++digits) out.nanos *= 10;
  }
  int64_t offset = 0;  // minutes east of UTC
  if (rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':') {
    const int hours = Digits(rest, 1, 2), minutes = Digits(rest, 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
    offset = (rest[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
  } else if (rest != "Z" && rest != "z") {
    return std::nullopt;
  }
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  out.seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
  if (out.seconds < kFirstTimestamp || out.seconds > kLastTimestamp) return std::nullopt;
  return out;
}

std::string FormatTimestamp(SecondsAndNanos value) {
  const int64_t seconds = std::clamp(value.seconds, kFirstTimestamp, kLastTimestamp);
  const int32_t nanos = std::clamp(value.nanos, 0, 999'999'999);
  const int64_t days = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400;
  const int64_t of_day = seconds - days * 86400;
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  return StrCat(Padded(static_cast<int>(date.year()), 4), "-", Padded(static_cast<unsigned>(date.month()), 2), "-",
                Padded(static_cast<unsigned>(date.day()), 2), "T", Padded(of_day / 3600, 2), ":",
                Padded(of_day / 60 % 60, 2), ":", Padded(of_day % 60, 2), FormatFraction(nanos), "Z");
}

namespace {
// Length of the UTF-8 sequence at the start, 0 when it is not valid (overlong, surrogate, cut short, too large).
size_t Utf8Length(std::string_view text, uint32_t* code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  size_t length;
  uint32_t value, least;
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    length = 2, value = lead & 0x1F, least = 0x80;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    length = 3, value = lead & 0x0F, least = 0x800;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    length = 4, value = lead & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3F);
  }
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
  *code_point = value;
  return length;
}
}  // namespace

std::string QuoteShort(std::string_view text, size_t limit) {
  std::string out = "\"";
  size_t characters = 0;
  while (!text.empty()) {
    if (characters++ == limit) {
      out += "...";
      break;
    }
    uint32_t c = 0;
    const size_t length = Utf8Length(text, &c);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE ||
               c == 0xFFFF) {
      // Not printable to YAML, or a line break to it.
      constexpr char kHex[] = "0123456789abcdef";
      StrAppend(&out, "\\u", kHex[c >> 12], kHex[c >> 8 & 15], kHex[c >> 4 & 15], kHex[c & 15]);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out += '"';
  return out;
}

std::string Quote(std::string_view text) { return QuoteShort(text, std::string_view::npos); }

}  // namespace weft::api
