#pragma once

#include <memory>

#include "dataplane/http/h2/session_core.h"
#include "dataplane/http/stream.h"

namespace weft::http::h2 {

class Stream;

// One HTTP/2 connection as client, over cleartext with prior knowledge or whatever the transport
// is. Owner: a connection pool or a gRPC client. Thread: the loop's. Destroyed when: the owner
// likes; from inside one of its own events only by Loop::DeferDelete. Streams that are alive then
// hear nothing any more.
class Session final : private SessionCore {
 public:
  class Handler {
   public:
    // The peer's SETTINGS arrived: it speaks HTTP/2.
    virtual void OnSessionReady() {}
    // GOAWAY came, or Drain() was called: no new stream can be opened, running ones go on.
    virtual void OnSessionDraining() {}
    // A stream ended: one more can be opened.
    virtual void OnStreamClosed() {}
    // The connection is over; all streams were told before.
    virtual void OnSessionClosed(const Error& error) = 0;

   protected:
    ~Handler() = default;
  };

  // Begins an HTTP/2 client on a connected transport. `counters` may be null.
  Session(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<net::Transport> transport,
          const SessionOptions& options, Handler* handler,
          observe::Http2Counters* counters = nullptr);
  ~Session();

  // Whether Open() would give a stream now: not draining and below the peer's limit.
  bool CanOpen() const;
  // Streams that the peer allows at once, at most SessionOptions::max_concurrent_streams.
  uint32_t MaxStreams() const;
  // The peer takes extended CONNECT (RFC 8441).
  bool CanConnectProtocol() const;
  // A stream for one request, null when CanOpen() is false. The session owns it; it is alive until
  // OnClientReset has returned, until OnResponse without a body has returned, or until Release().
  http::ClientStream* Open(http::ClientStreamEvents* events);

  // Ends gracefully: GOAWAY now, close when the last stream is done.
  void Drain();
  bool draining() const { return draining_ || peer_goaway_; }
  bool closed() const { return closed_; }
  bool ready() const { return settings_seen_; }
  // Requests that the peer did not end yet.
  size_t open_streams() const { return open_streams_; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t bytes_sent() const { return sent_; }
  net::Transport& transport() { return *transport_; }

 private:
  friend class Stream;

  void OnNews() override;
  bool MayClose(bool over) const override { return over || (draining_ && open_streams_ == 0); }
  void OnOver(const Error& error) override;

  Handler* handler_;
  bool ready_told_ = false;
  bool draining_told_ = false;
};

}  // namespace weft::http::h2
