#include "controlplane/admin/handlers.h"

#include <google/protobuf/any.pb.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>

#include <ctime>
#include <map>
#include <set>
#include <utility>

#include "api/cpp/json.h"
#include "api/cpp/names.h"
#include "controlplane/admin/metrics.h"
#include "controlplane/translate/proxy_key.h"
#include "controlplane/xds/type_order.h"
#include "dataplane/base/strings.h"
#include "dataplane/http/simple_server.h"

namespace weft::ctl::admin {
namespace {

constexpr char kJson[] = "application/json";

struct Endpoint {
  std::string_view path, what;
};
constexpr Endpoint kEndpoints[] = {
    {"/ready", "200 once the configuration has been read"},
    {"/metrics", "Prometheus text"},
    {"/debug/syncz", "what each proxy was sent, took and refused"},
    {"/debug/configz",
     "objects that were read: where they are written, whether they are in effect, what is wrong"},
    {"/debug/endpointz", "endpoints by cluster; ?cluster= for one"},
    {"/debug/config_dump", "?proxyID=NODE: the resources that a proxy has"},
};

// RapidJSON, indented, with members in one call.
class Json {
 public:
  Json() { writer_.SetIndent(' ', 2); }
  void BeginObject() { writer_.StartObject(); }
  void EndObject() { writer_.EndObject(); }
  void BeginArray() { writer_.StartArray(); }
  void EndArray() { writer_.EndArray(); }
  void Key(std::string_view key) {
    writer_.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
  }
  void Value(std::string_view text) {
    writer_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  }
  void Value(const char* text) { Value(std::string_view(text)); }
  void Value(bool value) { writer_.Bool(value); }
  void Value(int value) { writer_.Int(value); }
  void Value(int64_t value) { writer_.Int64(value); }
  void Value(uint64_t value) { writer_.Uint64(value); }
  template <typename T>
  void Member(std::string_view key, const T& value) {
    Key(key);
    Value(value);
  }
  void Raw(std::string_view key, const std::string& json) {
    Key(key);
    // Read again, so that it is indented as the rest.
    rapidjson::StringStream stream(json.c_str());
    rapidjson::Reader().Parse(stream, writer_);
  }
  AdminResponse Take() {
    return {200, kJson, std::string(buffer_.GetString(), buffer_.GetSize()) + "\n"};
  }

 private:
  rapidjson::StringBuffer buffer_;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer_{buffer_};
};

std::string TimeText(std::chrono::system_clock::time_point time) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char date[32], out[40];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(out, sizeof out, "%s.%03dZ", date, static_cast<int>(ms % 1000));
  return out;
}

const char* Word(xds::SyncState state) {
  switch (state) {
    case xds::SyncState::kNotSent: return "NOT_SENT";
    case xds::SyncState::kSynced: return "SYNCED";
    case xds::SyncState::kStale: return "STALE";
    case xds::SyncState::kRefused: return "REFUSED";
  }
  return "";
}

void WriteErrors(Json& json, const std::vector<api::SourceError>& errors) {
  json.BeginArray();
  for (const api::SourceError& error : errors) {
    json.BeginObject();
    json.Member("severity", error.warning ? "WARNING" : "ERROR");
    json.Member("file", error.file);
    json.Member("line", error.line);
    json.Member("column", error.column);
    json.Member("path", error.path);
    json.Member("message", error.message);
    json.EndObject();
  }
  json.EndArray();
}

std::string ResourceJson(std::string_view type_url, const std::string& value) {
  google::protobuf::Any any;
  any.set_type_url(std::string(type_url));
  any.set_value(value);
  return api::MessageToJson(any);
}

AdminResponse Error(int status, std::string message) {
  return {status, "text/plain; charset=utf-8", std::move(message) + "\n"};
}

}  // namespace

AdminResponse AdminHandlers::Handle(const AdminRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") {
    return Error(405, StrCat("only GET is answered here, not ", request.method));
  }
  if (request.path == "/ready") return Ready();
  if (request.path == "/metrics") return Metrics();
  if (request.path == "/debug/syncz") return Syncz();
  if (request.path == "/debug/configz") return Configz();
  if (request.path == "/debug/endpointz") return Endpointz(request.query);
  if (request.path == "/debug/config_dump") return ConfigDump(request.query);
  std::string list;
  for (const Endpoint& endpoint : kEndpoints)
    StrAppend(&list, endpoint.path, "  ", endpoint.what, "\n");
  if (request.path == "/" || request.path == "/debug" || request.path == "/debug/") {
    return {200, "text/plain; charset=utf-8", StrCat("weft-controller ", version_, "\n\n", list)};
  }
  return Error(404, StrCat("there is no ", request.path, "; there are\n", list));
}

AdminResponse AdminHandlers::Ready() const {
  if (!engine_->state()->synced()) return Error(503, "the configuration has not been read yet");
  return {200, "text/plain; charset=utf-8", "ready\n"};
}

AdminResponse AdminHandlers::Metrics() const {
  const xds::Counters& c = hub_->counters();
  const StatePtr state = engine_->state();
  const ConfigEngine::Counts counts = engine_->counts();
  MetricsText text;
  text.Gauge("weft_controller_info", "Version of this controller.", 1,
             StrCat("{version=\"", version_, "\"}"));
  text.Gauge("weft_controller_start_time_seconds", "Unix time of the start.",
             std::chrono::duration<double>(started_.time_since_epoch()).count());
  text.Gauge("weft_config_synced", "1 once every source has been read.", state->synced() ? 1 : 0);
  text.Gauge("weft_config_generation", "Changes of the configuration that were taken in.",
             static_cast<double>(state->config_generation()));
  uint64_t in_effect = 0, outdated = 0, absent = 0;
  for (const ObjectStatus& status : engine_->Statuses()) {
    ++(!status.in_effect() ? absent : status.current() ? in_effect : outdated);
  }
  text.Gauge("weft_config_objects", "Objects by whether their newest version is in effect.",
             static_cast<double>(in_effect), "{state=\"current\"}");
  text.More("weft_config_objects", outdated, "{state=\"older_version\"}");
  text.More("weft_config_objects", absent, "{state=\"not_in_effect\"}");
  uint64_t errors = 0;
  for (const api::SourceError& error : engine_->Errors()) errors += error.warning ? 0 : 1;
  text.Gauge("weft_config_errors", "Errors in the configuration now.", static_cast<double>(errors));
  text.Counter("weft_config_events_total", "Events that sources delivered.", counts.events);
  text.Counter("weft_config_states_total", "States that were made.", counts.states);
  text.Counter("weft_graph_recomputed_total", "Derivations that were computed.", counts.recomputed);
  text.Gauge("weft_graph_resources", "Resources that are kept computed.",
             static_cast<double>(counts.resources));
  text.Gauge("weft_graph_proxies", "Different proxies that are attached.",
             static_cast<double>(counts.proxies));

  text.Gauge("weft_xds_sessions", "Discovery streams now.", static_cast<double>(hub_->sessions()));
  text.Gauge("weft_xds_push_queue", "Proxies that wait for their turn.",
             static_cast<double>(hub_->queued()));
  text.Counter("weft_xds_sessions_opened_total", "Discovery streams that were opened.",
               c.sessions_opened);
  text.Counter("weft_xds_sessions_rejected_total", "Discovery streams that were refused.",
               c.sessions_rejected);
  text.Counter("weft_xds_requests_total", "Discovery requests.", c.requests);
  text.Counter("weft_xds_bad_requests_total", "Requests that ended their stream.", c.bad_requests);
  text.Counter("weft_xds_pushes_total", "Discovery responses.", c.pushes);
  text.Counter("weft_xds_pushed_resources_total", "Resources in discovery responses.",
               c.pushed_resources);
  text.Counter("weft_xds_removed_resources_total", "Removals in discovery responses.",
               c.removed_resources);
  text.Counter("weft_xds_pushed_bytes_total", "Bytes of discovery responses.", c.pushed_bytes);
  text.Counter("weft_xds_acks_total", "Responses that proxies accepted.", c.acks);
  text.Counter("weft_xds_nacks_total", "Responses that proxies refused.", c.nacks);
  text.Counter("weft_xds_stale_nonces_total", "Answers to responses that are not outstanding.",
               c.stale_nonces);
  text.Counter("weft_xds_merged_states_total",
               "Changes that were merged into a push that had not gone out.", c.merged_states);
  text.Counter("weft_xds_hold_timeouts_total",
               "Routes or removals that went before what they wait for was accepted.",
               c.hold_timeouts);
  text.Counter("weft_xds_answer_timeouts_total", "Responses that were not answered in time.",
               c.answer_timeouts);
  text.Counter("weft_xds_stalled_streams_total",
               "Streams that were ended since the client did not read.", c.stalled_closed);
  text.Convergence("weft_xds_convergence_seconds", "From a change until a proxy accepted it.", c);
  return {200, "text/plain; version=0.0.4; charset=utf-8", text.Take()};
}

AdminResponse AdminHandlers::Syncz() const {
  Json json;
  json.BeginArray();
  for (const xds::ConnectionStatus& connection : hub_->Status()) {
    json.BeginObject();
    json.Member("proxy", connection.node_id);
    json.Member("cluster", connection.cluster);
    json.Member("client", connection.client);
    json.Member("peer", connection.peer);
    json.Member("protocol",
                connection.protocol == xds::Protocol::kDelta ? "DELTA" : "STATE_OF_THE_WORLD");
    json.Member("connectedSince", TimeText(connection.since));
    json.Member("writing", connection.writing);
    json.Key("types");
    json.BeginArray();
    for (const xds::TypeStatus& type : connection.types) {
      json.BeginObject();
      json.Member("type", api::ShortTypeName(type.type_url));
      json.Member("typeUrl", type.type_url);
      json.Member("status", Word(type.state));
      json.Member("reason", type.reason);
      json.Member("generated", type.generated_version);
      json.Member("pushed", type.pushed_version);
      json.Member("accepted", type.accepted_version);
      json.Member("wildcard", type.wildcard);
      json.Member("subscribed", uint64_t{type.subscribed});
      json.Member("resources", uint64_t{type.resources});
      json.Member("pushes", type.pushes);
      json.Member("acks", type.acks);
      json.Member("nacks", type.nacks);
      if (type.last_push) json.Member("lastPush", TimeText(*type.last_push));
      if (type.last_answer) json.Member("lastAnswer", TimeText(*type.last_answer));
      json.Key("refused");
      json.BeginArray();
      for (const xds::Refusal& refusal : type.refused) {
        json.BeginObject();
        json.Member("name", refusal.name);
        json.Member("version", refusal.version);
        json.Member("fieldPath", refusal.field_path);
        json.Member("reason", refusal.reason);
        json.EndObject();
      }
      json.EndArray();
      json.Key("missing");
      json.BeginArray();
      for (const std::string& name : type.missing) json.Value(name);
      json.EndArray();
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
  return json.Take();
}

AdminResponse AdminHandlers::Configz() const {
  std::map<ObjectKey, ObjectPtr> newest;
  for (ConfigEngine::StoredObject& stored : engine_->Objects()) {
    if (ObjectPtr object = stored.newest != nullptr ? stored.newest : stored.in_effect)
      newest[object->key] = object;
  }
  std::vector<ObjectStatus> statuses = engine_->Statuses();
  std::set<std::string> told;
  Json json;
  json.BeginObject();
  json.Member("generation", engine_->state()->config_generation());
  json.Member("synced", engine_->state()->synced());
  json.Key("objects");
  json.BeginArray();
  for (const ObjectStatus& status : statuses) {
    json.BeginObject();
    json.Member("kind", status.key.kind);
    json.Member("namespace", status.key.ns);
    json.Member("name", status.key.name);
    json.Member("file", status.origin.file);
    json.Member("line", status.origin.line);
    json.Member("generation", status.generation);
    json.Member("generationInEffect", status.generation_in_effect);
    json.Key("conditions");
    json.BeginArray();
    for (const Condition& condition : status.conditions) {
      json.BeginObject();
      json.Member("type", condition.type);
      json.Member("status", condition.holds ? "True" : "False");
      json.Member("reason", condition.reason);
      json.Member("message", condition.message);
      json.EndObject();
    }
    json.EndArray();
    json.Key("errors");
    WriteErrors(json, status.errors);
    for (const api::SourceError& error : status.errors) told.insert(error.ToString());
    if (auto it = newest.find(status.key); it != newest.end()) {
      json.Raw("object", api::ResourceToJson(it->second->api_version, it->second->key.kind,
                                             it->second->meta, *it->second->spec));
    }
    json.EndObject();
  }
  json.EndArray();
  // Of files and documents that could not be told to be an object.
  std::vector<api::SourceError> others;
  for (api::SourceError& error : engine_->Errors()) {
    if (!told.contains(error.ToString())) others.push_back(std::move(error));
  }
  json.Key("errors");
  WriteErrors(json, others);
  json.EndObject();
  return json.Take();
}

AdminResponse AdminHandlers::Endpointz(std::string_view query) const {
  const std::string only = http::QueryParameter(query, "cluster");
  // Endpoints are the same for every proxy; this one stands for them.
  ProxyKey key;
  key.name = "endpointz";
  key.ns = "default";
  const ProxyRef proxy = engine_->Attach(std::move(key));
  const StatePtr state = engine_->state();
  Json json;
  json.BeginArray();
  for (const std::string& name : state->Names(ResourceType::kEndpoint, proxy)) {
    if (!only.empty() && name != only) continue;
    const ResourcePtr resource = state->Get(ResourceType::kEndpoint, name, proxy);
    if (resource == nullptr) continue;
    json.BeginObject();
    json.Member("cluster", name);
    json.Member("version", resource->version);
    json.Raw("assignment", ResourceJson(xds::kEndpointUrl, resource->value));
    json.EndObject();
  }
  json.EndArray();
  return json.Take();
}

AdminResponse AdminHandlers::ConfigDump(std::string_view query) const {
  const std::string wanted = http::QueryParameter(query, "proxyID");
  std::set<std::string> known, matching;
  for (const xds::ConnectionStatus& connection : hub_->Status()) {
    known.insert(connection.node_id);
    const auto id = api::ParseNodeId(connection.node_id);
    if (connection.node_id == wanted || (id && StrCat(id->name, ".", id->ns) == wanted)) {
      matching.insert(connection.node_id);
    }
  }
  if (matching.empty()) {
    std::string list;
    for (const std::string& id : known) StrAppend(&list, "\n  ", id);
    if (list.empty()) list = "\n  (none)";
    return Error(
        wanted.empty() ? 400 : 404,
        StrCat(wanted.empty() ? std::string("?proxyID= is missing: a node id, or NAME.NAMESPACE")
                              : StrCat("no proxy \"", wanted, "\" is connected"),
               "; connected are", list));
  }
  Json json;
  json.BeginObject();
  json.Key("configs");
  json.BeginArray();
  for (const std::string& node : matching) {
    for (const xds::SentResource& sent : hub_->Sent(node)) {
      json.BeginObject();
      json.Member("type", api::ShortTypeName(sent.type_url));
      json.Member("name", sent.resource->name);
      json.Member("version", sent.resource->version);
      json.Member("acceptedVersion", sent.accepted_version);
      json.Member("refused", sent.refused);
      if (!sent.resource->value.empty())
        json.Raw("resource", ResourceJson(sent.type_url, sent.resource->value));
      json.EndObject();
    }
  }
  json.EndArray();
  json.EndObject();
  return json.Take();
}

}  // namespace weft::ctl::admin
