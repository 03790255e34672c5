#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/base/error.h"
#include "dataplane/base/intrusive_list.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/http/header_map.h"
#include "dataplane/net/transport.h"
#include "dataplane/observe/counter_groups.h"

struct nghttp2_session;

namespace weft::http::h2 {

class StreamBase;

enum class Role : uint8_t { kClient, kServer };

// What both roles of an HTTP/2 connection (RFC 9113) share: nghttp2, reading, corked writing, the
// lists of streams that have something to tell or to send, keep-alive, and the bounds on what a
// peer can make us do. What is written during a loop turn leaves in one write at its end. Window
// updates follow what consumers took out of the body pipes, never what arrived. nghttp2's callbacks
// only note what happened; streams and users are told after it has returned, so that they may call
// anything. Owner: it is the base of Session and ServerConnection. Thread: the loop's.
class SessionCore : private net::Transport::Handler, private event::TurnEndTask {
 public:
  SessionCore(const SessionCore&) = delete;
  SessionCore& operator=(const SessionCore&) = delete;

 protected:
  friend class StreamBase;
  struct DirtyTag {};
  struct WakeTag {};
  struct AllTag {};

  SessionCore(Role role, event::Loop& loop, buffer::Slab& slab,
              std::unique_ptr<net::Transport> transport, const SessionOptions& options,
              observe::Http2Counters* counters);
  ~SessionCore();

  // What the role adds. Called from nghttp2:
  // A stream that the peer opens (server).
  virtual StreamBase* NewRequest(int32_t id) { return nullptr; }
  virtual void OnGoAwaySent() {}
  // The peer answered the PING of SubmitPing().
  virtual void OnPingAnswer() {}
  // Called outside of it:
  // All streams were told what they have to know.
  virtual void OnNews() {}
  // One whole batch of input was read and told.
  virtual void OnInput() {}
  // Frames went to the kernel; `sent_` has grown.
  virtual void OnSent() {}
  // The output is with the kernel; is it time to close? `over`: nghttp2 wants no more input, since
  // GOAWAY went or came and no stream is open, or since the peer broke the protocol.
  virtual bool MayClose(bool over) const = 0;
  // The connection is over; all streams were told before. The transport still exists.
  virtual void OnOver(const Error& error) = 0;
  // Bytes came after that.
  virtual void OnReadableWhenOver() {}

  // Takes the transport's events; the first SETTINGS leave at the end of the turn.
  void Begin();
  // The same, with input that was read by someone else. May be over when it returns.
  void Begin(buffer::Slice bytes);
  // Ends the connection for what the peer did (h2 error code): GOAWAY, then the end. May be called
  // from nghttp2's callbacks, which then stop the input.
  void Terminate(uint32_t h2_error, std::string_view detail,
                 observe::Counter observe::Http2Counters::*counter);
  void SubmitPing();
  // GOAWAY with the last stream that was taken.
  void SubmitGoAway();
  void SubmitReset(int32_t id, uint32_t h2_error);
  void Close(const Error& error);
  void Schedule() { loop_.AtTurnEnd(this); }
  void DispatchEvents();
  Side peer() const { return role_ == Role::kClient ? Side::kUpstream : Side::kDownstream; }
  void Count(observe::Counter observe::Http2Counters::*counter) {
    if (counters_ != nullptr) (counters_->*counter).Inc();
  }
  bool terminating() const { return terminating_; }
  // Made and not yet taken by the kernel.
  size_t out_size() const { return out_.size(); }
  void StreamOpened() {
    ++open_streams_;
    if (counters_ != nullptr) counters_->streams_active.Inc();
  }

  event::Loop& loop_;
  buffer::Slab& slab_;
  std::unique_ptr<net::Transport> transport_;
  const SessionOptions options_;
  nghttp2_session* h2_ = nullptr;
  IntrusiveList<StreamBase, AllTag> streams_;
  uint64_t bytes_received_ = 0, sent_ = 0;
  uint64_t opened_ = 0;        // streams
  uint64_t held_ = 0;          // body bytes that consumers have not taken
  uint32_t open_streams_ = 0;  // that nghttp2 knows
  std::string_view fault_;     // why nghttp2 gave up on the peer, or the peer on us
  bool settings_seen_ = false;
  bool peer_goaway_ = false;
  bool draining_ = false;  // no new stream
  bool slot_freed_ = false;
  bool closed_ = false;

 private:
  struct Callbacks;  // nghttp2's C functions
  static constexpr uint32_t kControlBurst = 2000;
  // Streams that end by a reset within their first second, as a share of all: above a half of at
  // least so many the peer is not doing work but making it (CVE-2023-44487). The ratio lets busy
  // connections cancel a lot.
  static constexpr uint32_t kJudgeStreams = 500;
  // Ids of streams that we reset: the peer may not know yet.
  static constexpr size_t kMaxResetIds = 128;

  // In a crowded slab a session whose own streams hold at least so much gives new ones a window of
  // kCrowdedWindow. A stream whose consumer keeps up gets the whole one back after kKeepsUpBytes.
  static constexpr uint64_t kHeldWhenCrowded = 128 * 1024;
  static constexpr uint32_t kCrowdedWindow = 4096;
  static constexpr uint64_t kKeepsUpBytes = 16 * 1024;

  void OnReadable() override;
  void OnWritable() override;
  void RunAtTurnEnd() override;

  void MindWindows();
  bool GrowWindow(int32_t id);
  bool ReadOnce(bool* more);
  bool Input(buffer::BlockRef block, const char* data, size_t size);
  ssize_t Receive(const uint8_t* data, size_t size);
  void ReleaseReadBuffers();
  void WakeStreams();
  void Send();
  void CloseIfDone();
  void OnKeepalive();
  void ArmKeepalive();
  void MarkDirty(StreamBase* s);
  void Forget(StreamBase* s);
  buffer::Slice KeepChunk(const uint8_t* data, size_t len, bool copy);

  // Bounds; each returns false when the session is being terminated.
  bool FrameAllowed(uint8_t type, uint8_t flags, int32_t id, size_t length);
  bool EmptyFrame(bool empty);
  bool ControlFrame();
  bool QueuedControl();
  bool StreamKnown(int32_t id);
  bool PeerReset(StreamBase& s);
  bool InducedReset();
  void RememberReset(int32_t id);

  const Role role_;
  observe::Http2Counters* const counters_;
  IntrusiveList<StreamBase, DirtyTag> dirty_;  // have events to tell
  IntrusiveList<StreamBase, WakeTag> wake_;    // have bytes to send or room to announce
  buffer::SliceBuffer out_;
  buffer::BlockRef
      read_block_;  // what is being read into; released when a read leaves nothing pinned
  buffer::ReadPace pace_;
  buffer::BlockRef small_block_;  // copies of chunks that are too small to pin a block each
  uint32_t small_used_ = 0;
  event::Timer keepalive_;
  MonoNanos last_read_ = 0;
  MonoNanos windows_at_ = 0;  // when narrow_ changed last
  // For the bounds.
  size_t frame_left_;  // bytes of the incoming frame that are not here yet
  uint32_t frame_head_size_ = 0;
  uint8_t frame_head_[9];
  std::vector<int32_t> reset_ids_;  // a ring; empty until the first
  uint32_t reset_next_ = 0;
  int32_t forgotten_reset_ = 0;  // the highest id that the ring has lost
  int32_t last_request_ = 0;     // highest id of a request that was taken
  uint64_t data_sent_ = 0;       // DATA frames
  uint64_t window_updates_ = 0, priorities_ = 0;
  MonoNanos control_at_ = 0;
  uint32_t control_left_;
  uint32_t control_queued_ = 0;
  uint32_t empty_frames_ = 0, continuations_ = 0;
  uint32_t judged_streams_ = 0, premature_resets_ = 0, induced_resets_ = 0;
  uint32_t terminate_error_ = 0;
  bool narrow_ = false;  // windows are kCrowdedWindow
  bool ping_sent_ = false;
  bool terminating_ = false;
  bool terminate_submitted_ = false;
  bool blocked_ = false;  // the transport takes no more; OnWritable will come
};

}  // namespace weft::http::h2
