#pragma once

#include <memory>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/http/server_connection.h"
#include "dataplane/http/stream.h"

namespace weft::observe {
struct Http2Counters;
}

namespace weft::http::h2 {

class ServerSession;

// What the HTTP/2 server connections of one worker share. Owner: Worker. Thread: the worker's.
struct ServerContext {
  event::Loop& loop;
  buffer::Slab& slab;
};

// One downstream HTTP/2 connection (RFC 9113): every request on it is a ServerStream of its own.
// What a loop turn writes leaves in one write at its end. Owner: the listener's connection list;
// after OnClosed the owner frees it by Loop::DeferDelete. Thread: the worker's.
class ServerConnection final : public http::ServerConnection {
 public:
  // `options` and `counters` outlive the connection.
  ServerConnection(ServerContext& context, const ServerOptions& options,
                   observe::Http2Counters& counters, std::unique_ptr<net::Transport> transport,
                   ServerHandler* handler, Owner* owner);
  ~ServerConnection() override;

  // Begins, with what was read of the transport before (see OnHttp2Preface). Requests may come, and
  // the connection may close, before it returns.
  void Start(buffer::Slice bytes = {});

  Protocol protocol() const override { return Protocol::kHttp2; }
  void DrainSoon() override;
  void Drain() override;
  void Close() override;
  bool idle() const override;
  uint64_t requests() const override;
  uint64_t total_received() const override;
  uint64_t total_sent() const override;

 private:
  const std::unique_ptr<ServerSession> session_;
};

}  // namespace weft::http::h2
