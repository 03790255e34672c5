#include "dataplane/config/xds_client.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <unordered_set>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace weft::config {
namespace {

namespace ds = envoy::service::discovery::v3;

constexpr size_t kMaxMessage = 256 * 1024;  // of error_detail.message: it ends up on people's screens

MonoNanos NanosOf(const google::protobuf::Duration& d) { return d.seconds() * kSecond + d.nanos(); }

google::rpc::Status DetailOf(const std::vector<XdsRefusal>& refused) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(GrpcCode::kInvalidArgument));
  std::string message;
  for (const XdsRefusal& r : refused) {
    ds::ResourceError error;
    error.mutable_resource_name()->set_name(r.name);
    error.mutable_error_detail()->set_code(static_cast<int>(GrpcCode::kInvalidArgument));
    error.mutable_error_detail()->set_message(r.reason);
    status.add_details()->PackFrom(error);
    if (message.size() < kMaxMessage) StrAppend(&message, message.empty() ? "" : "\n", r.name, ": ", r.reason);
  }
  status.set_message(std::move(message));
  return status;
}

}  // namespace

std::string_view ResourceStateName(ResourceState s) {
  switch (s) {
    case ResourceState::kRequested: return "requested";
    case ResourceState::kExists: return "exists";
    case ResourceState::kAbsent: return "absent";
    case ResourceState::kRefused: return "refused";
  }
  return "";
}

std::string NameInWire(std::string_view wire) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(wire.data()), static_cast<int>(wire.size()));
  std::string name;
  // The serializer writes field 1 first, but nothing obliges a peer to; the last one counts.
  while (uint32_t tag = in.ReadTag()) {
    uint32_t n = 0;
    uint64_t v = 0;
    switch (tag & 7) {
      case 0:
        if (!in.ReadVarint64(&v)) return "";
        break;
      case 1:
        if (!in.Skip(8)) return "";
        break;
      case 2:
        if (!in.ReadVarint32(&n)) return "";
        if (tag >> 3 == 1) {
          if (!in.ReadString(&name, static_cast<int>(n))) return "";
        } else if (!in.Skip(static_cast<int>(n))) {
          return "";
        }
        break;
      case 5:
        if (!in.Skip(4)) return "";
        break;
      default:
        return "";
    }
  }
  return in.ConsumedEntireMessage() ? name : "";
}

XdsClient::XdsClient(event::Loop& loop, XdsTransport& transport, XdsOptions options, Watcher* watcher)
    : loop_(loop),
      transport_(transport),
      options_(std::move(options)),
      watcher_(watcher),
      reconnect_(loop.timers(), [](void* self) { static_cast<XdsClient*>(self)->OpenStream(); }, this),
      deadline_(loop.timers(), [](void* self) { static_cast<XdsClient*>(self)->OnDeadline(); }, this),
      self_(std::make_shared<XdsClient*>(this)),
      random_state_(static_cast<uint64_t>(WallMicros()) * 0x9e3779b97f4a7c15u | 1) {}

XdsClient::~XdsClient() { *self_ = nullptr; }

XdsClient::Type* XdsClient::Find(std::string_view type_url) {
  for (auto& t : types_) {
    if (t->url == type_url) return t.get();
  }
  return nullptr;
}

const XdsClient::ResourceInfo* XdsClient::Find(std::string_view type_url, const std::string& name) const {
  for (const auto& t : types_) {
    if (t->url != type_url) continue;
    auto it = t->resources.find(name);
    return it == t->resources.end() ? nullptr : &it->second.info;
  }
  return nullptr;
}

void XdsClient::AddType(std::string_view type_url, bool complete) {
  auto t = std::make_unique<Type>();
  t->url = type_url;
  t->complete = complete;
  types_.push_back(std::move(t));
}

void XdsClient::Start() { reconnect_.Arm(0); }

// ---- subscriptions ----

void XdsClient::SubscribeAll(std::string_view type_url) {
  Type* t = Find(type_url);
  t->wildcard = true;
  t->dirty = true;
  loop_.AtTurnEnd(this);
}

void XdsClient::Subscribe(std::string_view type_url, const std::string& name, MonoNanos timeout) {
  Type* t = Find(type_url);
  Resource& r = t->resources[name];
  if (r.named) return;
  r.named = true;
  t->changes[name] = true;
  t->dirty = true;
  if (timeout > 0 && r.info.version.empty()) {
    deadlines_.emplace(loop_.Now() + timeout, std::make_pair(t, name));
    ArmDeadline();
  }
  loop_.AtTurnEnd(this);
}

void XdsClient::Unsubscribe(std::string_view type_url, const std::string& name) {
  Type* t = Find(type_url);
  auto it = t->resources.find(name);
  if (it == t->resources.end() || !it->second.named) return;
  t->resources.erase(it);
  t->changes[name] = false;
  t->dirty = true;
  loop_.AtTurnEnd(this);
}

void XdsClient::Seed(std::string_view type_url, const std::string& name, const std::string& version) {
  ResourceInfo& info = Find(type_url)->resources[name].info;
  info.state = ResourceState::kExists;
  info.version = version;
}

// ---- the stream ----

void XdsClient::OpenStream() {
  ++stream_id_;
  ++status_.streams;
  ready_ = node_sent_ = heard_ = false;
  for (auto& t : types_) {
    t->asked = false;
    t->last_nonce.clear();
  }
  stream_ = transport_.Open(options_.delta ? XdsTransport::Method::kDelta : XdsTransport::Method::kStateOfTheWorld, this);
  status_.server = transport_.server();
}

void XdsClient::Restart() {
  if (stream_ == nullptr) {
    reconnect_.Arm(0);
    return;
  }
  DropStream();
  reconnect_.Arm(0);
}

// What is still under way from this stream is answered to nobody.
void XdsClient::DropStream() {
  stream_->Cancel();
  loop_.DeferDelete(std::move(stream_));
  ++stream_id_;
  ready_ = false;
  status_.connected = false;
}

void XdsClient::OnXdsReady() {
  ready_ = true;
  for (auto& t : types_) SendRequest(*t, nullptr);
}

void XdsClient::OnXdsClosed(const GrpcStatus& status) {
  DropStream();
  status_.last_error = StrCat(transport_.server(), ": ", status.ToString());
  ++status_.failures;
  if (heard_) failures_ = 0;
  ++failures_;
  // Each server gets its turn before the first is asked again after a pause.
  size_t servers = std::max<size_t>(transport_.servers(), 1);
  MonoNanos delay = 0;
  if (failures_ % servers == 0) {
    size_t round = std::min<size_t>(failures_ / servers - 1, 16);
    delay = std::min(options_.backoff_min << round, options_.backoff_max);
    delay = static_cast<MonoNanos>(static_cast<double>(delay) * (0.5 + Random() / 2));
  } else if (heard_) {
    // A server that served died: the whole fleet is about to ask the next one, not in one instant.
    delay = static_cast<MonoNanos>(static_cast<double>(options_.backoff_min) * Random());
  }
  reconnect_.Arm(delay);
  watcher_->OnXdsConnection(false, status_.last_error);
}

double XdsClient::Random() {
  if (options_.random) return options_.random();
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return static_cast<double>(random_state_ >> 11) * 0x1.0p-53;
}

void XdsClient::OnXdsMessage(std::string bytes) {
  uint64_t stream = stream_id_;
  if (options_.delta) {
    OnDelta(bytes);
  } else {
    OnStateOfTheWorld(bytes);
  }
  if (stream == stream_id_ && !heard_) {
    heard_ = true;
    failures_ = 0;
    status_.connected = true;
    watcher_->OnXdsConnection(true, transport_.server());
  }
}

void XdsClient::BadMessage(std::string_view what) {
  OnXdsClosed({GrpcCode::kInternal, std::string(what)});
}

// ---- responses ----

void XdsClient::OnDelta(const std::string& bytes) {
  ds::DeltaDiscoveryResponse response;
  if (!response.ParseFromString(bytes)) {
    BadMessage("server sent bytes that are no DeltaDiscoveryResponse");
    return;
  }
  ++status_.responses;
  if (!response.control_plane().identifier().empty()) status_.control_plane = response.control_plane().identifier();
  Type* type = Find(response.type_url());
  if (type == nullptr || !Wanted(*type)) {
    RefuseType(response.type_url(), response.nonce());
    return;
  }
  Unanswered u;
  u.nonce = response.nonce();
  u.version = response.system_version_info();
  XdsUpdate update;
  update.type_url = type->url;
  update.version = u.version;
  std::unordered_set<std::string> seen;
  for (ds::Resource& r : *response.mutable_resources()) {
    const std::string& name = r.has_resource_name() ? r.resource_name().name() : r.name();
    auto known = type->resources.find(name);
    // Unsubscribed while the response was under way.
    if (!type->wildcard && (known == type->resources.end() || !known->second.named)) continue;
    if (r.has_ttl() && !r.has_resource()) {  // a heartbeat: same version, nothing new
      if (known != type->resources.end()) SetTtl(*type, name, NanosOf(r.ttl()));
      continue;
    }
    std::string bad;
    if (name.empty()) {
      bad = "has no name";
    } else if (!seen.insert(name).second) {
      bad = "appears twice in one response";
    } else if (!r.has_resource()) {
      bad = "has no body";
    } else if (r.resource().type_url() != type->url) {
      bad = StrCat("is of type ", r.resource().type_url(), " in a response of type ", type->url);
    }
    if (!bad.empty()) {
      u.refused.push_back({name, r.version(), bad});
      continue;
    }
    u.taken.emplace_back(name, r.version());
    type->resources.try_emplace(name);  // so that a removal that follows before `done` is understood
    update.resources.push_back({name, r.version(), std::move(*r.mutable_resource()->mutable_value())});
    SetTtl(*type, name, r.has_ttl() ? NanosOf(r.ttl()) : 0);
  }
  auto remove = [&](const std::string& name) {
    if (type->resources.contains(name) && !seen.contains(name)) update.removed.push_back(name);
  };
  for (const std::string& name : response.removed_resources()) remove(name);
  for (const ds::ResourceName& name : response.removed_resource_names()) remove(name.name());
  for (const ds::ResourceError& e : response.resource_errors()) {
    auto it = type->resources.find(e.resource_name().name());
    if (it == type->resources.end()) continue;
    it->second.info.reason = StrCat("server: ", e.error_detail().message());
    // A server that has trouble with a resource does not take away what we hold; one that says "not found" does.
    if (it->second.info.version.empty() || e.error_detail().code() == static_cast<int>(GrpcCode::kNotFound)) {
      remove(e.resource_name().name());
    }
  }
  u.removed = update.removed;
  u.stream = stream_id_;
  Deliver(*type, std::move(u), std::move(update));
}

void XdsClient::OnStateOfTheWorld(const std::string& bytes) {
  ds::DiscoveryResponse response;
  if (!response.ParseFromString(bytes)) {
    BadMessage("server sent bytes that are no DiscoveryResponse");
    return;
  }
  ++status_.responses;
  if (!response.control_plane().identifier().empty()) status_.control_plane = response.control_plane().identifier();
  Type* type = Find(response.type_url());
  if (type == nullptr || !Wanted(*type)) {
    RefuseType(response.type_url(), response.nonce());
    return;
  }
  type->last_nonce = response.nonce();
  Unanswered u;
  u.nonce = response.nonce();
  u.version = response.version_info();
  XdsUpdate update;
  update.type_url = type->url;
  update.version = u.version;
  std::unordered_set<std::string> seen;
  int index = -1;
  for (google::protobuf::Any& any : *response.mutable_resources()) {
    ++index;
    std::string name;
    MonoNanos ttl = 0;
    ds::Resource wrapper;
    google::protobuf::Any* body = &any;
    if (any.Is<ds::Resource>()) {
      if (!any.UnpackTo(&wrapper)) {
        u.refused.push_back({StrCat("resources[", index, "]"), u.version, "is no envoy.service.discovery.v3.Resource"});
        continue;
      }
      name = wrapper.name();
      if (wrapper.has_ttl()) ttl = NanosOf(wrapper.ttl());
      if (!wrapper.has_resource()) {
        seen.insert(name);
        if (type->resources.contains(name)) SetTtl(*type, name, ttl);
        continue;
      }
      body = wrapper.mutable_resource();
    }
    if (name.empty()) name = NameInWire(body->value());
    std::string bad;
    if (name.empty()) {
      name = StrCat("resources[", index, "]");
      bad = "has no name, or is not a valid message";
    } else if (body->type_url() != type->url) {
      bad = StrCat("is of type ", body->type_url(), " in a response of type ", type->url);
    } else if (!seen.insert(name).second) {
      bad = "appears twice in one response";
    }
    if (!bad.empty()) {
      u.refused.push_back({name, u.version, bad});
      seen.insert(name);  // what is broken is not gone
      continue;
    }
    auto known = type->resources.find(name);
    if (!type->wildcard && (known == type->resources.end() || !known->second.named)) continue;
    u.taken.emplace_back(name, u.version);
    type->resources.try_emplace(name);
    update.resources.push_back({name, u.version, std::move(*body->mutable_value())});
    SetTtl(*type, name, ttl);
  }
  if (type->complete && type->wildcard) {
    for (const auto& [name, r] : type->resources) {
      if (!seen.contains(name)) update.removed.push_back(name);
    }
    std::sort(update.removed.begin(), update.removed.end());
  }
  u.removed = update.removed;
  u.stream = stream_id_;
  Deliver(*type, std::move(u), std::move(update));
}

// Whether anything of the type was asked for on this stream, or is about to be.
bool XdsClient::Wanted(const Type& type) {
  return type.asked || type.wildcard ||
         std::any_of(type.resources.begin(), type.resources.end(), [](const auto& r) { return r.second.named; });
}

// A type that nobody subscribed to can't be applied, so it must not look accepted.
void XdsClient::RefuseType(const std::string& url, const std::string& nonce) {
  google::rpc::Status detail;
  detail.set_code(static_cast<int>(GrpcCode::kInvalidArgument));
  detail.set_message(StrCat("this proxy did not ask for resources of type \"", url, "\""));
  LogWarning(StrCat("xds: ", transport_.server(), " sent a response of type \"", url, "\" that was not asked for"));
  ++status_.nacks;
  if (options_.delta) {
    ds::DeltaDiscoveryRequest r;
    r.set_type_url(url);
    r.set_response_nonce(nonce);
    *r.mutable_error_detail() = std::move(detail);
    stream_->Send(r.SerializeAsString());
  } else {
    ds::DiscoveryRequest r;
    r.set_type_url(url);
    r.set_response_nonce(nonce);
    *r.mutable_error_detail() = std::move(detail);
    stream_->Send(r.SerializeAsString());
  }
}

void XdsClient::Deliver(Type& type, Unanswered pending, XdsUpdate update) {
  uint64_t id = next_id_++;
  pending.id = id;
  type.unanswered.push_back(std::move(pending));
  watcher_->OnXdsUpdate(std::move(update),
                        [self = self_, url = type.url, id](std::vector<XdsRefusal> refused) {
                          if (*self != nullptr) (*self)->OnDone(url, id, std::move(refused));
                        });
}

void XdsClient::OnDone(const std::string& url, uint64_t id, std::vector<XdsRefusal> refused) {
  Type& type = *Find(url);
  for (Unanswered& u : type.unanswered) {
    if (u.id != id || u.done) continue;
    u.done = true;
    for (XdsRefusal& r : refused) u.refused.push_back(std::move(r));
  }
  // In order: a later version must not be recorded, nor acknowledged, before an earlier one.
  while (!type.unanswered.empty() && type.unanswered.front().done) {
    Unanswered u = std::move(type.unanswered.front());
    type.unanswered.pop_front();
    Settle(type, u);
    Answer(type, u);
  }
  if (ready_ && !type.asked) SendRequest(type, nullptr);
}

// Records what is held now.
void XdsClient::Settle(Type& type, Unanswered& u) {
  int64_t now = WallMicros();
  std::unordered_map<std::string_view, const XdsRefusal*> refused;
  for (const XdsRefusal& r : u.refused) refused.emplace(r.name, &r);
  for (const auto& [name, version] : u.taken) {
    auto it = type.resources.find(name);
    if (it == type.resources.end()) {
      if (!type.wildcard) continue;  // unsubscribed meanwhile
      it = type.resources.try_emplace(name).first;
    }
    if (refused.contains(name)) continue;
    ResourceInfo& info = it->second.info;
    info.state = ResourceState::kExists;
    info.version = version;
    info.refused_version.clear();
    info.reason.clear();
    info.updated_micros = now;
  }
  for (const XdsRefusal& r : u.refused) {
    auto it = type.resources.find(r.name);
    if (it == type.resources.end()) {
      if (!type.wildcard || r.name.empty()) continue;
      it = type.resources.try_emplace(r.name).first;
    }
    ResourceInfo& info = it->second.info;
    info.state = ResourceState::kRefused;
    info.refused_version = r.version;
    info.reason = r.reason;
    info.updated_micros = now;
  }
  for (const std::string& name : u.removed) {
    auto it = type.resources.find(name);
    if (it == type.resources.end()) continue;
    if (!it->second.named) {
      type.resources.erase(it);
      continue;
    }
    ResourceInfo& info = it->second.info;
    info.state = ResourceState::kAbsent;
    info.version.clear();
    info.refused_version.clear();
    if (info.reason.empty()) info.reason = "the server says that it does not exist";
    info.updated_micros = now;
  }
}

void XdsClient::Answer(Type& type, const Unanswered& u) {
  if (u.stream == 0) return;
  if (u.refused.empty()) {
    ++status_.acks;
    type.accepted_version = u.version;
  } else {
    ++status_.nacks;
    for (const XdsRefusal& r : u.refused) {
      LogWarning(StrCat("xds: refused ", type.url, " ", r.name, " version \"", r.version, "\": ", r.reason));
    }
  }
  if (ready_ && u.stream == stream_id_) SendRequest(type, &u);
}

// ---- requests ----

void XdsClient::RunAtTurnEnd() {
  if (!ready_) return;
  for (auto& t : types_) SendRequest(*t, nullptr);
}

// Sends what is due of one type: the first request of a stream, changes of the subscription, an answer.
void XdsClient::SendRequest(Type& type, const Unanswered* answer) {
  // What an earlier stream brought is still being applied: only after it we know what we hold, and a server that was
  // told too little would never take the rest away again. OnDone comes back here.
  if (!type.asked) {
    if (!type.unanswered.empty()) return;
    ForgetRefusals(type);
  }
  if (options_.delta) {
    SendDelta(type, answer);
  } else {
    SendStateOfTheWorld(type, answer);
  }
}

// Refusals belong to the stream that brought them: a server sends again what differs from what we hold, and what it
// does not have any more it would not mention.
void XdsClient::ForgetRefusals(Type& type) {
  for (auto it = type.resources.begin(); it != type.resources.end();) {
    Resource& r = it->second;
    if (r.info.version.empty() && !r.named) {
      it = type.resources.erase(it);
      continue;
    }
    if (r.info.state == ResourceState::kRefused) {
      r.info.state = r.info.version.empty() ? ResourceState::kRequested : ResourceState::kExists;
      r.info.refused_version.clear();
      r.info.reason.clear();
    }
    ++it;
  }
}

void XdsClient::SendDelta(Type& type, const Unanswered* answer) {
  ds::DeltaDiscoveryRequest r;
  r.set_type_url(type.url);
  if (!type.asked) {
    std::vector<std::string_view> names;
    for (const auto& [name, resource] : type.resources) {
      if (resource.named) names.push_back(name);
      if (!resource.info.version.empty()) (*r.mutable_initial_resource_versions())[name] = resource.info.version;
    }
    if (!type.wildcard && names.empty()) return;
    std::sort(names.begin(), names.end());
    // Without names the first request means "all", the form that every server knows; with names it needs the star.
    if (type.wildcard && !names.empty()) r.add_resource_names_subscribe("*");
    for (std::string_view n : names) r.add_resource_names_subscribe(n.data(), n.size());
    type.asked = true;
  } else {
    if (answer == nullptr && type.changes.empty()) return;
    for (const auto& [name, subscribe] : type.changes) {
      if (subscribe) {
        r.add_resource_names_subscribe(name);
      } else {
        r.add_resource_names_unsubscribe(name);
      }
    }
  }
  type.changes.clear();
  type.dirty = false;
  if (answer != nullptr) {
    r.set_response_nonce(answer->nonce);
    if (!answer->refused.empty()) *r.mutable_error_detail() = DetailOf(answer->refused);
  }
  if (!node_sent_) {
    r.mutable_node()->ParseFromString(options_.node);
    node_sent_ = true;
  }
  stream_->Send(r.SerializeAsString());
}

void XdsClient::SendStateOfTheWorld(Type& type, const Unanswered* answer) {
  if (type.asked && answer == nullptr && !type.dirty) return;
  ds::DiscoveryRequest r;
  r.set_type_url(type.url);
  std::vector<std::string_view> names;
  for (const auto& [name, resource] : type.resources) {
    if (resource.named) names.push_back(name);
  }
  // Before the first request an empty list would mean "all"; after it, that nothing is wanted any more.
  if (!type.asked && !type.wildcard && names.empty()) return;
  std::sort(names.begin(), names.end());
  if (type.wildcard && !names.empty()) r.add_resource_names("*");
  for (std::string_view n : names) r.add_resource_names(n.data(), n.size());
  r.set_version_info(type.accepted_version);
  r.set_response_nonce(answer != nullptr ? answer->nonce : type.last_nonce);
  if (answer != nullptr && !answer->refused.empty()) *r.mutable_error_detail() = DetailOf(answer->refused);
  type.asked = true;
  type.dirty = false;
  type.changes.clear();
  if (!node_sent_) {
    r.mutable_node()->ParseFromString(options_.node);
    node_sent_ = true;
  }
  stream_->Send(r.SerializeAsString());
}

// ---- time ----

void XdsClient::SetTtl(Type& type, const std::string& name, MonoNanos ttl) {
  Resource& r = type.resources[name];
  r.ttl_end = ttl > 0 ? loop_.Now() + ttl : 0;
  if (ttl > 0) {
    deadlines_.emplace(r.ttl_end, std::make_pair(&type, name));
    ArmDeadline();
  }
}

void XdsClient::ArmDeadline() {
  if (deadlines_.empty()) return;
  deadline_.Arm(std::max<MonoNanos>(deadlines_.begin()->first - loop_.Now(), 0));
}

void XdsClient::OnDeadline() {
  MonoNanos now = loop_.Now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    auto [type, name] = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    auto it = type->resources.find(name);
    if (it == type->resources.end()) continue;
    Resource& r = it->second;
    if (r.ttl_end != 0) {
      if (r.ttl_end <= now) Absent(*type, name, "its time to live is over");
    } else if (r.named && r.info.version.empty() && r.info.state != ResourceState::kAbsent) {
      Absent(*type, name, "the server did not send it in time");
    }
  }
  ArmDeadline();
}

void XdsClient::Absent(Type& type, const std::string& name, std::string reason) {
  Resource& r = type.resources[name];
  r.info.reason = std::move(reason);
  r.ttl_end = 0;
  Unanswered u;
  u.removed.push_back(name);
  XdsUpdate update;
  update.type_url = type.url;
  update.removed.push_back(name);
  update.from_server = false;
  Deliver(type, std::move(u), std::move(update));
}

}  // namespace weft::config
