// Whole HTTP/1 connections: the input is a play of what the peer and the owner do, one act after
// another: bytes that come in pieces, room to write that comes and goes, answers early, late and
// never, ends at any moment. Whatever happens, a stream ends at most once, memory stays bounded,
// and everything is freed.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/http/h1/client_connection.h"
#include "dataplane/http/h1/server_connection.h"
#include "test/fakes/fake_transport.h"

using namespace weft;
using namespace weft::http;

namespace {

#define CHECK(x) \
  if (!(x)) abort()

constexpr std::string_view kBits[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "3;x=y\r\nabc\r\n",
    "0\r\nT: v\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "Bad Header\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
};

class Play {
 public:
  explicit Play(std::string_view in) : in_(in) {}
  bool over() const { return in_.empty(); }
  uint8_t Next() {
    if (in_.empty()) return 0;
    uint8_t b = static_cast<uint8_t>(in_.front());
    in_.remove_prefix(1);
    return b;
  }
  // Raw bytes of the input, or a ready-made bit, sometimes many times.
  std::string Bytes() {
    uint8_t b = Next();
    if (b < 128) {
      size_t n = std::min<size_t>(b, in_.size());
      std::string s(in_.substr(0, n));
      in_.remove_prefix(n);
      return s;
    }
    std::string_view bit = kBits[b % std::size(kBits)];
    std::string s;
    for (int i = b >= 250 ? 400 : 1; i > 0; --i) s.append(bit);
    return s;
  }

 private:
  std::string_view in_;
};

struct Base {
  event::Loop loop;
  buffer::Slab slab;
  fakes::FakePeer peer;
  buffer::SliceBuffer taken;

  // What a peer may do.
  void Peer(Play& play, uint8_t act) {
    switch (act % 8) {
      case 0:
      case 1:
      case 2:
        if (peer.closed || peer.eof || peer.read_error != 0) break;
        peer.in.append(play.Bytes());
        if (peer.handler != nullptr) peer.Deliver();
        break;
      case 3:
        peer.max_read = act % 3 == 0 ? 1 : act % 3 == 1 ? 100 : SIZE_MAX;
        break;
      case 4:
        peer.room = play.Next();
        break;
      case 5:
        if (!peer.closed) peer.MakeRoom(act % 2 == 0 ? SIZE_MAX : play.Next());
        break;
      case 6:
        if (act % 4 == 0) peer.eof = true;
        if (act % 4 == 1) peer.read_error = ECONNRESET;
        if (act % 4 == 2) peer.write_error = EPIPE;
        if (!peer.closed) peer.Deliver();
        break;
      case 7:
        loop.RunOnce();
        break;
    }
  }
};

class Server final : Base,
                     ServerHandler,
                     ServerStreamEvents,
                     http::ServerConnection::Owner,
                     buffer::BodyPipe::Consumer {
 public:
  void Run(Play play) {
    h1::ServerOptions options;
    options.limits.max_bytes = 4096;
    options.buffer_bytes = 16 * 1024;
    h1::ServerContext context(loop, slab);
    connection_ = new h1::ServerConnection(
        context, options, std::make_unique<fakes::FakeTransport>(peer), this, this);
    play_ = &play;
    while (!play.over() && connection_ != nullptr) {
      uint8_t act = play.Next();
      if (act < 160) {
        Peer(play, act);
      } else {
        Owner(act);
      }
      CHECK(slab.in_use_bytes() < 2u << 20);
    }
    if (connection_ != nullptr) connection_->Close();
    CHECK(stream_ == nullptr);
    taken.Release();
    loop.RunOnce();
    CHECK(slab.in_use() == 0);
  }

 private:
  void Owner(uint8_t act) {
    if (connection_ == nullptr) return;
    if (act % 16 == 15) return connection_->Drain();
    if (act == 254) return connection_->Close();
    if (stream_ == nullptr) return;
    switch (act % 8) {
      case 0:
      case 1:
        Answer(act);
        break;
      case 2: {
        ResponseHead hint;
        hint.status = 103;
        stream_->SendInformational(hint);
        break;
      }
      case 3:
        if (stream_->request_body() != nullptr) stream_->request_body()->Pull(taken, act * 100u);
        taken.Clear();
        break;
      case 4:
        if (stream_->request_body() != nullptr) stream_->request_body()->set_consumer(this);
        break;
      case 5:  // more of the response
        if (!answered_ || ended_) break;
        response_.Write(buffer::Slice::Static("0123456789"));
        response_.Notify();
        break;
      case 6:
        if (!answered_ || ended_) break;
        ended_ = true;
        act % 3 == 0 ? response_.Fail({ErrorCode::kDisconnect}) : response_.End();
        response_.Notify();
        break;
      case 7: {
        ServerStream* s = std::exchange(stream_, nullptr);
        if (s->request_body() != nullptr) s->request_body()->set_consumer(nullptr);
        s->Abort();
        break;
      }
    }
  }
  void Answer(uint8_t act) {
    if (answered_ || stream_ == nullptr) return;
    answered_ = true;
    ended_ = false;
    ResponseHead head;
    head.status = act % 5 == 0 ? 204 : 200;
    response_.Reset(nullptr, 16 * 1024);
    if (act % 2 == 0) {
      stream_->SendResponse(head, nullptr);
      return;
    }
    head.has_body = true;
    head.content_length = act % 4 == 1 ? 20 : kUnknownLength;
    stream_->SendResponse(head, &response_);
  }
  void OnRequest(ServerStream& stream) override {
    CHECK(stream_ == nullptr);
    stream_ = &stream;
    answered_ = false;
    stream.set_events(this);
    uint8_t act = play_->Next();
    if (act % 3 == 0) Answer(act / 3);
    if (act == 100) connection_->Close();
  }
  void OnBadRequest(net::Transport&, const Error&, int, http::Protocol) override {}
  void Gone() {
    CHECK(stream_ != nullptr);
    if (stream_->request_body() != nullptr) stream_->request_body()->set_consumer(nullptr);
    stream_ = nullptr;
  }
  void OnStreamReset(const Error&) override { Gone(); }
  void OnStreamDone() override { Gone(); }
  void OnClosed(http::ServerConnection& c) override {
    CHECK(connection_ == &c);
    connection_ = nullptr;
    loop.DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  }
  void OnPipeReady() override {
    CHECK(stream_ != nullptr);
    stream_->request_body()->Pull(taken);
    taken.Clear();
  }
  Play* play_ = nullptr;
  h1::ServerConnection* connection_ = nullptr;
  ServerStream* stream_ = nullptr;
  buffer::BodyPipe response_;
  bool answered_ = false, ended_ = false;
};

class Client final : Base,
                     ClientStreamEvents,
                     h1::ClientConnection::Owner,
                     buffer::BodyPipe::Consumer {
 public:
  void Run(Play play) {
    h1::ClientOptions options;
    options.limits.max_bytes = 4096;
    options.buffer_bytes = 16 * 1024;
    h1::ClientContext context(loop, slab);
    head_.path = "/", head_.authority = "a";
    connection_ = new h1::ClientConnection(context, options,
                                           std::make_unique<fakes::FakeTransport>(peer), this);
    while (!play.over() && connection_ != nullptr) {
      uint8_t act = play.Next();
      if (act < 160) {
        Peer(play, act);
      } else {
        Owner(act);
      }
      CHECK(slab.in_use_bytes() < 2u << 20);
    }
    if (connection_ != nullptr) {
      if (asking_) Release();
      if (connection_ != nullptr) connection_->Close();
    }
    CHECK(!asking_);
    request_.Reset(nullptr);
    taken.Release();
    loop.RunOnce();
    CHECK(slab.in_use() == 0);
  }

 private:
  void Owner(uint8_t act) {
    if (act % 16 == 15) return connection_->Drain();
    switch (act % 6) {
      case 0:
      case 1:
        if (asking_ || !connection_->idle()) break;
        asking_ = true;
        ended_ = false;
        response_ = nullptr;
        connection_->lent = true;
        head_.method = act % 4 == 0 ? "HEAD" : "POST";
        head_.has_body = act % 2 == 1;
        head_.content_length = !head_.has_body ? 0 : act % 5 == 0 ? 20 : kUnknownLength;
        request_.Reset(nullptr, 16 * 1024);
        connection_->set_events(this);
        if (act == 240) {
          Release();
        } else {
          connection_->SendRequest(head_, head_.has_body ? &request_ : nullptr);
        }
        break;
      case 2:
        if (!asking_ || ended_ || !head_.has_body) break;
        request_.Write(buffer::Slice::Static("0123456789"));
        request_.Notify();
        break;
      case 3:
        if (!asking_ || ended_ || !head_.has_body) break;
        if (head_.content_length == 20 && request_.total() != 20) break;
        ended_ = true;
        request_.End();
        request_.Notify();
        break;
      case 4:
        if (response_ == nullptr) break;
        response_->set_consumer(act % 4 == 0 ? this : nullptr);
        if (response_ != nullptr) response_->Pull(taken, act * 50u);
        taken.Clear();
        break;
      case 5:
        if (asking_) Release();
        break;
    }
  }
  void Release() {
    CHECK(asking_);
    asking_ = false;
    request_.set_consumer(nullptr);
    if (response_ != nullptr) response_->set_consumer(nullptr);
    response_ = nullptr;
    connection_->set_events(nullptr);
    connection_->Release();
  }
  void OnIdle(h1::ClientConnection& c) override { c.lent = false; }
  void OnClosed(h1::ClientConnection& c) override {
    CHECK(connection_ == &c);
    connection_ = nullptr;
    loop.DeferDelete(std::unique_ptr<h1::ClientConnection>(&c));
  }
  void OnInformational(const ResponseHead&) override { CHECK(asking_); }
  void OnResponse(ResponseHead& head, buffer::BodyPipe* body) override {
    CHECK(asking_ && head.status >= 200);
    response_ = body;
    if (head.headers.Has(HeaderId::kVia)) Release();
  }
  void OnClientReset(const Error&) override {
    CHECK(asking_);
    asking_ = false;
    request_.set_consumer(nullptr);
    response_ = nullptr;
  }
  void OnPipeReady() override {
    CHECK(response_ != nullptr);
    response_->Pull(taken);
    taken.Clear();
    if (response_->finished() && ended_) Release();
  }
  RequestHead head_;
  h1::ClientConnection* connection_ = nullptr;
  buffer::BodyPipe request_;
  buffer::BodyPipe* response_ = nullptr;
  bool asking_ = false, ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Play play({reinterpret_cast<const char*>(data) + 1, size - 1});
  if (data[0] % 2 == 0) {
    Server().Run(play);
  } else {
    Client().Run(play);
  }
  return 0;
}
