// What a session tells about itself.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controlplane/xds/proxy_session.h"
#include "controlplane/xds/session_version.h"

namespace weft::ctl::xds {

std::vector<TypeStatus> ProxySession::Status(SteadyTime now) {
  std::vector<TypeStatus> all;
  for (auto& owned : types_) {
    Type& type = *owned;
    if (view_ != nullptr) Scan(type, now);
    TypeStatus status;
    status.type_url = type.url;
    uint64_t generated = type.sent_hash;
    for (const auto& [name, resource] : type.pending) {
      auto it = type.entries.find(name);
      if (it != type.entries.end() && it->second.sent != nullptr)
        generated -= HashOf(*it->second.sent);
      if (resource != nullptr) generated += HashOf(*resource);
    }
    status.generated_version = VersionText(generated);
    if (type.last_push) status.pushed_version = VersionText(type.sent_hash);
    status.accepted_version = type.accepted_version;
    status.wildcard = type.wildcard;
    status.subscribed = type.names.size();
    for (const auto& [name, entry] : type.entries) {
      if (entry.accepted != nullptr) ++status.resources;
      if (entry.told_absent) status.missing.push_back(name);
    }
    std::sort(status.missing.begin(), status.missing.end());
    for (const auto& [name, refused] : type.refused) status.refused.push_back(refused.refusal);
    std::sort(status.refused.begin(), status.refused.end(),
              [](const Refusal& a, const Refusal& b) { return a.name < b.name; });
    status.last_push = type.last_push;
    status.last_answer = type.last_answer;
    status.pushes = type.pushes;
    status.acks = type.acks;
    status.nacks = type.nacks;

    if (!type.refused.empty() || !type.last_error.empty()) {
      status.state = SyncState::kRefused;
      status.reason = type.last_error;
    } else if (!type.outstanding.empty()) {
      status.state = SyncState::kStale;
      status.reason = "pushed, not acknowledged yet";
    } else if (!type.pending.empty()) {
      status.state = type.pushes == 0 ? SyncState::kNotSent : SyncState::kStale;
      status.reason = type.held_since ? "waits until the clusters that it may use are acknowledged"
                      : type.removal_held_since
                          ? "a removal waits until the routes that may use it are acknowledged"
                          : "to be pushed";
    } else if (type.pushes == 0 && type.entries.empty()) {
      status.state = SyncState::kNotSent;
      status.reason = "nothing to send";
    } else {
      status.state = SyncState::kSynced;
      if (!status.missing.empty()) {
        status.reason = absl::StrCat("does not exist: ", absl::StrJoin(status.missing, ", "));
      }
    }
    all.push_back(std::move(status));
  }
  return all;
}

std::vector<SentResource> ProxySession::Sent() const {
  std::vector<SentResource> all;
  for (const auto& type : types_) {
    const size_t first = all.size();
    for (const auto& [name, entry] : type->entries) {
      if (entry.sent == nullptr) continue;
      SentResource sent{type->url, entry.sent,
                        entry.accepted != nullptr ? entry.accepted->version : "",
                        type->refused.contains(name)};
      if (sent.resource->value.empty()) {
        ResourcePtr current = view_->Find(type->url, name);
        if (current != nullptr && current->version == sent.resource->version)
          sent.resource = std::move(current);
      }
      all.push_back(std::move(sent));
    }
    std::sort(all.begin() + static_cast<ptrdiff_t>(first), all.end(),
              [](const SentResource& a, const SentResource& b) {
                return a.resource->name < b.resource->name;
              });
  }
  return all;
}

}  // namespace weft::ctl::xds
