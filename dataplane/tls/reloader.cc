#include "dataplane/tls/reloader.h"

#include <algorithm>

#include "dataplane/base/strings.h"

namespace weft::tls {

Reloader::Reloader(event::Loop& loop, Report report)
    : report_(std::move(report)),
      timer_(
          loop.timers(), [](void* self) { static_cast<Reloader*>(self)->OnTimer(); }, this) {}

void Reloader::Watch(const std::shared_ptr<Context>& context) {
  contexts_.push_back(context);
  if (!timer_.armed() && !context->files().empty()) timer_.Arm(kInterval);
}

void Reloader::OnTimer() {
  CheckNow();
  if (!contexts_.empty()) timer_.Arm(kInterval);
}

void Reloader::CheckNow() {
  std::erase_if(contexts_, [](const std::weak_ptr<Context>& c) { return c.expired(); });
  for (const std::weak_ptr<Context>& weak : contexts_) {
    std::shared_ptr<Context> context = weak.lock();
    if (context == nullptr) continue;
    std::string why;
    switch (context->Check(&why)) {
      case Context::Change::kNone:
        break;
      case Context::Change::kReloaded:
        ++reloads_;
        report_(false, StrCat("certificates read again: ", context->files().front()));
        break;
      case Context::Change::kFailed:
        ++failures_;
        report_(true,
                StrCat("certificate files changed and can't be used; the old ones stay: ", why));
        break;
    }
  }
}

int64_t Reloader::first_expiry() const {
  int64_t first = INT64_MAX;
  for (const std::weak_ptr<Context>& weak : contexts_) {
    if (auto context = weak.lock()) first = std::min(first, context->first_expiry());
  }
  return first;
}

}  // namespace weft::tls
