#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/xds/resource.h"
#include "controlplane/xds/type_order.h"

namespace weft::ctl::xds {

// Resources in a map: the same for every proxy. Each Set and Remove makes a new state.
class FakeProvider : public ResourceProvider {
 public:
  using Key = std::pair<std::string, std::string>;  // type URL, name
  using Map = std::map<Key, ResourcePtr>;

  class View : public ResourceView {
   public:
    View(uint64_t generation, Map map, std::vector<std::pair<uint64_t, Key>> log,
         bool knows_changes)
        : generation_(generation),
          map_(std::move(map)),
          log_(std::move(log)),
          knows_changes_(knows_changes) {}
    uint64_t generation() const override { return generation_; }
    ResourcePtr Find(std::string_view type_url, std::string_view name) const override {
      auto it = map_.find(Key(type_url, name));
      return it == map_.end() ? nullptr : it->second;
    }
    std::vector<ResourcePtr> List(std::string_view type_url) const override {
      std::vector<ResourcePtr> all;
      for (const auto& [key, resource] : map_) {
        if (key.first == type_url) all.push_back(resource);
      }
      return all;
    }
    std::optional<std::vector<std::string>> ChangedSince(std::string_view type_url,
                                                         uint64_t generation,
                                                         bool wildcard) const override {
      if (!knows_changes_) return std::nullopt;
      std::set<std::string> names;
      for (const auto& [at, key] : log_) {
        if (at > generation && key.first == type_url) names.insert(key.second);
      }
      return std::vector<std::string>(names.begin(), names.end());
    }

   private:
    const uint64_t generation_;
    const Map map_;
    const std::vector<std::pair<uint64_t, Key>> log_;
    const bool knows_changes_;
  };

  // `knows_changes`: views tell what changed, so that sessions take the short way.
  explicit FakeProvider(bool knows_changes = false) : knows_changes_(knows_changes) { Publish(); }

  void Set(std::string_view type_url, const std::string& name, const std::string& value) {
    auto resource = std::make_shared<Resource>();
    resource->name = name;
    resource->value = value;
    resource->version = "v-" + value;
    std::lock_guard lock(mutex_);
    map_[Key(type_url, name)] = std::move(resource);
    log_.emplace_back(generation_ + 1, Key(type_url, name));
    Publish();
  }
  void Remove(std::string_view type_url, const std::string& name) {
    std::lock_guard lock(mutex_);
    map_.erase(Key(type_url, name));
    log_.emplace_back(generation_ + 1, Key(type_url, name));
    Publish();
  }
  void Refuse(absl::Status status) { refuse_ = std::move(status); }

  std::shared_ptr<const ResourceView> Current() const {
    std::lock_guard lock(mutex_);
    return view_;
  }
  Map map() const {
    std::lock_guard lock(mutex_);
    return map_;
  }

  absl::StatusOr<std::unique_ptr<ProxyResources>> Open(const Node& node) override {
    if (!refuse_.ok()) return refuse_;
    class Resources : public ProxyResources {
     public:
      explicit Resources(FakeProvider* provider) : provider_(provider) {}
      std::shared_ptr<const ResourceView> Current() const override { return provider_->Current(); }

     private:
      FakeProvider* const provider_;
    };
    return std::make_unique<Resources>(this);
  }

 private:
  void Publish() { view_ = std::make_shared<View>(++generation_, map_, log_, knows_changes_); }

  const bool knows_changes_;
  absl::Status refuse_;
  mutable std::mutex mutex_;
  uint64_t generation_ = 0;
  Map map_;
  std::vector<std::pair<uint64_t, Key>> log_;
  std::shared_ptr<const ResourceView> view_;
};

}  // namespace weft::ctl::xds
