#include "dataplane/http/h2/session_core.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"
#include "dataplane/http/h2/stream_base.h"

namespace weft::http::h2 {
namespace {

// Chunks up to this size are copied: a slice pins its whole block, and a peer that sends small
// frames would otherwise make us hold many times what the windows allow. So are those that will
// wait for long, close together.
constexpr size_t kCopyBelow = 4096;
constexpr size_t kFrameHeader = 9;
constexpr size_t kPrefaceBytes = 24;
// What is read in a turn goes out at its end: not more than stays in a core's cache until then.
constexpr size_t kReadBytesPerTurn = 128 * 1024;
// So much at once means that large bodies are under way.
constexpr ssize_t kBulkRead = buffer::Slab::kBlockBytes;
constexpr int kMaxWritesPerTurn = 16;
constexpr uint8_t kPingData[] = {'w', 'e', 'f', 't', 'p', 'i', 'n', 'g'};

std::string_view StaticText(const char* s) {
  return s == nullptr ? std::string_view() : std::string_view(s);
}

StreamBase* StreamOf(nghttp2_session* h2, int32_t id) {
  return static_cast<StreamBase*>(nghttp2_session_get_stream_user_data(h2, id));
}

}  // namespace

// All of these only note what happened: nghttp2 must not be re-entered and users may do anything in
// their events.
struct SessionCore::Callbacks {
  static SessionCore& Self(void* p) { return *static_cast<SessionCore*>(p); }
  // A session that is being terminated looks at no further byte.
  static int Go(SessionCore& self) {
    return self.terminating_ ? static_cast<int>(NGHTTP2_ERR_CALLBACK_FAILURE) : 0;
  }

  static int OnBeginHeaders(nghttp2_session* h2, const nghttp2_frame* frame, void* p) {
    SessionCore& self = Self(p);
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      StreamBase* s = self.NewRequest(frame->hd.stream_id);
      if (s == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      self.last_request_ = frame->hd.stream_id;
      s->id_ = frame->hd.stream_id;
      s->h2_open_ = true;
      nghttp2_session_set_stream_user_data(h2, s->id_, s);
      self.streams_.PushBack(s);
      self.StreamOpened();
      ++self.opened_;
      if (++self.judged_streams_ == 2 * kJudgeStreams) {  // what is long past counts less
        self.judged_streams_ /= 2;
        self.premature_resets_ /= 2;
      }
      return 0;
    }
    StreamBase* s = StreamOf(h2, frame->hd.stream_id);
    if (s != nullptr && !s->BeginHeaders()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
  }

  static int OnHeader(nghttp2_session* h2, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_len, const uint8_t* value, size_t value_len, uint8_t, void* p) {
    StreamBase* s = StreamOf(h2, frame->hd.stream_id);
    if (s == nullptr) return 0;
    bool ok = s->AddHeader({reinterpret_cast<const char*>(name), name_len},
                           {reinterpret_cast<const char*>(value), value_len});
    if (Go(Self(p)) != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
    return ok ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  // nghttp2 would drop a field with forbidden characters; what is not relayed must not be accepted.
  static int OnInvalidHeader(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t,
                             const uint8_t*, size_t, uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int OnData(nghttp2_session* h2, uint8_t, int32_t id, const uint8_t* data, size_t len,
                    void* p) {
    StreamBase* s = StreamOf(h2, id);
    if (s == nullptr) {
      nghttp2_session_consume_connection(h2, len);
      return 0;
    }
    s->AddData(Self(p).KeepChunk(data, len, len <= kCopyBelow || s->in_body_.full()));
    return 0;
  }

  static int OnFrame(nghttp2_session* h2, const nghttp2_frame* frame, void* p) {
    SessionCore& self = Self(p);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > 0) {
          // Padding alone is nothing as well.
          self.EmptyFrame(!end && frame->hd.length == frame->data.padlen);
        }
        StreamBase* s = StreamOf(h2, frame->hd.stream_id);
        if (s == nullptr) break;
        if (frame->hd.type == NGHTTP2_HEADERS) {
          s->EndHeaders(end);
        } else if (end) {
          s->EndBody();
        }
        break;
      }
      case NGHTTP2_RST_STREAM:
        self.Count(&observe::Http2Counters::rx_reset);
        if (StreamBase* s = StreamOf(h2, frame->hd.stream_id); s != nullptr) self.PeerReset(*s);
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
          if (memcmp(frame->ping.opaque_data, kPingData, sizeof(kPingData)) == 0) {
            self.OnPingAnswer();
          }
        } else {
          self.QueuedControl();
        }
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          self.settings_seen_ = true;
          self.slot_freed_ = true;  // the peer may allow more streams now
          self.QueuedControl();
        }
        break;
      case NGHTTP2_GOAWAY:
        self.peer_goaway_ = true;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
          self.fault_ = StaticText(nghttp2_http2_strerror(frame->goaway.error_code));
        }
        break;
      default:
        break;
    }
    return Go(self);
  }

  static int OnInvalidFrame(nghttp2_session* h2, const nghttp2_frame* frame, int lib_error,
                            void* p) {
    SessionCore& self = Self(p);
    bool message = lib_error == NGHTTP2_ERR_HTTP_HEADER || lib_error == NGHTTP2_ERR_HTTP_MESSAGING;
    if (lib_error == NGHTTP2_ERR_REFUSED_STREAM) {
      self.Count(&observe::Http2Counters::stream_refused_errors);
      self.QueuedControl();
      return Go(self);
    }
    self.fault_ = StaticText(nghttp2_strerror(lib_error));
    if (message) {
      self.Count(&observe::Http2Counters::rx_messaging_error);
      if (StreamBase* s = StreamOf(h2, frame->hd.stream_id); s != nullptr) s->OnMalformed();
      if (self.role_ == Role::kServer && !self.options_.stream_error_on_invalid_message) {
        self.Terminate(NGHTTP2_PROTOCOL_ERROR, "malformed HTTP message", nullptr);
        return Go(self);
      }
    }
    self.QueuedControl();
    return Go(self);
  }

  static int OnError(nghttp2_session*, int, const char* message, size_t len, void*) {
    if (LogEnabled(LogLevel::kDebug)) {
      Log(LogLevel::kDebug, StrCat("http2: ", std::string_view(message, len)));
    }
    return 0;
  }

  static int OnStreamClose(nghttp2_session* h2, int32_t id, uint32_t error, void* p) {
    StreamBase* s = StreamOf(h2, id);
    if (s == nullptr) return 0;
    if (error != NGHTTP2_NO_ERROR && !s->peer_reset_ && !s->reset_sent_) Self(p).InducedReset();
    s->Closed(error);
    return 0;
  }

  static int OnBeforeFrame(nghttp2_session* h2, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    StreamBase* s = StreamOf(h2, frame->hd.stream_id);
    if (s != nullptr) s->head_sent_ = true;
    return 0;
  }

  static int OnFrameSent(nghttp2_session* h2, const nghttp2_frame* frame, void* p) {
    SessionCore& self = Self(p);
    switch (frame->hd.type) {
      case NGHTTP2_RST_STREAM:
        self.RememberReset(frame->hd.stream_id);
        self.Count(&observe::Http2Counters::tx_reset);
        [[fallthrough]];
      case NGHTTP2_PING:
      case NGHTTP2_SETTINGS:
        if (self.control_queued_ > 0 &&
            (frame->hd.type == NGHTTP2_RST_STREAM || (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)) {
          --self.control_queued_;
        }
        return 0;
      case NGHTTP2_GOAWAY:
        self.Count(&observe::Http2Counters::goaway_sent);
        self.OnGoAwaySent();
        return 0;
      case NGHTTP2_DATA:
        ++self.data_sent_;
        break;
      case NGHTTP2_HEADERS:
        break;
      default:
        return 0;
    }
    StreamBase* s = StreamOf(h2, frame->hd.stream_id);
    if (s == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) s->OnHeadSent();
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      s->end_sent_ = true;
      s->StopSending();
      // DATA is in out_ already; HEADERS follow.
      uint64_t end = self.sent_ + self.out_.size();
      if (frame->hd.type == NGHTTP2_HEADERS) end += frame->hd.length + kFrameHeader;
      s->OnEndSent(end);
    }
    return 0;
  }

  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int, void* p) {
    SessionCore& self = Self(p);
    bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    if (self.control_queued_ > 0 && (frame->hd.type == NGHTTP2_RST_STREAM || ack)) {
      --self.control_queued_;
    }
    return 0;
  }

  static ssize_t ReadSource(nghttp2_session*, int32_t, uint8_t*, size_t max, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
    return static_cast<StreamBase*>(source->ptr)->OfferData(max, flags);
  }

  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_header, size_t len,
                      nghttp2_data_source* source, void* p) {
    static_cast<StreamBase*>(source->ptr)->TakeData(frame_header, len, Self(p).out_);
    return 0;
  }

  static nghttp2_session_callbacks* Make() {
    nghttp2_session_callbacks* cb = nullptr;
    [[maybe_unused]] int rv = nghttp2_session_callbacks_new(&cb);
    assert(rv == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, OnBeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(cb, OnHeader);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, OnInvalidHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, OnFrame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, OnInvalidFrame);
    nghttp2_session_callbacks_set_error_callback2(cb, OnError);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, OnStreamClose);
    nghttp2_session_callbacks_set_before_frame_send_callback(cb, OnBeforeFrame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, OnFrameSent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, OnFrameNotSent);
    nghttp2_session_callbacks_set_send_data_callback(cb, SendData);
    return cb;
  }
};

nghttp2_data_provider StreamBase::SourceOf(StreamBase* s) {
  nghttp2_data_provider p;
  p.source.ptr = s;
  p.read_callback = SessionCore::Callbacks::ReadSource;
  return p;
}

SessionCore::SessionCore(Role role, event::Loop& loop, buffer::Slab& slab,
                         std::unique_ptr<net::Transport> transport, const SessionOptions& options,
                         observe::Http2Counters* counters)
    : loop_(loop),
      slab_(slab),
      transport_(std::move(transport)),
      options_(options),
      role_(role),
      counters_(counters),
      keepalive_(
          loop.timers(), [](void* self) { static_cast<SessionCore*>(self)->OnKeepalive(); }, this),
      frame_left_(role == Role::kServer ? kPrefaceBytes : 0),
      control_left_(kControlBurst) {
  nghttp2_session_callbacks* cb = Callbacks::Make();
  nghttp2_option* option = nullptr;
  [[maybe_unused]] int rv = nghttp2_option_new(&option);
  assert(rv == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // Ours count, and say what they count.
  nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
  nghttp2_option_set_max_continuations(option, options_.max_head_bytes / 4096 + 16);
  nghttp2_option_set_max_outbound_ack(option, options_.max_outbound_control_frames + 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  rv = role == Role::kClient ? nghttp2_session_client_new2(&h2_, cb, this, option)
                             : nghttp2_session_server_new2(&h2_, cb, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(cb);
  assert(rv == 0);

  nghttp2_settings_entry settings[6];
  size_t n = 0;
  if (role == Role::kClient) {
    settings[n++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  } else {
    settings[n++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.max_concurrent_streams};
    if (options_.allow_connect) settings[n++] = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  }
  settings[n++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window};
  settings[n++] = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options_.max_head_bytes};
  settings[n++] = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options_.header_table_size};
  rv = nghttp2_submit_settings(h2_, NGHTTP2_FLAG_NONE, settings, n);
  assert(rv == 0);
  rv = nghttp2_session_set_local_window_size(h2_, NGHTTP2_FLAG_NONE, 0,
                                             static_cast<int32_t>(options_.connection_window));
  assert(rv == 0);
}

SessionCore::~SessionCore() {
  streams_.ForEach([](StreamBase& s) {
    s.StopSending();
    delete &s;
  });
  nghttp2_session_del(h2_);
}

void SessionCore::Begin() {
  transport_->set_handler(this);
  last_read_ = loop_.Now();
  ArmKeepalive();
  Schedule();
}

void SessionCore::SubmitPing() {
  nghttp2_submit_ping(h2_, NGHTTP2_FLAG_NONE, kPingData);
  Schedule();
}

void SessionCore::SubmitGoAway() {
  nghttp2_submit_goaway(h2_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  Schedule();
}

void SessionCore::SubmitReset(int32_t id, uint32_t h2_error) {
  // nghttp2 drops a second one.
  size_t before = nghttp2_session_get_outbound_queue_size(h2_);
  nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, id, h2_error);
  if (nghttp2_session_get_outbound_queue_size(h2_) > before) ++control_queued_;
  Schedule();
}

void SessionCore::Terminate(uint32_t h2_error, std::string_view detail,
                            observe::Counter observe::Http2Counters::*counter) {
  if (terminating_) return;
  terminating_ = true;
  terminate_error_ = h2_error;
  fault_ = detail;
  if (counter != nullptr) Count(counter);
  Schedule();
}

void SessionCore::MarkDirty(StreamBase* s) {
  if (!static_cast<ListLink<DirtyTag>*>(s)->linked()) dirty_.PushBack(s);
  Schedule();
}

void SessionCore::Forget(StreamBase* s) {
  static_cast<ListLink<DirtyTag>*>(s)->Unlink();
  static_cast<ListLink<WakeTag>*>(s)->Unlink();
  static_cast<ListLink<AllTag>*>(s)->Unlink();
  s->Dispose();
}

// ---- reading

// Gives nghttp2 one frame at a time, so that each is judged first by what the ones before it left:
// nghttp2 says nothing of frames that it ignores, and those cost as well.
ssize_t SessionCore::Receive(const uint8_t* data, size_t size) {
  while (size > 0) {
    size_t n = std::min(size, frame_left_);  // of the frame (or the preface) that has begun
    if (n == 0) {
      n = std::min(size, kFrameHeader - frame_head_size_);
      memcpy(frame_head_ + frame_head_size_, data, n);
      frame_head_size_ += static_cast<uint32_t>(n);
      if (frame_head_size_ == kFrameHeader) {
        const uint8_t* h = frame_head_;
        frame_left_ = static_cast<size_t>(h[0]) << 16 | static_cast<size_t>(h[1]) << 8 | h[2];
        frame_head_size_ = 0;
        uint32_t id = static_cast<uint32_t>(h[5] & 0x7f) << 24 | static_cast<uint32_t>(h[6]) << 16 |
                      static_cast<uint32_t>(h[7]) << 8 | h[8];
        if (!FrameAllowed(h[3], h[4], static_cast<int32_t>(id), frame_left_)) {
          return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        // Head and payload in one call where both are here.
        size_t payload = std::min(size - n, frame_left_);
        n += payload;
        frame_left_ -= payload;
      }
    } else {
      frame_left_ -= n;
    }
    ssize_t rv = nghttp2_session_mem_recv(h2_, data, n);
    if (rv < 0) return rv;
    data += n;
    size -= n;
  }
  return 0;
}

// Owns the bytes of one DATA chunk: by reference to the block that was read into, or by copy.
buffer::Slice SessionCore::KeepChunk(const uint8_t* data, size_t len, bool copy) {
  const char* p = reinterpret_cast<const char*>(data);
  if (!copy || len > buffer::Slab::kBlockBytes) return buffer::Slice(read_block_, p, len);
  if (!small_block_ || small_block_->capacity() - small_used_ < len) {
    small_block_ = slab_.Get();
    small_used_ = 0;
  }
  char* to = small_block_->data() + small_used_;
  memcpy(to, p, len);
  small_used_ += static_cast<uint32_t>(len);
  return buffer::Slice(small_block_, to, len);
}

void SessionCore::OnReadable() {
  if (closed_) {
    OnReadableWhenOver();
    return;
  }
  bool more = true;
  const uint64_t until = bytes_received_ + kReadBytesPerTurn - 1024;  // blocks have headers
  while (bytes_received_ < until && more && ReadOnce(&more)) {
    DispatchEvents();
    if (closed_) return;
  }
  ReleaseReadBuffers();
  if (closed_) return;
  MindWindows();
  OnInput();
  Schedule();
}

// SETTINGS change the windows of all streams, also below what they hold already (RFC 9113 section
// 6.9.2). At most once a second, since they have to be answered.
void SessionCore::MindWindows() {
  const bool narrow = slab_.crowded() && held_ >= (narrow_ ? kHeldWhenCrowded / 4 : kHeldWhenCrowded);
  if (narrow == narrow_ || options_.stream_window <= kCrowdedWindow || terminating_) return;
  const MonoNanos now = loop_.Now();
  if (windows_at_ != 0 && now - windows_at_ < kSecond) return;
  windows_at_ = now;
  narrow_ = narrow;
  const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                        narrow ? kCrowdedWindow : options_.stream_window};
  nghttp2_submit_settings(h2_, NGHTTP2_FLAG_NONE, &entry, 1);
}

// False while the peer may not have read yet that windows are narrow.
bool SessionCore::GrowWindow(int32_t id) {
  if (nghttp2_session_get_local_settings(h2_, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) !=
      kCrowdedWindow) {
    return false;
  }
  nghttp2_session_set_local_window_size(h2_, NGHTTP2_FLAG_NONE, id,
                                        static_cast<int32_t>(options_.stream_window));
  return true;
}

// False when there was nothing or the session is closed.
bool SessionCore::ReadOnce(bool* more) {
  const uint32_t wanted = pace_.Next(slab_);
  if (!read_block_ || read_block_->refs() > 1 || read_block_->capacity() < wanted) {
    read_block_ = slab_.GetSized(wanted);
  }
  iovec iov = {read_block_->data(), read_block_->capacity()};
  ssize_t n = transport_->Read(&iov, 1);
  if (n == -EAGAIN) return false;
  if (n <= 0) {
    Error e{ErrorCode::kDisconnect, peer()};
    e.sys_errno = static_cast<int>(-n);
    e.detail = !fault_.empty() ? fault_
               : n == 0        ? "connection closed by the peer"
                               : "connection failed";
    e.connection_lost = true;
    Close(e);
    return false;
  }
  *more = static_cast<size_t>(n) == read_block_->capacity();
  // A large block that is half full was worth it.
  pace_.OnRead(static_cast<size_t>(n), static_cast<size_t>(n) >= wanted / 2 && n >= kBulkRead);
  return Input(read_block_, read_block_->data(), static_cast<size_t>(n));
}

void SessionCore::Begin(buffer::Slice bytes) {
  Begin();
  if (bytes.empty()) return;
  Input(bytes.block(), bytes.data(), bytes.size());
  bytes = {};
  DispatchEvents();
  ReleaseReadBuffers();
  if (!closed_) OnInput();
}

bool SessionCore::Input(buffer::BlockRef block, const char* data, size_t size) {
  if (!read_block_ || read_block_.get() != block.get()) read_block_ = std::move(block);
  bytes_received_ += size;
  last_read_ = loop_.Now();
  if (ping_sent_) {
    ping_sent_ = false;
    ArmKeepalive();
  }
  if (terminating_) return true;  // nothing more is looked at
  ssize_t rv = Receive(reinterpret_cast<const uint8_t*>(data), size);
  if (rv >= 0) {
    if (nghttp2_session_get_outbound_queue_size(h2_) > options_.max_outbound_frames) {
      Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many frames wait to be read",
                &observe::Http2Counters::outbound_flood);
    }
    return true;
  }
  if (terminating_) return true;
  switch (rv) {
    case NGHTTP2_ERR_FLOODED:
      Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many control frames wait to be read",
                &observe::Http2Counters::outbound_control_flood);
      return true;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
      Terminate(NGHTTP2_PROTOCOL_ERROR, "this is not HTTP/2", nullptr);
      return true;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
      Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames",
                &observe::Http2Counters::inbound_continuation_flood);
      return true;
    default:
      break;
  }
  Error e{ErrorCode::kProtocol, peer()};
  e.detail = StaticText(nghttp2_strerror(static_cast<int>(rv)));
  Close(e);
  return false;
}

void SessionCore::ReleaseReadBuffers() {
  read_block_.reset();
  if (small_block_ && small_block_->refs() == 1) small_block_.reset();
}

void SessionCore::DispatchEvents() {
  while (StreamBase* s = dirty_.PopFront()) s->Dispatch();
  if (!closed_) OnNews();
}

// ---- writing

// Streams whose user took bytes announce the room; those that have bytes to send are resumed.
void SessionCore::WakeStreams() {
  IntrusiveList<StreamBase, WakeTag> woken;
  woken.Splice(wake_);
  while (StreamBase* s = woken.PopFront()) {
    s->AckConsumed();
    s->OnTaken();
    if (s->deferred_ && s->h2_open_) {
      s->deferred_ = false;
      nghttp2_session_resume_data(h2_, s->id_);
    }
  }
}

void SessionCore::Send() {
  if (terminating_ && !terminate_submitted_) {
    terminate_submitted_ = true;
    nghttp2_session_terminate_session(h2_, terminate_error_);
  }
  for (int round = 0; round < kMaxWritesPerTurn; ++round) {
    WakeStreams();
    while (out_.size() < options_.max_buffered_output) {
      const uint8_t* data = nullptr;
      ssize_t n = nghttp2_session_mem_send(h2_, &data);
      if (n < 0) {
        Error e{ErrorCode::kInternal, Side::kLocal};
        e.detail = StaticText(nghttp2_strerror(static_cast<int>(n)));
        Close(e);
        return;
      }
      if (n == 0) break;
      out_.AppendCopy(slab_, {reinterpret_cast<const char*>(data), static_cast<size_t>(n)});
    }
    if (out_.empty()) return;
    size_t written = 0;
    int rc = net::Flush(*transport_, out_, &written);
    sent_ += written;
    if (written > 0) {
      OnSent();
      if (closed_) return;
    }
    if (rc == -EAGAIN) {
      out_.Shrink(slab_);  // for as long as the peer likes
      blocked_ = true;
      return;
    }
    if (rc != 0) {
      Error e{ErrorCode::kDisconnect, peer()};
      e.sys_errno = -rc;
      e.detail = !fault_.empty() ? fault_ : "connection failed";
      e.connection_lost = true;
      Close(e);
      return;
    }
  }
  Schedule();  // a fast peer: let others have their turn
}

void SessionCore::OnWritable() {
  blocked_ = false;
  if (!closed_) Schedule();
}

void SessionCore::RunAtTurnEnd() {
  if (closed_) {
    DispatchEvents();
    return;
  }
  if (!blocked_) Send();
  DispatchEvents();
  CloseIfDone();
}

void SessionCore::CloseIfDone() {
  if (closed_ || !out_.empty() || nghttp2_session_want_write(h2_) != 0) return;
  bool over = nghttp2_session_want_read(h2_) == 0;
  if (!MayClose(over)) return;
  Error e;
  if (!fault_.empty() || !draining_) {
    e = {ErrorCode::kProtocol, peer()};
    e.detail = !fault_.empty() ? fault_ : "HTTP/2 protocol error";
  } else {
    e = {ErrorCode::kDrain, peer()};
    e.detail = "drained";
  }
  Close(e);
}

void SessionCore::Close(const Error& error) {
  if (closed_) return;
  closed_ = true;
  keepalive_.Cancel();
  streams_.ForEach([&](StreamBase& s) {
    Error e = s.Qualify(error);
    if (s.h2_open_ && counters_ != nullptr) counters_->streams_active.Dec();
    s.h2_open_ = false;
    s.StopSending();
    s.Fail(e);
    if (s.abandoned_) s.DeleteIfDone();
  });
  open_streams_ = 0;
  out_.Release();
  ReleaseReadBuffers();
  DispatchEvents();
  OnOver(error);
}

// ---- keep-alive

void SessionCore::ArmKeepalive() {
  if (options_.keepalive_interval == 0) return;
  if (ping_sent_) {
    keepalive_.Arm(options_.keepalive_timeout);
    return;
  }
  // Any spread will do.
  uint64_t r = (static_cast<uint64_t>(loop_.Now()) ^ reinterpret_cast<uintptr_t>(this)) *
                   0x9E3779B97F4A7C15u >>
               54;
  MonoNanos most = options_.keepalive_interval / 100 * options_.keepalive_jitter;
  keepalive_.Arm(options_.keepalive_interval + most / 1024 * static_cast<MonoNanos>(r));
}

void SessionCore::OnKeepalive() {
  MonoNanos quiet = loop_.Now() - last_read_;
  if (ping_sent_ && quiet >= options_.keepalive_timeout) {
    Count(&observe::Http2Counters::keepalive_timeout);
    Error e{ErrorCode::kIdleTimeout, peer()};
    e.detail = "no answer to a keep-alive PING";
    Close(e);
    return;
  }
  if (!ping_sent_ && quiet >= options_.keepalive_interval) {
    ping_sent_ = true;
    nghttp2_submit_ping(h2_, NGHTTP2_FLAG_NONE, nullptr);
    Schedule();
  }
  ArmKeepalive();
}

}  // namespace weft::http::h2
