#include "controlplane/xds/proxy_session.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "controlplane/xds/session_version.h"
#include "controlplane/xds/type_order.h"

namespace weft::ctl::xds {
namespace {

constexpr std::string_view kWildcard = "*";
// Unanswered responses of a type that are remembered; more than one only when the answer limit has
// passed.
constexpr size_t kMaxOutstanding = 4;

// Tag and length bytes of a resource in a response, generously.
size_t WireSize(const std::string& type_url, const Resource& r) {
  return r.name.size() + r.version.size() + r.value.size() + type_url.size() + 24;
}

}  // namespace

ProxySession::ProxySession(Protocol protocol, const SessionOptions& options, Counters* counters)
    : protocol_(protocol), options_(options), counters_(counters) {}

ProxySession::Type* ProxySession::Find(std::string_view url) {
  for (auto& type : types_) {
    if (type->url == url) return type.get();
  }
  return nullptr;
}

absl::StatusOr<ProxySession::Type*> ProxySession::FindOrAdd(const std::string& url, bool* added) {
  *added = false;
  if (Type* known = Find(url)) return known;
  if (types_.size() >= options_.max_types) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a stream may subscribe to at most ", options_.max_types, " resource types"));
  }
  *added = true;
  auto type = std::make_unique<Type>();
  type->url = url;
  type->rank = PushRank(url);
  type->complete = url == kListenerUrl || url == kClusterUrl;
  auto at = std::upper_bound(types_.begin(), types_.end(), type->rank,
                             [](int rank, const auto& other) { return rank < other->rank; });
  return types_.insert(at, std::move(type))->get();
}

// --- what comes in ---

absl::Status ProxySession::OnRequest(const Request& request, SteadyTime now) {
  assert(view_ != nullptr);
  Bump(counters_->requests);
  if (request.type_url.empty()) {
    return absl::InvalidArgumentError(
        "type_url is empty: on an aggregated stream each request says which resource type it is "
        "about");
  }
  bool first = false;
  absl::StatusOr<Type*> found = FindOrAdd(request.type_url, &first);
  if (!found.ok()) return found.status();
  Type& type = **found;

  if (!first && !request.nonce.empty()) {
    const bool outstanding =
        std::any_of(type.outstanding.begin(), type.outstanding.end(),
                    [&](const Outstanding& o) { return o.nonce == request.nonce; });
    if (outstanding) {
      OnAnswer(type, request, now);
    } else if (request.nonce != type.last_nonce) {
      Bump(counters_->stale_nonces);
      if (request.nack) RefuseForgotten(type, *request.nack);
    }
  }
  // State of the world: a request that answers an older response (or was sent before the first
  // arrived) is superseded by the one that answers the newest; its list of names is old. Delta
  // requests carry changes, none may be dropped.
  if (protocol_ == Protocol::kStateOfTheWorld && !first && request.nonce != type.last_nonce) {
    return absl::OkStatus();
  }
  return Subscribe(type, request, first);
}

absl::Status ProxySession::Subscribe(Type& type, const Request& request, bool first) {
  absl::Status status = protocol_ == Protocol::kDelta
                            ? SubscribeDelta(type, request, first)
                            : SubscribeStateOfTheWorld(type, request, first);
  if (status.ok() && type.names.size() > options_.max_names_per_type) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", options_.max_names_per_type,
                                                     " names of ", type.url,
                                                     " subscribed on one stream"));
  }
  return status;
}

absl::Status ProxySession::SubscribeDelta(Type& type, const Request& request, bool first) {
  const bool legacy_wildcard = first && type.complete && request.subscribe.empty();
  bool wildcard = legacy_wildcard;
  for (const std::string& name : request.subscribe) wildcard |= name == kWildcard;

  absl::flat_hash_map<std::string_view, std::string_view> held;
  if (first) {
    for (const auto& [name, version] : request.initial_versions) held.emplace(name, version);
  }
  auto remember = [&](const std::string& name, std::string_view version) {
    Entry& entry = type.entries[name];
    auto known = std::make_shared<Resource>();
    known->name = name;
    known->version = std::string(version);
    SetSent(type, name, entry, known);
    entry.accepted = std::move(known);
  };

  if (wildcard && !type.wildcard) {
    type.wildcard = true;
    type.rescan = true;
    type.answer =
        true;  // even if there is nothing: a client waits for the first answer before it goes on
    for (const auto& [name, version] : request.initial_versions) {
      if (first) remember(name, version);
    }
  } else if (wildcard) {
    // Subscribed again: everything is due again, since the client may have forgotten it.
    for (auto& [name, entry] : type.entries) entry.resend = true;
    type.rescan = true;
    type.answer = true;
  }
  for (const std::string& name : request.subscribe) {
    if (name == kWildcard) continue;
    if (auto it = held.find(name); it != held.end()) {
      if (!type.wildcard) remember(name, it->second);
      AddName(type, name, false);
    } else {
      // A client that names a resource again may have lost it; it is sent even when nothing
      // changed.
      AddName(type, name, !first);
    }
  }
  for (const std::string& name : request.unsubscribe) {
    if (name == kWildcard) {
      DropWildcard(type);
    } else {
      DropName(type, name);
    }
  }
  return absl::OkStatus();
}

absl::Status ProxySession::SubscribeStateOfTheWorld(Type& type, const Request& request,
                                                    bool first) {
  absl::flat_hash_set<std::string> wanted;
  bool wildcard = false;
  for (const std::string& name : request.names) {
    if (name == kWildcard) {
      wildcard = true;
    } else {
      wanted.insert(name);
    }
  }
  if (!request.names.empty()) type.names_given = true;
  if (request.names.empty() && type.complete && !type.names_given) wildcard = true;

  std::vector<std::string> dropped;
  for (const std::string& name : type.names) {
    if (!wanted.contains(name)) dropped.push_back(name);
  }
  if (wildcard && !type.wildcard) {
    type.wildcard = true;
    type.rescan = true;
    type.answer = true;
  }
  for (const std::string& name : wanted) {
    if (type.names.contains(name)) continue;
    AddName(type, name, false);
    type.answer = true;
  }
  for (const std::string& name : dropped) DropName(type, name);
  if (!wildcard && type.wildcard) DropWildcard(type);
  return absl::OkStatus();
}

void ProxySession::AddName(Type& type, const std::string& name, bool force) {
  type.names.insert(name);
  Entry& entry = type.entries[name];
  entry.told_absent = false;
  if (force) entry.resend = true;
  if (type.url == kEndpointUrl && rewarm_.erase(name) > 0) entry.resend = true;
  Reconsider(type, name, view_->Find(type.url, name));
}

void ProxySession::DropName(Type& type, const std::string& name) {
  if (type.names.erase(name) == 0) return;
  if (!type.wildcard) {
    Forget(type, name);
    return;
  }
  // Still covered by the wildcard, perhaps: the client can't know, and is told.
  if (protocol_ == Protocol::kDelta) type.entries[name].resend = true;
  Reconsider(type, name, view_->Find(type.url, name));
}

void ProxySession::DropWildcard(Type& type) {
  if (!type.wildcard) return;
  type.wildcard = false;
  std::vector<std::string> gone;
  for (const auto& [name, entry] : type.entries) {
    if (!type.names.contains(name)) gone.push_back(name);
  }
  for (const auto& [name, resource] : type.pending) {
    if (!type.names.contains(name) && !type.entries.contains(name)) gone.push_back(name);
  }
  for (const std::string& name : gone) Forget(type, name);
}

// The client dropped it by itself: nothing needs to be sent.
void ProxySession::Forget(Type& type, const std::string& name) {
  if (auto it = type.entries.find(name); it != type.entries.end()) {
    SetSent(type, name, it->second, nullptr);
    type.entries.erase(it);
  }
  type.pending.erase(name);
  ClearRefusal(type, name);
}

void ProxySession::OnState(std::shared_ptr<const ResourceView> view, SteadyTime now) {
  if (view_ != nullptr && view->generation() == view_->generation()) return;
  view_ = std::move(view);
  for (auto& type : types_) {
    if (!type->changed_at) type->changed_at = now;
  }
}

// --- answers ---

void ProxySession::OnAnswer(Type& type, const Request& request, SteadyTime now) {
  // Responses are answered in order: older ones that were not are given up.
  while (type.outstanding.front().nonce != request.nonce) type.outstanding.pop_front();
  Outstanding response = std::move(type.outstanding.front());
  type.outstanding.pop_front();
  type.last_answer = std::chrono::system_clock::now();
  if (request.nack) {
    ++type.nacks;
    Bump(counters_->nacks);
    Refuse(type, response, *request.nack);
    // Of a removal there is nothing to name. When all that was refused is of no interest any more,
    // nothing is refused.
    if (!type.refused.empty() || response.resources.empty())
      type.last_error = request.nack->message;
    return;
  }
  ++type.acks;
  Bump(counters_->acks);
  counters_->AddConvergence(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now - response.changed_at).count()));
  for (const ResourcePtr& resource : response.resources) Accept(type, resource);
  if (!response.isolating) type.accepted_version = response.version;
  if (type.refused.empty()) type.last_error.clear();
}

void ProxySession::Accept(Type& type, const ResourcePtr& resource) {
  auto it = type.entries.find(resource->name);
  if (it == type.entries.end()) return;  // unsubscribed meanwhile
  it->second.accepted = resource;
  if (it->second.sent == nullptr || it->second.sent->version == resource->version) {
    ClearRefusal(type, resource->name);
  }
}

void ProxySession::ClearRefusal(Type& type, const std::string& name) {
  if (type.refused.erase(name) > 0 && type.refused.empty()) type.last_error.clear();
}

void ProxySession::Refuse(Type& type, const Outstanding& response, const Nack& nack) {
  if (!nack.refusals.empty()) {
    // The proxy took the rest.
    for (const ResourcePtr& resource : response.resources) {
      auto it = std::find_if(nack.refusals.begin(), nack.refusals.end(),
                             [&](const Refusal& r) { return r.name == resource->name; });
      auto entry = type.entries.find(resource->name);
      if (it == nack.refusals.end()) {
        Accept(type, resource);
      } else if (entry != type.entries.end() && entry->second.sent == resource) {
        type.refused[resource->name] = {
            {resource->name, resource->version, it->field_path, it->reason}, true};
      }
    }
    return;
  }
  // What the client took before in the same version can't be the reason; of what was unsubscribed
  // or sent anew meanwhile it can't be told.
  std::vector<std::string> suspects;
  size_t others = 0;
  for (const ResourcePtr& resource : response.resources) {
    auto it = type.entries.find(resource->name);
    if (it == type.entries.end() || it->second.sent != resource) {
      ++others;
    } else if (response.resources.size() == 1 || it->second.accepted == nullptr ||
               it->second.accepted->version != resource->version) {
      suspects.push_back(resource->name);
    }
  }
  Suspect(type, suspects, suspects.size() == 1 && others == 0, nack.message);
  const bool mixed = !response.removed.empty() && !response.resources.empty();
  if (mixed && protocol_ == Protocol::kDelta) type.isolate.push_front(response.removed);
}

// A response was refused so late that it is not remembered: it was about what was sent and never
// accepted.
void ProxySession::RefuseForgotten(Type& type, const Nack& nack) {
  absl::flat_hash_set<const Resource*> under_way;
  for (const Outstanding& response : type.outstanding) {
    for (const ResourcePtr& resource : response.resources) under_way.insert(resource.get());
  }
  std::vector<std::string> suspects;
  for (const auto& [name, entry] : type.entries) {
    if (entry.sent == nullptr || under_way.contains(entry.sent.get()) ||
        type.refused.contains(name))
      continue;
    if (entry.accepted == nullptr || entry.accepted->version != entry.sent->version)
      suspects.push_back(name);
  }
  std::sort(suspects.begin(), suspects.end());
  Suspect(type, suspects, false, nack.message);
  if (!type.refused.empty()) type.last_error = nack.message;
}

// Refused, as far as is known. One bad resource must not keep the good ones of the same response
// from a client that does not say which it was: they are sent again by halves. A complete
// state-of-the-world response can't be split.
void ProxySession::Suspect(Type& type, const std::vector<std::string>& names, bool certain,
                           const std::string& reason) {
  for (const std::string& name : names) {
    type.refused[name] = {{name, type.entries[name].sent->version, "", reason}, certain};
  }
  const bool splittable = protocol_ == Protocol::kDelta || !type.complete;
  if (certain || !splittable || names.empty()) return;
  auto middle = names.begin() + static_cast<ptrdiff_t>(names.size() / 2);
  type.isolate.emplace_front(middle, names.end());
  type.isolate.emplace_front(names.begin(), middle);
}

// --- what is due ---

void ProxySession::Scan(Type& type, SteadyTime now) {
  if (!type.rescan && type.seen_generation == view_->generation()) return;
  std::optional<std::vector<std::string>> changed;
  if (!type.rescan) changed = view_->ChangedSince(type.url, type.seen_generation, type.wildcard);
  type.rescan = false;
  type.seen_generation = view_->generation();
  if (changed) {
    for (const std::string& name : *changed) {
      if (type.wildcard || type.names.contains(name))
        Reconsider(type, name, view_->Find(type.url, name));
    }
  } else {
    absl::flat_hash_set<std::string_view> listed;
    std::vector<ResourcePtr> all;
    if (type.wildcard) {
      all = view_->List(type.url);
      for (const ResourcePtr& resource : all) {
        listed.insert(resource->name);
        Reconsider(type, resource->name, resource);
      }
    }
    std::vector<std::string> others;
    for (const std::string& name : type.names) {
      if (!listed.contains(name)) others.push_back(name);
    }
    for (const auto& [name, entry] : type.entries) {
      if (!listed.contains(name) && !type.names.contains(name)) others.push_back(name);
    }
    for (const auto& [name, resource] : type.pending) {
      if (!listed.contains(name) && !type.names.contains(name) && !type.entries.contains(name)) {
        others.push_back(name);
      }
    }
    for (const std::string& name : others) {
      Reconsider(type, name, type.names.contains(name) ? view_->Find(type.url, name) : nullptr);
    }
  }
  if (type.pending.empty()) {
    type.changed_at.reset();
  } else if (!type.changed_at) {
    type.changed_at = now;
  }
}

void ProxySession::Reconsider(Type& type, const std::string& name, const ResourcePtr& current) {
  auto it = type.entries.find(name);
  const bool named = type.names.contains(name);
  if (current != nullptr) {
    const bool up_to_date = it != type.entries.end() && !it->second.resend &&
                            it->second.sent != nullptr &&
                            it->second.sent->version == current->version;
    if (up_to_date) {
      type.pending.erase(name);
    } else {
      type.pending[name] = current;
    }
    return;
  }
  const bool client_may_have_it =
      it != type.entries.end() && (it->second.sent != nullptr || it->second.resend);
  const bool to_be_told = named && (it == type.entries.end() || !it->second.told_absent);
  if (!client_may_have_it && !to_be_told) {
    type.pending.erase(name);
    if (it != type.entries.end() && !named) type.entries.erase(it);
    return;
  }
  if (protocol_ == Protocol::kStateOfTheWorld && !type.complete) {
    // This variant has no words for it: clients drop such resources when nothing refers to them any
    // more.
    MarkRemoved(type, name);
    return;
  }
  type.pending[name] = nullptr;
}

// A removal that may break what still uses the resource, as opposed to the answer that there is no
// such resource.
bool ProxySession::IsBreak(const Type& type, const std::string& name) const {
  auto it = type.entries.find(name);
  return it != type.entries.end() && it->second.sent != nullptr;
}

bool ProxySession::HasUpserts(const Type& type) const {
  return std::any_of(type.pending.begin(), type.pending.end(),
                     [&](const auto& p) { return p.second != nullptr || !IsBreak(type, p.first); });
}

bool ProxySession::HasBreaks(const Type& type) const {
  return std::any_of(type.pending.begin(), type.pending.end(),
                     [&](const auto& p) { return p.second == nullptr && IsBreak(type, p.first); });
}

// --- what may go now ---

void ProxySession::WakeAt(SteadyTime when) {
  if (!deadline_ || when < *deadline_) deadline_ = when;
}

bool ProxySession::AwaitsAnswer(const Type& type, SteadyTime now) {
  if (type.outstanding.empty()) return false;
  const SteadyTime until = type.outstanding.back().sent_at + options_.answer_limit;
  if (now >= until) return false;
  WakeAt(until);
  return true;
}

// Clusters and endpoints are with the client, and it said so.
bool ProxySession::Made(SteadyTime now) {
  const Type* endpoints = nullptr;
  for (const auto& type : types_) {
    if (type->rank >= kListenerRank) break;
    if (type->url == kEndpointUrl) endpoints = type.get();
    if (!type->outstanding.empty() || !type->isolate.empty() || HasUpserts(*type)) return false;
  }
  if (endpoints == nullptr) {
    // A client that has not asked for endpoints on this stream is not waited for.
    return true;
  }
  for (auto it = expected_endpoints_.begin(); it != expected_endpoints_.end();) {
    if (endpoints->wildcard || endpoints->names.contains(it->first) || now >= it->second) {
      expected_endpoints_.erase(it++);
    } else {
      WakeAt(it->second);
      return false;
    }
  }
  return true;
}

bool ProxySession::RoutesSettled() {
  return std::all_of(types_.begin(), types_.end(), [](const auto& type) {
    return type->rank < kListenerRank ||
           (type->pending.empty() && type->outstanding.empty() && type->isolate.empty());
  });
}

absl::StatusOr<std::optional<Response>> ProxySession::Next(SteadyTime now) {
  deadline_.reset();
  if (view_ == nullptr) return std::nullopt;
  for (auto& type : types_) Scan(*type, now);

  // True when a hold is over, by what it waited for or by time.
  auto may_go = [&](std::optional<SteadyTime>& since, bool ready) {
    if (!ready) {
      if (!since) since = now;
      if (now < *since + options_.hold_limit) {
        WakeAt(*since + options_.hold_limit);
        return false;
      }
      Bump(counters_->hold_timeouts);
    }
    since.reset();
    return true;
  };
  auto fill = [&](Type& type, bool with_breaks) {
    return protocol_ == Protocol::kDelta ? FillDelta(type, with_breaks, now)
                                         : FillStateOfTheWorld(type, with_breaks, now);
  };

  for (auto& type : types_) {
    if (AwaitsAnswer(*type, now)) continue;
    if (std::optional<Response> again = NextIsolated(*type, now)) return again;
    const bool route = type->rank >= kListenerRank;
    const bool due = route ? !type->pending.empty() : HasUpserts(*type);
    if (!due && !type->answer) continue;
    if (due && route && !may_go(type->held_since, Made(now))) continue;
    // A listener may take over the address of one that goes in the same change, so both go in one
    // response.
    return fill(*type, route);
  }
  for (auto& type : types_) {
    if (type->rank >= kListenerRank || !HasBreaks(*type)) continue;
    if (AwaitsAnswer(*type, now)) continue;
    if (!may_go(type->removal_held_since, RoutesSettled())) continue;
    return fill(*type, true);
  }
  return std::nullopt;
}

// --- responses ---

void ProxySession::SetSent(Type& type, const std::string& name, Entry& entry,
                           ResourcePtr resource) {
  if (entry.sent != nullptr) type.sent_hash -= HashOf(*entry.sent);
  if (resource != nullptr) type.sent_hash += HashOf(*resource);
  entry.sent = std::move(resource);
}

void ProxySession::MarkSent(Type& type, const ResourcePtr& resource, SteadyTime now) {
  Entry& entry = type.entries[resource->name];
  const bool known = entry.sent != nullptr;
  const bool changed = !known || entry.sent->version != resource->version;
  SetSent(type, resource->name, entry, resource);
  entry.resend = false;
  entry.told_absent = false;
  if (type.url != kClusterUrl || !changed) return;

  // Envoy warms a changed cluster anew and waits for its endpoints, which by themselves did not
  // change.
  const ResourcePtr endpoints = view_->Find(kEndpointUrl, resource->name);
  if (endpoints == nullptr) return;
  expected_endpoints_[resource->name] = now + options_.hold_limit;
  Type* type_of_endpoints = Find(kEndpointUrl);
  if (!known) {
    // Removed and added again between two lists of names: the client's next list is equal to its
    // last, so only this tells that it waits for what it once had.
    if (type_of_endpoints == nullptr) return;
    auto had = type_of_endpoints->entries.find(resource->name);
    if (had == type_of_endpoints->entries.end() || had->second.sent == nullptr) return;
  }
  const bool subscribed =
      type_of_endpoints != nullptr &&
      (type_of_endpoints->wildcard || type_of_endpoints->names.contains(resource->name));
  if (!subscribed) {
    rewarm_.insert(resource->name);
    return;
  }
  type_of_endpoints->entries[resource->name].resend = true;
  Reconsider(*type_of_endpoints, resource->name, endpoints);
}

void ProxySession::MarkRemoved(Type& type, const std::string& name) {
  type.pending.erase(name);
  ClearRefusal(type, name);
  if (type.url == kClusterUrl) {
    expected_endpoints_.erase(name);
    rewarm_.erase(name);
  }
  auto it = type.entries.find(name);
  if (type.names.contains(name)) {
    Entry& entry = it != type.entries.end() ? it->second : type.entries[name];
    SetSent(type, name, entry, nullptr);
    entry.accepted.reset();
    entry.told_absent = true;
    entry.resend = false;
  } else if (it != type.entries.end()) {
    SetSent(type, name, it->second, nullptr);
    type.entries.erase(it);
  }
}

std::optional<Response> ProxySession::NextIsolated(Type& type, SteadyTime now) {
  while (!type.isolate.empty()) {
    std::vector<std::string> group = std::move(type.isolate.front());
    type.isolate.pop_front();
    Response response;
    for (const std::string& name : group) {
      // What changed since is sent in its new version anyway, and what was unsubscribed is of no
      // interest.
      if (type.pending.contains(name) || !(type.wildcard || type.names.contains(name))) continue;
      auto it = type.entries.find(name);
      if (it == type.entries.end() || it->second.sent == nullptr) {
        response.removed.push_back(name);
        response.bytes += name.size() + 8;
      } else if (it->second.sent != it->second.accepted) {
        response.resources.push_back(it->second.sent);
        response.bytes += WireSize(type.url, *it->second.sent);
      }
    }
    if (protocol_ == Protocol::kStateOfTheWorld) response.removed.clear();
    if (!response.resources.empty() || !response.removed.empty())
      return Seal(type, std::move(response), true, now);
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<Response>> ProxySession::FillDelta(Type& type, bool with_breaks,
                                                                SteadyTime now) {
  Response response;
  std::vector<ResourcePtr> resources;
  for (const auto& [name, resource] : type.pending) {
    const size_t size = resource != nullptr ? WireSize(type.url, *resource) : name.size() + 8;
    const bool empty = resources.empty() && response.removed.empty();
    if (!empty && response.bytes + size > options_.max_response_bytes)
      break;  // the rest after the answer
    if (resource != nullptr) {
      resources.push_back(resource);
    } else if (with_breaks || !IsBreak(type, name)) {
      response.removed.push_back(name);
    } else {
      continue;
    }
    response.bytes += size;
  }
  for (const ResourcePtr& resource : resources) {
    type.pending.erase(resource->name);
    MarkSent(type, resource, now);
  }
  for (const std::string& name : response.removed) MarkRemoved(type, name);
  response.resources = std::move(resources);
  return Seal(type, std::move(response), false, now);
}

absl::StatusOr<std::optional<Response>> ProxySession::FillStateOfTheWorld(Type& type,
                                                                          bool with_breaks,
                                                                          SteadyTime now) {
  Response response;
  std::vector<ResourcePtr> upserts;
  std::vector<std::string> gone;
  for (const auto& [name, resource] : type.pending) {
    if (resource != nullptr) {
      upserts.push_back(resource);
    } else if (with_breaks || !IsBreak(type, name)) {
      gone.push_back(name);
    }
  }
  for (const ResourcePtr& resource : upserts) {
    type.pending.erase(resource->name);
    ClearRefusal(type, resource->name);  // of an older version
    MarkSent(type, resource, now);
  }
  for (const std::string& name : gone) MarkRemoved(type, name);

  if (type.complete) {
    for (const auto& [name, entry] : type.entries) {
      auto refused = type.refused.find(name);
      // A resource that the client is known to refuse would make it refuse the others with it.
      const ResourcePtr& resource =
          refused != type.refused.end() && refused->second.certain ? entry.accepted : entry.sent;
      if (resource != nullptr) response.resources.push_back(resource);
    }
    std::sort(response.resources.begin(), response.resources.end(),
              [](const ResourcePtr& a, const ResourcePtr& b) { return a->name < b->name; });
  } else {
    response.resources = std::move(upserts);
  }
  for (const ResourcePtr& resource : response.resources)
    response.bytes += WireSize(type.url, *resource);
  if (response.bytes > options_.max_unsplit_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(type.url, ": a state-of-the-world response of ", response.bytes,
                     " bytes is over the limit of ", options_.max_unsplit_bytes,
                     " and can't be split; use the delta variant (DELTA_GRPC)"));
  }
  return Seal(type, std::move(response), false, now);
}

Response ProxySession::Seal(Type& type, Response response, bool isolating, SteadyTime now) {
  response.type_url = type.url;
  response.nonce = absl::StrCat(next_nonce_++);
  response.version = VersionText(type.sent_hash);
  response.bytes += type.url.size() + 64;

  if (!type.outstanding.empty())
    Bump(counters_->answer_timeouts);  // else it would still be awaited
  while (type.outstanding.size() >= kMaxOutstanding) type.outstanding.pop_front();
  Outstanding& out = type.outstanding.emplace_back();
  out.nonce = response.nonce;
  out.sent_at = now;
  out.changed_at = type.changed_at.value_or(now);
  out.version = response.version;
  out.resources = response.resources;
  out.removed = response.removed;
  out.isolating = isolating;
  if (type.pending.empty()) type.changed_at.reset();

  if (!isolating) type.answer = false;
  type.last_nonce = response.nonce;
  type.last_push = std::chrono::system_clock::now();
  ++type.pushes;
  Bump(counters_->pushes);
  Bump(counters_->pushed_resources, response.resources.size());
  Bump(counters_->removed_resources, response.removed.size());
  Bump(counters_->pushed_bytes, response.bytes);
  return response;
}

}  // namespace weft::ctl::xds
