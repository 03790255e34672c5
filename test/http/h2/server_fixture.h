#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/http/h2/server_connection.h"
#include "test/fakes/fake_transport.h"
#include "test/http/h2/frames.h"

namespace weft::http::h2 {

// A server connection whose client is the test, frame by frame.
class ServerFixture : public ::testing::Test,
                      protected ServerHandler,
                      protected http::ServerConnection::Owner {
 protected:
  // What became of one request; keeps a copy of what was received.
  struct Exchange : ServerStreamEvents, buffer::BodyPipe::Consumer, buffer::BodyPipe::Producer {
    explicit Exchange(http::ServerStream& s, ServerFixture& f) : stream(&s), fixture(f) {
      head.method = s.request().method;
      method = s.request().method;
      path = s.request().path;
      authority = s.request().authority;
      scheme = s.request().scheme;
      upgrade = s.request().upgrade;
      has_body = s.request().has_body;
      expect_continue = s.request().expect_continue;
      content_length = s.request().content_length;
      for (const Header& h : s.request().headers) {
        fields.emplace_back(std::string(h.name), std::string(h.value));
      }
      in = s.request_body();
      if (in != nullptr) in->set_consumer(this);
      out.Reset(this);
    }
    void OnStreamReset(const Error& e) override {
      reset = true;
      error = e;
      Gone();
    }
    void OnStreamDone() override {
      done = true;
      Gone();
    }
    void Gone() {
      bytes_sent = stream->bytes_sent();
      bytes_received = stream->bytes_received();
      stream = nullptr;
      if (in != nullptr) in->set_consumer(nullptr);
      in = nullptr;
    }
    void OnPipeReady() override {
      if (pull) Pull();
    }
    void Pull(size_t max = SIZE_MAX) {
      if (in == nullptr) return;
      buffer::SliceBuffer got;
      in->Pull(got, max);
      body += got.ToString();
      if (!in->finished() || ended) return;
      ended = true;
      if (in->trailers() == nullptr) return;
      for (const Header& h : *in->trailers()) {
        trailers.emplace_back(std::string(h.name), std::string(h.value));
      }
    }
    void OnPipeSpace() override { ++spaces; }
    void Write(std::string_view bytes) {
      buffer::SliceBuffer b;
      b.AppendCopy(fixture.slab_, bytes);
      for (size_t i = 0; i < b.slice_count(); ++i) out.Write(b.slice(i));
      out.Notify();
    }
    void End(const HeaderMap* with = nullptr) {
      out.End(with);
      out.Notify();
    }
    // A head without a body.
    void Answer(int status = 200) {
      ResponseHead h;
      h.status = status;
      stream->SendResponse(h, nullptr);
    }
    void Begin(int64_t length = kUnknownLength, int status = 200) {
      ResponseHead h;
      h.status = status;
      h.has_body = true;
      h.content_length = length;
      stream->SendResponse(h, &out);
    }

    http::ServerStream* stream;
    ServerFixture& fixture;
    RequestHead head;
    std::string method, path, authority, scheme, upgrade, body;
    test::Fields fields, trailers;
    buffer::BodyPipe* in = nullptr;
    buffer::BodyPipe out;
    bool has_body = false, expect_continue = false, reset = false, done = false, ended = false,
         pull = true;
    int64_t content_length = 0;
    uint64_t bytes_sent = 0, bytes_received = 0;
    int spaces = 0;
    Error error;
  };

  void Open(bool settings = true) {
    auto transport = std::make_unique<fakes::FakeTransport>(peer_);
    connection_ =
        new ServerConnection(context_, options_, counters_, std::move(transport), this, this);
    connection_->Start();
    if (!settings) return;
    Send(std::string(test::kPreface) + codec_.Settings());
    Turn();
    frames_.clear();
  }
  void TearDown() override {
    if (connection_ != nullptr) connection_->Close();
    loop_.RunOnce();
    exchanges_.clear();
    EXPECT_EQ(slab_.in_use(), 0u);
  }

  // A turn of the loop: what was scheduled runs, what was written is read.
  void Turn() {
    loop_.RunOnce();
    peer_.wrote += peer_.out.size();
    raw_ += peer_.TakeOut();
    for (test::Frame& f : codec_.Parse(&raw_)) frames_.push_back(std::move(f));
  }
  void Send(std::string_view bytes) { peer_.Send(bytes); }
  void SendAndTurn(std::string_view bytes) {
    Send(bytes);
    Turn();
  }
  static test::Fields Get(std::string path = "/") {
    return {{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "a.example"}};
  }
  static test::Fields Post(std::string path = "/") {
    return {{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "a.example"}};
  }
  static test::Fields With(test::Fields fields, const test::Fields& more) {
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  }
  // Frames of one type, on one stream unless it is -1.
  std::vector<test::Frame> Got(uint8_t type, int64_t stream = -1) {
    std::vector<test::Frame> out;
    for (const test::Frame& f : frames_) {
      if (f.type == type && (stream < 0 || f.stream == stream)) out.push_back(f);
    }
    return out;
  }
  std::string Status(uint32_t stream) {
    for (const test::Frame& f : Got(NGHTTP2_HEADERS, stream)) {
      for (const auto& [name, value] : f.fields) {
        if (name == ":status" && value[0] != '1') return value;
      }
    }
    return {};
  }
  std::string Body(uint32_t stream) {
    std::string out;
    for (const test::Frame& f : Got(NGHTTP2_DATA, stream)) out += f.payload;
    return out;
  }
  // Error code of RST_STREAM; -1: none.
  int64_t ResetOf(uint32_t stream) {
    auto f = Got(NGHTTP2_RST_STREAM, stream);
    return f.empty() ? int64_t{-1} : f.back().word();
  }
  // Error code of the last GOAWAY; -1: none.
  int64_t GoAway() {
    auto f = Got(NGHTTP2_GOAWAY);
    return f.empty() ? int64_t{-1} : f.back().word(4);
  }

  void OnRequest(http::ServerStream& stream) override {
    exchanges_.push_back(std::make_unique<Exchange>(stream, *this));
    stream.set_events(exchanges_.back().get());
    if (on_request) on_request(*exchanges_.back());
  }
  void OnBadRequest(net::Transport&, const Error& error, int status, Protocol protocol) override {
    EXPECT_EQ(protocol, Protocol::kHttp2);
    bad_.emplace_back(status, std::string(error.detail));
  }
  void OnClosed(http::ServerConnection& c) override {
    EXPECT_EQ(&c, connection_);
    ++closed_;
    connection_ = nullptr;
    loop_.DeferDelete(std::unique_ptr<http::ServerConnection>(&c));
  }

  struct Peer : fakes::FakePeer {
    uint64_t wrote = 0;
  };

  buffer::Slab slab_;
  event::Loop loop_;
  ServerContext context_{loop_, slab_};
  ServerOptions options_;
  observe::Http2Counters counters_;
  Peer peer_;
  test::FrameCodec codec_;
  ServerConnection* connection_ = nullptr;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::function<void(Exchange&)> on_request;
  std::vector<std::pair<int, std::string>> bad_;
  std::vector<test::Frame> frames_;
  std::string raw_;
  int closed_ = 0;
};

}  // namespace weft::http::h2
