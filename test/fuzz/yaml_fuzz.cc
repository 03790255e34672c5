// The YAML reader and the printers. Nothing may crash, hang or leak; a reading that reports no error must succeed; and
// what was read, printed and read again must be the same message.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/envoy_types.h"
#include "api/cpp/json.h"
#include "api/cpp/yaml.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "everything.pb.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "weft/dev/v1/mesh.pb.h"

namespace {

using google::protobuf::Message;
using weft::api::Document;
using weft::api::SourceError;

std::string Bytes(const Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

std::unique_ptr<Message> MakeMessage(int which) {
  switch (which) {
    case 0:
      return std::make_unique<envoy::config::bootstrap::v3::Bootstrap>();
    case 1:
      return std::make_unique<istio::networking::v1alpha3::VirtualService>();
    case 2:
      return std::make_unique<istio::networking::v1alpha3::DestinationRule>();
    case 3:
      return std::make_unique<weft::dev::v1::MeshFile>();
    case 4:
      return std::make_unique<envoy::config::route::v3::RouteConfiguration>();
    case 5:
      return std::make_unique<google::protobuf::Struct>();
    default:
      return std::make_unique<weft::test::Everything>();
  }
}

[[noreturn]] void Fail(const char* what, std::string_view text, const std::vector<SourceError>& errors) {
  std::fprintf(stderr, "%s\n%s\n%.*s\n", what, weft::api::ToString(errors).c_str(), static_cast<int>(text.size()),
               text.data());
  std::abort();
}

void CheckReadsBack(const Message& message, const std::string& text) {
  std::vector<SourceError> errors;
  const std::unique_ptr<Message> again(message.New());
  const std::vector<Document> documents = weft::api::ParseDocuments(text, "printed", &errors);
  for (const Document& document : documents) document.ReadInto(again.get(), {}, &errors);
  if (!errors.empty()) Fail("printed text is not read", text, errors);
  if (Bytes(*again) != Bytes(message)) Fail("printed text is read as another message", text, errors);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool linked = (weft::api::LinkEnvoyTypes(), true);
  (void)linked;
  if (size < 1) return 0;
  const uint8_t choice = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  weft::api::ReadOptions options;
  options.unknown = (choice & 0x10) != 0 ? weft::api::UnknownFields::kWarn : weft::api::UnknownFields::kRefuse;
  options.durations = (choice & 0x20) != 0 ? weft::api::DurationStyle::kGo : weft::api::DurationStyle::kProtoJson;
  const std::string_view key = (choice & 0x40) != 0 ? "spec" : "";

  std::vector<SourceError> errors;
  for (const Document& document : weft::api::ParseDocuments(text, "input", &errors, {.max_nodes = 20000})) {
    const std::unique_ptr<Message> message = MakeMessage(choice & 0x07);
    std::vector<SourceError> read_errors;
    const bool good = document.ReadInto(message.get(), options, &read_errors, key);
    if (good == weft::api::HasError(read_errors)) Fail("the answer and the errors differ", text, read_errors);
    for (const SourceError& error : read_errors) {
      if (error.line < 1 || error.ToString().empty()) Fail("an error without a place", text, read_errors);
      document.ErrorAt(error.path, "x");
      document.ScalarAt(error.path);
    }
    for (const std::string& name : document.Keys()) document.ScalarAt(name);
    const std::string yaml = weft::api::MessageToYaml(*message, {.proto_field_names = (choice & 0x08) != 0});
    const std::string json = weft::api::MessageToJson(*message, {.pretty = (choice & 0x80) != 0});
    if (!good) continue;
    CheckReadsBack(*message, yaml);
    // libyaml reads no key of more than 1024 characters in JSON's form, and an escape takes six of them.
    if (text.size() < 150) CheckReadsBack(*message, json);
  }
  return 0;
}
