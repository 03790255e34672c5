#pragma once

#include <memory>
#include <utility>

#include "dataplane/base/rc.h"
#include "dataplane/decide/route_table.h"

namespace weft::proxy {

// One version of a route configuration, pinned by the exchanges that began under it. The
// worker-local count keeps the shared pointer's atomic one off the request path.
struct PinnedRoutes final : RefCounted {
  explicit PinnedRoutes(std::shared_ptr<const decide::RouteTable> t) : table(std::move(t)) {}
  const std::shared_ptr<const decide::RouteTable> table;
};

// Where connection managers find the current version of a route configuration on their worker; a
// new version is put here without touching listeners. Owner: Worker (by name) or HttpManager
// (inline). Thread: the worker's.
class RouteSlot {
 public:
  void Set(std::shared_ptr<const decide::RouteTable> table) {
    current_ = table == nullptr ? Rc<PinnedRoutes>() : MakeRc<PinnedRoutes>(std::move(table));
  }
  // Null until the first version arrived.
  const Rc<PinnedRoutes>& current() const { return current_; }

 private:
  Rc<PinnedRoutes> current_;
};

}  // namespace weft::proxy
