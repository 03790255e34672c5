#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/tls/context.h"

namespace weft::tls {

// Watches the files of contexts: looks at each of them once a second, which also sees exchanged
// links, network file systems and files that appear late. Owner: app/ (main). Thread: main's.
// Destroyed when: the process ends.
class Reloader {
 public:
  static constexpr MonoNanos kInterval = kSecond;
  // `report`: a message about a context that changed, or could not.
  using Report = std::function<void(bool failed, const std::string& message)>;

  Reloader(event::Loop& loop, Report report);

  // Contexts that nobody else has any more are forgotten. One without files is not watched.
  void Watch(const std::shared_ptr<Context>& context);
  void CheckNow();

  uint64_t reloads() const { return reloads_; }
  uint64_t failures() const { return failures_; }
  // Unix seconds; INT64_MAX without certificates.
  int64_t first_expiry() const;

 private:
  void OnTimer();

  Report report_;
  event::Timer timer_;
  std::vector<std::weak_ptr<Context>> contexts_;
  uint64_t reloads_ = 0, failures_ = 0;
};

}  // namespace weft::tls
