// Scalars of fields: text to values, with what was expected when it is something else.
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <cmath>
#include <limits>

#include "api/cpp/reader.h"
#include "api/cpp/suggest.h"
#include "dataplane/base/strings.h"

namespace weft::api::internal {

using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

namespace {

// RFC 4648 sections 4 and 5, padding optional, white space skipped (a block text has line ends).
std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  bool padding = false;
  size_t symbols = 0, pads = 0;
  for (char c : text) {
    uint32_t value;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '+' || c == '-') {
      value = 62;
    } else if (c == '/' || c == '_') {
      value = 63;
    } else if (c == '=') {
      padding = true;
      ++pads;
      continue;
    } else if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      continue;
    } else {
      return std::nullopt;
    }
    if (padding) return std::nullopt;
    ++symbols;
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
      bits &= (1u << count) - 1;
    }
  }
  // What is left over must be zeros, and one symbol alone is no byte.
  if (symbols % 4 == 1 || bits != 0 || (pads > 0 && (symbols + pads) % 4 != 0) || pads > 2) return std::nullopt;
  return out;
}

}  // namespace

bool Reader::IsScalarFor(uint32_t node, std::string_view expected) {
  if (tape_.nodes[node].kind == NodeKind::kScalar) return true;
  ReportExpected(node, expected);
  return false;
}

std::optional<std::string> Reader::StringOf(uint32_t node) {
  if (!IsScalarFor(node, "a string")) return std::nullopt;
  const Node& n = tape_.nodes[node];
  const std::string_view text = tape_.Text(n);
  const Plain plain = n.plain ? ResolvePlain(text) : Plain::kString;
  if (plain == Plain::kString) return std::string(text);
  // YAML 1.1 reads `no` as false and `1.10` as 1.1; what the writer meant can't be told, so it must be quoted.
  const std::string_view what = plain == Plain::kBool   ? "the boolean "
                                : plain == Plain::kNull ? ""
                                                        : "the number ";
  Report(node, StrCat("expected a string, got ", what, Describe(node), "; quote it: ", QuoteShort(text, 60)));
  return std::nullopt;
}

std::optional<std::string> Reader::BytesOf(uint32_t node) {
  if (!IsScalarFor(node, "base64 text")) return std::nullopt;
  std::optional<std::string> bytes = DecodeBase64(tape_.Text(node));
  if (!bytes) ReportExpected(node, "base64 text");
  return bytes;
}

std::optional<bool> Reader::BoolOf(uint32_t node) {
  if (!IsScalarFor(node, "true or false")) return std::nullopt;
  const Node& n = tape_.nodes[node];
  const std::optional<bool> value = ParsePlainBool(tape_.Text(n));
  if (value && n.plain) return value;
  std::string message = StrCat("expected true or false, got ", Describe(node));
  if (value) message += "; remove the quotes";
  Report(node, std::move(message));
  return std::nullopt;
}

std::optional<Integer> Reader::IntegerOf(uint32_t node, int64_t least, uint64_t most) {
  if (!IsScalarFor(node, "a number")) return std::nullopt;
  const std::string_view text = tape_.Text(node);
  Integer value;
  bool fits = true;
  switch (ParseInteger(text, &value)) {
    case IntegerResult::kOk:
      break;
    case IntegerResult::kNotANumber:
      ReportExpected(node, "a number");
      return std::nullopt;
    case IntegerResult::kNotWhole:
      ReportExpected(node, "a whole number");
      return std::nullopt;
    case IntegerResult::kUnderscore:
      Report(node, StrCat("expected a number without underscores, got ", text));
      return std::nullopt;
    case IntegerResult::kAmbiguous: {
      const std::string_view digits = text.substr(std::min(text.find_first_not_of("+-0"), text.size() - 1));
      Report(node, StrCat(text.substr(0, 60), " is octal to some readers and decimal to others; write ", digits,
                          digits.find_first_of("89") == std::string_view::npos ? StrCat(", or 0o", digits) : ""));
      return std::nullopt;
    }
    case IntegerResult::kTooLarge:
      fits = false;
      break;
  }
  // -(2^63) has a magnitude that int64_t does not.
  const uint64_t lowest = least < 0 ? 0 - static_cast<uint64_t>(least) : 0;
  if (!fits || (value.negative ? value.magnitude > lowest : value.magnitude > most)) {
    Report(node, StrCat("expected a number from ", least, " to ", most, ", got ", text.substr(0, 60)));
    return std::nullopt;
  }
  return value;
}

std::optional<double> Reader::DoubleOf(uint32_t node, bool single) {
  if (!IsScalarFor(node, "a number")) return std::nullopt;
  const std::string_view text = tape_.Text(node);
  const std::optional<double> value = ParseDouble(text);
  if (!value) {
    Integer integer;
    const IntegerResult why = ParseInteger(text, &integer);
    if (why == IntegerResult::kAmbiguous || why == IntegerResult::kUnderscore) {
      IntegerOf(node, 0, 0);  // says so
    } else {
      ReportExpected(node, "a number");
    }
    return std::nullopt;
  }
  const bool spelled = text.find_first_of("nN") != std::string_view::npos;  // .inf, Infinity, NaN
  const double most = single ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  if (!spelled && std::fabs(*value) > most) {
    Report(node, StrCat("the number ", text.substr(0, 60), " is too large for this field"));
    return std::nullopt;
  }
  return value;
}

std::optional<int> Reader::EnumOf(uint32_t node, const EnumDescriptor* type) {
  const auto names = [type] {
    std::vector<std::string> out;
    for (int i = 0; i < type->value_count(); ++i) out.push_back(type->value(i)->name());
    return out;
  };
  if (tape_.nodes[node].kind == NodeKind::kScalar) {
    const std::string text(tape_.Text(node));
    if (const auto* value = type->FindValueByName(text)) return value->number();
    Integer number;
    if (tape_.nodes[node].plain && ParseInteger(text, &number) == IntegerResult::kOk &&
        number.magnitude <= static_cast<uint64_t>(std::numeric_limits<int>::max())) {
      const int signed_number = static_cast<int>(number.magnitude) * (number.negative ? -1 : 1);
      if (type->FindValueByNumber(signed_number) != nullptr) return signed_number;
    }
  }
  std::string expected = "one of ";
  for (const std::string& name : names()) StrAppend(&expected, expected.size() > 7 ? ", " : "", name);
  std::string message = StrCat("expected ", expected, ", got ", Describe(node));
  if (tape_.nodes[node].kind == NodeKind::kScalar) {
    const std::string nearest = Nearest(tape_.Text(node), names());
    if (!nearest.empty()) StrAppend(&message, "; did you mean ", nearest, "?");
  }
  Report(node, std::move(message));
  return std::nullopt;
}

void Reader::SetScalar(uint32_t node, const Field* field, Message* out) {
  const Reflection* reflection = out->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      const bool bytes = field->type() == FieldDescriptor::TYPE_BYTES;
      std::optional<std::string> value = bytes ? BytesOf(node) : StringOf(node);
      if (!value) return;
      return add ? reflection->AddString(out, field, std::move(*value))
                 : reflection->SetString(out, field, std::move(*value));
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (const std::optional<bool> value = BoolOf(node)) {
        add ? reflection->AddBool(out, field, *value) : reflection->SetBool(out, field, *value);
      }
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      if (const std::optional<int> value = EnumOf(node, field->enum_type())) {
        add ? reflection->AddEnumValue(out, field, *value) : reflection->SetEnumValue(out, field, *value);
      }
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (const std::optional<double> value = DoubleOf(node, false)) {
        add ? reflection->AddDouble(out, field, *value) : reflection->SetDouble(out, field, *value);
      }
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      if (const std::optional<double> value = DoubleOf(node, true)) {
        const float number = static_cast<float>(*value);
        add ? reflection->AddFloat(out, field, number) : reflection->SetFloat(out, field, number);
      }
      return;
    default:
      break;
  }
  // Two's complement: the bits of a negative number are those of 0 - magnitude.
  const auto bits = [](const Integer& value) { return value.negative ? 0 - value.magnitude : value.magnitude; };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (const auto value = IntegerOf(node, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max())) {
        const int32_t number = static_cast<int32_t>(bits(*value));
        add ? reflection->AddInt32(out, field, number) : reflection->SetInt32(out, field, number);
      }
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      if (const auto value = IntegerOf(node, 0, std::numeric_limits<uint32_t>::max())) {
        const uint32_t number = static_cast<uint32_t>(value->magnitude);
        add ? reflection->AddUInt32(out, field, number) : reflection->SetUInt32(out, field, number);
      }
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      if (const auto value = IntegerOf(node, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())) {
        const int64_t number = static_cast<int64_t>(bits(*value));
        add ? reflection->AddInt64(out, field, number) : reflection->SetInt64(out, field, number);
      }
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      if (const auto value = IntegerOf(node, 0, std::numeric_limits<uint64_t>::max())) {
        add ? reflection->AddUInt64(out, field, value->magnitude)
            : reflection->SetUInt64(out, field, value->magnitude);
      }
      return;
    default:
      return;  // messages do not come here
  }
}

bool Reader::SetMapKey(uint32_t node, const Field* field, Message* entry) {
  // A key is text, quoted or not: `no: x` and `1: x` are keys "no" and "1".
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    entry->GetReflection()->SetString(entry, field, std::string(tape_.Text(node)));
    return true;
  }
  const size_t before = reported_;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    const std::optional<bool> value = ParsePlainBool(tape_.Text(node));  // JSON keys are always quoted
    if (value) {
      entry->GetReflection()->SetBool(entry, field, *value);
    } else {
      ReportExpected(node, "a key that is true or false");
    }
  } else {
    SetScalar(node, field, entry);
  }
  return reported_ == before && !full_;
}

void Reader::SetDuration(uint32_t node, Message* out) {
  const bool go = options_.durations == DurationStyle::kGo;
  const std::string_view expected =
      go ? "a duration such as \"100ms\", \"5s\" or \"1h30m\"" : "a duration in seconds such as \"0.25s\"";
  if (!IsScalarFor(node, expected)) return;
  const std::string_view text = tape_.Text(node);
  const std::optional<SecondsAndNanos> proto = ParseProtoDuration(text);
  const std::optional<SecondsAndNanos> other = ParseGoDuration(text);
  const std::optional<SecondsAndNanos> value = proto || !go ? proto : other;
  if (!value) {
    std::string message = StrCat("expected ", expected, ", got ", Describe(node));
    Integer number;
    if (other) {
      StrAppend(&message, "; write ", FormatDuration(*other));
    } else if (ParseInteger(text, &number) == IntegerResult::kOk) {
      StrAppend(&message, "; add the unit: ", text, "s");
    }
    return Report(node, std::move(message));
  }
  const auto* type = out->GetDescriptor();
  out->GetReflection()->SetInt64(out, type->FindFieldByNumber(1), value->seconds);
  out->GetReflection()->SetInt32(out, type->FindFieldByNumber(2), value->nanos);
}

void Reader::SetTimestamp(uint32_t node, Message* out) {
  constexpr std::string_view kExpected = "a time such as \"2024-05-01T10:00:00Z\"";
  if (!IsScalarFor(node, kExpected)) return;
  const std::optional<SecondsAndNanos> value = ParseTimestamp(tape_.Text(node));
  if (!value) return ReportExpected(node, kExpected);
  const auto* type = out->GetDescriptor();
  out->GetReflection()->SetInt64(out, type->FindFieldByNumber(1), value->seconds);
  out->GetReflection()->SetInt32(out, type->FindFieldByNumber(2), value->nanos);
}

}  // namespace weft::api::internal
