#include "dataplane/http/h1/client_connection.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::http::h1 {

namespace {
constexpr size_t kMaxFreeMessages = 256;
// An upstream that answers with 1xx for ever never answers.
constexpr uint32_t kMaxInformational = 64;
// How long the last bytes of a tunnel may take whose other side is gone.
constexpr MonoNanos kLastBytesTimeout = 5 * kSecond;
}  // namespace

// State of one request under way; pooled.
struct ClientMessage {
  IncomingMessage in;
  ResponseHead head;
  buffer::SliceBuffer out;  // request bytes not yet taken by the kernel
  buffer::SliceBuffer chunk;
  buffer::BodyPipe* request_body = nullptr;
  buffer::BodyPipe* tunnel_body = nullptr;  // becomes request_body once the tunnel is open
  std::string_view upgrade;                 // of the request
  int64_t request_left = 0;
  uint64_t received = 0, sent = 0;  // with heads and framing
  uint32_t informational = 0;
  BodyFraming request_framing = BodyFraming::kNone;
  bool request_complete = false, got_byte = false;
  bool tunnel = false, write_ended = false;  // the latter: our side of the tunnel
  char method[8] = {};                       // enough to tell HEAD and CONNECT

  void Clear() {
    in.Clear();
    head.Clear();
    out.Clear();
    chunk.Clear();
    request_body = tunnel_body = nullptr;
    upgrade = {};
    request_left = 0;
    received = sent = 0;
    informational = 0;
    request_framing = BodyFraming::kNone;
    request_complete = got_byte = tunnel = write_ended = false;
  }
};

ClientContext::ClientContext(event::Loop& l, buffer::Slab& s) : loop(l), slab(s) {}
ClientContext::~ClientContext() = default;

ClientConnection::ClientConnection(ClientContext& context, const ClientOptions& options,
                                   std::unique_ptr<net::Transport> transport, Owner* owner)
    : context_(context),
      options_(options),
      transport_(std::move(transport)),
      owner_(owner),
      idle_timer_(
          context.loop.timers(),
          [](void* self) { static_cast<ClientConnection*>(self)->OnIdleTimer(); }, this),
      created_(context.loop.Now()) {
  transport_->set_handler(this);
  ArmIdleTimer();
}

ClientConnection::~ClientConnection() {
  assert(state_ == State::kClosed);
  if (m_ != nullptr && context_.free_messages.size() < kMaxFreeMessages) {
    m_->Clear();
    context_.free_messages.push_back(std::move(m_));
  }
}

bool ClientConnection::TooOld() const {
  return options_.max_duration > 0 && context_.loop.Now() - created_ >= options_.max_duration;
}

void ClientConnection::ArmIdleTimer() {
  MonoNanos wait = options_.idle_timeout;
  if (options_.max_duration > 0) {
    MonoNanos left =
        std::max<MonoNanos>(created_ + options_.max_duration - context_.loop.Now(), 1);
    wait = wait == 0 ? left : std::min(wait, left);
  }
  if (wait > 0) idle_timer_.Arm(wait);
}

void ClientConnection::OnIdleTimer() {
  close_cause_ = TooOld() ? CloseCause::kMaxDuration : CloseCause::kIdleTimeout;
  Close();
}

uint64_t ClientConnection::bytes_sent() const { return m_ == nullptr ? 0 : m_->sent; }
size_t ClientConnection::unsent() const { return m_ == nullptr ? 0 : m_->out.size(); }
uint64_t ClientConnection::bytes_received() const { return m_ == nullptr ? 0 : m_->received; }

// ---- request

void ClientConnection::SendRequest(const RequestHead& head, buffer::BodyPipe* body) {
  assert(state_ == State::kIdle);
  auto& pool = context_.free_messages;
  if (pool.empty()) {
    m_ = std::make_unique<ClientMessage>();
  } else {
    m_ = std::move(pool.back());
    pool.pop_back();
  }
  ++requests_;
  if (options_.max_requests != 0 && requests_ >= options_.max_requests) {
    close_after_ = true;
    close_cause_ = CloseCause::kMaxRequests;
  }
  idle_timer_.Cancel();
  state_ = State::kHead;
  size_t n = std::min(head.method.size(), sizeof(m_->method) - 1);
  memcpy(m_->method, head.method.data(), n);
  m_->method[n] = 0;
  m_->request_framing = WriteRequest(head, context_.slab, m_->out, options_.header_case);
  m_->request_left = head.content_length;
  if (head.wants_tunnel()) {
    m_->tunnel_body = body;
    m_->upgrade = head.upgrade;
  }
  if (body == nullptr || m_->request_framing == BodyFraming::kNone) {
    m_->request_complete = true;
    Flush();
    return;
  }
  m_->request_body = body;
  body->set_consumer(this);
  if (body->available() > 0 || body->ended()) {
    OnPipeReady();
  } else {
    context_.loop.AtTurnEnd(this);  // the head leaves together with body bytes of the same read
  }
}

void ClientConnection::OnPipeReady() {
  if (m_ == nullptr || m_->request_body == nullptr) return;
  buffer::BodyPipe& pipe = *m_->request_body;
  if (pipe.failed()) return;  // whoever failed it releases this stream
  if (write_blocked_) return;  // OnWritable goes on
  if (pipe.available() == 0) {
    pipe.RoomAgain();
  } else {
    if (m_->request_framing == BodyFraming::kChunked) {
      pipe.Pull(m_->chunk);
      WriteChunk(m_->chunk, context_.slab, m_->out);
    } else {
      const size_t n = pipe.Pull(m_->out);
      if (m_->request_framing == BodyFraming::kLength)
        m_->request_left -= static_cast<int64_t>(n);
    }
  }
  if (pipe.finished()) {
    if (m_->request_framing == BodyFraming::kChunked) {
      WriteLastChunk(pipe.trailers(), context_.slab, m_->out, options_.header_case);
    } else if (m_->request_framing == BodyFraming::kLength && m_->request_left != 0) {
      Reset(
          {ErrorCode::kInternal, Side::kLocal, false, 0, "request body does not match its length"});
      return;
    }
    m_->request_complete = true;
    m_->request_body = nullptr;
  }
  Flush();
}

void ClientConnection::Flush() {
  size_t written = 0;
  int rc = net::Flush(*transport_, m_->out, &written);
  m_->sent += written;
  total_sent_ += written;
  write_blocked_ = rc == -EAGAIN;
  if (rc != 0 && rc != -EAGAIN) {
    // The peer may have answered before it closed (413, 401): what is in the receive buffer counts
    // first.
    m_->request_body = nullptr;
    m_->out.Clear();
    close_after_ = true;
    OnReadable();
    if (m_ == nullptr || state_ == State::kClosed) return;
    if ((state_ == State::kHead && !m_->got_byte) || m_->tunnel) OnEof(-rc);
    return;
  }
  if (write_blocked_) m_->out.Shrink(context_.slab);  // for as long as the peer likes
  if (rc != 0 || !m_->request_complete) return;
  if (m_->tunnel && !std::exchange(m_->write_ended, true)) transport_->ShutdownWrite();
  MaybeEnd();
}

void ClientConnection::OnWritable() {
  if (m_ == nullptr || state_ == State::kClosed) return;  // in the turn of the close
  Flush();
  if (m_ != nullptr && state_ != State::kClosed && m_->out.empty() && m_->request_body != nullptr)
    OnPipeReady();
}

void ClientConnection::RunAtTurnEnd() {
  if (state_ == State::kClosed || m_ == nullptr) return;
  if (m_->request_body != nullptr) OnPipeReady();
  if (state_ == State::kClosed || m_ == nullptr) return;
  if (state_ == State::kBody) {
    Process();
    if (reading_off_ && state_ != State::kClosed && (m_ == nullptr || !m_->in.body.full())) {
      reading_off_ = false;
      transport_->SetReading(true);
    }
  }
}

// ---- response

bool ClientConnection::MakeReadSpace() {
  const bool in_head = state_ == State::kHead;
  if (!in_head && !m_->in.in_trailers()) return in_.MakeSpace(context_.slab);
  return in_.MakeSectionSpace(context_.slab, options_.limits.max_bytes + 4096,
                              [&](const char* from, uint32_t size, const char* to) {
                                (in_head ? m_->head.headers : m_->in.trailers)
                                    .Rebase(from, size, to);
                              });
}

void ClientConnection::OnReadable() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kIdle) {
    // Nothing is expected: an end, an error, or bytes that no request asked for all end the
    // connection.
    char byte[16];
    iovec iov = {byte, sizeof(byte)};
    ssize_t n = transport_->Read(&iov, 1);
    if (n == -EAGAIN) return;
    if (n <= 0) close_cause_ = CloseCause::kPeer;
    Close();
    return;
  }
  if (state_ == State::kDone) {
    // The response is over, the request is not: nothing more may come.
    close_after_ = true;
    reading_off_ = true;
    transport_->SetReading(false);
    return;
  }
  if ((state_ == State::kBody && m_->in.body.full()) || !MakeReadSpace()) {
    in_.Pause();
    in_.Idle(false);
    reading_off_ = true;
    transport_->SetReading(false);
    return;
  }
  ssize_t n = in_.Read(*transport_, state_ == State::kBody);
  if (n <= 0) {
    if (n != -EAGAIN) OnEof(static_cast<int>(-n));
    return;
  }
  m_->got_byte = true;
  total_received_ += static_cast<uint64_t>(n);
  m_->received += static_cast<uint64_t>(n);
  Process();
}

void ClientConnection::Process() {
  if (processing_) return;
  processing_ = true;
  bool more = true;
  while (more) {
    switch (state_) {
      case State::kHead:
        more = ProcessHead();
        break;
      case State::kBody:
        more = ProcessBody();
        break;
      case State::kIdle:
      case State::kDone:
      case State::kClosed:
        more = false;
        break;
    }
  }
  processing_ = false;
  if (state_ == State::kClosed || m_ == nullptr) return;
  m_->in.Notify();
  if (state_ == State::kDone && m_ != nullptr) MaybeEnd();
  if (processing_) return;
  if (state_ == State::kBody) {
    in_.Idle(!m_->in.body.full());
  } else if (state_ == State::kDone) {
    in_.Idle(false);
  }
}

bool ClientConnection::ProcessHead() {
  switch (m_->in.parser.ParseResponse(in_.view(), options_.limits, Asked(m_->method, m_->upgrade),
                                      &m_->head)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, m_->in.parser.error().detail});
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  const std::string_view bytes = in_.view().substr(0, m_->in.parser.head_bytes());
  in_.Consume(bytes.size());
  if (m_->head.status < 200 && !m_->head.tunnel) return ProcessInformational();
  const bool whole = !m_->head.has_body ||
                     (m_->head.content_length >= 0 &&
                      static_cast<uint64_t>(m_->head.content_length) <= in_.size());
  if (whole) {
    m_->in.head_block = in_.block();  // will be free soon
  } else {
    m_->in.CopyHead(bytes, context_.slab, &m_->head);
  }
  if (!m_->in.parser.keep_alive()) close_after_ = true;
  if (!m_->head.has_body) {
    state_ = State::kDone;
    if (events_ != nullptr) events_->OnResponse(m_->head, nullptr);
    return true;
  }
  m_->in.StartBody(this, options_.buffer_bytes, m_->head.content_length);
  in_.BeginBody();
  state_ = State::kBody;
  if (m_->head.tunnel) OpenTunnel();
  if (events_ != nullptr) events_->OnResponse(m_->head, &m_->in.body);
  if (state_ == State::kClosed) return false;
  m_->in.notify = true;
  return true;
}

bool ClientConnection::ProcessInformational() {
  if (++m_->informational > kMaxInformational) {
    Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, "too many informational responses"});
    return false;
  }
  RemoveHopByHop(m_->head.headers);
  if (events_ != nullptr) events_->OnInformational(m_->head);
  if (state_ != State::kHead) return false;
  m_->head.Clear();
  m_->in.parser.Reset();
  return true;
}

// The upstream agreed: from here on bytes go both ways as they come.
void ClientConnection::OpenTunnel() {
  m_->tunnel = true;
  m_->request_framing = BodyFraming::kUntilClose;
  m_->request_complete = false;
  m_->request_body = std::exchange(m_->tunnel_body, nullptr);
  m_->request_body->set_consumer(this);
  context_.loop.AtTurnEnd(this);  // once our owner has seen the head
}

bool ClientConnection::ProcessBody() {
  switch (m_->in.ReadBody(in_, context_.slab, options_.limits)) {
    case IncomingMessage::Result::kNeedMore:
      if (m_->tunnel && in_.empty()) in_.Release();
      return false;
    case IncomingMessage::Result::kComplete:
      state_ = State::kDone;
      return false;
    case IncomingMessage::Result::kError:
      Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, m_->in.error.detail});
      return false;
  }
  return false;
}

// Returns the connection to the pool once the exchange's owner let go and both messages are
// complete.
void ClientConnection::MaybeEnd() {
  if (state_ != State::kDone || events_ != nullptr || processing_) return;
  if (m_->tunnel && m_->request_complete && !m_->out.empty()) {
    idle_timer_.Arm(kLastBytesTimeout);  // the other side's last bytes are leaving
    return;
  }
  if (!in_.empty())
    close_after_ = true;  // bytes behind the response: not ours, so nothing after them is trusted
  if (TooOld()) {
    close_after_ = true;
    close_cause_ = CloseCause::kMaxDuration;
  }
  if (!m_->request_complete || !m_->out.empty() || close_after_ || reading_off_) {
    Close();
    return;
  }
  m_->Clear();
  if (context_.free_messages.size() < kMaxFreeMessages) {
    context_.free_messages.push_back(std::move(m_));
  } else {
    m_.reset();
  }
  in_.Release();
  state_ = State::kIdle;
  ArmIdleTimer();
  owner_->OnIdle(*this);
}

void ClientConnection::Release() {
  events_ = nullptr;
  if (state_ == State::kClosed) return;
  if (state_ == State::kIdle) {  // nothing was sent
    if (lent) owner_->OnIdle(*this);
    return;
  }
  if (m_->tunnel && m_->request_body != nullptr && m_->request_body->ended()) {
    // The other side is gone, but not its last bytes.
    m_->request_body->Pull(m_->out);
    m_->request_complete = true;
    m_->request_body = nullptr;
    Flush();
    if (state_ == State::kClosed) return;
  }
  m_->request_body = m_->tunnel_body = nullptr;
  // The response's bytes are all in the pipe, which its consumer has emptied or given up.
  if (state_ == State::kDone) {
    MaybeEnd();
    return;
  }
  Close();
}

void ClientConnection::OnPipeSpace() { context_.loop.AtTurnEnd(this); }

void ClientConnection::OnEof(int error) {
  close_cause_ = CloseCause::kPeer;
  if (state_ == State::kBody && error == 0 &&
      m_->in.EndOfStream() == IncomingMessage::Result::kComplete) {
    state_ = State::kDone;
    close_after_ = true;
    m_->in.Notify();
    if (state_ == State::kDone && m_ != nullptr) MaybeEnd();
    return;
  }
  Error e{ErrorCode::kDisconnect, Side::kUpstream, false, error,
          m_->got_byte ? std::string_view("upstream closed in the middle of a response")
                       : std::string_view("upstream closed before a response")};
  e.unprocessed = m_->sent == 0;
  e.connection_lost = true;
  Reset(e);
}

void ClientConnection::Reset(const Error& error) {
  ClientStreamEvents* events = std::exchange(events_, nullptr);
  Error e = error;
  if (m_ != nullptr) {
    m_->request_body = m_->tunnel_body = nullptr;
    m_->in.notify = false;
    m_->in.body.Fail(e);
  }
  Close();
  if (events != nullptr) events->OnClientReset(e);
}

void ClientConnection::Drain() {
  if (state_ == State::kIdle) {
    Close();
  } else {
    close_after_ = true;
  }
}

void ClientConnection::Close() {
  if (state_ == State::kClosed) return;
  cut_short_ = state_ != State::kIdle && (state_ != State::kDone || !m_->request_complete);
  state_ = State::kClosed;
  idle_timer_.Cancel();
  TurnEndTask::Unlink();
  if (m_ != nullptr) {
    m_->in.body.DetachProducer();
    m_->request_body = m_->tunnel_body = nullptr;
    m_->in.notify = false;
  }
  ClientStreamEvents* events = std::exchange(events_, nullptr);
  owner_->OnClosed(*this);
  if (events != nullptr) {
    events->OnClientReset(
        {ErrorCode::kDisconnect, Side::kLocal, false, 0, "upstream connection closed"});
  }
}

}  // namespace weft::http::h1
