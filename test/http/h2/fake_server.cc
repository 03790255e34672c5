#include "test/http/h2/fake_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "dataplane/net/tcp_transport.h"

namespace weft::test {
namespace {

std::vector<nghttp2_nv> ToNv(const Fields& fields) {
  std::vector<nghttp2_nv> nv;
  for (const auto& [name, value] : fields) {
    nv.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                  reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
  }
  return nv;
}

}  // namespace

struct FakeH2Server::Callbacks {
  static FakeH2Server& Self(void* p) { return *static_cast<FakeH2Server*>(p); }
  static int OnHeader(nghttp2_session*, const nghttp2_frame* f, const uint8_t* n, size_t nl, const uint8_t* v,
                      size_t vl, uint8_t, void* p) {
    Stream& s = Self(p).streams_[f->hd.stream_id];
    s.id = f->hd.stream_id;
    (s.head_done ? s.trailers : s.head)
        .emplace_back(std::string(reinterpret_cast<const char*>(n), nl),
                      std::string(reinterpret_cast<const char*>(v), vl));
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* d, size_t n, void* p) {
    Self(p).streams_[id].body.append(reinterpret_cast<const char*>(d), n);
    return 0;
  }
  static int OnFrame(nghttp2_session* h2, const nghttp2_frame* f, void* p) {
    FakeH2Server& self = Self(p);
    if (f->hd.type == NGHTTP2_PING && (f->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      ++self.pings_;
      if (self.answer_pings) nghttp2_submit_ping(h2, NGHTTP2_FLAG_ACK, f->ping.opaque_data);
    }
    if (f->hd.type == NGHTTP2_WINDOW_UPDATE) self.window_updates += f->window_update.window_size_increment;
    if (f->hd.type == NGHTTP2_GOAWAY) self.goaway_received = true;
    if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) return 0;
    Stream& s = self.streams_[f->hd.stream_id];
    if (f->hd.type == NGHTTP2_HEADERS) s.head_done = true;
    if ((f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) s.ended = true;
    if (self.on_change) self.on_change(s);
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* p) {
    Stream& s = Self(p).streams_[id];
    s.closed = true;
    s.error = error;
    if (Self(p).on_change) Self(p).on_change(s);
    return 0;
  }
  static ssize_t Read(nghttp2_session* h2, int32_t id, uint8_t* buf, size_t max, uint32_t* flags,
                      nghttp2_data_source*, void* p) {
    Stream& s = Self(p).streams_[id];
    size_t n = std::min(max, s.out.size());
    if (n == 0 && !s.out_end) {
      s.out_deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(buf, s.out.data(), n);
    s.out.erase(0, n);
    if (s.out.empty() && s.out_end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!s.out_trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        auto nv = ToNv(s.out_trailers);
        nghttp2_submit_trailer(h2, id, nv.data(), nv.size());
      }
    }
    return static_cast<ssize_t>(n);
  }
};

FakeH2Server::FakeH2Server(event::Loop& loop, std::unique_ptr<net::Transport> transport, bool auto_window,
                           std::vector<nghttp2_settings_entry> settings)
    : loop_(loop), transport_(std::move(transport)) {
  nghttp2_session_callbacks* cb;
  nghttp2_option* option;
  nghttp2_session_callbacks_new(&cb);
  nghttp2_option_new(&option);
  nghttp2_session_callbacks_set_on_header_callback(cb, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, Callbacks::OnClose);
  if (!auto_window) nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_auto_ping_ack(option, 1);
  int rv = nghttp2_session_server_new2(&h2_, cb, this, option);
  assert(rv == 0);
  (void)rv;
  nghttp2_session_callbacks_del(cb);
  nghttp2_option_del(option);
  nghttp2_submit_settings(h2_, 0, settings.data(), settings.size());
  transport_->set_handler(this);
  Schedule();
}

FakeH2Server::~FakeH2Server() { nghttp2_session_del(h2_); }

std::vector<FakeH2Server::Stream*> FakeH2Server::streams() {
  std::vector<Stream*> out;
  for (auto& [id, s] : streams_) out.push_back(&s);
  return out;
}

FakeH2Server::Stream* FakeH2Server::stream(int32_t id) {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : &it->second;
}

void FakeH2Server::Informational(int32_t id, const Fields& fields) {
  auto nv = ToNv(fields);
  nghttp2_submit_headers(h2_, 0, id, nullptr, nv.data(), nv.size(), nullptr);
  Schedule();
}

void FakeH2Server::Respond(int32_t id, const Fields& fields, bool end) {
  auto nv = ToNv(fields);
  nghttp2_data_provider provider = {{0}, Callbacks::Read};
  nghttp2_submit_response(h2_, id, nv.data(), nv.size(), end ? nullptr : &provider);
  Schedule();
}

void FakeH2Server::Data(int32_t id, std::string_view bytes) {
  Stream& s = streams_[id];
  s.out.append(bytes);
  if (s.out_deferred) {
    s.out_deferred = false;
    nghttp2_session_resume_data(h2_, id);
  }
  Schedule();
}

void FakeH2Server::End(int32_t id, const Fields& trailers) {
  streams_[id].out_end = true;
  streams_[id].out_trailers = trailers;
  Data(id, "");
}

void FakeH2Server::Reset(int32_t id, uint32_t error) {
  nghttp2_submit_rst_stream(h2_, 0, id, error);
  Schedule();
}

void FakeH2Server::GoAway(int32_t last_id, uint32_t error) {
  nghttp2_submit_goaway(h2_, 0, last_id, error, nullptr, 0);
  Schedule();
}

void FakeH2Server::Consume(int32_t id, size_t n) {
  nghttp2_session_consume(h2_, id, n);
  Schedule();
}

void FakeH2Server::Raw(std::string_view bytes) {
  pending_.append(bytes);
  Schedule();
}

void FakeH2Server::OnReadable() {
  char buf[65536];
  while (transport_ != nullptr) {
    iovec iov = {buf, sizeof(buf)};
    ssize_t n = transport_->Read(&iov, 1);
    if (n == -EAGAIN) break;
    if (n <= 0) {
      peer_closed_ = true;
      transport_->SetReading(false);
      return;
    }
    ssize_t rv = nghttp2_session_mem_recv(h2_, reinterpret_cast<uint8_t*>(buf), static_cast<size_t>(n));
    if (rv < 0) {
      transport_.reset();
      return;
    }
  }
  Schedule();
}

void FakeH2Server::RunAtTurnEnd() {
  if (transport_ == nullptr || peer_closed_) return;
  const uint8_t* data;
  ssize_t n;
  while (pending_.size() < (1 << 20) && (n = nghttp2_session_mem_send(h2_, &data)) > 0) {
    pending_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
  }
  while (!pending_.empty()) {
    iovec iov = {pending_.data(), pending_.size()};
    ssize_t w = transport_->Write(&iov, 1);
    if (w == -EAGAIN) {
      transport_->WantWrite();
      return;
    }
    if (w < 0) return;
    pending_.erase(0, static_cast<size_t>(w));
    if (pending_.empty()) Schedule();
  }
}

std::pair<std::unique_ptr<net::Transport>, std::unique_ptr<net::Transport>> TransportPair(event::Loop& loop) {
  int fds[2];
  int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
  assert(rc == 0);
  (void)rc;
  net::Address peer = *net::Address::FromPath("@pair");
  return {std::make_unique<net::TcpTransport>(loop, fds[0], peer), std::make_unique<net::TcpTransport>(loop, fds[1], peer)};
}

bool RunUntil(event::Loop& loop, const std::function<bool()>& done) {
  MonoNanos end = MonotonicNow() + 30 * kSecond;
  event::Timer tick(loop.timers(), [](void*) {}, nullptr);
  while (!done()) {
    if (MonotonicNow() > end) return false;
    tick.Arm(20 * kMillisecond);
    loop.RunOnce(true);
  }
  return true;
}

}  // namespace weft::test
