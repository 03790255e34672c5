#include "api/cpp/reader.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "api/cpp/names.h"
#include "api/cpp/suggest.h"
#include "dataplane/base/strings.h"

namespace weft::api {
namespace internal {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::DynamicCastToGenerated;
using google::protobuf::FieldDescriptor;
using google::protobuf::MessageFactory;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

namespace {

constexpr size_t kMaxErrors = 100;

// google.protobuf.Value and ListValue say null themselves.
bool TakesNull(const FieldDescriptor* field) {
  return field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field->message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_VALUE;
}

// Equal messages, equal bytes: versions of resources are hashes.
std::string SerializeDeterministic(const google::protobuf::Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializePartialToCodedStream(&coded);
  coded.Trim();
  return out;
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) StrAppend(&out, out.empty() ? "" : ", ", word);
  return out;
}

}  // namespace

Reader::Reader(const Tape& tape, const ReadOptions& options, std::vector<std::string_view> path,
               std::vector<SourceError>* errors)
    : tape_(tape), options_(options), errors_(errors) {
  for (std::string_view key : path) path_.push_back({key});
}

bool Reader::IsNull(uint32_t node) const {
  const Node& n = tape_.nodes[node];
  return n.kind == NodeKind::kScalar && n.plain && ResolvePlain(tape_.Text(n)) == Plain::kNull;
}

std::string Reader::Describe(uint32_t node) const {
  const Node& n = tape_.nodes[node];
  if (n.kind == NodeKind::kMapping) return "a mapping";
  if (n.kind == NodeKind::kSequence) return "a list";
  const std::string_view text = tape_.Text(n);
  if (!n.plain) return QuoteShort(text);
  switch (ResolvePlain(text)) {
    case Plain::kNull:
      return "null";
    case Plain::kString:
      return QuoteShort(text);
    default:
      return text.size() <= 40 ? std::string(text) : StrCat(text.substr(0, 40), "...");
  }
}

std::string Reader::PathText() const {
  std::string out;
  for (const Step& step : path_) {
    if (step.index >= 0) {
      StrAppend(&out, "[", step.index, "]");
      continue;
    }
    const bool word = !step.key.empty() && std::all_of(step.key.begin(), step.key.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
             c == '@';
    });
    if (word) {
      StrAppend(&out, out.empty() ? "" : ".", step.key);
    } else {
      StrAppend(&out, "[", QuoteShort(step.key, 100), "]");
    }
  }
  return out;
}

void Reader::Report(uint32_t node, std::string message, bool warning) {
  failed_ |= !warning;
  if (full_) return;
  SourceError error;
  error.file = tape_.file;
  error.line = static_cast<int>(tape_.nodes[node].line);
  error.column = static_cast<int>(tape_.nodes[node].column);
  error.path = PathText();
  error.message = std::move(message);
  error.warning = warning;
  errors_->push_back(std::move(error));
  if (++reported_ == kMaxErrors) {
    full_ = failed_ = true;
    errors_->push_back({.file = tape_.file,
                        .line = static_cast<int>(tape_.nodes[node].line),
                        .column = 0,
                        .path = "",
                        .message = "too many mistakes; the rest was not read"});
  }
}

void Reader::ReportExpected(uint32_t node, std::string_view expected) {
  std::string message = StrCat("expected ", expected, ", got ", Describe(node));
  if (IsNull(node) && expected == "a mapping") message += "; write {} for an empty one";
  Report(node, std::move(message));
}

void Reader::ReadMessage(uint32_t node, Message* out) {
  if (full_ || (IsNull(node) && out->GetDescriptor()->well_known_type() != Descriptor::WELLKNOWNTYPE_VALUE)) return;
  switch (out->GetDescriptor()->well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case Descriptor::WELLKNOWNTYPE_BOOLVALUE:
      return SetScalar(node, out->GetDescriptor()->FindFieldByNumber(1), out);
    case Descriptor::WELLKNOWNTYPE_DURATION:
      return SetDuration(node, out);
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      return SetTimestamp(node, out);
    default:
      break;
  }
  if (auto* any = DynamicCastToGenerated<google::protobuf::Any>(out)) return ReadAny(node, any);
  if (auto* value = DynamicCastToGenerated<google::protobuf::Value>(out)) return ReadValue(node, value);
  if (auto* object = DynamicCastToGenerated<google::protobuf::Struct>(out)) return ReadStruct(node, object);
  if (auto* list = DynamicCastToGenerated<google::protobuf::ListValue>(out)) return ReadListValue(node, list);
  ReadFields(node, out, false);
}

const FieldDescriptor* Reader::FindField(const Descriptor* type, std::string_view name) const {
  const std::string key(name);
  if (const FieldDescriptor* field = type->FindFieldByName(key)) return field;
  if (const FieldDescriptor* field = type->FindFieldByCamelcaseName(key)) return field;
  for (int i = 0; i < type->field_count(); ++i) {
    if (type->field(i)->json_name() == key) return type->field(i);
  }
  return nullptr;
}

// A field's name as the writer of `like` would write it.
std::string Reader::SpellingOf(const Field* field, std::string_view like) const {
  const bool snake = like.find('_') != std::string_view::npos;
  const bool camel = std::any_of(like.begin(), like.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (snake || (!camel && options_.durations == DurationStyle::kProtoJson)) return field->name();
  return field->json_name();
}

void Reader::ReportUnknown(uint32_t key, const Descriptor* type) {
  const std::string_view name = tape_.Text(key);
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(SpellingOf(type->field(i), name));
  std::string message = StrCat("unknown field ", QuoteShort(name));
  if (const std::string nearest = Nearest(name, names); !nearest.empty()) {
    StrAppend(&message, "; did you mean \"", nearest, "\"?");
  } else if (names.empty()) {
    StrAppend(&message, "; nothing can be set here");
  } else if (names.size() <= 12) {
    StrAppend(&message, "; known here: ", Join(names));
  }
  Report(key, std::move(message), options_.unknown == UnknownFields::kWarn);
}

void Reader::ReportDuplicate(uint32_t key, uint32_t first) {
  Report(key, StrCat("key ", QuoteShort(tape_.Text(key)), " is there twice; first at line ", tape_.nodes[first].line,
                     tape_.Text(first) == tape_.Text(key) ? "" : StrCat(" as ", QuoteShort(tape_.Text(first)))));
}

void Reader::ReadFields(uint32_t node, Message* out, bool skip_type) {
  if (tape_.nodes[node].kind != NodeKind::kMapping) return ReportExpected(node, "a mapping");
  const Descriptor* type = out->GetDescriptor();
  std::unordered_map<const void*, uint32_t> seen;  // field or oneof -> key
  std::unordered_map<std::string_view, uint32_t> unknown;
  for (uint32_t key = node + 1, value; key < tape_.nodes[node].end && !full_; key = tape_.nodes[value].end) {
    value = key + 1;
    const std::string_view name = tape_.Text(key);
    const FieldDescriptor* field = FindField(type, name);
    if (field == nullptr) {
      const auto [first, is_new] = unknown.emplace(name, key);
      if (!is_new) {
        ReportDuplicate(key, first->second);
      } else if (!(skip_type && name == "@type")) {
        ReportUnknown(key, type);
      }
      continue;
    }
    const In in(this, {name});
    const auto [first, is_new] = seen.emplace(field, key);
    if (!is_new) {
      ReportDuplicate(key, first->second);
      continue;
    }
    if (IsNull(value) && !TakesNull(field)) continue;
    if (const OneofDescriptor* oneof = field->real_containing_oneof()) {
      const auto [other, is_first] = seen.emplace(oneof, key);
      if (!is_first) {
        std::vector<std::string> names;
        for (int i = 0; i < oneof->field_count(); ++i) names.push_back(SpellingOf(oneof->field(i), name));
        Report(key, StrCat("conflicts with ", QuoteShort(tape_.Text(other->second)), " at line ",
                           tape_.nodes[other->second].line, "; only one of ", Join(names), " may be set"));
        continue;
      }
    }
    ReadField(value, field, out);
  }
}

void Reader::ReadField(uint32_t value, const Field* field, Message* out) {
  if (field->is_map()) return ReadMap(value, field, out);
  if (field->is_repeated()) return ReadList(value, field, out);
  ReadOne(value, field, out);
}

void Reader::ReadOne(uint32_t node, const Field* field, Message* out) {
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return SetScalar(node, field, out);
  const Down down(this, 1, node);
  if (!down) return;
  const Reflection* reflection = out->GetReflection();
  ReadMessage(node, field->is_repeated() ? reflection->AddMessage(out, field)
                                         : reflection->MutableMessage(out, field));
}

void Reader::ReadList(uint32_t node, const Field* field, Message* out) {
  const Node& list = tape_.nodes[node];
  if (list.kind != NodeKind::kSequence) {
    std::string message = StrCat("expected a list, got ", Describe(node));
    if (list.kind == NodeKind::kScalar) StrAppend(&message, "; write [", Describe(node), "]");
    if (list.kind == NodeKind::kMapping) message += "; begin each entry with \"- \"";
    return Report(node, std::move(message));
  }
  int index = 0;
  for (uint32_t item = node + 1; item < list.end && !full_; item = tape_.nodes[item].end, ++index) {
    const In in(this, {"", index});
    if (IsNull(item) && !TakesNull(field)) {
      Report(item, "an entry of a list can't be null; remove it or give it a value");
      continue;
    }
    ReadOne(item, field, out);
  }
}

void Reader::ReadMap(uint32_t node, const Field* field, Message* out) {
  const Node& map = tape_.nodes[node];
  if (map.kind != NodeKind::kMapping) return ReportExpected(node, "a mapping");
  const Field* value_field = field->message_type()->map_value();
  std::unordered_map<std::string_view, uint32_t> seen;
  std::unordered_map<std::string, uint32_t> keys;
  for (uint32_t key = node + 1, value; key < map.end && !full_; key = tape_.nodes[value].end) {
    value = key + 1;
    const std::string_view name = tape_.Text(key);
    const In in(this, {name});
    const auto [first, is_new] = seen.emplace(name, key);
    if (!is_new) {
      ReportDuplicate(key, first->second);
      continue;
    }
    if (IsNull(value) && !TakesNull(value_field)) {
      const bool message = value_field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
      Report(value, StrCat("a value of this map can't be null; ",
                           message ? "write {} for an empty one"
                           : value_field->cpp_type() == FieldDescriptor::CPPTYPE_STRING
                               ? "write \"\" for an empty text"
                               : "remove the key or give it a value"));
      continue;
    }
    const Down down(this, 1, key);
    if (!down) return;
    Message* entry = out->GetReflection()->AddMessage(out, field);
    if (!SetMapKey(key, field->message_type()->map_key(), entry)) continue;
    // 1 and 0x1 are one key. (What an entry with only its key set serializes to is that key.)
    if (field->message_type()->map_key()->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      const auto [same, is_first] = keys.emplace(SerializeDeterministic(*entry), key);
      if (!is_first) {
        ReportDuplicate(key, same->second);
        continue;
      }
    }
    ReadOne(value, value_field, entry);
  }
}

void Reader::ReadAny(uint32_t node, google::protobuf::Any* out) {
  if (tape_.nodes[node].kind != NodeKind::kMapping) return ReportExpected(node, "a mapping with \"@type\"");
  if (tape_.nodes[node].end == node + 1) return;  // {}: an empty Any
  const uint32_t type_node = FindValue(tape_, node, "@type", true);
  if (type_node == 0) {
    return Report(node, StrCat("\"@type\" is missing; it says which message this is, such as \"", kRouterType, "\""));
  }
  std::optional<std::string> type_url;
  {
    const In in(this, {"@type"});
    type_url = StringOf(type_node);
    if (!type_url) return;
    const std::string name(MessageNameOf(*type_url));
    if (name.empty() || type_url->find('/') == std::string::npos) {
      return Report(type_node, StrCat("expected a type such as \"", kRouterType, "\", got ", QuoteShort(*type_url, 120)));
    }
    if (DescriptorPool::generated_pool()->FindMessageTypeByName(name) == nullptr) {
      return Report(type_node, StrCat("unknown type ", QuoteShort(*type_url, 160), "; this program has no such message"));
    }
  }
  const Descriptor* type = DescriptorPool::generated_pool()->FindMessageTypeByName(std::string(MessageNameOf(*type_url)));
  std::unique_ptr<Message> inner(MessageFactory::generated_factory()->GetPrototype(type)->New());
  const auto kind = type->well_known_type();
  const int level = std::exchange(level_, 0);  // its bytes are parsed apart
  if (kind == Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
    ReadFields(node, inner.get(), true);
  } else {
    // A form of its own does not mix with "@type": it is under "value".
    const uint32_t value = FindValue(tape_, node, "value", true);
    std::unordered_map<std::string_view, uint32_t> seen;
    for (uint32_t key = node + 1; key < tape_.nodes[node].end; key = tape_.nodes[key + 1].end) {
      const std::string_view name = tape_.Text(key);
      const auto [first, is_new] = seen.emplace(name, key);
      if (!is_new) ReportDuplicate(key, first->second);
      if (name != "@type" && name != "value") Report(key, StrCat("unknown field ", QuoteShort(name), "; known here: value"));
    }
    if (value == 0) {
      Report(node, StrCat("\"value\" is missing; ", type->full_name(), " is written under it"));
    } else {
      const In in(this, {"value"});
      ReadMessage(value, inner.get());
    }
  }
  level_ = level;
  out->set_type_url(*type_url);
  out->set_value(SerializeDeterministic(*inner));
}

void Reader::ReadStruct(uint32_t node, google::protobuf::Struct* out) {
  const Node& map = tape_.nodes[node];
  if (map.kind != NodeKind::kMapping) return ReportExpected(node, "a mapping");
  std::unordered_map<std::string_view, uint32_t> seen;
  for (uint32_t key = node + 1, value; key < map.end && !full_; key = tape_.nodes[value].end) {
    value = key + 1;
    const std::string_view name = tape_.Text(key);
    const In in(this, {name});
    const auto [first, is_new] = seen.emplace(name, key);
    if (!is_new) {
      ReportDuplicate(key, first->second);
    } else if (const Down down(this, 2, value); down) {
      ReadValue(value, &(*out->mutable_fields())[std::string(name)]);
    }
  }
}

void Reader::ReadListValue(uint32_t node, google::protobuf::ListValue* out) {
  const Node& list = tape_.nodes[node];
  if (list.kind != NodeKind::kSequence) return ReportExpected(node, "a list");
  int index = 0;
  for (uint32_t item = node + 1; item < list.end && !full_; item = tape_.nodes[item].end, ++index) {
    const In in(this, {"", index});
    if (const Down down(this, 1, item); down) ReadValue(item, out->add_values());
  }
}

void Reader::ReadValue(uint32_t node, google::protobuf::Value* out) {
  const Node& n = tape_.nodes[node];
  if (n.kind != NodeKind::kScalar) {
    const Down down(this, 1, node);
    if (!down) return;
    return n.kind == NodeKind::kMapping ? ReadStruct(node, out->mutable_struct_value())
                                        : ReadListValue(node, out->mutable_list_value());
  }
  const std::string_view text = tape_.Text(n);
  switch (n.plain ? ResolvePlain(text) : Plain::kString) {
    case Plain::kNull:
      out->set_null_value(google::protobuf::NULL_VALUE);
      break;
    case Plain::kBool:
      out->set_bool_value(*ParsePlainBool(text));
      break;
    case Plain::kInt:
    case Plain::kFloat: {
      const std::optional<double> number = DoubleOf(node, false);
      if (!number) break;
      if (!std::isfinite(*number)) {
        Report(node, StrCat("expected a finite number, got ", Describe(node), "; quote it if it is a text"));
        break;
      }
      out->set_number_value(*number);
      break;
    }
    case Plain::kString:
      out->set_string_value(std::string(text));
      break;
  }
}

}  // namespace internal

bool Document::ReadInto(google::protobuf::Message* out, const ReadOptions& options, std::vector<SourceError>* errors,
                        std::string_view key) const {
  out->Clear();
  uint32_t node = 0;
  std::vector<std::string_view> path;
  std::vector<internal::PathStep> steps;
  if (!internal::SplitPath(key, &steps)) return true;
  for (const internal::PathStep& step : steps) {
    if (step.index >= 0) return true;
    if (tape_->nodes[node].kind != internal::NodeKind::kMapping) break;  // the reader says so
    uint32_t key_node = 0;
    node = internal::FindValue(*tape_, node, step.key, false, &key_node);
    if (node == 0) return true;
    path.push_back(tape_->Text(key_node));
  }
  internal::Reader reader(*tape_, options, std::move(path), errors);
  reader.ReadMessage(node, out);
  return !reader.failed();
}

}  // namespace weft::api
