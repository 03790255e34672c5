#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "controlplane/xds/hub.h"

namespace weft::ctl::xds {

// A client's end of a stream, without a transport. Reads one response at a time; until it is read,
// nothing follows.
class FakeStream : public Stream {
 public:
  void Write(const Response& response) override {
    std::lock_guard lock(mutex_);
    overlapping_ |= unread_.has_value();
    unread_ = response;
    ++writes_;
    changed_.notify_all();
  }
  void Close(const absl::Status& status) override {
    std::lock_guard lock(mutex_);
    if (!closed_) closed_ = status;
    changed_.notify_all();
  }

  // Waits for a response (or the end: nothing).
  std::optional<Response> Read(Connection& connection) {
    std::optional<Response> response;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::seconds(20), [this] { return unread_ || closed_; });
      if (!unread_) return std::nullopt;
      response = std::move(unread_);
      unread_.reset();
    }
    connection.OnWritten();
    return response;
  }
  bool WaitForWrites(uint64_t writes) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return writes_ >= writes; });
  }
  std::optional<absl::Status> closed() {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  bool overlapping() {
    std::lock_guard lock(mutex_);
    return overlapping_;
  }
  uint64_t writes() {
    std::lock_guard lock(mutex_);
    return writes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Response> unread_;
  std::optional<absl::Status> closed_;
  bool overlapping_ = false;
  uint64_t writes_ = 0;
};

}  // namespace weft::ctl::xds
