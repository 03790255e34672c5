#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/error.h"
#include "dataplane/base/intrusive_list.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/http/stream.h"
#include "dataplane/net/transport.h"

namespace weft::http::h2 {

class Stream;

// One HTTP/2 connection (RFC 9113) over a transport, cleartext with prior knowledge or whatever the transport is.
// What is written during a loop turn leaves in one write at its end. Window updates follow what consumers took out of
// the body pipes, never what arrived. Events reach streams after nghttp2 has returned, so that they may call anything.
// Owner: a connection pool or a gRPC client. Thread: the loop's. Destroyed when: the owner likes; from inside one of its
// own events only by Loop::DeferDelete. Streams that are alive then hear nothing any more.
// What is the client's alone sits in Create() and Stream; a server role adds a second kind of stream beside it.
class Session final : private net::Transport::Handler, private event::TurnEndTask {
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

  // Begins an HTTP/2 client on a connected transport.
  Session(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<net::Transport> transport,
          const SessionOptions& options, Handler* handler);
  ~Session();

  // Whether Open() would give a stream now: not draining and below the peer's limit.
  bool CanOpen() const;
  // A stream for one request, null when CanOpen() is false. Client role only. The session owns it; it is alive until
  // OnClientReset has returned, until OnResponse without a body has returned, or until Release().
  http::ClientStream* Open(http::ClientStreamEvents* events);

  // Ends gracefully: GOAWAY now, close when the last stream is done.
  void Drain();
  bool draining() const { return draining_; }
  bool closed() const { return closed_; }
  bool ready() const { return settings_seen_; }
  size_t open_streams() const { return open_streams_; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t bytes_sent() const { return bytes_sent_; }
  net::Transport& transport() { return *transport_; }

 private:
  friend class Stream;
  struct Callbacks;  // nghttp2's C functions; they only note what happened
  struct SessionDeleter {
    void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
  };

  void OnReadable() override;
  void OnWritable() override;
  void RunAtTurnEnd() override;

  void Create();
  bool ReadOnce(bool* more);
  void ReleaseReadBuffers();
  void DispatchEvents();
  void WakeStreams();
  void Send();
  void Close(const Error& error);
  void CloseIfDone();
  void OnKeepalive();
  void ArmKeepalive();
  void Schedule() { loop_.AtTurnEnd(this); }
  void MarkDirty(Stream* s);
  void Forget(Stream* s);
  static nghttp2_data_provider SourceOf(Stream* s);
  buffer::Slice KeepChunk(const uint8_t* data, size_t len);

  event::Loop& loop_;
  buffer::Slab& slab_;
  std::unique_ptr<net::Transport> transport_;
  const SessionOptions options_;
  Handler* handler_;
  std::unique_ptr<nghttp2_session, SessionDeleter> h2_;

  struct DirtyTag {};
  struct WakeTag {};
  struct AllTag {};
  IntrusiveList<Stream, DirtyTag> dirty_;  // have events to tell
  IntrusiveList<Stream, WakeTag> wake_;    // have bytes to send or room to announce
  IntrusiveList<Stream, AllTag> streams_;
  buffer::SliceBuffer out_;
  buffer::BlockRef read_block_;   // what is being read into; released when a read leaves nothing pinned
  uint32_t read_used_ = 0;
  buffer::BlockRef small_block_;  // copies of chunks that are too small to pin a block each
  uint32_t small_used_ = 0;
  event::Timer keepalive_;
  MonoNanos last_read_ = 0;
  uint64_t bytes_received_ = 0, bytes_sent_ = 0;
  size_t open_streams_ = 0;  // that nghttp2 knows
  uint64_t opened_ = 0;
  std::string_view fault_;   // why nghttp2 gave up on the peer, or the peer on us
  bool ping_sent_ = false;
  bool settings_seen_ = false;
  bool ready_told_ = false;
  bool draining_ = false;
  bool draining_told_ = false;
  bool slot_freed_ = false;
  bool blocked_ = false;  // the transport takes no more; OnWritable will come
  bool closed_ = false;
};

}  // namespace weft::http::h2
