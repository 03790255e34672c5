#pragma once

#include <memory>
#include <vector>

#include "dataplane/http/h2/session_core.h"
#include "dataplane/http/server_connection.h"
#include "dataplane/http/stream.h"

namespace weft::http::h2 {

class ServerStream;

// What the HTTP/2 server connections of one worker share. Owner: Worker. Thread: the worker's.
struct ServerContext {
  event::Loop& loop;
  buffer::Slab& slab;
};

// One downstream HTTP/2 connection (RFC 9113): every request on it is a ServerStream of its own.
// What a loop turn writes leaves in one write at its end. Owner: the listener's connection list;
// after OnClosed the owner frees it by Loop::DeferDelete. Thread: the worker's.
class ServerConnection final : public http::ServerConnection, private SessionCore {
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
  bool idle() const override { return streams_under_way_ == 0; }
  uint64_t requests() const override { return requests_; }
  uint64_t total_received() const override { return bytes_received_; }
  uint64_t total_sent() const override { return sent_; }

 private:
  friend class ServerStream;
  struct FinishingTag {};
  // GOAWAY's two steps: a notice, and a round trip later the last stream id.
  enum class Draining : uint8_t { kNo, kNotice, kFinal };

  StreamBase* NewRequest(int32_t id) override;
  void OnGoAwaySent() override;
  void OnPingAnswer() override;
  void OnInput() override;
  void OnNews() override;
  void OnSent() override;
  bool MayClose(bool over) const override;
  void OnOver(const Error& error) override;
  void OnReadableWhenOver() override;

  void StreamOver();
  void OnTimer();
  void OnHeadTimer();
  void Finish();

  const ServerOptions& settings_;
  ServerHandler* const handler_;
  Owner* const owner_;
  // The oldest reason to act without input: idle, the second GOAWAY, the end of lingering.
  event::Timer timer_;
  event::Timer head_timer_;  // a head, or the connection's preface, is not complete
  IntrusiveList<ServerStream, FinishingTag> finishing_;  // answers on their way to the kernel
  uint64_t requests_ = 0;
  MonoNanos idle_since_;
  uint32_t streams_under_way_ = 0;  // that an exchange or nghttp2 still has
  Draining drain_ = Draining::kNo;
  bool ping_answered_ = false;
  bool in_head_ = false;  // a header block has begun and not ended
  bool lingering_ = false;
  bool cut_off_armed_ = false;
  bool over_ = false;  // the owner was told
};

}  // namespace weft::http::h2
