// Bounds on what a peer can make a session do. docs/adr/0012-http2.md has the table.
#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "dataplane/http/h2/session_core.h"
#include "dataplane/http/h2/stream_base.h"

namespace weft::http::h2 {
namespace {

// Frames that ask for an answer or mean nothing (PING, SETTINGS, unknown types): so many at once,
// then so many a second. Generous: gRPC sends a PING for each bandwidth estimate.
constexpr uint32_t kControlPerSecond = 200;
// Streams that the peer makes us reset (CVE-2025-8671), over the life of a connection.
constexpr uint32_t kMaxInducedResets = 100;

}  // namespace

bool SessionCore::FrameAllowed(uint8_t type, uint8_t flags, int32_t id, size_t length) {
  if (terminating_) return false;
  const bool end = (flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (type) {
    case NGHTTP2_DATA:
      if (length == 0 && !EmptyFrame(!end)) return false;
      return StreamKnown(id);
    case NGHTTP2_HEADERS:
      continuations_ = 0;
      return EmptyFrame(length == 0 && !end) && StreamKnown(id);
    case NGHTTP2_CONTINUATION:
      if (++continuations_ > options_.max_head_bytes / 4096 + 8) {
        Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames",
                  &observe::Http2Counters::inbound_continuation_flood);
        return false;
      }
      return EmptyFrame(length == 0);
    case NGHTTP2_PRIORITY:
      if (++priorities_ > options_.max_priority_frames_per_stream * (opened_ + 1)) {
        Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many PRIORITY frames",
                  &observe::Http2Counters::inbound_priority_frames_flood);
        return false;
      }
      return true;
    case NGHTTP2_WINDOW_UPDATE:
      if (++window_updates_ >
          5 + 2 * (opened_ + options_.max_window_updates_per_data_frame_sent * data_sent_)) {
        Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many WINDOW_UPDATE frames",
                  &observe::Http2Counters::inbound_window_update_frames_flood);
        return false;
      }
      return true;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_GOAWAY:
      return true;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
      return (flags & NGHTTP2_FLAG_ACK) != 0 || ControlFrame();
    default:
      return ControlFrame();
  }
}

bool SessionCore::EmptyFrame(bool empty) {
  if (!empty) {
    empty_frames_ = 0;
    return true;
  }
  if (++empty_frames_ <= options_.max_consecutive_empty_frames) return true;
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many empty frames",
            &observe::Http2Counters::inbound_empty_frames_flood);
  return false;
}

bool SessionCore::ControlFrame() {
  MonoNanos now = loop_.Now();
  uint64_t refill = static_cast<uint64_t>(now - control_at_) * kControlPerSecond / kSecond;
  if (refill > 0) {
    control_at_ = now;
    control_left_ = static_cast<uint32_t>(std::min<uint64_t>(
        kControlBurst, control_left_ + std::min<uint64_t>(refill, kControlBurst)));
  }
  if (control_left_ > 0) {
    --control_left_;
    return true;
  }
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many PING, SETTINGS or unknown frames",
            &observe::Http2Counters::inbound_control_frames_flood);
  return false;
}

// An answer to a control frame, or a reset, waits to be sent. A peer that does not read must not
// make us keep them.
bool SessionCore::QueuedControl() {
  if (++control_queued_ <= options_.max_outbound_control_frames) return true;
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many control frames wait to be read",
            &observe::Http2Counters::outbound_control_flood);
  return false;
}

// nghttp2 ignores frames on streams that are closed, since the peer may not know about a reset of
// ours. Where there was none, the peer breaks RFC 9113 section 5.1, or reuses a lower id (section
// 5.1.1).
bool SessionCore::StreamKnown(int32_t id) {
  if (role_ == Role::kClient || id == 0 || id % 2 == 0) return true;
  if (id > last_request_) return true;  // new, or refused by nghttp2 itself
  if (nghttp2_session_get_stream_user_data(h2_, id) != nullptr) return true;
  if (id <= forgotten_reset_) return true;
  if (std::find(reset_ids_.begin(), reset_ids_.end(), id) != reset_ids_.end()) {
    return true;
  }
  Terminate(NGHTTP2_STREAM_CLOSED, "a frame on a closed stream", nullptr);
  return false;
}

void SessionCore::RememberReset(int32_t id) {
  if (role_ == Role::kClient) return;
  if (reset_ids_.size() < kMaxResetIds) {
    reset_ids_.push_back(id);
    return;
  }
  int32_t& slot = reset_ids_[reset_next_++ % kMaxResetIds];
  forgotten_reset_ = std::max(forgotten_reset_, slot);
  slot = id;
}

bool SessionCore::PeerReset(StreamBase& s) {
  s.peer_reset_ = true;
  if (role_ == Role::kClient || !s.Premature()) return true;
  ++premature_resets_;
  if (judged_streams_ < kJudgeStreams || premature_resets_ * 2 <= judged_streams_) return true;
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many streams are reset at once",
            &observe::Http2Counters::inbound_reset_flood);
  return false;
}

bool SessionCore::InducedReset() {
  if (role_ == Role::kClient) return true;
  if (++induced_resets_ <= kMaxInducedResets) return true;
  Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many invalid frames",
            &observe::Http2Counters::outbound_reset_flood);
  return false;
}

}  // namespace weft::http::h2
