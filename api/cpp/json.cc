#include "api/cpp/json.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "api/cpp/names.h"
#include "api/cpp/scalar.h"
#include "api/cpp/text_sink.h"
#include "dataplane/base/strings.h"

namespace weft::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::DynamicCastToGenerated;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::Reflection;
using internal::TextSink;

// Each Any starts protobuf's own count of nesting (100) again; ours bounds the stack. Deeper Anys stay bytes.
constexpr int kMaxDepthOfAny = 100;

std::string EncodeBase64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

// Writes a message to a sink.
class Printer {
 public:
  Printer(const PrintOptions& options, TextSink* sink) : options_(options), sink_(sink) {}

  void Print(const Message& message) {
    ++depth_;
    PrintInner(message);
    --depth_;
  }

 private:
  void PrintInner(const Message& message) {
    switch (message.GetDescriptor()->well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
      case Descriptor::WELLKNOWNTYPE_FLOATVALUE:
      case Descriptor::WELLKNOWNTYPE_INT64VALUE:
      case Descriptor::WELLKNOWNTYPE_UINT64VALUE:
      case Descriptor::WELLKNOWNTYPE_INT32VALUE:
      case Descriptor::WELLKNOWNTYPE_UINT32VALUE:
      case Descriptor::WELLKNOWNTYPE_STRINGVALUE:
      case Descriptor::WELLKNOWNTYPE_BYTESVALUE:
      case Descriptor::WELLKNOWNTYPE_BOOLVALUE:
        return PrintScalar(message, message.GetDescriptor()->FindFieldByNumber(1), -1);
      case Descriptor::WELLKNOWNTYPE_DURATION:
        return sink_->String(FormatDuration(TimeOf(message)));
      case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
        return sink_->String(FormatTimestamp(TimeOf(message)));
      default:
        break;
    }
    if (const auto* any = DynamicCastToGenerated<const google::protobuf::Any>(&message)) return PrintAny(*any);
    if (const auto* value = DynamicCastToGenerated<const google::protobuf::Value>(&message)) return PrintValue(*value);
    if (const auto* map = DynamicCastToGenerated<const google::protobuf::Struct>(&message)) return PrintStruct(*map);
    if (const auto* list = DynamicCastToGenerated<const google::protobuf::ListValue>(&message)) return PrintList(*list);
    sink_->BeginObject();
    PrintFields(message);
    sink_->EndObject();
  }

  static SecondsAndNanos TimeOf(const Message& message) {
    const Descriptor* type = message.GetDescriptor();
    const Reflection* reflection = message.GetReflection();
    return {reflection->GetInt64(message, type->FindFieldByNumber(1)),
            reflection->GetInt32(message, type->FindFieldByNumber(2))};
  }

  void PrintFields(const Message& message) {
    const Descriptor* type = message.GetDescriptor();
    const Reflection* reflection = message.GetReflection();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (field->is_repeated()) {
        if (reflection->FieldSize(message, field) == 0 && !options_.always_print) continue;
      } else if (!reflection->HasField(message, field)) {
        if (!options_.always_print || field->has_presence()) continue;
      }
      sink_->Key(options_.proto_field_names ? field->name() : field->json_name());
      if (field->is_map()) {
        PrintMap(message, field);
      } else if (field->is_repeated()) {
        sink_->BeginArray();
        for (int j = 0; j < reflection->FieldSize(message, field); ++j) {
          sink_->Item();
          PrintOne(message, field, j);
        }
        sink_->EndArray();
      } else {
        PrintOne(message, field, -1);
      }
    }
  }

  void PrintOne(const Message& message, const FieldDescriptor* field, int index) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return PrintScalar(message, field, index);
    const Reflection* reflection = message.GetReflection();
    Print(index < 0 ? reflection->GetMessage(message, field) : reflection->GetRepeatedMessage(message, field, index));
  }

  void PrintMap(const Message& message, const FieldDescriptor* field) {
    const FieldDescriptor* key = field->message_type()->map_key();
    const FieldDescriptor* value = field->message_type()->map_value();
    const Reflection* reflection = message.GetReflection();
    // The order of entries in memory is no order: sorted by key, numbers as numbers.
    std::vector<std::pair<std::string, const Message*>> entries;
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      const Message& entry = reflection->GetRepeatedMessage(message, field, i);
      entries.emplace_back(KeyText(entry, key), &entry);
    }
    const bool text = key->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    std::sort(entries.begin(), entries.end(), [text](const auto& a, const auto& b) {
      if (!text && a.first.size() != b.first.size()) return a.first.size() < b.first.size();
      return a.first < b.first;
    });
    sink_->BeginObject();
    for (const auto& [name, entry] : entries) {
      sink_->Key(name);
      PrintOne(*entry, value, -1);
    }
    sink_->EndObject();
  }

  static std::string KeyText(const Message& entry, const FieldDescriptor* key) {
    const Reflection* reflection = entry.GetReflection();
    switch (key->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return reflection->GetString(entry, key);
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection->GetBool(entry, key) ? "true" : "false";
      case FieldDescriptor::CPPTYPE_INT32:
        return StrCat(reflection->GetInt32(entry, key));
      case FieldDescriptor::CPPTYPE_UINT32:
        return StrCat(reflection->GetUInt32(entry, key));
      case FieldDescriptor::CPPTYPE_INT64:
        return StrCat(reflection->GetInt64(entry, key));
      case FieldDescriptor::CPPTYPE_UINT64:
        return StrCat(reflection->GetUInt64(entry, key));
      default:
        return "";  // no other type can be a key
    }
  }

  void PrintScalar(const Message& message, const FieldDescriptor* field, int index) {
    const Reflection* r = message.GetReflection();
    const bool one = index < 0;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string scratch;
        const std::string& text = one ? r->GetStringReference(message, field, &scratch)
                                      : r->GetRepeatedStringReference(message, field, index, &scratch);
        return sink_->String(field->type() == FieldDescriptor::TYPE_BYTES ? EncodeBase64(text) : text);
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        return sink_->Literal((one ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, index)) ? "true"
                                                                                                            : "false");
      case FieldDescriptor::CPPTYPE_ENUM: {
        const int number = one ? r->GetEnumValue(message, field) : r->GetRepeatedEnumValue(message, field, index);
        if (field->enum_type()->full_name() == "google.protobuf.NullValue") return sink_->Literal("null");
        const auto* value = field->enum_type()->FindValueByNumber(number);
        return value != nullptr ? sink_->String(value->name()) : sink_->Literal(StrCat(number));
      }
      case FieldDescriptor::CPPTYPE_INT32:
        return sink_->Literal(StrCat(one ? r->GetInt32(message, field) : r->GetRepeatedInt32(message, field, index)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return sink_->Literal(StrCat(one ? r->GetUInt32(message, field) : r->GetRepeatedUInt32(message, field, index)));
      case FieldDescriptor::CPPTYPE_INT64:
        return sink_->Number64(StrCat(one ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, index)));
      case FieldDescriptor::CPPTYPE_UINT64:
        return sink_->Number64(StrCat(one ? r->GetUInt64(message, field) : r->GetRepeatedUInt64(message, field, index)));
      case FieldDescriptor::CPPTYPE_FLOAT: {
        const float value = one ? r->GetFloat(message, field) : r->GetRepeatedFloat(message, field, index);
        return PrintFloating(std::isfinite(value), FormatFloat(value));
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        const double value = one ? r->GetDouble(message, field) : r->GetRepeatedDouble(message, field, index);
        return PrintFloating(std::isfinite(value), FormatDouble(value));
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return;
    }
  }

  // JSON has no NaN and no infinity: they are strings.
  void PrintFloating(bool finite, const std::string& text) { finite ? sink_->Literal(text) : sink_->String(text); }

  void PrintAny(const google::protobuf::Any& any) {
    sink_->BeginObject();
    if (!any.type_url().empty() || !any.value().empty()) {
      sink_->Key("@type");
      sink_->String(any.type_url());
      if (const std::unique_ptr<Message> inner = Unpack(any)) {
        ++depth_;
        if (inner->GetDescriptor()->well_known_type() == Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
          PrintFields(*inner);
        } else {
          sink_->Key("value");
          Print(*inner);
        }
        --depth_;
      } else {
        sink_->Key("value");
        sink_->String(EncodeBase64(any.value()));
      }
    }
    sink_->EndObject();
  }

  std::unique_ptr<Message> Unpack(const google::protobuf::Any& any) const {
    if (depth_ > kMaxDepthOfAny) return nullptr;
    const Descriptor* type =
        DescriptorPool::generated_pool()->FindMessageTypeByName(std::string(MessageNameOf(any.type_url())));
    if (type == nullptr) return nullptr;
    std::unique_ptr<Message> inner(MessageFactory::generated_factory()->GetPrototype(type)->New());
    return inner->ParseFromString(any.value()) ? std::move(inner) : nullptr;
  }

  void PrintStruct(const google::protobuf::Struct& object) {
    std::map<std::string_view, const google::protobuf::Value*> sorted;
    for (const auto& [key, value] : object.fields()) sorted.emplace(key, &value);
    sink_->BeginObject();
    for (const auto& [key, value] : sorted) {
      sink_->Key(key);
      PrintValue(*value);
    }
    sink_->EndObject();
  }

  void PrintList(const google::protobuf::ListValue& list) {
    sink_->BeginArray();
    for (const auto& value : list.values()) {
      sink_->Item();
      PrintValue(value);
    }
    sink_->EndArray();
  }

  void PrintValue(const google::protobuf::Value& value) {
    switch (value.kind_case()) {
      case google::protobuf::Value::kNumberValue:
        return PrintFloating(std::isfinite(value.number_value()), FormatDouble(value.number_value()));
      case google::protobuf::Value::kStringValue:
        return sink_->String(value.string_value());
      case google::protobuf::Value::kBoolValue:
        return sink_->Literal(value.bool_value() ? "true" : "false");
      case google::protobuf::Value::kStructValue:
        return PrintStruct(value.struct_value());
      case google::protobuf::Value::kListValue:
        return PrintList(value.list_value());
      default:
        return sink_->Literal("null");
    }
  }

  const PrintOptions& options_;
  TextSink* sink_;
  int depth_ = 0;
};

std::unique_ptr<TextSink> MakeSink(bool yaml, const PrintOptions& options) {
  return yaml ? internal::MakeYamlSink() : internal::MakeJsonSink(options.pretty);
}

std::string PrintMessage(bool yaml, const Message& message, const PrintOptions& options) {
  const std::unique_ptr<TextSink> sink = MakeSink(yaml, options);
  Printer(options, sink.get()).Print(message);
  return sink->Take();
}

std::string PrintResource(bool yaml, std::string_view api_version, std::string_view kind, const Message& metadata,
                          const Message& spec, const PrintOptions& options) {
  const std::unique_ptr<TextSink> sink = MakeSink(yaml, options);
  Printer printer(options, sink.get());
  sink->BeginObject();
  sink->Key("apiVersion");
  sink->String(api_version);
  sink->Key("kind");
  sink->String(kind);
  sink->Key("metadata");
  printer.Print(metadata);
  sink->Key("spec");
  printer.Print(spec);
  sink->EndObject();
  return sink->Take();
}

}  // namespace

std::string MessageToJson(const Message& message, const PrintOptions& options) {
  return PrintMessage(false, message, options);
}

std::string MessageToYaml(const Message& message, const PrintOptions& options) {
  return PrintMessage(true, message, options);
}

std::string ResourceToYaml(std::string_view api_version, std::string_view kind, const Message& metadata,
                           const Message& spec, const PrintOptions& options) {
  return PrintResource(true, api_version, kind, metadata, spec, options);
}

std::string ResourceToJson(std::string_view api_version, std::string_view kind, const Message& metadata,
                           const Message& spec, const PrintOptions& options) {
  return PrintResource(false, api_version, kind, metadata, spec, options);
}

}  // namespace weft::api
