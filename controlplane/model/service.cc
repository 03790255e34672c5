#include "controlplane/model/service.h"

namespace weft::ctl {

bool Matches(const Labels& selector, const Labels& labels) {
  for (const auto& [key, value] : selector) {
    auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  return true;
}

const ServicePort* Service::FindPort(uint32_t number) const {
  for (const ServicePort& port : ports) {
    if (port.number == number) return &port;
  }
  return nullptr;
}

uint32_t InstancePort(const ServicePort& port, const Workload& workload) {
  auto it = workload.ports.find(port.name);
  return it == workload.ports.end() ? port.target_port : it->second;
}

}  // namespace weft::ctl
