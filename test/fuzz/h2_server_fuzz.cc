// What a hostile client may send to the server side of HTTP/2. The first byte says how the bytes are cut into reads, the
// second what the exchanges do; the preface goes before the rest unless its highest bit is set. Nothing may crash or leak,
// memory stays within the windows, no stream is told two ends, no body is given other than its head announces, and no
// request comes through that would be another one when it is written on HTTP/1.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/http/h1/head_parser.h"
#include "dataplane/http/h1/serializer.h"
#include "dataplane/http/h2/server_connection.h"
#include "test/fakes/fake_transport.h"

using namespace weft;

#define CHECK(x) \
  if (!(x)) abort()

namespace {

// The head as HTTP/1 has exactly one reading.
void CheckHead(const http::RequestHead& head, buffer::Slab& slab) {
  CHECK(http::h1::IsToken(head.method));
  CHECK(http::h1::IsAuthority(head.authority));
  CHECK(head.scheme == "http" || head.scheme == "https");
  for (char c : head.path) CHECK(c > 0x20 && c < 0x7f && c != '#');
  for (const http::Header& h : head.headers) {
    CHECK(http::h1::IsToken(h.name));
    CHECK(http::h1::IsFieldValue(h.value));
    CHECK(h.id != http::HeaderId::kHost && h.id != http::HeaderId::kContentLength &&
          h.id != http::HeaderId::kTransferEncoding && h.id != http::HeaderId::kConnection);
  }
  CHECK(head.headers.Count("cookie") <= 1);
  if (head.wants_tunnel()) return;
  buffer::SliceBuffer out;
  http::h1::WriteRequest(head, slab, out);
  std::string text = out.ToString();
  CHECK(text.find("\r\n\r\n") == text.size() - 4);
  http::RequestHead again;
  http::h1::HeadParser parser;
  http::h1::HeadLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_headers = 10000;
  CHECK(parser.ParseRequest(text, limits, &again) == http::h1::HeadParser::Result::kDone);
  CHECK(again.method == head.method && again.path == head.path && again.authority == head.authority);
  CHECK(again.headers.size() == head.headers.size() && again.has_body == head.has_body);
}

struct Exchange final : http::ServerStreamEvents, buffer::BodyPipe::Consumer, buffer::BodyPipe::Producer {
  Exchange(http::ServerStream& s, buffer::Slab& slab_in, uint8_t how_in) : stream(&s), slab(slab_in), how(how_in) {
    CheckHead(s.request(), slab);
    length = s.request().content_length;
    has_body = s.request().has_body;
    body = s.request_body();
    CHECK((body != nullptr) == (has_body || s.request().wants_tunnel()));
    if (body != nullptr) body->set_consumer(this);
    out.Reset(this);
    s.set_events(this);
  }
  ~Exchange() {
    if (stream != nullptr) Gone();
  }
  void OnStreamReset(const Error& e) override {
    CHECK(stream != nullptr && e);
    Gone();
  }
  void OnStreamDone() override {
    CHECK(stream != nullptr && answered);
    Gone();
  }
  void Gone() {
    if (body != nullptr) body->set_consumer(nullptr);
    body = nullptr;
    stream = nullptr;
  }
  void OnPipeSpace() override {}
  void OnPipeReady() override {
    CHECK(body != nullptr);
    CHECK(body->available() <= 65535 + 16384);  // the frame that breaks the window comes through
    if ((how & 4) != 0) return;
    buffer::SliceBuffer taken;
    got += body->Pull(taken);
    if (body->finished() && has_body && length != http::kUnknownLength) CHECK(got == static_cast<uint64_t>(length));
  }
  void Answer() {
    if (stream == nullptr || answered) return;
    answered = true;
    http::ResponseHead hint;
    hint.status = 103;
    if ((how & 2) != 0) stream->SendInformational(hint);
    http::ResponseHead head;
    head.status = 200;
    if ((how & 8) != 0) {
      stream->SendResponse(head, nullptr);
      return;
    }
    head.has_body = true;
    head.tunnel = stream->request().wants_tunnel();
    head.content_length = http::kUnknownLength;
    out.Write(buffer::Slice::Static("answer"));
    if ((how & 16) != 0) out.End();
    stream->SendResponse(head, &out);
  }
  void GiveUp() {
    if (stream == nullptr) return;
    http::ServerStream* s = stream;
    Gone();
    s->Abort();
  }

  http::ServerStream* stream;
  buffer::Slab& slab;
  const uint8_t how;
  buffer::BodyPipe* body = nullptr;
  buffer::BodyPipe out;
  int64_t length = 0;
  uint64_t got = 0;
  bool has_body = false, answered = false;
};

struct Server final : http::ServerHandler, http::ServerConnection::Owner {
  Server(event::Loop& l, buffer::Slab& s, uint8_t h) : loop(l), slab(s), how(h) {}
  void OnRequest(http::ServerStream& stream) override {
    exchanges.push_back(std::make_unique<Exchange>(stream, slab, how));
    if ((how & 1) != 0) exchanges.back()->Answer();
  }
  void OnBadRequest(net::Transport&, const Error& e, int status, http::Protocol) override {
    CHECK(e && (status == 0 || status >= 400));
  }
  void OnClosed(http::ServerConnection& c) override {
    CHECK(&c == connection);
    connection = nullptr;
    loop.DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  }
  event::Loop& loop;
  buffer::Slab& slab;
  const uint8_t how;
  http::ServerConnection* connection = nullptr;
  std::vector<std::unique_ptr<Exchange>> exchanges;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = data[0] == 0 ? 16384 : data[0];
  const uint8_t how = data[1];
  std::string input = (how & 128) != 0 ? "" : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  input.append(reinterpret_cast<const char*>(data) + 2, size - 2);

  buffer::Slab slab;
  {
    event::Loop loop;
    Server server(loop, slab, how);
    http::h2::ServerContext context{loop, slab};
    http::h2::ServerOptions options;
    options.session.stream_window = 65535;
    options.session.connection_window = 131072;
    options.session.max_head_bytes = 4096;
    options.session.allow_connect = (how & 32) != 0;
    options.session.stream_error_on_invalid_message = (how & 64) != 0;
    observe::Http2Counters counters;
    fakes::FakePeer peer;
    auto* c = new http::h2::ServerConnection(context, options, counters, std::make_unique<fakes::FakeTransport>(peer), &server,
                                             &server);
    server.connection = c;
    c->Start();
    for (size_t at = 0, n = 0; at < input.size() && server.connection != nullptr; at += step, ++n) {
      peer.Send(std::string_view(input).substr(at, step));
      loop.RunOnce();
      peer.TakeOut();
      CHECK(slab.in_use_bytes() <= 2u << 20);
      if (n % 3 == 2 && !server.exchanges.empty()) {
        Exchange& e = *server.exchanges[n % server.exchanges.size()];
        n % 2 == 0 || (how & 1) != 0 ? e.Answer() : e.GiveUp();
        loop.RunOnce();
      }
    }
    if (server.connection != nullptr && (how & 3) == 3) server.connection->DrainSoon();
    for (auto& e : server.exchanges) e->Answer();
    loop.RunOnce();
    if (server.connection != nullptr) {
      peer.eof = true;
      peer.Deliver();
    }
    loop.RunOnce();
    CHECK(server.connection == nullptr);
    for (auto& e : server.exchanges) CHECK(e->stream == nullptr);
    server.exchanges.clear();
    loop.RunOnce();
  }
  CHECK(slab.in_use() == 0);
  return 0;
}
