#include "controlplane/translate/config_state.h"

#include <algorithm>
#include <set>

namespace weft::ctl {

ResourcePtr ConfigState::Get(ResourceType type, std::string_view name, const ProxyRef& proxy) const {
  ResourceId id{type, proxy->Of(type, name), std::string(name)};
  if (const ResourcePtr* resource = resources_.Find(id)) return *resource;
  return computer_->ComputeResource(id, proxy);
}

std::shared_ptr<const NameList> ConfigState::NamesIn(ResourceType type, const std::string& scope,
                                                     const ProxyRef& proxy) const {
  const ResourceId id{type, scope, ""};
  if (const auto* names = names_.Find(id)) return *names;
  return computer_->ComputeNames(id, proxy);
}

NameList ConfigState::Names(ResourceType type, const ProxyRef& proxy) const {
  // Most names are the same for all proxies, and kept once.
  const auto shared = NamesIn(type, "", proxy);
  const auto own = NamesIn(type, proxy->own(), proxy);
  NameList out;
  out.reserve(shared->size() + own->size());
  std::merge(shared->begin(), shared->end(), own->begin(), own->end(), std::back_inserter(out));
  return out;
}

std::vector<ResourcePtr> ConfigState::List(ResourceType type, const ProxyRef& proxy) const {
  std::vector<ResourcePtr> out;
  for (const std::string& name : Names(type, proxy)) {
    if (ResourcePtr resource = Get(type, name, proxy)) out.push_back(std::move(resource));
  }
  return out;
}

std::optional<NameList> ConfigState::ChangedSince(ResourceType type, const ProxyRef& proxy, uint64_t generation,
                                                  bool wildcard) const {
  if (generation < changes_from_) return std::nullopt;
  std::set<std::string> names;
  for (auto change = changes_.rbegin(); change != changes_.rend() && (*change)->generation > generation; ++change) {
    for (const ResourceId& id : (*change)->resources) {
      if (id.type == type && id.scope == proxy->Of(type, id.name)) names.insert(id.name);
    }
    if (!wildcard) continue;
    for (const StateChange::Names& list : (*change)->names) {
      if (list.type != type || (!list.scope.empty() && list.scope != proxy->own())) continue;
      names.insert(list.came.begin(), list.came.end());
      names.insert(list.went.begin(), list.went.end());
    }
  }
  return NameList(names.begin(), names.end());
}

}  // namespace weft::ctl
