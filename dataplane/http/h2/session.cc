#include "dataplane/http/h2/session.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"
#include "dataplane/http/h2/stream.h"

namespace weft::http::h2 {
namespace {

// Chunks up to this size are copied: a slice pins its whole block, and a peer that sends small frames would otherwise
// make us hold many times what the windows allow.
constexpr size_t kCopyBelow = 4096;
constexpr int kMaxReadsPerTurn = 8;
constexpr int kMaxWritesPerTurn = 16;

std::string_view StaticText(const char* s) { return s == nullptr ? std::string_view() : std::string_view(s); }

Stream* StreamOf(nghttp2_session* h2, int32_t id) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(h2, id));
}

}  // namespace

// All of these only note what happened: nghttp2 must not be re-entered and users may do anything in their events.
struct Session::Callbacks {
  static Session& Self(void* p) { return *static_cast<Session*>(p); }

  static int OnBeginHeaders(nghttp2_session* h2, const nghttp2_frame* frame, void* self) {
    Stream* s = StreamOf(h2, frame->hd.stream_id);
    if (s != nullptr && !s->BeginHeaders()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
  }

  static int OnHeader(nghttp2_session* h2, const nghttp2_frame* frame, const uint8_t* name, size_t name_len,
                      const uint8_t* value, size_t value_len, uint8_t, void*) {
    Stream* s = StreamOf(h2, frame->hd.stream_id);
    if (s == nullptr) return 0;
    bool ok = s->AddHeader({reinterpret_cast<const char*>(name), name_len},
                           {reinterpret_cast<const char*>(value), value_len});
    return ok ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int OnData(nghttp2_session* h2, uint8_t, int32_t id, const uint8_t* data, size_t len, void* p) {
    Stream* s = StreamOf(h2, id);
    if (s == nullptr) {
      nghttp2_session_consume_connection(h2, len);
      return 0;
    }
    s->AddData(Self(p).KeepChunk(data, len));
    return 0;
  }

  static int OnFrame(nghttp2_session* h2, const nghttp2_frame* frame, void* p) {
    Session& self = Self(p);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        Stream* s = StreamOf(h2, frame->hd.stream_id);
        if (s == nullptr) break;
        bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (frame->hd.type == NGHTTP2_HEADERS) {
          s->EndHeaders(end);
        } else if (end) {
          s->EndBody();
        }
        break;
      }
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          self.settings_seen_ = true;
          self.slot_freed_ = true;  // the peer may allow more streams now
        }
        break;
      case NGHTTP2_GOAWAY:
        self.draining_ = true;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
          self.fault_ = StaticText(nghttp2_http2_strerror(frame->goaway.error_code));
        }
        break;
      default:
        break;
    }
    return 0;
  }

  static int OnInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int lib_error, void* p) {
    Self(p).fault_ = StaticText(nghttp2_strerror(lib_error));
    return 0;
  }

  static int OnError(nghttp2_session*, int lib_error, const char* message, size_t len, void* p) {
    if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, StrCat("http2: ", std::string_view(message, len)));
    return 0;
  }

  static int OnStreamClose(nghttp2_session* h2, int32_t id, uint32_t error, void* p) {
    Stream* s = StreamOf(h2, id);
    if (s != nullptr) s->Closed(error);
    return 0;
  }

  static int OnBeforeFrame(nghttp2_session* h2, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Stream* s = StreamOf(h2, frame->hd.stream_id);
    if (s != nullptr) s->head_sent_ = true;
    return 0;
  }

  static int OnFrameSent(nghttp2_session* h2, const nghttp2_frame* frame, void* p) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Stream* s = StreamOf(h2, frame->hd.stream_id);
    if (s == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) s->HeadWasSent(Self(p).bytes_sent_ + Self(p).out_.size());
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) s->RequestWasSent();
    return 0;
  }

  static ssize_t ReadSource(nghttp2_session*, int32_t, uint8_t*, size_t max, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
    return static_cast<Stream*>(source->ptr)->OfferData(max, flags);
  }

  static int SendData(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_header, size_t len,
                      nghttp2_data_source* source, void* p) {
    static_cast<Stream*>(source->ptr)->TakeData(frame_header, len, Self(p).out_);
    return 0;
  }
};

Session::Session(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<net::Transport> transport,
                 const SessionOptions& options, Handler* handler)
    : loop_(loop),
      slab_(slab),
      transport_(std::move(transport)),
      options_(options),
      handler_(handler),
      keepalive_(loop.timers(), [](void* self) { static_cast<Session*>(self)->OnKeepalive(); }, this) {
  Create();
  transport_->set_handler(this);
  last_read_ = loop_.Now();
  ArmKeepalive();
  Schedule();
}

Session::~Session() {
  streams_.ForEach([](Stream& s) {
    s.StopSending();
    delete &s;
  });
}

void Session::Create() {
  nghttp2_session_callbacks* cb = nullptr;
  nghttp2_option* option = nullptr;
  nghttp2_session* h2 = nullptr;
  int rv = nghttp2_session_callbacks_new(&cb);
  if (rv == 0) rv = nghttp2_option_new(&option);
  assert(rv == 0);
  nghttp2_session_callbacks_set_on_begin_headers_callback(cb, Callbacks::OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(cb, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, Callbacks::OnInvalidFrame);
  nghttp2_session_callbacks_set_error_callback2(cb, Callbacks::OnError);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, Callbacks::OnStreamClose);
  nghttp2_session_callbacks_set_before_frame_send_callback(cb, Callbacks::OnBeforeFrame);
  nghttp2_session_callbacks_set_on_frame_send_callback(cb, Callbacks::OnFrameSent);
  nghttp2_session_callbacks_set_send_data_callback(cb, Callbacks::SendData);
  nghttp2_option_set_no_auto_window_update(option, 1);
  rv = nghttp2_session_client_new2(&h2, cb, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(cb);
  assert(rv == 0);
  h2_.reset(h2);

  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options_.max_head_bytes},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options_.header_table_size},
  };
  rv = nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  assert(rv == 0);
  rv = nghttp2_session_set_local_window_size(h2, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(options_.connection_window));
  assert(rv == 0);
  (void)rv;
}

bool Session::CanOpen() const {
  if (draining_ || closed_ || nghttp2_session_check_request_allowed(h2_.get()) == 0) return false;
  uint32_t limit = options_.max_concurrent_streams;
  if (settings_seen_) {
    limit = std::min(limit, nghttp2_session_get_remote_settings(h2_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
  }
  return open_streams_ < limit;
}

http::ClientStream* Session::Open(http::ClientStreamEvents* events) {
  if (!CanOpen()) return nullptr;
  auto* s = new Stream(*this, events);
  s->reused_ = opened_++ > 0;
  streams_.PushBack(s);
  return s;
}

void Session::Drain() {
  if (draining_ || closed_) return;
  draining_ = true;
  nghttp2_submit_goaway(h2_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2_.get()),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  Schedule();
}

void Session::MarkDirty(Stream* s) {
  if (!static_cast<ListLink<DirtyTag>*>(s)->linked()) dirty_.PushBack(s);
  Schedule();
}

nghttp2_data_provider Session::SourceOf(Stream* s) {
  nghttp2_data_provider p;
  p.source.ptr = s;
  p.read_callback = Callbacks::ReadSource;
  return p;
}

// Owns the bytes of one DATA chunk: by reference to the block that was read into, or by copy when it is small.
buffer::Slice Session::KeepChunk(const uint8_t* data, size_t len) {
  const char* p = reinterpret_cast<const char*>(data);
  if (len > kCopyBelow) return buffer::Slice(read_block_, p, len);
  if (!small_block_ || small_block_->capacity() - small_used_ < len) {
    small_block_ = slab_.Get();
    small_used_ = 0;
  }
  char* to = small_block_->data() + small_used_;
  memcpy(to, p, len);
  small_used_ += static_cast<uint32_t>(len);
  return buffer::Slice(small_block_, to, len);
}

void Session::OnReadable() {
  if (closed_) return;
  bool more = true;
  for (int i = 0; i < kMaxReadsPerTurn && more && ReadOnce(&more); ++i) {
    DispatchEvents();
    if (closed_) return;
  }
  ReleaseReadBuffers();
  if (!closed_) Schedule();
}

// False when there was nothing or the session is closed.
bool Session::ReadOnce(bool* more) {
  if (!read_block_ || read_block_->refs() > 1) read_block_ = slab_.Get();
  iovec iov = {read_block_->data(), read_block_->capacity()};
  ssize_t n = transport_->Read(&iov, 1);
  if (n == -EAGAIN) return false;
  if (n <= 0) {
    Error e{ErrorCode::kDisconnect, Side::kUpstream};
    e.sys_errno = static_cast<int>(-n);
    e.detail = !fault_.empty() ? fault_ : n == 0 ? "connection closed by the peer" : "connection failed";
    Close(e);
    return false;
  }
  bytes_received_ += static_cast<uint64_t>(n);
  last_read_ = loop_.Now();
  if (ping_sent_) {
    ping_sent_ = false;
    ArmKeepalive();
  }
  ssize_t rv = nghttp2_session_mem_recv(h2_.get(), reinterpret_cast<uint8_t*>(read_block_->data()),
                                        static_cast<size_t>(n));
  if (rv < 0) {
    Error e{ErrorCode::kProtocol, Side::kUpstream};
    e.detail = StaticText(nghttp2_strerror(static_cast<int>(rv)));
    Close(e);
    return false;
  }
  *more = static_cast<size_t>(n) == read_block_->capacity();
  return true;
}

void Session::ReleaseReadBuffers() {
  read_block_.reset();
  if (small_block_ && small_block_->refs() == 1) small_block_.reset();
}

void Session::DispatchEvents() {
  while (Stream* s = dirty_.PopFront()) s->Dispatch();
  if (closed_) return;
  if (settings_seen_ && !ready_told_) {
    ready_told_ = true;
    handler_->OnSessionReady();
  }
  if (draining_ && !draining_told_) {
    draining_told_ = true;
    handler_->OnSessionDraining();
  }
  if (slot_freed_) {
    slot_freed_ = false;
    handler_->OnStreamClosed();
  }
}

// Streams whose user took bytes announce the room; those that have bytes to send are resumed.
void Session::WakeStreams() {
  IntrusiveList<Stream, WakeTag> woken;
  woken.Splice(wake_);
  while (Stream* s = woken.PopFront()) {
    s->AckConsumed();
    if (s->deferred_ && s->h2_open_) {
      s->deferred_ = false;
      nghttp2_session_resume_data(h2_.get(), s->id_);
    }
  }
}

void Session::Send() {
  for (int round = 0; round < kMaxWritesPerTurn; ++round) {
    WakeStreams();
    while (out_.size() < options_.max_buffered_output) {
      const uint8_t* data = nullptr;
      ssize_t n = nghttp2_session_mem_send(h2_.get(), &data);
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
    bytes_sent_ += written;
    if (rc == -EAGAIN) {
      blocked_ = true;
      return;
    }
    if (rc != 0) {
      Error e{ErrorCode::kDisconnect, Side::kUpstream};
      e.sys_errno = -rc;
      e.detail = !fault_.empty() ? fault_ : "connection failed";
      Close(e);
      return;
    }
  }
  Schedule();  // a fast peer: let others have their turn
}

void Session::OnWritable() {
  blocked_ = false;
  if (!closed_) Schedule();
}

void Session::RunAtTurnEnd() {
  if (closed_) {
    DispatchEvents();
    return;
  }
  if (!blocked_) Send();
  DispatchEvents();
  CloseIfDone();
}

void Session::CloseIfDone() {
  if (closed_ || !out_.empty()) return;
  bool over = nghttp2_session_want_read(h2_.get()) == 0 && nghttp2_session_want_write(h2_.get()) == 0;
  bool drained = draining_ && open_streams_ == 0 && nghttp2_session_want_write(h2_.get()) == 0;
  if (!over && !drained) return;
  Error e;
  if (!fault_.empty() || !draining_) {
    e = {ErrorCode::kProtocol, Side::kUpstream};
    e.detail = !fault_.empty() ? fault_ : "HTTP/2 protocol error";
  } else {
    e = {ErrorCode::kDrain, Side::kUpstream};
    e.detail = "drained";
  }
  Close(e);
}

void Session::Close(const Error& error) {
  if (closed_) return;
  closed_ = true;
  keepalive_.Cancel();
  transport_->SetReading(false);
  streams_.ForEach([&](Stream& s) {
    Error e = error;
    e.unprocessed = s.Unprocessed();
    s.h2_open_ = false;
    s.StopSending();
    s.Fail(e);
    if (s.released_) s.DeleteIfDone();
  });
  open_streams_ = 0;
  out_.Release();
  ReleaseReadBuffers();
  DispatchEvents();
  handler_->OnSessionClosed(error);
}

void Session::ArmKeepalive() {
  if (options_.keepalive_interval > 0) {
    keepalive_.Arm(ping_sent_ ? options_.keepalive_timeout : options_.keepalive_interval);
  }
}

void Session::OnKeepalive() {
  MonoNanos quiet = loop_.Now() - last_read_;
  if (ping_sent_ && quiet >= options_.keepalive_timeout) {
    Error e{ErrorCode::kIdleTimeout, Side::kUpstream};
    e.detail = "no answer to a keep-alive PING";
    Close(e);
    return;
  }
  if (!ping_sent_ && quiet >= options_.keepalive_interval) {
    ping_sent_ = true;
    nghttp2_submit_ping(h2_.get(), NGHTTP2_FLAG_NONE, nullptr);
    Schedule();
  }
  ArmKeepalive();
}

void Session::Forget(Stream* s) {
  static_cast<ListLink<DirtyTag>*>(s)->Unlink();
  static_cast<ListLink<WakeTag>*>(s)->Unlink();
  static_cast<ListLink<AllTag>*>(s)->Unlink();
  loop_.DeferDelete(std::unique_ptr<Stream>(s));
}

}  // namespace weft::http::h2
