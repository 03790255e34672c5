#include "dataplane/tls/session_cache.h"

namespace weft::tls {

void SessionCache::Put(std::string_view key, bssl::UniquePtr<SSL_SESSION> session) {
  if (per_endpoint_ == 0) return;
  std::lock_guard<std::mutex> lock(mu_);
  auto it = by_key_.find(key);
  if (it == by_key_.end()) {
    used_.push_front({std::string(key), {}});
    by_key_.emplace(used_.front().key, used_.begin());
    if (used_.size() > kMaxEndpoints) {
      by_key_.erase(used_.back().key);
      used_.pop_back();
    }
  } else {
    used_.splice(used_.begin(), used_, it->second);
  }
  auto& sessions = used_.front().sessions;
  sessions.push_front(std::move(session));
  if (sessions.size() > per_endpoint_) sessions.pop_back();
}

bssl::UniquePtr<SSL_SESSION> SessionCache::Get(std::string_view key) {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = by_key_.find(key);
  if (it == by_key_.end() || it->second->sessions.empty()) return nullptr;
  auto& sessions = it->second->sessions;
  if (!SSL_SESSION_should_be_single_use(sessions.front().get()))
    return bssl::UpRef(sessions.front());
  bssl::UniquePtr<SSL_SESSION> out = std::move(sessions.front());
  sessions.pop_front();
  return out;
}

size_t SessionCache::size() const {
  std::lock_guard<std::mutex> lock(mu_);
  size_t n = 0;
  for (const Entry& e : used_) n += e.sessions.size();
  return n;
}

}  // namespace weft::tls
