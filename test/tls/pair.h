#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/buffer/slice.h"
#include "dataplane/event/loop.h"
#include "dataplane/net/tcp_transport.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/tls/context.h"
#include "test/tls/certificates.h"

namespace weft::tls::testing {

inline Source Inline(std::string_view text, std::string field = "field") {
  return {"", std::string(text), std::move(field)};
}

inline ContextSpec ServerSpec() {
  ContextSpec s;
  s.server = true;
  s.certificates.push_back({Inline(kServer), Inline(kServerKey), {}, {}});
  return s;
}

inline ContextSpec ClientSpec() {
  ContextSpec s;
  s.sni = "server.test";
  s.has_validation = true;
  s.validation.trusted_ca = Inline(kCa);
  s.certificates.push_back({Inline(kClient), Inline(kClientKey), {}, {}});
  return s;
}

inline std::shared_ptr<Context> MakeContext(ContextSpec spec, ReadFile read = nullptr) {
  std::vector<SpecError> errors;
  auto c = Context::Make(std::move(spec), std::move(read), &errors);
  for (const SpecError& e : errors) ADD_FAILURE() << e.field << ": " << e.message;
  return c;
}

// Counts what reaches the socket.
class CountingTransport final : public net::Transport {
 public:
  struct Counts {
    int reads = 0, empty_reads = 0, writes = 0;
  };
  CountingTransport(std::unique_ptr<net::Transport> inner, Counts* counts)
      : inner_(std::move(inner)), counts_(counts) {}
  void set_handler(Handler* h) override { inner_->set_handler(h); }
  ssize_t Read(const iovec* iov, int count) override {
    ++counts_->reads;
    ssize_t n = inner_->Read(iov, count);
    counts_->empty_reads += n == -EAGAIN;
    return n;
  }
  ssize_t Write(const iovec* iov, int count) override {
    ++counts_->writes;
    return inner_->Write(iov, count);
  }
  void WantWrite() override { inner_->WantWrite(); }
  void SetReading(bool on) override { inner_->SetReading(on); }
  void ShutdownWrite() override { inner_->ShutdownWrite(); }
  void SetResetOnClose() override { inner_->SetResetOnClose(); }
  const net::Address& local_address() override { return inner_->local_address(); }
  const net::Address& peer_address() const override { return inner_->peer_address(); }

 private:
  std::unique_ptr<net::Transport> inner_;
  Counts* counts_;
};

// One end of a connection: first its handshake, then its transport.
struct End : net::Handshake::Handler, net::Transport::Handler, net::SecurityCounters {
  void OnSecured(std::unique_ptr<net::Transport> t) override {
    transport = std::move(t);
    transport->set_handler(static_cast<net::Transport::Handler*>(this));
  }
  void OnHandshakeFailed(std::string_view detail) override {
    failure = detail.empty() ? "?" : detail;
  }
  void OnReadable() override {
    ++readable;
    if (on_readable) {
      on_readable();
      return;
    }
    ReadSome(max_read);
  }
  void OnWritable() override {
    if (on_writable) on_writable();
  }
  void OnHandshake(const net::Transport& t) override { resumed = t.tls()->resumed(); }
  void OnFailure(net::HandshakeFailure why) override { counted = static_cast<int>(why); }

  void ReadSome(size_t most) {
    std::string buf(most, 0);
    iovec iov = {buf.data(), buf.size()};
    ssize_t n = transport->Read(&iov, 1);
    if (n > 0) {
      received.append(buf, 0, static_cast<size_t>(n));
    } else if (n != -EAGAIN) {
      end = n;
      ended = true;
      transport->SetReading(false);
    }
  }
  ssize_t Write(std::string_view text) {
    iovec iov = {const_cast<char*>(text.data()), text.size()};
    return transport->Write(&iov, 1);
  }

  std::unique_ptr<net::Handshake> handshake;
  std::unique_ptr<net::Transport> transport;
  std::string received, failure;
  std::function<void()> on_readable, on_writable;
  size_t max_read = 65536;
  ssize_t end = 1;
  int readable = 0, counted = -1;
  bool ended = false, resumed = false;
};

// A client and a server over a pair of sockets on one loop.
class PairTest : public ::testing::Test {
 protected:
  ~PairTest() override {
    client_ = nullptr;
    server_ = nullptr;
    loop_.RunOnce();
    EXPECT_EQ(slab_.in_use(), 0u);
  }

  void Begin(const Context& client, const Context& server, const net::HandshakeOptions& wish = {}) {
    client_ = std::make_unique<End>();
    server_ = std::make_unique<End>();
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    fds_[0] = fds[0];
    fds_[1] = fds[1];
    net::HandshakeOptions o = wish;
    o.counters = client_.get();
    client_->handshake =
        client.Begin(loop_, slab_, Wrap(fds[0], &client_counts_), o, client_.get());
    o.counters = server_.get();
    server_->handshake =
        server.Begin(loop_, slab_, Wrap(fds[1], &server_counts_), o, server_.get());
  }
  std::unique_ptr<net::Transport> Wrap(int fd, CountingTransport::Counts* counts) {
    *counts = {};
    return std::make_unique<CountingTransport>(
        std::make_unique<net::TcpTransport>(loop_, fd, *net::Address::FromPath("@peer")), counts);
  }
  // Until `condition`, or many turns without it.
  bool Until(const std::function<bool()>& condition) {
    for (int i = 0; i < 20000; ++i) {
      if (condition()) return true;
      loop_.RunOnce();
    }
    return condition();
  }
  void Connect(const Context& client, const Context& server,
               const net::HandshakeOptions& wish = {}) {
    Begin(client, server, wish);
    ASSERT_TRUE(Until([&] { return Settled(); }));
    EXPECT_EQ(client_->failure, "");
    EXPECT_EQ(server_->failure, "");
    ASSERT_NE(client_->transport, nullptr);
    ASSERT_NE(server_->transport, nullptr);
  }
  bool Settled() const {
    auto done = [](const End& e) { return e.transport != nullptr || !e.failure.empty(); };
    return done(*client_) && done(*server_);
  }

  event::Loop loop_;
  buffer::Slab slab_;
  CountingTransport::Counts client_counts_, server_counts_;
  std::unique_ptr<End> client_, server_;
  int fds_[2];
};

}  // namespace weft::tls::testing
