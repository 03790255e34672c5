#include "dataplane/http/h1/client_connection.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::http::h1 {

namespace {
constexpr size_t kOutHighBytes = 64 * 1024;
constexpr size_t kMaxFreeMessages = 256;
}  // namespace

// State of one request under way; pooled.
struct ClientMessage {
  HeadParser parser;
  ChunkedDecoder chunks;
  TrailerParser trailer_parser;
  ResponseHead head;
  HeaderMap trailers;
  buffer::BlockRef head_block, trailer_block;
  buffer::BodyPipe body;    // response body
  buffer::SliceBuffer out;  // request bytes not yet taken by the kernel
  buffer::SliceBuffer chunk;
  buffer::BodyPipe* request_body = nullptr;
  int64_t body_left = 0, request_left = 0;
  uint64_t received = 0, sent = 0;
  BodyFraming request_framing = BodyFraming::kNone;
  bool request_complete = false, notify = false, got_byte = false;
  char method[8] = {};  // enough to tell HEAD and CONNECT

  void Clear() {
    parser.Reset();
    chunks.Reset();
    trailer_parser.Reset();
    head.Clear();
    trailers.Clear();
    head_block.reset();
    trailer_block.reset();
    body.Reset(nullptr);
    out.Clear();
    chunk.Clear();
    request_body = nullptr;
    body_left = request_left = 0;
    received = sent = 0;
    request_framing = BodyFraming::kNone;
    request_complete = notify = got_byte = false;
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
  m_->request_framing = WriteRequest(head, context_.slab, m_->out);
  m_->request_left = head.content_length;
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
  if (m_->out.size() < kOutHighBytes && pipe.available() > 0) {
    if (m_->request_framing == BodyFraming::kChunked) {
      pipe.Pull(m_->chunk);
      WriteChunk(m_->chunk, context_.slab, m_->out);
    } else {
      m_->request_left -= static_cast<int64_t>(pipe.Pull(m_->out));
    }
  }
  if (pipe.finished()) {
    if (m_->request_framing == BodyFraming::kChunked) {
      WriteLastChunk(pipe.trailers(), context_.slab, m_->out);
    } else if (m_->request_left != 0) {
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
  if (rc != 0 && rc != -EAGAIN) {
    // The peer may have answered before it closed (413, 401): what is in the receive buffer counts
    // first.
    m_->request_body = nullptr;
    m_->out.Clear();
    close_after_ = true;
    OnReadable();
    if (state_ == State::kHead && m_ != nullptr && !m_->got_byte) OnEof(-rc);
    return;
  }
  if (rc == 0 && m_->request_complete) MaybeEnd();
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
  if (state_ == State::kBody || state_ == State::kChunkedBody || state_ == State::kUntilClose) {
    Process();
    if (reading_off_ && state_ != State::kClosed && (m_ == nullptr || !m_->body.full())) {
      reading_off_ = false;
      transport_->SetReading(true);
    }
  }
}

// ---- response

bool ClientConnection::EnsureReadSpace() {
  constexpr uint32_t kMinSpace = 2048;
  bool in_head = state_ == State::kHead || state_ == State::kTrailers;
  if (!block_) {
    block_ = bulk_ ? context_.slab.GetBulk() : context_.slab.Get();
    begin_ = end_ = 0;
    return true;
  }
  if (begin_ == end_ && !in_head) {
    if (block_->refs() == 1 && !(bulk_ && block_->capacity() < buffer::Slab::kBulkBlockBytes)) {
      begin_ = end_ = 0;
      return true;
    }
    if (block_->capacity() - end_ >= kMinSpace && !bulk_) return true;
    block_ = bulk_ ? context_.slab.GetBulk() : context_.slab.Get();
    begin_ = end_ = 0;
    return true;
  }
  if (end_ < block_->capacity()) return true;
  uint32_t used = end_ - begin_;
  uint32_t most = options_.limits.max_bytes + 4096;
  if (!in_head || used >= most) return false;
  buffer::BlockRef bigger =
      context_.slab.GetLarge(std::min(std::max(used * 2, buffer::Slab::kBlockBytes), most));
  memcpy(bigger->data(), block_->data() + begin_, used);
  (state_ == State::kHead ? m_->head.headers : m_->trailers)
      .Rebase(block_->data() + begin_, used, bigger->data());
  block_ = std::move(bigger);
  begin_ = 0;
  end_ = used;
  return true;
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
  bool blocked =
      (state_ == State::kBody || state_ == State::kChunkedBody || state_ == State::kUntilClose) &&
      m_->body.full();
  if (blocked || !EnsureReadSpace()) {
    reading_off_ = true;
    transport_->SetReading(false);
    return;
  }
  uint32_t space = block_->capacity() - end_;
  iovec iov = {block_->data() + end_, space};
  ssize_t n = transport_->Read(&iov, 1);
  if (n <= 0) {
    if (n != -EAGAIN) OnEof(static_cast<int>(-n));
    return;
  }
  m_->got_byte = true;
  bulk_ = static_cast<uint32_t>(n) == space && state_ != State::kHead;
  end_ += static_cast<uint32_t>(n);
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
      case State::kUntilClose:
        more = ProcessBody();
        break;
      case State::kChunkedBody:
        more = ProcessChunks();
        break;
      case State::kTrailers:
        more = ProcessTrailers();
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
  if (m_->notify) {
    m_->notify = false;
    m_->body.Notify();
    if (state_ == State::kClosed || m_ == nullptr) return;
  }
  if (state_ == State::kDone) MaybeEnd();
}

bool ClientConnection::ProcessHead() {
  std::string_view in(block_ ? block_->data() + begin_ : nullptr, end_ - begin_);
  switch (m_->parser.ParseResponse(in, options_.limits, m_->method, &m_->head)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, m_->parser.error().detail});
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  begin_ += static_cast<uint32_t>(m_->parser.head_bytes());
  if (m_->head.status < 200) {
    if (m_->head.status == 101) {
      Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, "101 without an upgrade"});
      return false;
    }
    RemoveHopByHop(m_->head.headers);
    if (events_ != nullptr) events_->OnInformational(m_->head);
    if (state_ != State::kHead) return false;
    m_->head.Clear();
    m_->parser.Reset();
    return true;
  }
  m_->head_block = block_;
  if (!m_->parser.keep_alive()) close_after_ = true;
  if (!m_->head.has_body) {
    state_ = State::kDone;
    if (events_ != nullptr) events_->OnResponse(m_->head, nullptr);
    return true;
  }
  m_->body.Reset(this, options_.buffer_bytes);
  m_->body_left = m_->head.content_length;
  state_ = m_->parser.chunked()       ? State::kChunkedBody
           : m_->parser.until_close() ? State::kUntilClose
                                      : State::kBody;
  if (events_ != nullptr) events_->OnResponse(m_->head, &m_->body);
  if (state_ == State::kClosed) return false;
  m_->notify = true;
  return true;
}

bool ClientConnection::ProcessBody() {
  if (m_->body.full()) return false;
  size_t n = end_ - begin_;
  if (state_ == State::kBody) n = std::min(n, static_cast<size_t>(m_->body_left));
  if (n > 0) {
    m_->body.Write(buffer::Slice(block_, block_->data() + begin_, n));
    begin_ += static_cast<uint32_t>(n);
    m_->notify = true;
  }
  if (state_ == State::kBody) {
    m_->body_left -= static_cast<int64_t>(n);
    if (m_->body_left == 0) ResponseComplete(nullptr);
  }
  return false;
}

bool ClientConnection::ProcessChunks() {
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
        m_->notify = true;
        break;
      case ChunkedDecoder::Result::kTrailers:
        state_ = State::kTrailers;
        return true;
      case ChunkedDecoder::Result::kError:
        Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, m_->chunks.error().detail});
        return false;
    }
  }
  return false;
}

bool ClientConnection::ProcessTrailers() {
  std::string_view in(block_ ? block_->data() + begin_ : nullptr, end_ - begin_);
  switch (m_->trailer_parser.Parse(in, options_.limits, &m_->trailers)) {
    case HeadParser::Result::kNeedMore:
      return false;
    case HeadParser::Result::kError:
      Reset({ErrorCode::kProtocol, Side::kUpstream, false, 0, m_->trailer_parser.error().detail});
      return false;
    case HeadParser::Result::kDone:
      break;
  }
  begin_ += static_cast<uint32_t>(m_->trailer_parser.bytes());
  if (!m_->trailers.empty()) m_->trailer_block = block_;
  ResponseComplete(m_->trailers.empty() ? nullptr : &m_->trailers);
  return false;
}

void ClientConnection::ResponseComplete(const HeaderMap* trailers) {
  m_->body.End(trailers);
  m_->notify = true;
  state_ = State::kDone;
}

// Returns the connection to the pool once the exchange's owner let go and both messages are
// complete.
void ClientConnection::MaybeEnd() {
  if (state_ != State::kDone || events_ != nullptr || processing_) return;
  if (begin_ != end_)
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
  block_.reset();
  begin_ = end_ = 0;
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
  m_->request_body = nullptr;
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
  if (state_ == State::kUntilClose && error == 0) {
    ResponseComplete(nullptr);
    close_after_ = true;
    m_->notify = false;
    m_->body.Notify();
    if (state_ == State::kDone && m_ != nullptr) MaybeEnd();
    return;
  }
  Error e{ErrorCode::kDisconnect, Side::kUpstream, false, error,
          m_->got_byte ? std::string_view("upstream closed in the middle of a response")
                       : std::string_view("upstream closed before a response")};
  e.unprocessed = m_->sent == 0;
  Reset(e);
}

void ClientConnection::Reset(const Error& error) {
  ClientStreamEvents* events = std::exchange(events_, nullptr);
  Error e = error;
  if (m_ != nullptr) {
    m_->request_body = nullptr;
    m_->notify = false;
    m_->body.Fail(e);
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
    m_->body.DetachProducer();
    m_->request_body = nullptr;
    m_->notify = false;
  }
  ClientStreamEvents* events = std::exchange(events_, nullptr);
  owner_->OnClosed(*this);
  if (events != nullptr) {
    events->OnClientReset(
        {ErrorCode::kDisconnect, Side::kLocal, false, 0, "upstream connection closed"});
  }
}

}  // namespace weft::http::h1
