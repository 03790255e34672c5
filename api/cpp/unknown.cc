#include "api/cpp/unknown.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <set>

#include "dataplane/base/strings.h"

namespace weft::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void Walk(const Message& message, const std::string& path, size_t limit, std::vector<std::string>* out) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection->GetUnknownFields(message);
  std::set<int> numbers;  // a repeated field is named once
  for (int i = 0; i < unknown.field_count(); ++i) numbers.insert(unknown.field(i).number());
  for (int number : numbers) {
    if (out->size() >= limit) return;
    out->push_back(StrCat(path, path.empty() ? "" : ": ", "field ", number, " of ",
                                message.GetDescriptor()->full_name()));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string inner = StrCat(path, path.empty() ? "" : ".", field->name());
    if (!field->is_repeated()) {
      Walk(reflection->GetMessage(message, field), inner, limit, out);
    } else {
      for (int i = 0; i < reflection->FieldSize(message, field) && out->size() < limit; ++i) {
        Walk(reflection->GetRepeatedMessage(message, field, i), StrCat(inner, "[", i, "]"), limit, out);
      }
    }
    if (out->size() >= limit) return;
  }
}

}  // namespace

std::vector<std::string> FindUnknownFields(const Message& message, size_t limit) {
  std::vector<std::string> out;
  Walk(message, "", limit, &out);
  return out;
}

}  // namespace weft::api
