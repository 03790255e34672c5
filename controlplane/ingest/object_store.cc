#include "controlplane/ingest/object_store.h"

#include <algorithm>
#include <utility>

#include "api/cpp/suggest.h"
#include "controlplane/model/hosts.h"
#include "dataplane/base/strings.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/service_entry.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"

namespace weft::ctl {
namespace {

namespace istio = ::istio::networking::v1alpha3;

bool SameContent(const ObjectPtr& a, const ObjectPtr& b) {
  return a == b || (a != nullptr && b != nullptr && a->content_hash == b->content_hash);
}

std::string Where(const Object& object) {
  const std::string at = object.origin.ToString();
  return at.empty() ? object.key.ToString() : StrCat(object.key.ToString(), " (", at, ")");
}

template <typename Ports>
std::string PortList(const Ports& ports) {
  std::string out;
  for (const istio::ServicePort& port : ports) StrAppend(&out, out.empty() ? "" : ", ", port.number());
  return out;
}

void AddClaims(std::unordered_map<std::string, std::set<ObjectKey>>& claims, const std::vector<std::string>& hosts,
               const ObjectKey& key, bool add) {
  for (const std::string& host : hosts) {
    if (add) {
      claims[host].insert(key);
    } else if (auto it = claims.find(host); it != claims.end()) {
      it->second.erase(key);
      if (it->second.empty()) claims.erase(it);
    }
  }
}

}  // namespace

const ObjectKey* Preferred(const std::set<ObjectKey>& claimants, std::string_view ns) {
  if (claimants.empty()) return nullptr;
  for (const ObjectKey& key : claimants) {
    if (key.ns == ns) return &key;
  }
  return &*claimants.begin();
}

// --- Versions

ObjectStore::Candidate* ObjectStore::Winner(Slot& slot) {
  for (Candidate& candidate : slot.candidates) {
    if (candidate.object != nullptr) return &candidate;
  }
  return nullptr;
}

ObjectStore::Candidate& ObjectStore::CandidateOf(Slot& slot, const Origin& origin) {
  auto same_place = [&](const Candidate& c) {
    return c.origin.source == origin.source && c.origin.directory == origin.directory && c.origin.file == origin.file;
  };
  auto it = std::find_if(slot.candidates.begin(), slot.candidates.end(), same_place);
  if (it == slot.candidates.end()) {
    it = std::lower_bound(slot.candidates.begin(), slot.candidates.end(), origin,
                          [](const Candidate& c, const Origin& o) { return c.origin < o; });
    it = slot.candidates.insert(it, Candidate{});
  }
  it->origin = origin;  // the line may be another one
  return *it;
}

std::optional<ObjectKey> ObjectStore::Take(SourceEvent event) {
  if (auto* report = std::get_if<Report>(&event)) {
    reports_[report->source] = std::move(report->errors);
  } else if (auto* put = std::get_if<Put>(&event)) {
    const ObjectKey key = put->object->key;
    Candidate& candidate = CandidateOf(slots_[key], put->object->origin);
    candidate.object = std::move(put->object);
    candidate.warnings = std::move(put->warnings);
    candidate.refused.clear();
    return key;
  } else if (auto* refused = std::get_if<Refused>(&event)) {
    CandidateOf(slots_[refused->key], refused->origin).refused = std::move(refused->errors);
    return refused->key;
  } else if (auto* remove = std::get_if<Remove>(&event)) {
    auto slot = slots_.find(remove->key);
    if (slot == slots_.end()) return std::nullopt;
    const Candidate* gone = &CandidateOf(slot->second, remove->origin);
    slot->second.candidates.erase(slot->second.candidates.begin() + (gone - slot->second.candidates.data()));
    return remove->key;
  }
  return std::nullopt;
}

ObjectPtr ObjectStore::Newest(Slot& slot, uint64_t revision) {
  Candidate* winner = Winner(slot);
  if (winner == nullptr) {
    slot.newest_hash = 0;
    if (!slot.candidates.empty()) slot.last_origin = slot.candidates.front().origin;
    return nullptr;
  }
  slot.last_origin = winner->origin;
  if (winner->object->generation == 0 || winner->object->content_hash != slot.newest_hash) {
    const bool same = winner->object->content_hash == slot.newest_hash && slot.generation > 0;
    auto stamped = std::make_shared<Object>(*winner->object);
    stamped->generation = same ? slot.generation : ++slot.generation;
    stamped->resource_version =
        same && SameContent(slot.in_effect, winner->object) ? slot.in_effect->resource_version : revision;
    slot.newest_hash = stamped->content_hash;
    winner->object = std::move(stamped);
  }
  return winner->object;
}

std::vector<ObjectKey> ObjectStore::Apply(std::vector<SourceEvent> events, uint64_t revision) {
  std::set<ObjectKey> touched = std::exchange(pending_, {});
  for (SourceEvent& event : events) {
    if (auto key = Take(std::move(event))) touched.insert(std::move(*key));
  }
  // Everything that is new is tried together.
  Before before;
  for (const ObjectKey& key : touched) {
    Slot& slot = slots_[key];
    slot.held_reason.clear();
    slot.held.clear();
    ObjectPtr newest = Newest(slot, revision);
    if (!SameContent(newest, slot.in_effect)) {
      before.emplace(key, slot.in_effect);
      SetInEffect(key, slot, std::move(newest));
    } else {
      slot.in_effect = std::move(newest);  // it may have moved within its file
    }
  }
  Judge(before);

  std::vector<ObjectKey> changed;
  for (const auto& [key, version] : before) {
    if (!SameContent(version, slots_.at(key).in_effect)) changed.push_back(key);
  }
  for (const ObjectKey& key : touched) {
    auto slot = slots_.find(key);
    if (!slot->second.held.empty()) pending_.insert(key);
    else if (slot->second.candidates.empty()) slots_.erase(slot);
  }
  return changed;
}

void ObjectStore::SetInEffect(const ObjectKey& key, Slot& slot, ObjectPtr object) {
  Claims* claims = ClaimsOf(key.kind);
  for (const bool add : {false, true}) {
    const Object* version = add ? object.get() : slot.in_effect.get();
    if (version == nullptr || claims == nullptr) continue;
    AddClaims(*claims, HostsOf(*version), key, add);
    if (key.kind == kVirtualService) {
      std::vector<std::string> hosts;
      for (Reference& reference : ReferencesOf(*version, domain_suffix_)) hosts.push_back(std::move(reference.host));
      AddClaims(leads_to_, hosts, key, add);
    }
  }
  slot.in_effect = std::move(object);
}

// --- Judgement

void ObjectStore::Judge(const Before& before) {
  std::set<ObjectKey> routes;
  for (const auto& [key, version] : before) {
    if (key.kind == kVirtualService) routes.insert(key);
    AddDependents(version, routes);
    AddDependents(slots_.at(key).in_effect, routes);
  }
  // Each round only puts versions back that were in effect before, so it ends; at the latest with all of them back.
  while (!routes.empty()) {
    std::set<ObjectKey> again;
    for (const ObjectKey& key : routes) JudgeRoutes(key, before, again);
    routes = std::move(again);
  }
}

void ObjectStore::JudgeRoutes(const ObjectKey& key, const Before& before, std::set<ObjectKey>& again) {
  const ObjectPtr version = slots_.at(key).in_effect;
  if (version == nullptr) return;
  std::vector<Problem> problems = ProblemsOf(*version);
  if (problems.empty()) return;

  if (auto old = before.find(key); old != before.end() && old->second != version) {
    std::string reason = problems.front().reason;
    std::vector<api::SourceError> errors;
    for (Problem& problem : problems) errors.push_back(std::move(problem.error));
    Hold(key, old->second, std::move(reason), std::move(errors));
    again.insert(key);
    return;
  }
  // It was in effect before, so a DestinationRule changed under it: that one stays as it was.
  for (const Problem& problem : problems) {
    if (problem.reason != "MissingSubset") continue;
    const std::vector<std::string> hosts = HostAndWildcards(problem.reference.host);
    for (const auto& [rule, old] : before) {
      if (rule.kind != kDestinationRule || old == nullptr || slots_.at(rule).in_effect == old) continue;
      if (std::find(hosts.begin(), hosts.end(), HostsOf(*old).front()) == hosts.end()) continue;
      const ObjectPtr fresh = slots_.at(rule).in_effect;
      const std::string message =
          StrCat(fresh == nullptr ? "deleted, but s" : "s", "ubset \"", problem.reference.subset, "\" is still used by ",
                 Where(*version), " at ", problem.reference.path, ": the last version stays in effect until it is not");
      Hold(rule, old, "StillInUse", {(fresh == nullptr ? old : fresh)->ErrorAt(fresh == nullptr ? "" : "spec.subsets", message)});
      AddDependents(old, again);
      AddDependents(fresh, again);
    }
  }
}

void ObjectStore::Hold(const ObjectKey& key, ObjectPtr version, std::string reason,
                       std::vector<api::SourceError> errors) {
  Slot& slot = slots_.at(key);
  SetInEffect(key, slot, std::move(version));
  slot.held_reason = std::move(reason);
  slot.held = std::move(errors);
}

void ObjectStore::AddDependents(const ObjectPtr& object, std::set<ObjectKey>& out) const {
  if (object == nullptr || (object->key.kind != kServiceEntry && object->key.kind != kDestinationRule)) return;
  for (const std::string& host : HostsOf(*object)) {
    if (host.starts_with('*')) {
      for (const auto& [led_to, keys] : leads_to_) {
        if (host == "*" || led_to.ends_with(host.substr(1))) out.insert(keys.begin(), keys.end());
      }
    } else if (auto it = leads_to_.find(host); it != leads_to_.end()) {
      out.insert(it->second.begin(), it->second.end());
    }
  }
}

std::vector<ObjectStore::Problem> ObjectStore::ProblemsOf(const Object& virtual_service) const {
  std::vector<Problem> out;
  for (const Reference& reference : ReferencesOf(virtual_service, domain_suffix_)) {
    if (auto problem = ProblemOf(virtual_service, reference)) out.push_back(std::move(*problem));
  }
  return out;
}

std::optional<ObjectStore::Problem> ObjectStore::ProblemOf(const Object& object, const Reference& reference) const {
  const Object* service = ServiceOf(reference.host);
  if (service == nullptr) {
    std::vector<std::string> known;
    for (const auto& [host, keys] : services_) known.push_back(host);
    std::sort(known.begin(), known.end());
    const std::string nearest = api::Nearest(reference.host, known);
    return Problem{"UnknownHost", reference,
                   object.ErrorAt(reference.path + ".host",
                                  StrCat("no service has the host \"", reference.host, "\"",
                                         nearest.empty() ? "" : StrCat("; did you mean \"", nearest, "\"?")))};
  }
  const auto& spec = service->SpecAs<istio::ServiceEntry>();
  const bool has_port = std::any_of(spec.ports().begin(), spec.ports().end(),
                                    [&](const istio::ServicePort& port) { return port.number() == reference.port; });
  if (reference.port != 0 && !has_port) {
    return Problem{"UnknownPort", reference,
                   object.ErrorAt(reference.path + ".port.number",
                                  StrCat("\"", reference.host, "\" has no port ", reference.port, "; it has ",
                                         PortList(spec.ports()), ", see ", Where(*service)))};
  }
  return reference.subset.empty() ? std::nullopt : SubsetProblem(object, reference, service->key.ns);
}

std::optional<ObjectStore::Problem> ObjectStore::SubsetProblem(const Object& object, const Reference& reference,
                                                               const std::string& ns) const {
  std::string message = StrCat("subset \"", reference.subset, "\" is not defined: ");
  for (const std::string& host : HostAndWildcards(reference.host)) {
    auto claims = rules_.find(host);
    if (claims == rules_.end()) continue;
    const Object& rule = InEffectOf(*Preferred(claims->second, ns));
    std::vector<std::string> names;
    std::string list;
    for (const istio::Subset& subset : rule.SpecAs<istio::DestinationRule>().subsets()) {
      if (subset.name() == reference.subset) return std::nullopt;
      names.push_back(subset.name());
      StrAppend(&list, list.empty() ? "" : ", ", subset.name());
    }
    const std::string nearest = api::Nearest(reference.subset, names);
    StrAppend(&message, Where(rule), " has ", list.empty() ? "no subsets" : list,
              nearest.empty() ? "" : StrCat("; did you mean \"", nearest, "\"?"));
    return Problem{"MissingSubset", reference, object.ErrorAt(reference.path + ".subset", message)};
  }
  StrAppend(&message, "no DestinationRule has the host \"", reference.host, "\"");
  return Problem{"MissingSubset", reference, object.ErrorAt(reference.path + ".subset", message)};
}

std::vector<api::SourceError> ObjectStore::Check(const std::vector<ObjectPtr>& objects) {
  std::vector<api::SourceError> out;
  Before before;
  for (const ObjectPtr& object : objects) {
    Slot& slot = slots_[object->key];
    before.emplace(object->key, slot.in_effect);
    SetInEffect(object->key, slot, object);
  }
  std::set<ObjectKey> routes;
  for (const ObjectPtr& object : objects) {
    if (object->key.kind == kVirtualService) routes.insert(object->key);
    AddDependents(object, routes);
    AddDependents(before.at(object->key), routes);
  }
  for (const ObjectKey& key : routes) {
    const ObjectPtr& version = slots_.at(key).in_effect;
    if (version == nullptr) continue;
    for (Problem& problem : ProblemsOf(*version)) out.push_back(std::move(problem.error));
  }
  for (auto& [key, version] : before) {
    Slot& slot = slots_.at(key);
    SetInEffect(key, slot, std::move(version));
    if (slot.candidates.empty() && slot.in_effect == nullptr) slots_.erase(key);
  }
  return out;
}

// --- Who claims which host

ObjectStore::Claims* ObjectStore::ClaimsOf(const std::string& kind) {
  if (kind == kServiceEntry) return &services_;
  if (kind == kDestinationRule) return &rules_;
  if (kind == kVirtualService) return &routes_;
  return nullptr;
}

std::vector<std::string> ObjectStore::HostsOf(const Object& object) const {
  std::vector<std::string> out;
  auto add = [&](const std::string& host) { out.push_back(FullHost(host, object.key.ns, domain_suffix_)); };
  if (object.key.kind == kServiceEntry) {
    for (const std::string& host : object.SpecAs<istio::ServiceEntry>().hosts()) add(host);
  } else if (object.key.kind == kVirtualService) {
    for (const std::string& host : object.SpecAs<istio::VirtualService>().hosts()) add(host);
  } else if (object.key.kind == kDestinationRule) {
    add(object.SpecAs<istio::DestinationRule>().host());
  }
  return out;
}

const Object* ObjectStore::ServiceOf(const std::string& host) const {
  for (const std::string& name : HostAndWildcards(host)) {
    auto claims = services_.find(name);
    if (claims != services_.end()) return &InEffectOf(*Preferred(claims->second, NamespaceOfHost(host, domain_suffix_)));
  }
  return nullptr;
}

// --- Answers

ObjectPtr ObjectStore::InEffect(const ObjectKey& key) const {
  auto slot = slots_.find(key);
  return slot == slots_.end() ? nullptr : slot->second.in_effect;
}

std::vector<ObjectStore::Versions> ObjectStore::All() const {
  std::vector<Versions> out;
  for (const auto& [key, slot] : slots_) {
    const Candidate* winner = Winner(slot);
    out.push_back({winner == nullptr ? nullptr : winner->object, slot.in_effect});
  }
  return out;
}

std::vector<ObjectStatus> ObjectStore::Statuses() const {
  std::vector<ObjectStatus> out;
  for (const auto& [key, slot] : slots_) out.push_back(StatusOf(key, slot));
  return out;
}

std::optional<ObjectStatus> ObjectStore::Status(const ObjectKey& key) const {
  auto slot = slots_.find(key);
  if (slot == slots_.end()) return std::nullopt;
  return StatusOf(key, slot->second);
}

std::vector<api::SourceError> ObjectStore::Reports() const {
  std::vector<api::SourceError> out;
  for (const auto& [source, errors] : reports_) out.insert(out.end(), errors.begin(), errors.end());
  return out;
}

ObjectStatus ObjectStore::StatusOf(const ObjectKey& key, const Slot& slot) const {
  ObjectStatus out{.key = key, .origin = slot.last_origin, .generation = slot.generation};
  out.generation_in_effect = slot.in_effect == nullptr ? 0 : slot.in_effect->generation;
  const std::string instead = slot.in_effect == nullptr
                                  ? "; there was no good version before: it is not used"
                                  : StrCat("; generation ", slot.in_effect->generation, " stays in effect");
  Condition accepted{kAccepted, true, "Valid", ""};
  for (const Candidate& candidate : slot.candidates) {
    if (!candidate.refused.empty()) {
      accepted = {kAccepted, false, "Invalid", StrCat("the newest version has mistakes", instead)};
      out.generation = slot.generation + 1;
      out.origin = candidate.origin;
      out.errors.insert(out.errors.end(), candidate.refused.begin(), candidate.refused.end());
    }
    out.errors.insert(out.errors.end(), candidate.warnings.begin(), candidate.warnings.end());
  }
  if (!slot.held.empty()) {
    const bool deleted = slot.candidates.empty();
    accepted = {kAccepted, false, slot.held_reason,
                StrCat(deleted ? "it was deleted, but is still in use"
                               : StrCat(slot.held.front().message, instead))};
    out.errors.insert(out.errors.end(), slot.held.begin(), slot.held.end());
  }
  out.conditions.push_back(std::move(accepted));

  Condition resolved{kResolved, true, "Resolved", ""};
  if (key.kind == kVirtualService && slot.in_effect != nullptr) {
    for (Problem& problem : ProblemsOf(*slot.in_effect)) {
      if (resolved.holds) resolved = {kResolved, false, problem.reason, problem.error.message};
      problem.error.warning = true;
      out.errors.push_back(std::move(problem.error));
    }
  }
  out.conditions.push_back(std::move(resolved));
  AddConflicts(key, slot, out);
  return out;
}

void ObjectStore::AddConflicts(const ObjectKey& key, const Slot& slot, ObjectStatus& status) const {
  Condition unique{kUnique, true, "Unique", ""};
  auto conflict = [&](const Origin& at, std::string message) {
    if (unique.holds) unique = {kUnique, false, "Conflict", message};
    status.errors.push_back({.file = at.file, .line = at.line, .message = std::move(message), .warning = true});
  };
  for (size_t i = 1; i < slot.candidates.size(); ++i) {
    conflict(slot.candidates[i].origin,
             StrCat(key.ToString(), " is at ", slot.candidates[0].origin.ToString(), " and at ",
                    slot.candidates[i].origin.ToString(), ": the first one is used"));
  }
  const Claims* claims = ClaimsOf(key.kind);
  if (slot.in_effect != nullptr && claims != nullptr) {
    for (const std::string& host : HostsOf(*slot.in_effect)) {
      auto claimants = claims->find(host);
      if (claimants == claims->end() || claimants->second.size() < 2) continue;
      const Object* service = key.kind == kServiceEntry ? nullptr : ServiceOf(host);
      const std::string ns = service == nullptr ? NamespaceOfHost(host, domain_suffix_) : service->key.ns;
      const ObjectKey& preferred = *Preferred(claimants->second, ns);
      if (preferred == key) continue;
      conflict(slot.in_effect->origin, StrCat("host \"", host, "\" is claimed by ", Where(InEffectOf(preferred)), " and by ",
                                              Where(*slot.in_effect), ": the first one is used"));
    }
  }
  status.conditions.push_back(std::move(unique));
}

}  // namespace weft::ctl
