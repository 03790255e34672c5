#pragma once

#include <memory>

#include "dataplane/http/h2/session.h"
#include "dataplane/upstream/conn_pool.h"

namespace weft::upstream {

// One HTTP/2 connection of a pool, and what the pool notes about it. Private to this folder.
// Owner: its ConnPool; freed by Loop::DeferDelete. Thread: the worker's.
class PooledSession final : public ListLink<PooledSessionTag>,
                            private http::h2::Session::Handler {
 public:
  PooledSession(ConnPool& pool, std::unique_ptr<net::Transport> transport);

  http::h2::Session& session() { return session_; }
  // Before its SETTINGS a peer is trusted with as many streams as RFC 9113 section 6.5.2 wants it to
  // take at least.
  bool CanOpen() const {
    return session_.CanOpen() && (session_.ready() || session_.open_streams() < kBeforeSettings);
  }
  // How many more streams it takes now.
  size_t Room() const;
  http::ClientStream* Open();
  // After each stream that was sent: whether it was the last one that it may carry.
  void StreamSent();
  // Files it among the full ones when it has no room any more.
  void Refile();
  MonoNanos IdleAge() const;  // 0: not idle
  void CountBytes();
  // The pool is gone: nothing that happens any more is told.
  void Detach() { pool_ = nullptr; }
  MonoNanos created() const { return created_; }
  uint64_t requests() const { return requests_; }
  MonoNanos lent_age() const { return lent_age_; }
  bool answered() const { return answered_; }

 private:
  static constexpr size_t kBeforeSettings = 100;
  void OnStreamClosed() override;
  void OnSessionReady() override;
  void OnSessionDraining() override;
  void OnSessionClosed(const Error& error) override;
  void Settle();
  void OnTimer();
  void ArmTimer();

  ConnPool* pool_;
  const MonoNanos created_;
  MonoNanos idle_since_;      // 0: it has streams
  MonoNanos lent_age_ = 0;    // how long it had been idle when its oldest stream of now began
  uint64_t received_at_lend_ = 0, received_ = 0, sent_ = 0, requests_ = 0;
  bool answered_ = true;      // bytes came since it was lent
  event::Timer timer_;        // idle_timeout, max_connection_duration
  http::h2::Session session_;
};

}  // namespace weft::upstream
