// What a hostile server may send to the client side of HTTP/2. The first byte says how the bytes are cut into reads, the
// second what the client does (how many requests, whether it reads bodies, whether it gives up). Nothing may crash or
// leak, memory stays within the windows, and no stream is told two ends.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/http/h2/session.h"

using namespace weft;

#define CHECK(x) \
  if (!(x)) abort()

namespace {

// Gives the input in pieces, swallows what is written.
class ScriptedTransport final : public net::Transport {
 public:
  ScriptedTransport(std::string_view input, size_t step) : input_(input), step_(step) {}
  void set_handler(Handler* handler) override { handler_ = handler; }
  ssize_t Read(const iovec* iov, int) override {
    if (!turn_) return -EAGAIN;
    turn_ = false;
    if (input_.empty()) return 0;
    size_t n = std::min({step_, input_.size(), iov->iov_len});
    memcpy(iov->iov_base, input_.data(), n);
    input_.remove_prefix(n);
    return static_cast<ssize_t>(n);
  }
  ssize_t Write(const iovec* iov, int count) override {
    size_t n = 0;
    for (int i = 0; i < count; ++i) n += iov[i].iov_len;
    return static_cast<ssize_t>(n);
  }
  void WantWrite() override {}
  void SetReading(bool) override {}
  void ShutdownWrite() override {}
  void SetResetOnClose() override {}
  const net::Address& local_address() override { return address_; }
  const net::Address& peer_address() const override { return address_; }
  void Turn() {
    turn_ = true;
    handler_->OnReadable();
  }

 private:
  std::string_view input_;
  const size_t step_;
  Handler* handler_ = nullptr;
  net::Address address_;
  bool turn_ = false;
};

struct Request final : http::ClientStreamEvents, buffer::BodyPipe::Consumer {
  http::ClientStream* stream = nullptr;
  buffer::BodyPipe* body = nullptr;
  buffer::BodyPipe upload;
  bool pull = true, give_up = false, over = false;

  void OnInformational(const http::ResponseHead& head) override { CHECK(!over && head.status >= 100 && head.status < 200); }
  void OnResponse(http::ResponseHead& head, buffer::BodyPipe* b) override {
    CHECK(!over && body == nullptr && head.status >= 200);
    for (const http::Header& h : head.headers) CHECK(!h.name.empty() && h.name[0] != ':');
    if (b == nullptr) {
      over = true;
      stream = nullptr;
    } else if (give_up) {
      End();
    } else {
      body = b;
      body->set_consumer(this);
    }
  }
  void OnClientReset(const Error& e) override {
    CHECK(!over && e);
    over = true;
    stream = nullptr;
    body = nullptr;
  }
  void OnPipeReady() override {
    CHECK(!over);
    CHECK(body->available() <= 65536);
    if (!pull) return;
    buffer::SliceBuffer taken;
    body->Pull(taken);
    if (body->finished()) End();
  }
  void End() {
    over = true;
    body = nullptr;
    std::exchange(stream, nullptr)->Release();
  }
};

struct Owner : http::h2::Session::Handler {
  int closed = 0;
  void OnSessionClosed(const Error&) override { CHECK(++closed == 1); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = data[0] == 0 ? 16384 : data[0];
  const uint8_t how = data[1];
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);

  buffer::Slab slab;
  {
    event::Loop loop;
    Owner owner;
    auto transport = std::make_unique<ScriptedTransport>(input, step);
    ScriptedTransport* t = transport.get();
    http::h2::SessionOptions options;
    options.stream_window = 65536;
    options.connection_window = 131072;
    options.max_head_bytes = 4096;
    auto session = std::make_unique<http::h2::Session>(loop, slab, std::move(transport), options, &owner);
    std::vector<std::unique_ptr<Request>> requests;
    for (int i = 0; i < (how & 3) + 1; ++i) {
      auto r = std::make_unique<Request>();
      r->pull = (how & 4) == 0 || i > 0;
      r->give_up = (how & 8) != 0 && i == 1;
      r->stream = session->Open(r.get());
      http::RequestHead head;
      head.method = (how & 16) ? "POST" : "GET";
      head.authority = "a";
      head.path = "/";
      r->upload.Reset(nullptr);
      r->upload.Write(buffer::Slice::Static("upload"));
      if ((how & 32) != 0) r->upload.End();
      r->stream->SendRequest(head, (how & 16) ? &r->upload : nullptr);
      requests.push_back(std::move(r));
    }
    loop.RunOnce();
    // However little each turn reads.
    for (size_t n = 0; n <= input.size() + 1 && owner.closed == 0; ++n) {
      t->Turn();
      loop.RunOnce();
      CHECK(slab.in_use_bytes() <= 2u << 20);
    }
    // The end of the input is the end of the connection: every request has heard of it, or can still be released.
    CHECK(owner.closed == 1);
    for (auto& r : requests) {
      if (r->stream != nullptr) r->End();
      CHECK(r->over);
    }
    loop.RunOnce();
    session.reset();
    loop.RunOnce();
  }
  CHECK(slab.in_use() == 0);
  return 0;
}
