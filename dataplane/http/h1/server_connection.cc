#include "dataplane/http/h1/server_connection.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::http::h1 {

namespace {
constexpr size_t kOutHighBytes = 64 * 1024;
constexpr size_t kMaxFreeMessages = 256;
constexpr size_t kMaxUnsentHints = 8;
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
}  // namespace

// State of one request under way; pooled, so that its vectors keep their storage.
struct ServerMessage {
  HeadParser parser;
  ChunkedDecoder chunks;
  TrailerParser trailer_parser;
  RequestHead head;
  HeaderMap trailers;
  Arena arena;
  buffer::BlockRef head_block;  // pins the bytes that `head` views
  buffer::BlockRef trailer_block;
  buffer::BodyPipe body;      // request body
  buffer::SliceBuffer out;    // response bytes not yet taken by the kernel
  buffer::SliceBuffer chunk;  // scratch: body bytes before framing
  buffer::BodyPipe* response_body = nullptr;
  MonoNanos start = 0, end = 0;
  MonoNanos idle_timeout = 0;
  int64_t body_left = 0;  // of a body with a length
  int64_t response_left = 0;
  uint64_t received = 0, sent = 0;  // of the bodies
  BodyFraming response_framing = BodyFraming::kNone;
  bool response_started = false, response_complete = false, notify = false, has_stream = false;
  bool to_head = false;

  void Clear() {
    parser.Reset();
    chunks.Reset();
    trailer_parser.Reset();
    head.Clear();
    trailers.Clear();
    arena.Reset();
    head_block.reset();
    trailer_block.reset();
    body.Reset(nullptr);
    out.Clear();
    chunk.Clear();
    response_body = nullptr;
    body_left = response_left = 0;
    end = 0;
    received = sent = 0;
    response_framing = BodyFraming::kNone;
    response_started = response_complete = notify = has_stream = to_head = false;
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
  return m_->head.has_body ? &m_->body : nullptr;
}
Arena& ServerConnection::arena() { return m_->arena; }
MonoNanos ServerConnection::start_time() const { return m_->start; }
MonoNanos ServerConnection::request_end_time() const { return m_->end; }
void ServerConnection::set_idle_timeout(MonoNanos timeout) {
  m_->idle_timeout = timeout;
  ArmTimer();
}
uint64_t ServerConnection::bytes_received() const { return m_->received; }
uint64_t ServerConnection::bytes_sent() const { return m_->sent; }

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

bool ServerConnection::EnsureReadSpace() {
  constexpr uint32_t kMinSpace = 2048;
  if (!block_) {
    block_ = bulk_ ? context_.slab.GetBulk() : context_.slab.Get();
    begin_ = end_ = 0;
    return true;
  }
  bool in_head = state_ == State::kHead || state_ == State::kTrailers;
  if (begin_ == end_ && !in_head) {
    if (block_->refs() == 1 && !(bulk_ && block_->capacity() < buffer::Slab::kBulkBlockBytes)) {
      begin_ = end_ = 0;  // nobody views it any more
      return true;
    }
    if (block_->capacity() - end_ >= kMinSpace && !bulk_) return true;
    block_ = bulk_ ? context_.slab.GetBulk() : context_.slab.Get();
    begin_ = end_ = 0;
    return true;
  }
  if (end_ < block_->capacity()) return true;
  // A head or trailer section that goes on behind the block's end moves to a larger one, up to its
  // limit.
  uint32_t used = end_ - begin_;
  uint32_t most = options_.limits.max_bytes + 4096;
  if (!in_head || used >= most) return false;
  buffer::BlockRef bigger =
      context_.slab.GetLarge(std::min(std::max(used * 2, buffer::Slab::kBlockBytes), most));
  memcpy(bigger->data(), block_->data() + begin_, used);
  if (state_ == State::kHead) {
    RequestHead& h = m_->head;
    const char* from = block_->data() + begin_;
    auto move = [&](std::string_view& v) {
      if (v.data() >= from && v.data() < from + used)
        v = {bigger->data() + (v.data() - from), v.size()};
    };
    h.headers.Rebase(from, used, bigger->data());
    move(h.method);
    move(h.authority);
    move(h.path);
  } else {
    m_->trailers.Rebase(block_->data() + begin_, used, bigger->data());
  }
  block_ = std::move(bigger);
  begin_ = 0;
  end_ = used;
  return true;
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
  // Bytes that nobody takes now (pipelined request, full pipe): leave the rest in the kernel.
  bool blocked =
      state_ == State::kComplete
          ? end_ > begin_
          : ((state_ == State::kBody || state_ == State::kChunkedBody) && m_->body.full());
  if (blocked || !EnsureReadSpace()) {
    reading_off_ = true;
    transport_->SetReading(false);
    return;
  }
  uint32_t space = block_->capacity() - end_;
  iovec iov = {block_->data() + end_, space};
  ssize_t n = transport_->Read(&iov, 1);
  if (n <= 0) {
    if (n == -EAGAIN) {
      if (state_ == State::kIdle) block_.reset();
      return;
    }
    if (n == 0) {
      OnEof();
    } else {
      OnIoError(static_cast<int>(-n));
    }
    return;
  }
  bulk_ = static_cast<uint32_t>(n) == space &&
          (state_ == State::kBody || state_ == State::kChunkedBody);
  end_ += static_cast<uint32_t>(n);
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
        if (begin_ == end_) {
          block_.reset();
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
      case State::kChunkedBody:
        more = ProcessChunks();
        break;
      case State::kTrailers:
        more = ProcessTrailers();
        break;
      case State::kComplete:
        if (m_->notify) {
          m_->notify = false;
          m_->body.Notify();
          break;
        }
        if (m_->response_complete && m_->out.empty()) {
          EndMessage();
        } else {
          more = false;
        }
        break;
      case State::kLingering:
      case State::kClosed:
        more = false;
        break;
    }
  }
  processing_ = false;
  if (m_ != nullptr && m_->notify) {
    m_->notify = false;
    m_->body.Notify();
  }
}

bool ServerConnection::ProcessHead() {
  std::string_view in(block_->data() + begin_, end_ - begin_);
  if (!protocol_known_) {
    if (in.starts_with(kHttp2Preface.substr(0, in.size()))) return HandOverHttp2(in);
    protocol_known_ = true;
    owner_->OnHttp1(*this);
  }
  switch (m_->parser.ParseRequest(in, options_.limits, &m_->head)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      Refuse(m_->parser.error());
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  begin_ += static_cast<uint32_t>(m_->parser.head_bytes());
  m_->head_block = block_;
  ++requests_;
  m_->to_head = m_->head.method == "HEAD";
  if (!m_->parser.keep_alive() ||
      (options_.max_requests != 0 && requests_ >= options_.max_requests)) {
    close_after_ = true;
  }
  m_->has_stream = true;
  if (m_->head.has_body) {
    StartBody();
  } else {
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
  buffer::Slice bytes(std::move(block_), in.data(), in.size());
  begin_ = end_ = 0;
  owner_->OnHttp2Preface(*this, std::move(transport_), std::move(bytes));
  return false;
}

void ServerConnection::StartBody() {
  m_->body.Reset(this, options_.buffer_bytes);
  if (m_->parser.chunked()) {
    state_ = State::kChunkedBody;
  } else {
    m_->body_left = m_->head.content_length;
    state_ = State::kBody;
  }
}

void ServerConnection::RequestComplete(const HeaderMap* trailers) {
  m_->body.End(trailers);
  m_->notify = true;
  m_->end = context_.loop.Now();
  state_ = State::kComplete;
}

bool ServerConnection::ProcessBody() {
  if (m_->body.full()) return false;
  size_t n = std::min<size_t>(end_ - begin_, static_cast<size_t>(m_->body_left));
  if (n > 0) {
    m_->body.Write(buffer::Slice(block_, block_->data() + begin_, n));
    begin_ += static_cast<uint32_t>(n);
    m_->body_left -= static_cast<int64_t>(n);
    m_->received += n;
    m_->notify = true;
    Touch();
  }
  if (m_->body_left == 0) {
    RequestComplete(nullptr);
    return true;
  }
  return false;
}

bool ServerConnection::ProcessChunks() {
  while (!m_->body.full()) {
    std::string_view in(block_ ? block_->data() + begin_ : nullptr, end_ - begin_);
    std::string_view data;
    ChunkedDecoder::Result r = m_->chunks.Next(&in, &data);
    begin_ = end_ - static_cast<uint32_t>(in.size());
    switch (r) {
      case ChunkedDecoder::Result::kNeedMore:
        return false;
      case ChunkedDecoder::Result::kData:
        if (data.size() < buffer::BodyPipe::kCopyBelow) {
          m_->body.WriteCopy(context_.slab, data);
        } else {
          m_->body.Write(buffer::Slice(block_, data.data(), data.size()));
        }
        m_->received += data.size();
        m_->notify = true;
        Touch();
        break;
      case ChunkedDecoder::Result::kTrailers:
        state_ = State::kTrailers;
        return true;
      case ChunkedDecoder::Result::kError:
        BodyError(m_->chunks.error());
        return false;
    }
  }
  return false;
}

bool ServerConnection::ProcessTrailers() {
  std::string_view in(block_ ? block_->data() + begin_ : nullptr, end_ - begin_);
  switch (m_->trailer_parser.Parse(in, options_.limits, &m_->trailers)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      BodyError(m_->trailer_parser.error());
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  begin_ += static_cast<uint32_t>(m_->trailer_parser.bytes());
  if (!m_->trailers.empty()) m_->trailer_block = block_;
  RequestComplete(m_->trailers.empty() ? nullptr : &m_->trailers);
  return true;
}

// The body's framing is broken: nothing of it may pass as complete.
void ServerConnection::BodyError(const ParseError& error) {
  Error e{ErrorCode::kBadRequest, Side::kDownstream, false, 0, error.detail};
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  m_->has_stream = false;
  m_->notify = false;
  m_->response_body = nullptr;
  m_->body.Fail(e);
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
  m_->notify = false;
  m_->body.set_consumer(nullptr);
  state_ = State::kLingering;
  block_.reset();
  begin_ = end_ = 0;
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
    m_->notify = false;
    m_->response_body = nullptr;
    m_->body.Fail(error);
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
  WriteInformational(head, context_.slab, m_->out);
  Flush();
}

void ServerConnection::SendResponse(const ResponseHead& head, buffer::BodyPipe* body) {
  assert(m_ != nullptr && !m_->response_started);
  m_->response_started = true;
  // A request that is not read to its end leaves bytes that are no next request.
  if (state_ != State::kComplete) close_after_ = true;
  ResponseOptions o;
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
  if (m_->out.size() < kOutHighBytes && pipe.available() > 0) {
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
      WriteLastChunk(pipe.trailers(), context_.slab, m_->out);
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
  if (!m_->out.empty()) Flush();
  if (state_ == State::kBody || state_ == State::kChunkedBody) {
    Process();
    if (reading_off_ && state_ != State::kClosed && (m_ == nullptr || !m_->body.full())) {
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
  if (rc == 0 && m_->response_complete) ResponseWritten();
}

void ServerConnection::OnWritable() {
  if (m_ == nullptr || state_ == State::kClosed) return;
  Flush();
  if (m_ != nullptr && m_->out.empty() && m_->response_body != nullptr) OnPipeReady();
}

void ServerConnection::ResponseWritten() {
  if (ServerStreamEvents* events = std::exchange(events_, nullptr)) {
    m_->has_stream = false;
    events->OnStreamDone();
    if (state_ == State::kClosed) return;
  }
  if (close_after_ || state_ != State::kComplete) {
    Linger();
    return;
  }
  if (!processing_) Process();
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
  if (begin_ == end_) block_.reset();
  if (reading_off_) {
    reading_off_ = false;
    transport_->SetReading(true);
  }
}

// Ends our side and waits for the peer's end: closing with unread bytes would reset the connection
// and could destroy the response before the peer reads it (RFC 9112 section 9.6).
void ServerConnection::Linger() {
  if (options_.delayed_close_timeout == 0 ||
      (state_ == State::kComplete && begin_ == end_ && !reading_off_)) {
    Close();
    return;
  }
  state_ = State::kLingering;
  block_.reset();
  begin_ = end_ = 0;
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
  ServerStreamEvents* events = std::exchange(events_, nullptr);
  if (m_ != nullptr) {
    m_->body.DetachProducer();
    m_->response_body = nullptr;
    m_->notify = false;
  }
  if (events != nullptr) {
    events->OnStreamReset({ErrorCode::kDisconnect, Side::kLocal, false, 0, "connection closed"});
  }
  owner_->OnClosed(*this);
}

}  // namespace weft::http::h1
