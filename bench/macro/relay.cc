// The yardstick of the macro bench: a TCP relay on libuv that does nothing but move bytes. One
// accepted connection is tied to one connection to the origin; a message costs one read and one
// write, from one shared buffer, and no copy. Only when a socket does not take everything at once
// are the rest copied, written by uv_write, and the other side's reading paused.
//
//   relay --listen 127.0.0.1:0 --connect 127.0.0.1:9000
//
// Prints "listening 127.0.0.1:PORT". What a proxy costs beyond this is what its HTTP work costs.

#include <signal.h>
#include <uv.h>

#include <memory>

#include "bench/macro/common.h"

namespace weft::bench {
namespace {

constexpr size_t kBufferSize = 1 << 16;
char shared_buffer[kBufferSize];
sockaddr_in origin_address;

struct Pair;

struct Side {
  uv_tcp_t tcp;
  Pair* pair = nullptr;
  Side* other = nullptr;
  bool ended = false;  // this side sent its FIN
};

// Two connections and their handles. Owner: itself; freed when both handles have closed.
struct Pair {
  Side down, up;
  uv_connect_t connect;
  bool closing = false;
  int open_handles = 0;
};

struct PendingWrite {
  uv_write_t request;
  std::string bytes;
  Side* from = nullptr;
};

Side* SideOf(void* handle) { return static_cast<Side*>(static_cast<uv_handle_t*>(handle)->data); }
uv_stream_t* StreamOf(Side* side) { return reinterpret_cast<uv_stream_t*>(&side->tcp); }

void OnClosed(uv_handle_t* handle) {
  Pair* pair = SideOf(handle)->pair;
  if (--pair->open_handles == 0) delete pair;
}

void ClosePair(Pair* pair) {
  if (pair->closing) return;
  pair->closing = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&pair->down.tcp), OnClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&pair->up.tcp), OnClosed);
}

void OnAlloc(uv_handle_t*, size_t, uv_buf_t* out) {
  *out = uv_buf_init(shared_buffer, kBufferSize);
}

void OnRead(uv_stream_t* stream, ssize_t n, const uv_buf_t* buffer);

void OnShutdown(uv_shutdown_t* request, int) { delete request; }

void OnEnd(Side* side) {
  side->ended = true;
  if (side->other->ended) return ClosePair(side->pair);
  auto* request = new uv_shutdown_t;
  if (uv_shutdown(request, StreamOf(side->other), OnShutdown) != 0) {
    delete request;
    ClosePair(side->pair);
  }
}

void OnWritten(uv_write_t* request, int status) {
  std::unique_ptr<PendingWrite> pending(static_cast<PendingWrite*>(request->data));
  Side* from = pending->from;
  if (from->pair->closing) return;
  if (status != 0) return ClosePair(from->pair);
  if (!from->ended) uv_read_start(StreamOf(from), OnAlloc, OnRead);
}

void OnRead(uv_stream_t* stream, ssize_t n, const uv_buf_t* buffer) {
  Side* side = SideOf(stream);
  if (n == 0) return;
  if (n == UV_EOF) return OnEnd(side);
  if (n < 0) return ClosePair(side->pair);
  uv_buf_t data = uv_buf_init(buffer->base, static_cast<unsigned>(n));
  int written = uv_try_write(StreamOf(side->other), &data, 1);
  if (written == n) return;
  if (written < 0 && written != UV_EAGAIN) return ClosePair(side->pair);
  if (written < 0) written = 0;
  auto pending = std::make_unique<PendingWrite>();
  pending->bytes.assign(buffer->base + written, static_cast<size_t>(n - written));
  pending->from = side;
  pending->request.data = pending.get();
  data = uv_buf_init(pending->bytes.data(), static_cast<unsigned>(pending->bytes.size()));
  uv_read_stop(stream);
  if (uv_write(&pending->request, StreamOf(side->other), &data, 1, OnWritten) != 0)
    return ClosePair(side->pair);
  pending.release();  // OnWritten takes it back
}

void OnConnected(uv_connect_t* request, int status) {
  Pair* pair = static_cast<Pair*>(request->data);
  if (pair->closing) return;
  if (status != 0) return ClosePair(pair);
  uv_tcp_nodelay(&pair->up.tcp, 1);
  uv_read_start(StreamOf(&pair->down), OnAlloc, OnRead);
  uv_read_start(StreamOf(&pair->up), OnAlloc, OnRead);
}

void OnConnection(uv_stream_t* listener, int status) {
  if (status != 0) return;
  auto* pair = new Pair;
  pair->open_handles = 2;
  for (auto [side, other] :
       {std::pair{&pair->down, &pair->up}, std::pair{&pair->up, &pair->down}}) {
    uv_tcp_init(listener->loop, &side->tcp);
    side->tcp.data = side;
    side->pair = pair;
    side->other = other;
  }
  pair->connect.data = pair;
  if (uv_accept(listener, StreamOf(&pair->down)) != 0) return ClosePair(pair);
  uv_tcp_nodelay(&pair->down.tcp, 1);
  if (uv_tcp_connect(&pair->connect, &pair->up.tcp, reinterpret_cast<sockaddr*>(&origin_address),
                     OnConnected) != 0) {
    ClosePair(pair);
  }
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  using namespace weft::bench;
  const Flags flags(argc, argv, {"--listen", "--connect"});
  const sockaddr_in address = flags.Loopback("--listen");
  origin_address = flags.Loopback("--connect");
  signal(SIGPIPE, SIG_IGN);
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  int error = uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&address), 0);
  if (error == 0) error = uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, OnConnection);
  if (error != 0) Fail("relay", std::string("cannot listen: ") + uv_strerror(error));
  sockaddr_in bound{};
  int length = sizeof bound;
  uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&bound), &length);
  char host[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &bound.sin_addr, host, sizeof host);
  printf("listening %s:%u\n", host, ntohs(bound.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
