#include "bench/macro/h2_answers.h"

#include <algorithm>
#include <cstring>

namespace weft::bench {
namespace {

constexpr uint32_t kMaxStreams = 1 << 20;  // the limit is never the origin's
constexpr size_t kGrpcPrefix =
    5;  // compressed flag, length (gRPC over HTTP/2, "Length-Prefixed-Message")

nghttp2_nv Field(std::string_view name, std::string_view value) {
  auto bytes = [](std::string_view s) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct H2Answers::Stream {
  bool grpc = false;
  bool open = false;  // never ends
  bool answered = false;
  size_t sent = 0;  // of the body, a message's prefix included
};

struct H2Answers::Callbacks {
  static Stream* Of(nghttp2_session* session, int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int OnBeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, new Stream);
    }
    return 0;
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_length, const uint8_t* value, size_t value_length, uint8_t,
                      void*) {
    Stream* stream = Of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view n(reinterpret_cast<const char*>(name), name_length);
    const std::string_view v(reinterpret_cast<const char*>(value), value_length);
    if (n == "content-type" && v.substr(0, 16) == "application/grpc") stream->grpc = true;
    if (n == ":path" && v == "/-/open") stream->open = true;
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Stream* stream = Of(session, frame->hd.stream_id);
    if (stream == nullptr || stream->answered) return 0;
    if (!stream->open && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    static_cast<H2Answers*>(self)->Answer(frame->hd.stream_id, stream);
    return 0;
  }

  static int OnStreamClose(nghttp2_session* session, int32_t id, uint32_t, void*) {
    delete Of(session, id);
    nghttp2_session_set_stream_user_data(session, id, nullptr);
    return 0;
  }

  static ssize_t Read(nghttp2_session* session, int32_t id, uint8_t* out, size_t room,
                      uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* self = static_cast<H2Answers*>(source->ptr);
    Stream* stream = Of(session, id);
    const std::string& body = *self->body_;
    const size_t prefix = stream->grpc ? kGrpcPrefix : 0;
    size_t n = 0;
    for (; stream->sent < prefix && n < room; ++n, ++stream->sent) {
      out[n] =
          stream->sent == 0 ? 0 : static_cast<uint8_t>(body.size() >> (8 * (4 - stream->sent)));
    }
    if (stream->sent >= prefix) {
      const size_t part = std::min(room - n, body.size() + prefix - stream->sent);
      memcpy(out + n, body.data() + (stream->sent - prefix), part);
      n += part;
      stream->sent += part;
    }
    if (stream->sent == body.size() + prefix) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (stream->grpc) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const nghttp2_nv trailers[] = {Field("grpc-status", "0")};
        nghttp2_submit_trailer(session, id, trailers, 1);
      }
    }
    return static_cast<ssize_t>(n);
  }

  // An open stream's body: nothing yet, and never more.
  static ssize_t ReadNothing(nghttp2_session*, int32_t, uint8_t*, size_t, uint32_t*,
                             nghttp2_data_source*, void*) {
    return NGHTTP2_ERR_DEFERRED;
  }
};

H2Answers::H2Answers(const std::string* body, uint64_t* requests)
    : body_(body), requests_(requests) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnStreamClose);
  nghttp2_session_server_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 1);
}

H2Answers::~H2Answers() { nghttp2_session_del(session_); }  // calls OnStreamClose for what is open

void H2Answers::Answer(int32_t id, Stream* stream) {
  stream->answered = true;
  ++*requests_;
  const std::string length = std::to_string(body_->size());
  nghttp2_nv head[] = {Field(":status", "200"), Field("server", "origin"),
                       Field("content-type", stream->grpc ? "application/grpc" : "text/plain"),
                       Field("content-length", length)};
  nghttp2_data_provider body{};
  body.source.ptr = this;
  body.read_callback = stream->open ? Callbacks::ReadNothing : Callbacks::Read;
  // A gRPC answer's length is not announced, nor an endless one's.
  nghttp2_submit_response(session_, id, head, stream->grpc || stream->open ? 3 : 4, &body);
}

bool H2Answers::Feed(std::string_view data) {
  const ssize_t n = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
  return n == static_cast<ssize_t>(data.size());
}

bool H2Answers::Fill(std::string* out, size_t most) {
  while (out->size() < most) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) return false;
    if (n == 0) break;
    out->append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
  }
  return !out->empty() || nghttp2_session_want_read(session_) ||
         nghttp2_session_want_write(session_);
}

}  // namespace weft::bench
