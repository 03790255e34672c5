#include "dataplane/http/h1/server_connection.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::http::h1 {

namespace {
constexpr size_t kMaxFreeMessages = 256;
constexpr size_t kMaxUnsentHints = 8;
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
}  // namespace

// State of one request under way; pooled, so that its vectors keep their storage.
struct ServerMessage {
  IncomingMessage in;
  RequestHead head;
  Arena arena;
  buffer::SliceBuffer out;    // response bytes not yet taken by the kernel
  buffer::SliceBuffer chunk;  // scratch: body bytes before framing
  buffer::BodyPipe* response_body = nullptr;
  MonoNanos start = 0, end = 0;
  MonoNanos idle_timeout = 0;
  int64_t response_left = 0;
  uint64_t sent = 0;  // of the response's body
  BodyFraming response_framing = BodyFraming::kNone;
  bool response_started = false, response_complete = false, has_stream = false;
  bool to_head = false;
  bool tunnel = false, write_ended = false;  // the latter: our side of the tunnel

  void Clear() {
    in.Clear();
    head.Clear();
    arena.Reset();
    out.Clear();
    chunk.Clear();
    response_body = nullptr;
    response_left = 0;
    end = 0;
    sent = 0;
    response_framing = BodyFraming::kNone;
    response_started = response_complete = has_stream = to_head = false;
    tunnel = write_ended = false;
  }
};

ServerContext::ServerContext(event::Loop& l, buffer::Slab& s) : loop(l), slab(s) {}
ServerContext::~ServerContext() = default;

ServerConnection::ServerConnection(ServerContext& context, const ServerOptions& options,
                                   std::unique_ptr<net::Transport> transport,
                                   ServerHandler* handler, Owner* owner)
    : http::ServerConnection(context.loop.Now()),
      context_(context),
      options_(options),
      transport_(std::move(transport)),
      handler_(handler),
      owner_(owner),
      timer_(
          context.loop.timers(),
          [](void* self) { static_cast<ServerConnection*>(self)->OnTimer(); }, this) {
  protocol_known_ = !options.detect_http2;
  transport_->set_handler(this);
  ArmTimer();
}

ServerConnection::~ServerConnection() {
  assert(state_ == State::kClosed);
  if (m_ != nullptr && context_.free_messages.size() < kMaxFreeMessages) {
    m_->Clear();
    context_.free_messages.push_back(std::move(m_));
  }
}

RequestHead& ServerConnection::request() { return m_->head; }
buffer::BodyPipe* ServerConnection::request_body() {
  return m_->head.has_body || m_->head.wants_tunnel() ? &m_->in.body : nullptr;
}
Arena& ServerConnection::arena() { return m_->arena; }
MonoNanos ServerConnection::start_time() const { return m_->start; }
MonoNanos ServerConnection::request_end_time() const { return m_->end; }
void ServerConnection::set_idle_timeout(MonoNanos timeout) {
  m_->idle_timeout = timeout;
  ArmTimer();
}
uint64_t ServerConnection::bytes_received() const { return m_->in.received; }
uint64_t ServerConnection::bytes_sent() const { return m_->sent; }
size_t ServerConnection::unsent() const { return m_->out.size(); }

// ---- timers

void ServerConnection::ArmTimer() {
  MonoNanos t = 0;
  switch (state_) {
    case State::kIdle:
      t = options_.idle_timeout;
      break;
    case State::kHead:
      t = options_.head_timeout != 0 ? options_.head_timeout : options_.idle_timeout;
      break;
    case State::kLingering:  // or a refusal that the peer does not take
      t = options_.delayed_close_timeout > 0 ? options_.delayed_close_timeout : kSecond;
      break;
    case State::kClosed:
      break;
    default:
      t = m_->idle_timeout;
  }
  if (t > 0) {
    timer_.Arm(t);
  } else {
    timer_.Cancel();
  }
}

// A byte moved: pushes the idle deadline away.
void ServerConnection::Touch() {
  if (state_ != State::kHead) ArmTimer();
}

void ServerConnection::OnTimer() {
  switch (state_) {
    case State::kIdle:
    case State::kLingering:
    case State::kClosed:
      Close();
      return;
    case State::kHead:
      Refuse({408, "the request head did not arrive in time"}, ErrorCode::kHeaderTimeout);
      return;
    default:
      break;
  }
  bool complete = state_ == State::kComplete;
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  m_->has_stream = false;
  m_->response_body = nullptr;
  if (events != nullptr) {
    events->OnStreamReset(
        {ErrorCode::kStreamIdleTimeout, Side::kDownstream, false, 0, "stream_idle_timeout"});
  }
  if (state_ != State::kClosed) AnswerOrCutOff({complete ? 504 : 408, "stream timeout"});
}

// ---- reading

bool ServerConnection::MakeReadSpace() {
  const bool in_head = state_ == State::kHead;
  if (!in_head && !(state_ == State::kBody && m_->in.in_trailers())) {
    return in_.MakeSpace(context_.slab);
  }
  // A head or trailer section that goes on behind the block's end moves to a larger one, up to its
  // limit.
  return in_.MakeSectionSpace(
      context_.slab, options_.limits.max_bytes + 4096,
      [&](const char* from, uint32_t size, const char* to) {
        if (!in_head) {
          m_->in.trailers.Rebase(from, size, to);
          return;
        }
        m_->head.Rebase(from, size, to);
      });
}

void ServerConnection::OnReadable() {
  if (state_ == State::kClosed) return;  // in the turn of the close
  if (state_ == State::kLingering) {
    char sink[4096];
    iovec iov = {sink, sizeof(sink)};
    ssize_t n = transport_->Read(&iov, 1);
    if (n == 0 || (n < 0 && n != -EAGAIN)) Close();
    return;
  }
  // Bytes that nobody takes now (pipelined request, full pipe, a tunnel that is not open yet): leave
  // the rest in the kernel.
  const bool blocked = state_ == State::kComplete
                           ? !in_.empty() || m_->tunnel
                           : state_ == State::kBody && m_->in.body.full();
  if (blocked || !MakeReadSpace()) {
    in_.Pause();
    in_.Idle(false);
    reading_off_ = true;
    transport_->SetReading(false);
    return;
  }
  ssize_t n = in_.Read(*transport_, state_ == State::kBody);
  if (n <= 0) {
    if (n == -EAGAIN) {
      if (state_ == State::kIdle) in_.Release();
      return;
    }
    if (n == 0) {
      OnEof();
    } else {
      OnIoError(static_cast<int>(-n));
    }
    return;
  }
  total_received_ += static_cast<uint64_t>(n);
  Process();
}

void ServerConnection::Process() {
  if (processing_) return;
  processing_ = true;
  bool more = true;
  while (more) {
    switch (state_) {
      case State::kIdle: {
        if (in_.empty()) {
          in_.Release();
          more = false;
          break;
        }
        auto& pool = context_.free_messages;
        if (pool.empty()) {
          m_ = std::make_unique<ServerMessage>();
        } else {
          m_ = std::move(pool.back());
          pool.pop_back();
        }
        m_->start = context_.loop.Now();
        m_->idle_timeout = options_.stream_idle_timeout;
        state_ = State::kHead;
        more = ProcessHead();
        if (state_ == State::kHead) ArmTimer();
        break;
      }
      case State::kHead:
        more = ProcessHead();
        break;
      case State::kBody:
        more = ProcessBody();
        break;
      case State::kComplete:
        if (m_->in.notify) {
          m_->in.Notify();
          break;
        }
        more = m_->response_complete && m_->out.empty() && !m_->tunnel;
        if (more) {
          EndMessage();
        } else if (m_->tunnel && m_->response_complete && m_->out.empty()) {
          ResponseWritten();
        }
        break;
      case State::kLingering:
      case State::kClosed:
        more = false;
        break;
    }
  }
  processing_ = false;
  if (m_ != nullptr) m_->in.Notify();
  if (processing_) return;
  if (state_ == State::kBody) {
    in_.Idle(!m_->in.body.full());
  } else if (state_ == State::kComplete) {
    in_.Idle(false);
  } else if (state_ == State::kHead) {
    in_.ShrinkSection(context_.slab, [this](const char* from, uint32_t size, const char* to) {
      m_->head.Rebase(from, size, to);
    });
  }
}

bool ServerConnection::ProcessHead() {
  std::string_view in = in_.view();
  if (!protocol_known_) {
    if (in.starts_with(kHttp2Preface.substr(0, in.size()))) return HandOverHttp2(in);
    protocol_known_ = true;
    owner_->OnHttp1(*this);
  }
  switch (m_->in.parser.ParseRequest(in, options_.limits, &m_->head)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      Refuse(m_->in.parser.error());
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  in = in.substr(0, m_->in.parser.head_bytes());
  in_.Consume(in.size());
  m_->in.CopyHead(in, context_.slab, &m_->head);
  ++requests_;
  m_->to_head = m_->head.method == "HEAD";
  if (!m_->in.parser.keep_alive() ||
      (options_.max_requests != 0 && requests_ >= options_.max_requests)) {
    close_after_ = true;
  }
  m_->has_stream = true;
  if (m_->head.has_body) {
    m_->in.StartBody(this, options_.buffer_bytes, m_->head.content_length);
    in_.BeginBody();
    state_ = State::kBody;
  } else {
    if (m_->head.wants_tunnel()) m_->in.OpenPipe(this, options_.buffer_bytes);
    state_ = State::kComplete;
    m_->end = context_.loop.Now();
  }
  ArmTimer();
  handler_->OnRequest(*this);
  return true;
}

// `in` is the HTTP/2 preface as far as it goes. The connection stays in kHead, whose timeout counts,
// until the preface is whole. The last turn's callers find a closed connection.
bool ServerConnection::HandOverHttp2(std::string_view in) {
  if (in.size() < kHttp2Preface.size()) return false;
  state_ = State::kClosed;
  timer_.Cancel();
  TurnEndTask::Unlink();
  buffer::Slice bytes(in_.block(), in.data(), in.size());
  in_.Release();
  owner_->OnHttp2Preface(*this, std::move(transport_), std::move(bytes));
  return false;
}

bool ServerConnection::ProcessBody() {
  const uint64_t before = m_->in.received;
  const IncomingMessage::Result r = m_->in.ReadBody(in_, context_.slab, options_.limits);
  if (m_->in.received != before) Touch();
  switch (r) {
    case IncomingMessage::Result::kNeedMore:
      // Between two messages of a tunnel hours may pass.
      if (m_->tunnel && in_.empty()) in_.Release();
      return false;
    case IncomingMessage::Result::kComplete:
      RequestComplete();
      return true;
    case IncomingMessage::Result::kError:
      BodyError(m_->in.error);
      return false;
  }
  return false;
}

void ServerConnection::RequestComplete() {
  m_->end = context_.loop.Now();
  state_ = State::kComplete;
}

// What the peer sends from here on, and what it has sent already, is no HTTP/1.
void ServerConnection::OpenTunnel() {
  m_->tunnel = true;
  m_->in.framing = IncomingMessage::Framing::kUntilEnd;
  close_after_ = true;
  state_ = State::kBody;
  context_.loop.AtTurnEnd(this);
}

// The body's framing is broken: nothing of it may pass as complete.
void ServerConnection::BodyError(const ParseError& error) {
  Error e{ErrorCode::kBadRequest, Side::kDownstream, false, 0, error.detail};
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  m_->has_stream = false;
  m_->in.notify = false;
  m_->response_body = nullptr;
  m_->in.body.Fail(e);
  if (events != nullptr) events->OnStreamReset(e);
  if (state_ != State::kClosed) AnswerOrCutOff(error);
}

// Says what is wrong when the peer was told nothing yet; else cuts the response off, so that it
// can't look complete.
void ServerConnection::AnswerOrCutOff(const ParseError& error) {
  if (!m_->response_started) {
    AnswerAndClose(error);
    return;
  }
  if (!m_->response_complete || !m_->out.empty()) transport_->SetResetOnClose();
  Close();
}

// Refuses what never became a request.
void ServerConnection::Refuse(const ParseError& error, ErrorCode code) {
  handler_->OnBadRequest(*transport_, {code, Side::kDownstream, false, 0, error.detail},
                         error.status, Protocol::kHttp11);
  if (state_ != State::kClosed) AnswerAndClose(error);
}

void ServerConnection::AnswerAndClose(const ParseError& error) {
  ResponseHead head;
  head.status = error.status;
  head.headers.Add(HeaderId::kContentType, "text/plain");
  head.has_body = true;
  head.content_length = static_cast<int64_t>(error.detail.size());
  ResponseOptions o;
  o.to_head = m_->to_head;
  o.close = true;
  WriteResponse(head, o, context_.slab, m_->out);
  if (!o.to_head) m_->out.AppendCopy(context_.slab, error.detail);
  m_->response_started = m_->response_complete = true;
  close_after_ = true;
  events_ = nullptr;
  // From here on nothing that the peer sends is looked at, and it has a moment to take its answer.
  m_->in.notify = false;
  m_->in.body.set_consumer(nullptr);
  state_ = State::kLingering;
  in_.Release();
  ArmTimer();
  Flush();
}

void ServerConnection::OnEof() {
  if (state_ == State::kIdle || state_ == State::kLingering) {
    Close();
    return;
  }
  if (state_ == State::kHead) {
    handler_->OnBadRequest(
        *transport_, {ErrorCode::kDisconnect, Side::kDownstream, false, 0, "remote_close_in_head"},
        0, Protocol::kHttp11);
    Close();
    return;
  }
  if (m_->tunnel && m_->in.EndOfStream() == IncomingMessage::Result::kComplete) {
    RequestComplete();
    reading_off_ = true;  // the end stays readable
    transport_->SetReading(false);
    Process();
    return;
  }
  ResetStream(
      {ErrorCode::kDisconnect, Side::kDownstream, false, 0, "downstream_remote_disconnect"});
}

void ServerConnection::OnIoError(int error) {
  if (state_ == State::kIdle || state_ == State::kHead || state_ == State::kLingering) {
    Close();
    return;
  }
  ResetStream(
      {ErrorCode::kDisconnect, Side::kDownstream, false, error, "downstream_remote_disconnect"});
}

void ServerConnection::ResetStream(const Error& error) {
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  if (m_ != nullptr) {
    m_->has_stream = false;
    m_->in.notify = false;
    m_->response_body = nullptr;
    m_->in.body.Fail(error);
  }
  if (events != nullptr) events->OnStreamReset(error);
  Close();
}

void ServerConnection::OnPipeSpace() { context_.loop.AtTurnEnd(this); }

// ---- writing

void ServerConnection::SendInformational(const ResponseHead& head) {
  if (m_ == nullptr || m_->response_started || m_->head.protocol == Protocol::kHttp10) return;
  // Who does not read is spared hints: each takes a block.
  if (state_ == State::kClosed || m_->out.slice_count() >= kMaxUnsentHints) return;
  WriteInformational(head, context_.slab, m_->out, options_.header_case);
  Flush();
}

void ServerConnection::SendResponse(const ResponseHead& head, buffer::BodyPipe* body) {
  assert(m_ != nullptr && !m_->response_started);
  m_->response_started = true;
  // A request that is not read to its end leaves bytes that are no next request.
  if (state_ != State::kComplete) close_after_ = true;
  if (head.tunnel) {
    OpenTunnel();
  } else if (m_->head.wants_tunnel()) {
    close_after_ = true;  // what came early, believing in a tunnel, is no request either
  }
  ResponseOptions o;
  o.header_case = options_.header_case;
  o.peer = m_->head.protocol;
  o.to_head = m_->to_head;
  o.close = close_after_;
  m_->response_framing = WriteResponse(head, o, context_.slab, m_->out);
  if (m_->response_framing == BodyFraming::kUntilClose) close_after_ = true;
  m_->response_left = head.content_length;
  if (body == nullptr || m_->response_framing == BodyFraming::kNone) {
    m_->response_complete = true;
    Flush();
    return;
  }
  m_->response_body = body;
  body->set_consumer(this);
  if (body->available() > 0 || body->ended() || body->failed()) {
    OnPipeReady();
  } else {
    context_.loop.AtTurnEnd(
        this);  // the head goes out with the first body bytes when they are already on their way
  }
}

void ServerConnection::OnPipeReady() {
  if (m_ == nullptr || m_->response_body == nullptr) return;
  buffer::BodyPipe& pipe = *m_->response_body;
  if (pipe.failed()) {
    // A response cut short must not look complete.
    transport_->SetResetOnClose();
    ResetStream(pipe.error());
    return;
  }
  if (write_blocked_) return;  // OnWritable goes on
  if (pipe.available() == 0) {
    pipe.RoomAgain();
  } else {
    if (m_->response_framing == BodyFraming::kChunked) {
      m_->sent += pipe.Pull(m_->chunk);
      WriteChunk(m_->chunk, context_.slab, m_->out);
    } else {
      size_t n = pipe.Pull(m_->out);
      m_->sent += n;
      if (m_->response_framing == BodyFraming::kLength)
        m_->response_left -= static_cast<int64_t>(n);
    }
  }
  if (pipe.finished()) {
    if (m_->response_framing == BodyFraming::kChunked)
      WriteLastChunk(pipe.trailers(), context_.slab, m_->out, options_.header_case);
    if (m_->response_framing == BodyFraming::kLength && m_->response_left != 0) {
      ResetStream({ErrorCode::kInternal, Side::kLocal, false, 0,
                   "response body does not match its length"});
      return;
    }
    m_->response_complete = true;
    m_->response_body = nullptr;
  }
  Flush();
}

void ServerConnection::RunAtTurnEnd() {
  if (state_ == State::kClosed || m_ == nullptr) return;
  if (m_->response_body != nullptr) OnPipeReady();
  if (state_ == State::kClosed || m_ == nullptr) return;
  if (!m_->out.empty() && !write_blocked_) Flush();
  if (state_ == State::kClosed || m_ == nullptr) return;
  if (state_ == State::kBody) {
    Process();
    if (reading_off_ && state_ != State::kClosed &&
        (m_ == nullptr || (state_ == State::kBody && !m_->in.body.full()))) {
      reading_off_ = false;
      transport_->SetReading(true);
    }
  }
}

void ServerConnection::Flush() {
  size_t written = 0;
  int rc = net::Flush(*transport_, m_->out, &written);
  total_sent_ += written;
  if (written > 0) Touch();
  if (rc != 0 && rc != -EAGAIN) {
    OnIoError(-rc);
    return;
  }
  write_blocked_ = rc != 0;
  if (write_blocked_) {
    m_->out.Shrink(context_.slab);  // for as long as the peer likes
  } else if (m_->response_complete) {
    ResponseWritten();
  }
}

void ServerConnection::OnWritable() {
  if (m_ == nullptr || state_ == State::kClosed) return;
  Flush();
  if (m_ != nullptr && m_->out.empty() && m_->response_body != nullptr) OnPipeReady();
}

void ServerConnection::ResponseWritten() {
  if (m_->tunnel) {
    if (!m_->write_ended) transport_->ShutdownWrite();
    m_->write_ended = true;
    if (state_ != State::kComplete) return;  // the peer goes on sending
    close_after_ = true;
  }
  if (ServerStreamEvents* events = std::exchange(events_, nullptr)) {
    m_->has_stream = false;
    events->OnStreamDone();
    if (state_ == State::kClosed) return;
  }
  if (m_->tunnel) {
    Close();
  } else if (close_after_ || state_ != State::kComplete) {
    Linger();
  } else if (!processing_) {
    Process();
  }
}

void ServerConnection::EndMessage() {
  m_->Clear();
  if (context_.free_messages.size() < kMaxFreeMessages) {
    context_.free_messages.push_back(std::move(m_));
  } else {
    m_.reset();
  }
  state_ = State::kIdle;
  ArmTimer();
  if (in_.empty()) in_.Release();
  if (reading_off_) {
    reading_off_ = false;
    transport_->SetReading(true);
  }
}

// Ends our side and waits for the peer's end: closing with unread bytes would reset the connection
// and could destroy the response before the peer reads it (RFC 9112 section 9.6).
void ServerConnection::Linger() {
  if (options_.delayed_close_timeout == 0 ||
      (state_ == State::kComplete && in_.empty() && !reading_off_)) {
    Close();
    return;
  }
  state_ = State::kLingering;
  in_.Release();
  transport_->ShutdownWrite();
  if (reading_off_) {
    reading_off_ = false;
    transport_->SetReading(true);
  }
  ArmTimer();
}

void ServerConnection::Abort() {
  events_ = nullptr;
  if (state_ == State::kClosed) return;
  transport_->SetResetOnClose();
  Close();
}

void ServerConnection::Drain() {
  if (state_ == State::kIdle) {
    Close();
  } else {
    close_after_ = true;
  }
}

void ServerConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.Cancel();
  TurnEndTask::Unlink();
  in_.Release();  // many may close in one turn, and are deleted only after it
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  if (m_ != nullptr) {
    m_->in.body.DetachProducer();
    m_->response_body = nullptr;
    m_->in.notify = false;
  }
  if (events != nullptr) {
    events->OnStreamReset({ErrorCode::kDisconnect, Side::kLocal, false, 0, "connection closed"});
  }
  owner_->OnClosed(*this);
}

}  // namespace weft::http::h1
