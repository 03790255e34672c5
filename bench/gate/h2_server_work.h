#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/buffer/body_pipe.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/h2/server_connection.h"
#include "test/fakes/fake_transport.h"

namespace weft::bench {

// One HTTP/2 server connection without a socket: requests come as a client with a warm header table sends them, 16 in
// a read, and each is answered with a head and 1 KB in the same turn of the loop. Owner: the gate's work. Thread: the one
// that made it. Destroyed when: the work is done.
class H2ServerWork final : private http::ServerHandler, private http::ServerConnection::Owner {
 public:
  H2ServerWork();
  ~H2ServerWork();

  // `n` requests (rounded up to 16 of them); false when one was not answered whole.
  bool Run(uint64_t n);

 private:
  static constexpr size_t kAtOnce = 16;
  static constexpr size_t kBody = 1024;
  struct Stream final : http::ServerStreamEvents, buffer::BodyPipe::Producer {
    void OnStreamReset(const Error&) override {}
    void OnStreamDone() override { ++work->done_; }
    void OnPipeSpace() override {}
    H2ServerWork* work = nullptr;
    buffer::BodyPipe body;
  };

  void OnRequest(http::ServerStream& stream) override;
  void OnBadRequest(net::Transport&, const Error&, int, http::Protocol) override {}
  void OnClosed(http::ServerConnection& connection) override;

  buffer::Slab slab_;
  event::Loop loop_;
  http::h2::ServerContext context_{loop_, slab_};
  http::h2::ServerOptions options_;
  observe::Http2Counters counters_;
  fakes::FakePeer peer_;
  http::h2::ServerConnection* connection_ = nullptr;
  http::ResponseHead answer_;
  std::string payload_, first_block_, block_, input_;
  std::array<Stream, kAtOnce> streams_;
  uint32_t next_id_ = 1;
  size_t at_ = 0;
  uint64_t done_ = 0;
};

}  // namespace weft::bench
