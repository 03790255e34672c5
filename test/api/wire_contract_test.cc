// The numbers of messages that other programs know are frozen in wire_contract.txt. A field that changes there breaks
// real Envoys and stored files in silence, so it breaks this test instead.
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorSet;

constexpr char kContract[] = "test/api/wire_contract.txt";
constexpr char kDescriptors[] = "test/api/api_descriptors.bin";

std::string Line(const DescriptorProto& message, const std::string& name, const FieldDescriptorProto& field) {
  std::string type = field.type_name().empty() ? FieldDescriptorProto::Type_Name(field.type()).substr(5)
                                               : field.type_name().substr(1);
  for (char& c : type) {
    if (field.type_name().empty() && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  std::string line = name + "." + field.name() + " " + std::to_string(field.number()) + " " +
                     (field.label() == FieldDescriptorProto::LABEL_REPEATED ? "repeated " : "") + type;
  if (field.has_oneof_index()) line += " in " + message.oneof_decl(field.oneof_index()).name();
  return line;
}

void Collect(const EnumDescriptorProto& type, const std::string& scope, std::set<std::string>* lines) {
  for (const auto& value : type.value()) {
    lines->insert(scope + "." + type.name() + "." + value.name() + " = " + std::to_string(value.number()));
  }
}

void Collect(const DescriptorProto& message, const std::string& scope, std::set<std::string>* lines) {
  const std::string name = scope + "." + message.name();
  for (const auto& field : message.field()) lines->insert(Line(message, name, field));
  for (const auto& nested : message.nested_type()) Collect(nested, name, lines);
  for (const auto& type : message.enum_type()) Collect(type, name, lines);
}

TEST(WireContractTest, NumbersAreThoseOfTheFile) {
  FileDescriptorSet set;
  std::ifstream descriptors(kDescriptors, std::ios::binary);
  ASSERT_TRUE(set.ParseFromIstream(&descriptors)) << kDescriptors << ": run from the workspace, by bazel test";
  std::set<std::string> ours;
  for (const auto& file : set.file()) {
    // weft.* is ours to change; google.protobuf is not ours at all.
    if (file.package().rfind("weft.", 0) == 0 || file.package() == "google.protobuf") continue;
    for (const auto& message : file.message_type()) Collect(message, file.package(), &ours);
    for (const auto& type : file.enum_type()) Collect(type, file.package(), &ours);
  }
  std::set<std::string> contract;
  std::ifstream stream(kContract);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line[0] != '#') contract.insert(line);
  }
  ASSERT_GT(contract.size(), 500u);
  for (const std::string& line : ours) {
    EXPECT_TRUE(contract.count(line)) << "not in " << kContract << ":\n"
                                      << line << "\nA new field: check it by test/conformance/api_compat.sh, then add the line.";
  }
  for (const std::string& line : contract) {
    EXPECT_TRUE(ours.count(line)) << "in " << kContract << ", and no longer so:\n" << line;
  }
}

}  // namespace
