#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "controlplane/admin/handlers.h"

namespace weft::ctl::admin {

// The debug endpoints over HTTP/1.1, on a loop and thread of their own.
// Owner: app. Thread: Start and Stop by the owner. Destroyed when: the process stops, before the
// handlers.
class AdminServer {
 public:
  explicit AdminServer(const AdminHandlers* handlers);
  ~AdminServer();

  // Errors say which address and why.
  absl::Status Start(const std::string& address);
  void Stop();
  // With the port that was bound.
  const std::string& address() const { return address_; }

 private:
  class Impl;
  const AdminHandlers* const handlers_;
  std::string address_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::ctl::admin
