#include "dataplane/config/grpc_client.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/base/strings.h"

namespace weft::config {
namespace {

// gRPC over HTTP/2, section "HTTP2 Transport Mapping": what a reset means to the call.
GrpcCode CodeOfReset(const Error& e) {
  if (e.unprocessed || e.code == ErrorCode::kDrain || e.code == ErrorCode::kIdleTimeout) return GrpcCode::kUnavailable;
  if (e.detail == "CANCEL") return GrpcCode::kCancelled;
  if (e.detail == "ENHANCE_YOUR_CALM") return GrpcCode::kResourceExhausted;
  if (e.detail == "INADEQUATE_SECURITY") return GrpcCode::kPermissionDenied;
  if (e.code == ErrorCode::kHeadersTooLarge) return GrpcCode::kResourceExhausted;
  // A lost connection is worth another try; anything else is a peer that breaks the protocol.
  if (e.code == ErrorCode::kDisconnect && (e.sys_errno != 0 || e.detail.starts_with("connection "))) {
    return GrpcCode::kUnavailable;
  }
  return GrpcCode::kInternal;
}

std::string TextOf(const Error& e) {
  if (e.sys_errno != 0) return StrCat(e.detail, ": ", std::string_view(strerror(e.sys_errno)));
  return std::string(e.detail);
}

}  // namespace

GrpcConnection::GrpcConnection(event::Loop& loop, buffer::Slab& slab, const net::Address& address,
                               const GrpcOptions& options, Handler* handler)
    : loop_(loop),
      slab_(slab),
      address_(address),
      options_(options),
      handler_(handler),
      connector_(loop, this),
      timeout_(
          loop.timers(),
          [](void* self) {
            auto* c = static_cast<GrpcConnection*>(self);
            c->Close({GrpcCode::kUnavailable, StrCat(c->address_.ToString(), ": connected, but no HTTP/2 SETTINGS within ",
                                                     c->options_.connect_timeout / kMillisecond, " ms")});
          },
          this) {
  connector_.Start(address_, options_.connect_timeout);
}

GrpcConnection::~GrpcConnection() {
  for (GrpcStream* s : streams_) {
    s->connection_ = nullptr;
    s->ended_ = true;
    if (s->stream_ != nullptr) s->stream_->Release();
    s->stream_ = nullptr;
  }
}

void GrpcConnection::OnConnected(std::unique_ptr<net::Transport> transport) {
  http::h2::SessionOptions o;
  o.stream_window = options_.stream_window;
  o.connection_window = options_.connection_window;
  o.keepalive_interval = options_.keepalive_interval;
  o.keepalive_timeout = options_.keepalive_timeout;
  session_ = std::make_unique<http::h2::Session>(loop_, slab_, std::move(transport), o,
                                                 static_cast<http::h2::Session::Handler*>(this));
  if (options_.connect_timeout > 0) timeout_.Arm(options_.connect_timeout);
}

void GrpcConnection::OnConnectFailed(int error) {
  Close({GrpcCode::kUnavailable, StrCat("cannot connect to ", address_.ToString(), ": ", std::string_view(strerror(error)))});
}

void GrpcConnection::OnSessionReady() {
  timeout_.Cancel();
  ready_ = true;
  handler_->OnGrpcReady();
}

void GrpcConnection::OnSessionDraining() {}

void GrpcConnection::OnSessionClosed(const Error& error) {
  Close({GrpcCode::kUnavailable, StrCat(address_.ToString(), ": ", TextOf(error))});
}

void GrpcConnection::Close(GrpcStatus status) {
  if (closed_) return;
  closed_ = true;
  timeout_.Cancel();
  while (!streams_.empty()) streams_.back()->End(status);  // which leaves the list; others may leave it as well
  handler_->OnGrpcClosed(status);
}

GrpcStream::GrpcStream(GrpcConnection& connection, std::string path, std::string authority, const Metadata& metadata,
                       Handler* handler)
    : connection_(&connection),
      handler_(handler),
      decoder_(connection.options_.max_message_bytes),
      late_failure_(
          connection.loop_.timers(), [](void* self) { static_cast<GrpcStream*>(self)->OnLateFailure(); }, this) {
  request_.Reset(this, connection.options_.max_pending_bytes);
  connection.streams_.push_back(this);
  if (connection.closed_ || connection.session_ == nullptr ||
      (stream_ = connection.session_->Open(this)) == nullptr) {
    late_status_ = {GrpcCode::kUnavailable, StrCat(connection.address_.ToString(), ": no stream can be opened")};
    late_failure_.Arm(0);
    return;
  }
  http::RequestHead head;
  head.protocol = http::Protocol::kHttp2;
  head.method = "POST";
  head.scheme = "http";
  head.authority = authority;
  head.path = path;
  head.has_body = true;
  head.content_length = http::kUnknownLength;
  head.headers.Add(http::HeaderId::kTe, "trailers");
  head.headers.Add(http::HeaderId::kContentType, "application/grpc");
  head.headers.Add(http::HeaderId::kUserAgent, "weft-proxy");
  for (const auto& [name, value] : metadata) head.headers.Add(name, value);
  stream_->SendRequest(head, &request_);
}

GrpcStream::~GrpcStream() {
  if (stream_ != nullptr) stream_->Release();
  if (connection_ != nullptr) std::erase(connection_->streams_, this);
}

bool GrpcStream::Send(std::string_view message) {
  if (ended_ || stream_ == nullptr || request_.ended()) return false;
  if (request_.available() + message.size() > connection_->options_.max_pending_bytes) {
    late_status_ = {GrpcCode::kResourceExhausted,
                    StrCat("peer does not read: ", request_.available(), " bytes wait to be sent")};
    late_failure_.Arm(0);
    return false;
  }
  char header[GrpcDecoder::kHeaderBytes];
  WriteGrpcHeader(static_cast<uint32_t>(message.size()), header);
  buffer::SliceBuffer bytes;
  bytes.AppendCopy(connection_->slab_, {header, sizeof(header)});
  bytes.AppendCopy(connection_->slab_, message);
  for (size_t i = 0; i < bytes.slice_count(); ++i) request_.Write(bytes.slice(i));
  request_.Notify();
  return true;
}

void GrpcStream::SendEnd() {
  if (ended_ || request_.ended()) return;
  request_.End();
  request_.Notify();
}

void GrpcStream::OnLateFailure() { End(late_status_); }

void GrpcStream::OnResponse(http::ResponseHead& head, buffer::BodyPipe* body) {
  http_status_ = head.status;
  std::string_view type = head.headers.Get(http::HeaderId::kContentType).value_or("");
  if (body == nullptr) {  // "Trailers-Only"
    stream_ = nullptr;
    End(StatusOf(&head.headers));
    return;
  }
  if (head.status != 200 || !type.starts_with("application/grpc")) {
    // Not a gRPC server, or a proxy before it: its text says more than its number, but is not ours to keep.
    End({GrpcCodeOfHttpStatus(head.status), head.status == 200 ? StrCat("answer is not gRPC: content-type \"", type, "\"")
                                                               : StrCat("HTTP status ", head.status)});
    return;
  }
  response_ = body;
  response_->set_consumer(this);
}

void GrpcStream::OnClientReset(const Error& error) {
  stream_ = nullptr;
  response_ = nullptr;
  End({CodeOfReset(error), TextOf(error)});
}

void GrpcStream::OnPipeReady() {
  buffer::SliceBuffer bytes;
  response_->Pull(bytes);
  std::vector<std::string> messages;
  GrpcStatus status = decoder_.Decode(bytes, &messages);
  for (std::string& m : messages) {
    handler_->OnGrpcMessage(std::move(m));
    if (ended_) return;
  }
  if (!status.ok()) {
    End(status);
    return;
  }
  if (response_ != nullptr && response_->finished()) {
    GrpcStatus end = StatusOf(response_->trailers());
    if (end.ok() && !decoder_.at_boundary()) end = {GrpcCode::kInternal, "answer ended in the middle of a message"};
    End(std::move(end));
  }
}

GrpcStatus GrpcStream::StatusOf(const http::HeaderMap* trailers) const {
  std::optional<std::string_view> code;
  if (trailers != nullptr) code = trailers->Get(http::HeaderId::kGrpcStatus);
  if (code) return ParseGrpcStatus(*code, trailers->Get(http::HeaderId::kGrpcMessage).value_or(""));
  if (http_status_ != 200) return {GrpcCodeOfHttpStatus(http_status_), StrCat("HTTP status ", http_status_)};
  return {GrpcCode::kUnknown, "answer ended without a grpc-status"};
}

void GrpcStream::End(GrpcStatus status) {
  if (ended_) return;
  ended_ = true;
  late_failure_.Cancel();
  response_ = nullptr;
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->Release();
  if (connection_ != nullptr) std::erase(connection_->streams_, this);
  connection_ = nullptr;
  handler_->OnGrpcEnd(status);
}

}  // namespace weft::config
