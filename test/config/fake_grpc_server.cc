#include "test/config/fake_grpc_server.h"

#include <cassert>

#include "dataplane/net/tcp_transport.h"

namespace weft::test {

std::string FakeGrpcServer::Call::Head(std::string_view name) const {
  for (const auto& [n, v] : connection->stream(id)->head) {
    if (n == name) return v;
  }
  return "";
}

std::vector<std::string> FakeGrpcServer::Call::messages() const {
  std::vector<std::string> out;
  std::string_view b = connection->stream(id)->body;
  while (b.size() >= 5) {
    size_t n = 0;
    for (int i = 1; i < 5; ++i) n = n << 8 | static_cast<unsigned char>(b[i]);
    if (b.size() < 5 + n) break;
    out.emplace_back(b.substr(5, n));
    b.remove_prefix(5 + n);
  }
  return out;
}

void FakeGrpcServer::Call::Send(std::string_view message) {
  char header[5];
  config::WriteGrpcHeader(static_cast<uint32_t>(message.size()), header);
  connection->Data(id, std::string(header, 5).append(message));
}

void FakeGrpcServer::Call::End(int code, const std::string& message) {
  Fields trailers = {{"grpc-status", std::to_string(code)}};
  if (!message.empty()) trailers.emplace_back("grpc-message", message);
  connection->End(id, trailers);
}

FakeGrpcServer::FakeGrpcServer(event::Loop& loop, uint16_t port) : loop_(loop) {
  std::string error;
  net::ListenOptions options;
  options.reuse_port = false;
  int fd = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", port), options, &error);
  assert(fd >= 0);
  listener_ = std::make_unique<net::Listener>(loop, fd, static_cast<net::Listener::Handler*>(this));
}

std::vector<FakeGrpcServer::Call> FakeGrpcServer::calls() {
  std::vector<Call> out;
  for (auto& c : connections_) {
    for (FakeH2Server::Stream* s : c->streams()) {
      if (s->head_done) out.push_back({c.get(), s->id});
    }
  }
  return out;
}

void FakeGrpcServer::OnAccept(int fd, const net::Address& peer) {
  ++accepted_;
  auto transport = std::make_unique<net::TcpTransport>(loop_, fd, peer);
  if (mute) {
    muted_.push_back(std::move(transport));
  } else {
    connections_.push_back(std::make_unique<FakeH2Server>(loop_, std::move(transport)));
  }
}

}  // namespace weft::test
