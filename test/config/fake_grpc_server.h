#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/config/grpc_framing.h"
#include "dataplane/net/listener.h"
#include "test/http/h2/fake_server.h"

namespace weft::test {

// A gRPC server on a loopback port, on the loop of the test: it accepts, records calls, answers what the test says.
// Owner: the test. Thread: the loop's.
class FakeGrpcServer final : private net::Listener::Handler {
 public:
  struct Call {
    FakeH2Server* connection;
    int32_t id;
    std::string path() const { return Head(":path"); }
    std::string Head(std::string_view name) const;
    // Complete messages that arrived so far.
    std::vector<std::string> messages() const;
    bool closed() const { return connection->stream(id)->closed; }
    bool half_closed() const { return connection->stream(id)->ended; }
    void Accept() { connection->Respond(id, {{":status", "200"}, {"content-type", "application/grpc"}}, false); }
    void Send(std::string_view message);
    void End(int code, const std::string& message = "");
  };

  explicit FakeGrpcServer(event::Loop& loop, uint16_t port = 0);
  const net::Address& address() const { return listener_->local_address(); }
  size_t accepted() const { return accepted_; }
  // Calls of all connections, in order of arrival.
  std::vector<Call> calls();
  FakeH2Server* connection(size_t i) { return connections_[i].get(); }
  void CloseConnections() { connections_.clear(); }
  // Accepts, then is silent: no HTTP/2 at all.
  bool mute = false;

 private:
  void OnAccept(int fd, const net::Address& peer) override;
  event::Loop& loop_;
  std::unique_ptr<net::Listener> listener_;
  std::vector<std::unique_ptr<FakeH2Server>> connections_;
  std::vector<std::unique_ptr<net::Transport>> muted_;
  size_t accepted_ = 0;
};

}  // namespace weft::test
