#include "controlplane/admin/mgmt/management.h"

#include <algorithm>
#include <utility>

#include "api/cpp/json.h"
#include "api/cpp/names.h"
#include "api/cpp/suggest.h"
#include "controlplane/admin/mgmt/config_writer.h"
#include "controlplane/admin/mgmt/documents.h"
#include "controlplane/ingest/read.h"
#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"

namespace weft::ctl::admin {
namespace {

namespace pb = weft::mgmt::v1;
using Steady = std::chrono::steady_clock;

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

template <typename Response>
void AddDiagnostics(const std::vector<api::SourceError>& errors, Response* response) {
  for (const api::SourceError& error : errors) *response->add_diagnostics() = ToDiagnostic(error);
}

pb::Action ToAction(ConfigWriter::Action action) {
  switch (action) {
    case ConfigWriter::Action::kCreated: return pb::CREATED;
    case ConfigWriter::Action::kConfigured: return pb::CONFIGURED;
    case ConfigWriter::Action::kUnchanged: return pb::UNCHANGED;
    case ConfigWriter::Action::kRemoved: return pb::DELETED;
    case ConfigWriter::Action::kAbsent: return pb::ABSENT;
  }
  return pb::ACTION_UNSPECIFIED;
}

const char* Word(ConfigWriter::Action action) {
  switch (action) {
    case ConfigWriter::Action::kCreated: return "created";
    case ConfigWriter::Action::kConfigured: return "changed";
    case ConfigWriter::Action::kUnchanged: return "left as it is";
    case ConfigWriter::Action::kRemoved: return "deleted";
    case ConfigWriter::Action::kAbsent: return "not there";
  }
  return "";
}

std::vector<ObjectPtr> ObjectsOf(const Input& input) {
  std::vector<ObjectPtr> objects;
  for (const InputDocument& document : input.documents) {
    if (document.object != nullptr) objects.push_back(document.object);
  }
  return objects;
}

// Whether `wanted` (of a request) names this node id.
enum class Match { kNo, kPrefix, kExact };
Match Matches(const std::string& wanted, const std::string& node_id) {
  std::string short_name = node_id;
  if (auto id = api::ParseNodeId(node_id))
    short_name = id->ns.empty() ? id->name : id->name + "." + id->ns;
  if (node_id == wanted || short_name == wanted) return Match::kExact;
  return node_id.starts_with(wanted) || short_name.starts_with(wanted) ? Match::kPrefix
                                                                       : Match::kNo;
}

}  // namespace

ManagementService::ManagementService(ConfigEngine* engine, xds::Hub* hub, ManagementOptions options,
                                     Who who)
    : engine_(engine), hub_(hub), options_(std::move(options)), who_(std::move(who)) {}

grpc::Status ManagementService::CheckReady() const {
  if (engine_->state()->synced()) return grpc::Status::OK;
  return grpc::Status(grpc::StatusCode::UNAVAILABLE,
                      "the controller has not read its configuration yet; try again");
}

void ManagementService::Audit(const grpc::ServerContext& context, const std::string& what) const {
  LogInfo(StrCat("audit: ", who_ ? who_(context) : context.peer(), " ", what));
}

std::string ManagementService::ElsewhereThan(
    const ObjectKey& key, const std::vector<ConfigEngine::StoredObject>& all) const {
  for (const ConfigEngine::StoredObject& stored : all) {
    const ObjectPtr& object = stored.newest != nullptr ? stored.newest : stored.in_effect;
    if (object == nullptr || object->key != key) continue;
    const Origin& origin = object->origin;
    if (origin.source == options_.file_source &&
        origin.directory + 1 == options_.directories.size())
      return "";
    return origin.file.empty() ? std::string("a registry") : origin.ToString();
  }
  return "";
}

bool ManagementService::WaitUntilTaken(const std::vector<Expected>& expected) const {
  const Steady::time_point deadline = Steady::now() + options_.taken_limit;
  while (true) {
    uint64_t generation = 0;
    const std::vector<ConfigEngine::StoredObject> all = engine_->Objects(&generation);
    const bool taken = std::all_of(expected.begin(), expected.end(), [&](const Expected& e) {
      auto it = std::find_if(all.begin(), all.end(), [&](const ConfigEngine::StoredObject& stored) {
        return stored.newest != nullptr && stored.newest->key == e.key;
      });
      if (e.content_hash == 0) return it == all.end();
      return it != all.end() && it->newest->content_hash == e.content_hash;
    });
    const Steady::time_point now = Steady::now();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now);
    if (taken) return engine_->WaitForConfigGeneration(generation, left);
    if (now >= deadline) return false;
    engine_->WaitForConfigGeneration(generation + 1,
                                     std::min(left, std::chrono::milliseconds(100)));
  }
}

grpc::Status ManagementService::GetInfo(grpc::ServerContext*, const pb::GetInfoRequest*,
                                        pb::GetInfoResponse* response) {
  response->set_version(options_.version);
  *response->mutable_started() = ToTimestamp(started_);
  for (const std::string& directory : options_.directories)
    response->add_config_directories(directory);
  response->set_writable_directory(writable());
  const absl::Status writable_status = CheckWritable(writable());
  response->set_read_only_reason(std::string(writable_status.message()));
  response->set_trust_domain(options_.trust_domain);
  response->set_xds_address(options_.xds_address);
  response->set_admin_address(options_.admin_address);
  response->set_generation(engine_->state()->config_generation());
  response->set_resources(static_cast<uint32_t>(engine_->Objects().size()));
  response->set_connected_proxies(static_cast<uint32_t>(hub_->sessions()));
  return grpc::Status::OK;
}

grpc::Status ManagementService::Validate(grpc::ServerContext*, const pb::ValidateRequest* request,
                                         pb::ValidateResponse* response) {
  grpc::Status ready = CheckReady();
  if (!ready.ok()) return ready;
  Input input =
      ReadInput(request->sources(), request->default_namespace(), options_.default_namespace);
  std::vector<api::SourceError> references = engine_->Check(ObjectsOf(input));
  input.errors.insert(input.errors.end(), references.begin(), references.end());
  AddDiagnostics(input.errors, response);
  response->set_documents(static_cast<uint32_t>(input.documents.size()));
  response->set_valid(!api::HasError(input.errors));
  return grpc::Status::OK;
}

grpc::Status ManagementService::Apply(grpc::ServerContext* context, const pb::ApplyRequest* request,
                                      pb::ApplyResponse* response) {
  grpc::Status ready = CheckReady();
  if (!ready.ok()) return ready;
  absl::Status can_write = CheckWritable(writable());
  if (!can_write.ok()) return ToGrpc(can_write);
  std::lock_guard lock(write_mutex_);

  Input input =
      ReadInput(request->sources(), request->default_namespace(), options_.default_namespace);
  std::vector<api::SourceError> references = engine_->Check(ObjectsOf(input));
  input.errors.insert(input.errors.end(), references.begin(), references.end());
  const std::vector<ConfigEngine::StoredObject> stored = engine_->Objects();
  for (const InputDocument& document : input.documents) {
    if (document.object == nullptr) continue;
    const std::string elsewhere = ElsewhereThan(*document.key, stored);
    if (elsewhere.empty()) continue;
    input.errors.push_back(document.object->ErrorAt(
        "", StrCat(document.key->ToString(), " comes from ", elsewhere,
                   ", which is not in the writable directory (", writable(),
                   ") and takes precedence over it: change it there")));
  }
  AddDiagnostics(input.errors, response);
  response->set_generation(engine_->state()->config_generation());

  if (api::HasError(input.errors)) {
    for (const InputDocument& document : input.documents) {
      pb::ResourceResult& result = *response->add_results();
      *result.mutable_resource() = ToRef(document.api_version, document.key.value_or(ObjectKey{}));
      result.set_action(pb::REFUSED);
    }
    return grpc::Status::OK;
  }

  ConfigWriter writer(writable(), options_.default_namespace);
  std::vector<Expected> expected;
  std::string audit;
  for (const InputDocument& document : input.documents) {
    absl::StatusOr<ConfigWriter::Outcome> outcome = writer.Put(
        *document.key, document.object->content_hash, document.text, request->owner_file());
    if (!outcome.ok()) return ToGrpc(outcome.status());
    pb::ResourceResult& result = *response->add_results();
    *result.mutable_resource() = ToRef(document.api_version, *document.key);
    result.set_action(ToAction(outcome->action));
    result.set_path(outcome->path);
    if (outcome->action == ConfigWriter::Action::kUnchanged) continue;
    expected.push_back({*document.key, document.object->content_hash});
    StrAppend(&audit, audit.empty() ? "" : "; ", Word(outcome->action), " ",
              document.key->ToString(), " in ", outcome->path);
  }
  if (request->dry_run() || expected.empty()) return grpc::Status::OK;
  absl::Status written = writer.Commit();
  if (!written.ok()) {
    Audit(*context, StrCat("failed to apply (", audit, "): ", std::string(written.message())));
    response->Clear();
    return ToGrpc(written);
  }
  Audit(*context, audit);
  const bool taken = WaitUntilTaken(expected);
  response->set_generation(engine_->state()->config_generation());
  if (!taken) {
    pb::Diagnostic& late = *response->add_diagnostics();
    late.set_severity(pb::Diagnostic::WARNING);
    late.set_message(StrCat("written, but the controller has not taken it in within ",
                            options_.taken_limit.count(), " ms; see its log"));
    return grpc::Status::OK;
  }
  // What the controller has to say now that could not be known before.
  for (const ObjectStatus& status : engine_->Statuses()) {
    const bool ours = std::any_of(expected.begin(), expected.end(),
                                  [&](const Expected& e) { return e.key == status.key; });
    if (!ours) continue;
    for (const api::SourceError& error : status.errors) {
      const bool told =
          std::any_of(input.errors.begin(), input.errors.end(), [&](const api::SourceError& e) {
            return e.path == error.path && e.message == error.message;
          });
      if (told) continue;
      pb::Diagnostic& diagnostic = *response->add_diagnostics();
      diagnostic = ToDiagnostic(error);
      *diagnostic.mutable_resource() = ToRef("", status.key);
    }
  }
  return grpc::Status::OK;
}

grpc::Status ManagementService::Delete(grpc::ServerContext* context,
                                       const pb::DeleteRequest* request,
                                       pb::DeleteResponse* response) {
  grpc::Status ready = CheckReady();
  if (!ready.ok()) return ready;
  absl::Status can_write = CheckWritable(writable());
  if (!can_write.ok()) return ToGrpc(can_write);
  std::lock_guard lock(write_mutex_);

  struct Target {
    std::string api_version;
    ObjectKey key;
  };
  std::vector<Target> targets;
  const std::string ns = request->default_namespace().empty() ? options_.default_namespace
                                                              : request->default_namespace();
  for (const weft::meta::v1::ResourceRef& ref : request->resources()) {
    const std::string kind = CanonicalKind(ref.kind());
    if (kind.empty()) {
      const std::string nearest = api::Nearest(ref.kind(), KnownKinds());
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          StrCat("there is no kind \"", ref.kind(), "\"",
                                 nearest.empty() ? "" : StrCat("; did you mean ", nearest, "?")));
    }
    targets.push_back(
        {ref.api_version(), {kind, ref.namespace_().empty() ? ns : ref.namespace_(), ref.name()}});
  }
  // Of documents only who they are matters: one whose spec has mistakes can be deleted, too.
  Input input =
      ReadInput(request->sources(), request->default_namespace(), options_.default_namespace);
  std::vector<api::SourceError> nameless;
  for (const InputDocument& document : input.documents) {
    if (document.key) targets.push_back({document.api_version, *document.key});
  }
  const bool all_named =
      std::all_of(input.documents.begin(), input.documents.end(),
                  [](const InputDocument& document) { return document.key.has_value(); });
  const bool unreadable = input.documents.empty() && !input.errors.empty();
  if (!all_named || unreadable) {
    AddDiagnostics(input.errors, response);
    for (const Target& target : targets) {
      pb::ResourceResult& result = *response->add_results();
      *result.mutable_resource() = ToRef(target.api_version, target.key);
      result.set_action(pb::REFUSED);
    }
    return grpc::Status::OK;
  }

  ConfigWriter writer(writable(), options_.default_namespace);
  const std::vector<ConfigEngine::StoredObject> stored = engine_->Objects();
  std::vector<Expected> expected;
  std::string audit;
  for (const Target& target : targets) {
    const std::string elsewhere = ElsewhereThan(target.key, stored);
    if (!elsewhere.empty()) {
      return grpc::Status(
          grpc::StatusCode::FAILED_PRECONDITION,
          StrCat(target.key.ToString(), " comes from ", elsewhere,
                 ", which is not in the writable directory (", writable(), "): delete it there"));
    }
    absl::StatusOr<ConfigWriter::Outcome> outcome = writer.Remove(target.key);
    if (!outcome.ok()) return ToGrpc(outcome.status());
    if (outcome->action == ConfigWriter::Action::kAbsent && !request->ignore_not_found()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND,
                          StrCat("there is no ", target.key.ToString(), " in ", writable()));
    }
    pb::ResourceResult& result = *response->add_results();
    *result.mutable_resource() = ToRef(target.api_version, target.key);
    result.set_action(ToAction(outcome->action));
    result.set_path(outcome->path);
    if (outcome->action == ConfigWriter::Action::kAbsent) continue;
    expected.push_back({target.key, 0});
    StrAppend(&audit, audit.empty() ? "" : "; ", Word(outcome->action), " ", target.key.ToString(),
              " in ", outcome->path);
  }
  response->set_generation(engine_->state()->config_generation());
  if (request->dry_run() || expected.empty()) return grpc::Status::OK;
  absl::Status written = writer.Commit();
  if (!written.ok()) {
    Audit(*context, StrCat("failed to delete (", audit, "): ", std::string(written.message())));
    response->Clear();
    return ToGrpc(written);
  }
  Audit(*context, audit);
  if (!WaitUntilTaken(expected)) {
    pb::Diagnostic& late = *response->add_diagnostics();
    late.set_severity(pb::Diagnostic::WARNING);
    late.set_message(StrCat("deleted, but the controller has not taken it in within ",
                            options_.taken_limit.count(), " ms; see its log"));
  }
  response->set_generation(engine_->state()->config_generation());
  for (const ObjectStatus& status : engine_->Statuses()) {
    const bool ours = std::any_of(expected.begin(), expected.end(),
                                  [&](const Expected& e) { return e.key == status.key; });
    if (!ours) continue;
    for (const api::SourceError& error : status.errors)
      *response->add_diagnostics() = ToDiagnostic(error);
  }
  return grpc::Status::OK;
}

grpc::Status ManagementService::Get(grpc::ServerContext*, const pb::GetRequest* request,
                                    pb::GetResponse* response) {
  grpc::Status ready = CheckReady();
  if (!ready.ok()) return ready;
  std::string kind;
  if (!request->kind().empty()) {
    kind = CanonicalKind(request->kind());
    if (kind.empty()) {
      const std::string nearest = api::Nearest(request->kind(), KnownKinds());
      std::string known;
      for (const std::string& k : KnownKinds()) StrAppend(&known, known.empty() ? "" : ", ", k);
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          StrCat("there is no kind \"", request->kind(), "\"",
                                 nearest.empty() ? StrCat("; there are ", known)
                                                 : StrCat("; did you mean ", nearest, "?")));
    }
  }
  const std::string ns =
      request->namespace_().empty() ? options_.default_namespace : request->namespace_();
  std::map<ObjectKey, ObjectStatus> statuses;
  for (ObjectStatus& status : engine_->Statuses()) {
    ObjectKey key = status.key;
    statuses.emplace(std::move(key), std::move(status));
  }
  std::vector<ObjectPtr> found;
  for (const ConfigEngine::StoredObject& stored : engine_->Objects()) {
    const ObjectPtr& object = stored.newest != nullptr ? stored.newest : stored.in_effect;
    if (object == nullptr) continue;
    if (!kind.empty() && object->key.kind != kind) continue;
    if (!request->all_namespaces() && object->key.ns != ns) continue;
    if (!request->name().empty() && object->key.name != request->name()) continue;
    found.push_back(object);
  }
  if (found.empty() && !request->name().empty()) {
    return grpc::Status(
        grpc::StatusCode::NOT_FOUND,
        StrCat("there is no ", kind.empty() ? "resource" : kind, " named \"", request->name(), "\"",
               request->all_namespaces() ? "" : StrCat(" in namespace ", ns)));
  }
  std::sort(found.begin(), found.end(),
            [](const ObjectPtr& a, const ObjectPtr& b) { return a->key < b->key; });
  for (const ObjectPtr& object : found) {
    pb::StoredResource& resource = *response->add_resources();
    *resource.mutable_resource() = ToRef(object->api_version, object->key);
    resource.set_yaml(
        api::ResourceToYaml(object->api_version, object->key.kind, object->meta, *object->spec));
    resource.set_file(object->origin.file);
    resource.set_line(object->origin.line);
    if (auto it = statuses.find(object->key); it != statuses.end()) {
      for (const api::SourceError& error : it->second.errors)
        *resource.add_diagnostics() = ToDiagnostic(error);
    }
  }
  response->set_generation(engine_->state()->config_generation());
  return grpc::Status::OK;
}

grpc::Status ManagementService::ProxyStatus(grpc::ServerContext*,
                                            const pb::ProxyStatusRequest* request,
                                            pb::ProxyStatusResponse* response) {
  std::vector<xds::ConnectionStatus> all = hub_->Status();
  if (!request->node().empty()) {
    std::vector<xds::ConnectionStatus> exact, prefix;
    for (xds::ConnectionStatus& connection : all) {
      const Match match = Matches(request->node(), connection.node_id);
      if (match == Match::kExact)
        exact.push_back(std::move(connection));
      else if (match == Match::kPrefix)
        prefix.push_back(std::move(connection));
    }
    all = exact.empty() ? std::move(prefix) : std::move(exact);
    if (all.empty()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND,
                          StrCat("no connected proxy matches \"", request->node(), "\""));
    }
    for (const xds::ConnectionStatus& connection : all) {
      if (connection.node_id == all[0].node_id) continue;
      std::string names;
      for (const xds::ConnectionStatus& c : all)
        StrAppend(&names, names.empty() ? "" : ", ", c.node_id);
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          StrCat("\"", request->node(), "\" is the beginning of several: ", names));
    }
  }
  for (const xds::ConnectionStatus& connection : all)
    *response->add_proxies() = ToProxyState(connection);
  response->set_generation(engine_->state()->config_generation());
  return grpc::Status::OK;
}

}  // namespace weft::ctl::admin
