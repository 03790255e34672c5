#include "tools/weftctl/management.h"

#include <grpcpp/grpcpp.h>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/cpp/json.h"
#include "api/cpp/names.h"
#include "google/protobuf/util/time_util.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/dev/files.h"
#include "weft/mgmt/v1/mgmt.grpc.pb.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
namespace mgmt = weft::mgmt::v1;
using google::protobuf::util::TimeUtil;

constexpr auto kPatience = std::chrono::seconds(20);

// A connection to a controller, or nothing after an error message.
struct Connection {
  std::string socket;
  std::unique_ptr<mgmt::Management::Stub> stub;
};

Connection Connect(const ControllerChoice& choice) {
  Connection out;
  const char* from_environment = std::getenv("WEFT_SOCKET");
  if (!choice.socket.empty()) {
    out.socket = fs::absolute(choice.socket).string();
  } else if (choice.state.empty() && choice.mesh.empty() && from_environment != nullptr &&
             *from_environment != '\0') {
    out.socket = from_environment;
  } else {
    const std::string directory = ChooseState({choice.state, choice.mesh});
    if (directory.empty()) return {};
    out.socket = directory + "/mgmt/mgmt.sock";
  }
  std::error_code error;
  if (!fs::exists(out.socket, error)) {
    Fail("no controller listens at " + out.socket + " (there is no such socket)",
         "weftctl dev status tells how the mesh is; weftctl dev up FILE starts one; --socket names "
         "another controller's.");
    return {};
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // gRPC takes an http_proxy of the environment for Unix sockets too.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  out.stub = mgmt::Management::NewStub(grpc::CreateCustomChannel(
      "unix:" + out.socket, grpc::InsecureChannelCredentials(), arguments));
  return out;
}

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
}

// Prints what went wrong in words of this program. Returns 1.
int FailRpc(const Connection& connection, const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return Fail(
          "the controller at " + connection.socket + " does not answer: " + status.error_message(),
          "weftctl dev status tells how it is; weftctl dev logs controller shows what it said.");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Fail(absl::StrCat("the controller at ", connection.socket, " did not answer within ",
                               kPatience.count(), " s"),
                  "weftctl dev logs controller shows what it is doing.");
    case grpc::StatusCode::PERMISSION_DENIED:
      return Fail(status.error_message(),
                  "Run weftctl as the user that runs the controller, or as root.");
    case grpc::StatusCode::ABORTED:
      return Fail(status.error_message(),
                  "Somebody else changed it at the same time: look at it, then run this again.");
    default:
      return Fail(status.error_message().empty()
                      ? absl::StrCat("the controller answered code ", status.error_code())
                      : status.error_message());
  }
}

// "file:line:column: path: message", coloured by severity. Returns the number of errors.
int PrintDiagnostics(const google::protobuf::RepeatedPtrField<mgmt::Diagnostic>& diagnostics) {
  const bool colors = ColorsOn(stderr);
  int errors = 0;
  for (const auto& diagnostic : diagnostics) {
    std::string place = diagnostic.file();
    if (diagnostic.line() > 0)
      absl::StrAppend(&place, ":", diagnostic.line(), ":", diagnostic.column());
    const bool is_error = diagnostic.severity() == mgmt::Diagnostic::ERROR ||
                          diagnostic.severity() == mgmt::Diagnostic::SEVERITY_UNSPECIFIED;
    errors += is_error;
    const auto [word, color] = is_error ? std::pair{"error", Color::kRed}
                               : diagnostic.severity() == mgmt::Diagnostic::WARNING
                                   ? std::pair{"warning", Color::kYellow}
                                   : std::pair{"note", Color::kDim};
    std::fprintf(stderr, "%s%s%s: %s%s%s\n", Paint(Color::kBold, place, colors).c_str(),
                 place.empty() ? "" : ": ", Paint(color, word, colors).c_str(),
                 diagnostic.field_path().c_str(), diagnostic.field_path().empty() ? "" : ": ",
                 diagnostic.message().c_str());
  }
  return errors;
}

// Reads what -f names. False after an error message.
bool ReadSources(const std::vector<std::string>& files,
                 google::protobuf::RepeatedPtrField<mgmt::Source>* sources) {
  std::vector<std::string> all;
  for (const std::string& file : files) {
    std::error_code error;
    if (file == "-" || !fs::is_directory(file, error)) {
      all.push_back(file);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(file, error)) {
      const std::string extension = entry.path().extension();
      if (entry.is_regular_file(error) &&
          (extension == ".yaml" || extension == ".yml" || extension == ".json"))
        found.push_back(entry.path().string());
    }
    if (found.empty()) {
      Fail("the folder " + file + " has no *.yaml, *.yml or *.json in it");
      return false;
    }
    std::sort(found.begin(), found.end());
    all.insert(all.end(), found.begin(), found.end());
  }
  for (const std::string& file : all) {
    mgmt::Source* source = sources->Add();
    source->set_file_name(file == "-" ? "standard input" : file);
    if (file == "-") {
      source->set_text(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    } else if (auto status = ReadFile(file, source->mutable_text()); !status.ok()) {
      Fail(status, "-f takes files, folders, and - for standard input.");
      return false;
    }
  }
  return true;
}

// virtualservice/reviews
std::string ShortName(const weft::meta::v1::ResourceRef& ref) {
  const std::string name = absl::StrCat(absl::AsciiStrToLower(ref.kind()), "/", ref.name());
  return ref.namespace_().empty() || ref.namespace_() == "default"
             ? name
             : absl::StrCat(name, " in ", ref.namespace_());
}

void PrintResults(const google::protobuf::RepeatedPtrField<mgmt::ResourceResult>& results,
                  bool dry_run) {
  const bool colors = ColorsOn(stdout);
  for (const auto& result : results) {
    static const std::map<mgmt::Action, std::pair<const char*, Color>> kWords = {
        {mgmt::CREATED, {"created", Color::kGreen}},
        {mgmt::CONFIGURED, {"configured", Color::kGreen}},
        {mgmt::UNCHANGED, {"unchanged", Color::kDim}},
        {mgmt::DELETED, {"deleted", Color::kGreen}},
        {mgmt::REFUSED, {"refused", Color::kRed}},
        {mgmt::ABSENT, {"was not there", Color::kDim}}};
    const auto word = kWords.find(result.action());
    const auto [text, color] =
        word == kWords.end() ? std::pair{"done", Color::kNone} : word->second;
    std::printf(
        "%s %s%s%s\n", ShortName(result.resource()).c_str(), Paint(color, text, colors).c_str(),
        dry_run ? " (dry run)" : "",
        result.path().empty() ? "" : Paint(Color::kDim, "  " + result.path(), colors).c_str());
  }
}

template <typename Message>
int PrintMessage(const Message& message, Format format) {
  if (format == Format::kYaml)
    std::printf("%s", api::MessageToYaml(message).c_str());
  else
    std::printf("%s\n", api::MessageToJson(message).c_str());
  return 0;
}

}  // namespace

int Apply(const FileOptions& options) {
  mgmt::ApplyRequest request;
  if (!ReadSources(options.files, request.mutable_sources())) return 1;
  request.set_dry_run(options.dry_run);
  request.set_owner_file(options.owner_file);
  request.set_default_namespace(options.ns);
  const Connection connection = Connect(options.controller);
  if (connection.stub == nullptr) return 1;
  grpc::ClientContext context;
  SetDeadline(&context);
  mgmt::ApplyResponse response;
  const grpc::Status status = connection.stub->Apply(&context, request, &response);
  if (!status.ok()) return FailRpc(connection, status);
  const int errors = PrintDiagnostics(response.diagnostics());
  if (options.format != Format::kTable)
    PrintMessage(response, options.format);
  else
    PrintResults(response.results(), options.dry_run);
  if (errors > 0)
    return Fail(
        absl::StrCat("nothing was applied: ", errors, errors == 1 ? " mistake" : " mistakes"),
        "Correct the lines above; what ran before stays in effect.");
  if (response.results().empty())
    return Fail("there is no resource in what -f names",
                "A resource has apiVersion, kind, metadata and spec.");
  return 0;
}

int Validate(const FileOptions& options) {
  mgmt::ValidateRequest request;
  if (!ReadSources(options.files, request.mutable_sources())) return 1;
  request.set_default_namespace(options.ns);
  const Connection connection = Connect(options.controller);
  if (connection.stub == nullptr) return 1;
  grpc::ClientContext context;
  SetDeadline(&context);
  mgmt::ValidateResponse response;
  const grpc::Status status = connection.stub->Validate(&context, request, &response);
  if (!status.ok()) return FailRpc(connection, status);
  const int errors = PrintDiagnostics(response.diagnostics());
  if (options.format != Format::kTable) {
    PrintMessage(response, options.format);
  } else if (response.valid()) {
    std::printf("%s: %u %s\n", Paint(Color::kGreen, "valid", ColorsOn(stdout)).c_str(),
                response.documents(), response.documents() == 1 ? "resource" : "resources");
  }
  if (!response.valid())
    return Fail(absl::StrCat(errors, errors == 1 ? " mistake in " : " mistakes in ",
                             response.documents(), " resources"));
  return 0;
}

int Get(const GetOptions& options) {
  const Connection connection = Connect(options.controller);
  if (connection.stub == nullptr) return 1;
  mgmt::GetRequest request;
  request.set_kind(options.kind == "all" ? "" : options.kind);
  request.set_namespace_(options.ns);
  request.set_name(options.name);
  request.set_all_namespaces(options.all_namespaces);
  grpc::ClientContext context;
  SetDeadline(&context);
  mgmt::GetResponse response;
  const grpc::Status status = connection.stub->Get(&context, request, &response);
  if (!status.ok()) return FailRpc(connection, status);
  if (options.format == Format::kJson) return PrintMessage(response, options.format);
  if (options.format == Format::kYaml) {
    // What `apply` takes: the documents themselves.
    for (int i = 0; i < response.resources_size(); ++i) {
      std::printf("%s%s", i > 0 ? "---\n" : "", response.resources(i).yaml().c_str());
      if (!response.resources(i).yaml().ends_with('\n')) std::printf("\n");
    }
    return 0;
  }
  if (response.resources().empty()) {
    std::fprintf(stderr, "no %s%s\n",
                 options.kind.empty() || options.kind == "all" ? "resources" : options.kind.c_str(),
                 options.all_namespaces
                     ? ""
                     : (" in namespace " + options.ns + "; -A looks in all").c_str());
    return 0;
  }
  std::vector<std::string> header{"KIND", "NAME", "FILE", "REMARKS"};
  if (options.all_namespaces) header.insert(header.begin(), "NAMESPACE");
  Table table(header);
  std::error_code error;
  for (const auto& stored : response.resources()) {
    std::string file = stored.file();
    if (!file.empty()) {
      const std::string relative = fs::proximate(file, error).string();
      if (!error && relative.size() < file.size()) file = relative;
      if (stored.line() > 0) absl::StrAppend(&file, ":", stored.line());
    }
    std::string remarks;
    Color color = Color::kGreen;
    for (const auto& diagnostic : stored.diagnostics()) {
      if (remarks.empty()) remarks = diagnostic.message();
      color = diagnostic.severity() == mgmt::Diagnostic::ERROR ? Color::kRed : Color::kYellow;
    }
    if (stored.diagnostics_size() > 1)
      absl::StrAppend(&remarks, " (and ", stored.diagnostics_size() - 1, " more)");
    std::vector<Table::Cell> row{
        stored.resource().kind(), Table::Cell(stored.resource().name(), Color::kBold),
        Table::Cell(file, Color::kDim), Table::Cell(remarks.empty() ? "ok" : remarks, color)};
    if (options.all_namespaces)
      row.insert(row.begin(), Table::Cell(stored.resource().namespace_()));
    table.AddRow(std::move(row));
  }
  table.Print(stdout);
  return 0;
}

int Delete(const DeleteOptions& options) {
  mgmt::DeleteRequest request;
  if (!ReadSources(options.files, request.mutable_sources())) return 1;
  if (!options.kind.empty()) {
    auto* resource = request.add_resources();
    resource->set_kind(options.kind);
    resource->set_name(options.name);
    resource->set_namespace_(options.ns);
  }
  if (request.sources().empty() && request.resources().empty()) {
    return Fail("say what to delete",
                "weftctl delete virtualservice reviews, or weftctl delete -f FILE");
  }
  request.set_dry_run(options.dry_run);
  request.set_ignore_not_found(options.ignore_not_found);
  request.set_default_namespace(options.ns);
  const Connection connection = Connect(options.controller);
  if (connection.stub == nullptr) return 1;
  grpc::ClientContext context;
  SetDeadline(&context);
  mgmt::DeleteResponse response;
  const grpc::Status status = connection.stub->Delete(&context, request, &response);
  if (!status.ok()) return FailRpc(connection, status);
  const int errors = PrintDiagnostics(response.diagnostics());
  PrintResults(response.results(), options.dry_run);
  return errors > 0 ? Fail("nothing was deleted") : 0;
}

int ProxyStatus(const ProxyStatusOptions& options) {
  const Connection connection = Connect(options.controller);
  if (connection.stub == nullptr) return 1;
  mgmt::ProxyStatusRequest request;
  request.set_node(options.node);
  grpc::ClientContext context;
  SetDeadline(&context);
  mgmt::ProxyStatusResponse response;
  const grpc::Status status = connection.stub->ProxyStatus(&context, request, &response);
  if (!status.ok()) return FailRpc(connection, status);
  if (options.format != Format::kTable) return PrintMessage(response, options.format);

  static const std::vector<std::pair<std::string_view, const char*>> kTypes = {
      {api::kClusterType, "CLUSTERS"},
      {api::kListenerType, "LISTENERS"},
      {api::kEndpointType, "ENDPOINTS"},
      {api::kRouteType, "ROUTES"}};
  std::vector<std::string> header{"NAME"};
  for (const auto& [url, title] : kTypes) header.push_back(title);
  header.insert(header.end(), {"CONNECTED", "CLIENT"});
  Table table(header);
  std::vector<std::string> refusals;
  for (const auto& proxy : response.proxies()) {
    const auto node = api::ParseNodeId(proxy.node_id());
    std::vector<Table::Cell> row{
        Table::Cell(node ? node->name + "." + node->ns : proxy.node_id(), Color::kBold)};
    for (const auto& [url, title] : kTypes) {
      const auto type = std::find_if(proxy.types().begin(), proxy.types().end(),
                                     [&](const auto& t) { return t.type_url() == url; });
      if (type == proxy.types().end()) {
        row.emplace_back("-", Color::kDim);
        continue;
      }
      static const std::map<mgmt::TypeState::Status, std::pair<const char*, Color>> kWords = {
          {mgmt::TypeState::SYNCED, {"synced", Color::kGreen}},
          {mgmt::TypeState::NOT_SENT, {"not sent", Color::kDim}},
          {mgmt::TypeState::STALE, {"stale", Color::kYellow}},
          {mgmt::TypeState::REFUSED, {"refused", Color::kRed}}};
      const auto word = kWords.find(type->status());
      row.emplace_back(absl::StrCat(word == kWords.end() ? "?" : word->second.first, " (",
                                    type->resources(), ")"),
                       word == kWords.end() ? Color::kNone : word->second.second);
      for (const auto& refused : type->refused()) {
        refusals.push_back(absl::StrCat(
            row[0].text, " refused ", std::string(api::ShortTypeName(url)), " ", refused.name(),
            ": ", refused.field_path(), refused.field_path().empty() ? "" : ": ", refused.reason(),
            refused.origin_file().empty()
                ? ""
                : absl::StrCat(" (from ", refused.origin_file(), ":", refused.origin_line(), ")")));
      }
      if (type->status() == mgmt::TypeState::REFUSED && type->refused().empty()) {
        refusals.push_back(absl::StrCat(row[0].text, " refused its ",
                                        std::string(api::ShortTypeName(url)),
                                        "s: ", type->reason()));
      }
    }
    row.emplace_back(
        Age(TimeUtil::DurationToMilliseconds(TimeUtil::GetCurrentTime() - proxy.connected_since()) /
            1000.0));
    row.emplace_back(absl::StrCat(
        proxy.client(), proxy.protocol() == mgmt::ProxyState::DELTA ? ", delta" : ", full"));
    table.AddRow(std::move(row));
  }
  if (table.size() == 0) {
    std::fprintf(stderr, "no proxy is connected\n");
    return 0;
  }
  table.Print(stdout);
  if (!refusals.empty()) return Fail(absl::StrJoin(refusals, "\n       "));
  return 0;
}

}  // namespace weft::cli
