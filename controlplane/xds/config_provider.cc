#include "controlplane/xds/config_provider.h"

#include "controlplane/translate/proxy_key.h"

namespace weft::ctl::xds {
namespace {

class View : public ResourceView {
 public:
  View(StatePtr state, ProxyRef proxy) : state_(std::move(state)), proxy_(std::move(proxy)) {}

  uint64_t generation() const override { return state_->generation(); }

  ResourcePtr Find(std::string_view type_url, std::string_view name) const override {
    const std::optional<ResourceType> type = TypeFromUrl(type_url);
    return type ? state_->Get(*type, name, proxy_) : nullptr;
  }

  std::vector<ResourcePtr> List(std::string_view type_url) const override {
    const std::optional<ResourceType> type = TypeFromUrl(type_url);
    return type ? state_->List(*type, proxy_) : std::vector<ResourcePtr>();
  }

  std::optional<std::vector<std::string>> ChangedSince(std::string_view type_url,
                                                       uint64_t generation,
                                                       bool wildcard) const override {
    const std::optional<ResourceType> type = TypeFromUrl(type_url);
    if (!type) return std::vector<std::string>();
    return state_->ChangedSince(*type, proxy_, generation, wildcard);
  }

 private:
  const StatePtr state_;
  const ProxyRef proxy_;
};

class Resources : public ProxyResources {
 public:
  Resources(ConfigEngine* engine, ProxyRef proxy) : engine_(engine), proxy_(std::move(proxy)) {}
  std::shared_ptr<const ResourceView> Current() const override {
    return std::make_shared<View>(engine_->state(), proxy_);
  }

 private:
  ConfigEngine* const engine_;
  const ProxyRef proxy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProxyResources>> ConfigProvider::Open(const Node& node) {
  absl::StatusOr<ProxyKey> key = ProxyKeyFromNode(node);
  if (!key.ok()) return key.status();
  return std::make_unique<Resources>(engine_, engine_->Attach(*std::move(key)));
}

}  // namespace weft::ctl::xds
