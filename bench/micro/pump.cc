#include "bench/micro/pump.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "dataplane/decide/route_table.h"
#include "dataplane/decide/weighted_pick.h"
#include "dataplane/net/tcp_transport.h"

namespace weft::bench {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "pump: %s\n", what.c_str());
  std::abort();
}

// Bytes of the first message in `in`, 0 while it is not whole. Looks only at the framing that the two ends use.
size_t MessageBytes(std::string_view in) {
  size_t head = in.find("\r\n\r\n");
  if (head == std::string_view::npos) return 0;
  head += 4;
  std::string_view fields = in.substr(0, head);
  if (fields.find("transfer-encoding: chunked\r\n") != std::string_view::npos) {
    size_t end = in.find("\r\n0\r\n\r\n", head - 2);
    return end == std::string_view::npos ? 0 : end + 7;
  }
  constexpr std::string_view kLength = "content-length: ";
  size_t at = fields.find(kLength);
  if (at == std::string_view::npos) return head;
  size_t length = 0;
  std::from_chars(fields.data() + at + kLength.size(), fields.data() + fields.size(), length);
  return in.size() < head + length ? 0 : head + length;
}

}  // namespace

// One end of a connection that sends and receives whole messages without allocating.
class Pump::Peer final : private net::Transport::Handler {
 public:
  Peer(Pump& pump, int fd) : pump_(pump) {
    in_.resize(256 * 1024);
    transport_ = std::make_unique<net::TcpTransport>(pump.worker_->loop(), fd, net::Address());
    transport_->set_handler(this);
  }

  bool busy() const { return busy_; }
  void Send() {
    busy_ = true;
    iovec iov = {const_cast<char*>(pump_.options_.request.data()), pump_.options_.request.size()};
    if (transport_->Write(&iov, 1) != static_cast<ssize_t>(iov.iov_len)) {
      Fail("a request was not taken whole");
    }
  }

 private:
  void OnReadable() override {
    iovec iov = {in_.data() + have_, in_.size() - have_};
    ssize_t n = transport_->Read(&iov, 1);
    if (n == -EAGAIN) return;
    if (n <= 0) return Fail("the proxy closed a connection");
    have_ += static_cast<size_t>(n);
    size_t message = MessageBytes({in_.data(), have_});
    if (message == 0) return;
    if (message != have_) return Fail("bytes behind an answer");
    if (!std::string_view(in_.data(), have_).starts_with("HTTP/1.1 200 ")) return Fail({in_.data(), have_});
    have_ = 0;
    busy_ = false;
    pump_.PeerIdle(this);
  }
  void OnWritable() override {}
  void Fail(std::string_view what) {
    pump_.CountWrong(what);
    if (!busy_) return;
    busy_ = false;
    have_ = 0;
    transport_->SetReading(false);
    dead_ = true;
    pump_.PeerIdle(this);
  }

  Pump& pump_;
  std::unique_ptr<net::TcpTransport> transport_;
  std::string in_;
  size_t have_ = 0;
  bool busy_ = false, dead_ = false;

 public:
  bool dead() const { return dead_; }
};

class Pump::OriginConnection final : private net::Transport::Handler {
 public:
  OriginConnection(Pump& pump, int fd) : pump_(pump) {
    in_.resize(256 * 1024);
    transport_ = std::make_unique<net::TcpTransport>(pump.worker_->loop(), fd, net::Address());
    transport_->set_handler(this);
  }

 private:
  void OnReadable() override {
    iovec iov = {in_.data() + have_, in_.size() - have_};
    ssize_t n = transport_->Read(&iov, 1);
    if (n == -EAGAIN) return;
    if (n <= 0) {
      transport_->SetReading(false);
      return;
    }
    have_ += static_cast<size_t>(n);
    if (MessageBytes({in_.data(), have_}) == 0) return;
    have_ = 0;
    iovec out = {const_cast<char*>(pump_.options_.response.data()), pump_.options_.response.size()};
    if (transport_->Write(&out, 1) != static_cast<ssize_t>(out.iov_len)) pump_.CountWrong("an answer was not taken whole");
  }
  void OnWritable() override {}

  Pump& pump_;
  std::unique_ptr<net::TcpTransport> transport_;
  std::string in_;
  size_t have_ = 0;
};

class Pump::Origin final : private net::Listener::Handler {
 public:
  Origin(Pump& pump, int fd) : pump_(pump), listener_(pump.worker_->loop(), fd, this) {}

 private:
  void OnAccept(int fd, const net::Address&) override {
    connections_.push_back(std::make_unique<OriginConnection>(pump_, fd));
  }
  Pump& pump_;
  net::Listener listener_;
  std::vector<std::unique_ptr<OriginConnection>> connections_;
};

Pump::Pump(PumpOptions options) : options_(std::move(options)) {
  std::string error;
  auto listen = [&](uint16_t* port) {
    int fd = net::OpenListenSocket(*net::Address::FromIp("127.0.0.1", 0), {}, &error);
    if (fd < 0) Die(error);
    sockaddr_storage ss;
    socklen_t size = sizeof(ss);
    getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &size);
    *port = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), size).port();
    return fd;
  };
  uint16_t origin_port = 0;
  int origin_fd = listen(&origin_port);
  int proxy_fd = listen(&port_);

  auto cluster = std::make_shared<upstream::ClusterSpec>();
  cluster->name = kCluster;
  auto endpoints = std::make_shared<upstream::EndpointSet>();
  endpoints->endpoints.emplace_back().address = *net::Address::FromIp("127.0.0.1", origin_port);
  endpoints->pick = std::make_shared<decide::PickTable>(decide::PickTable::Build({1}));

  envoy::config::route::v3::RouteConfiguration routes = options_.routes;
  if (routes.virtual_hosts().empty()) {
    auto* vhost = routes.add_virtual_hosts();
    vhost->set_name("all");
    vhost->add_domains("*");
    auto* route = vhost->add_routes();
    route->mutable_match()->set_prefix("/");
    route->mutable_route()->set_cluster(kCluster);
  }
  std::vector<api::SourceError> errors;
  auto http = std::make_shared<proxy::HttpManagerSpec>();
  http->stat_prefix = "pump";
  http->routes = decide::RouteTable::Compile(routes, &errors);
  if (http->routes == nullptr) Die(errors.empty() ? "routes" : errors.front().ToString());
  if (!options_.access_log.empty()) {
    auto spec = observe::AccessLogSpec::Compile(options_.access_log, "");
    if (!spec.ok() || !logs_.Open(options_.access_log).ok()) Die("access log " + options_.access_log);
    http->access_logs.push_back(*spec);
  }
  if (options_.change) options_.change(*http);
  auto listener = std::make_shared<config::ListenerSpec>();
  listener->name = "listener";
  listener->address = *net::Address::FromIp("127.0.0.1", port_);
  auto chain = std::make_shared<config::FilterChainSpec>();
  chain->http = http;
  listener->chains = {chain};

  auto update = std::make_shared<config::Update>();
  update->clusters.push_back({cluster, endpoints});
  worker_ = std::make_unique<runtime::Worker>(0, shared_, registry_, logs_);
  worker_->Start();
  std::vector<runtime::ListenerPut> puts;
  puts.push_back({listener, {proxy_fd}});
  worker_->Apply(update, std::move(puts), [] {});
  OnWorker([&] {
    origin_ = std::make_unique<Origin>(*this, origin_fd);
    // A histogram keeps one small array a power of two, made at its first value. A busy machine can show a latency of a
    // new magnitude at any time, which is no cost of a request: all magnitudes are there from the start.
    for (uint64_t ms = 1; ms < 1u << 20; ms *= 2) {
      worker_->shard().Http(http->stat_prefix)->downstream_rq_time.Record(ms);
      worker_->shard().Cluster(kCluster)->upstream_rq_time.Record(ms);
    }
  });

  net::Address to = *net::Address::FromIp("127.0.0.1", port_);
  std::vector<int> fds;
  for (int i = 0; i < options_.connections; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, to.sa(), to.length()) != 0) Die("cannot connect to the proxy");
    fds.push_back(fd);
  }
  OnWorker([&] {
    for (int fd : fds) peers_.push_back(std::make_unique<Peer>(*this, fd));
  });
}

Pump::~Pump() {
  OnWorker([&] {
    peers_.clear();
    origin_.reset();
  });
  worker_->Stop();
}

void Pump::OnWorker(std::function<void()> f) {
  done_ = false;
  worker_->Post([&] {
    f();
    std::lock_guard lock(mu_);
    done_ = true;
    cv_.notify_one();
  });
  std::unique_lock lock(mu_);
  cv_.wait(lock, [&] { return done_; });
}

void Pump::CountWrong(std::string_view what) {
  ++result_.wrong;
  if (result_.first_wrong.empty()) result_.first_wrong = what;
}

void Pump::PeerIdle(Peer* peer) {
  ++answered_;
  if (to_send_ > 0 && !peer->dead()) {
    --to_send_;
    peer->Send();
    return;
  }
  bool all_dead = true;
  for (auto& p : peers_) {
    if (p->busy()) return;
    all_dead = all_dead && p->dead();
  }
  if (to_send_ > 0 && !all_dead) return;
  result_.requests = answered_;
  result_.allocations = ThreadAllocations() - start_;
  if (answered_ != asked_) CountWrong("not every request was answered");
  std::lock_guard lock(mu_);
  done_ = true;
  cv_.notify_one();
}

Pump::Result Pump::Run(uint64_t requests) {
  done_ = false;
  worker_->Post([&] {
    result_ = {};
    asked_ = to_send_ = requests;
    answered_ = 0;
    start_ = ThreadAllocations();
    for (auto& p : peers_) {
      if (to_send_ == 0 || p->dead()) continue;
      --to_send_;
      p->Send();
    }
  });
  std::unique_lock lock(mu_);
  cv_.wait(lock, [&] { return done_; });
  return result_;
}

std::string TypicalRequest() {
  return "GET /reviews/0 HTTP/1.1\r\n"
         "Host: reviews:9080\r\n"
         "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n"
         "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
         "Accept-Encoding: gzip, deflate\r\n"
         "Accept-Language: en-GB,en;q=0.5\r\n"
         "Cookie: session=eyJ1c2VyIjoiamFzb24ifQ.ZWvQ1g.Xn1r8QkqR0q2Xo0kYz5bS3m4H2E\r\n"
         "end-user: jason\r\n"
         "X-Request-Id: 6d1a3a52-8a3c-9f7b-a0ce-5f2a3d1b9c77\r\n"
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
         "Connection: keep-alive\r\n"
         "\r\n";
}

std::string TypicalResponse(size_t body_bytes) {
  return "HTTP/1.1 200 OK\r\n"
         "content-type: application/json\r\n"
         "date: Tue, 25 Nov 2025 11:00:00 GMT\r\n"
         "x-served-by: reviews-v1-1\r\n"
         "content-length: " +
         std::to_string(body_bytes) + "\r\n\r\n" + std::string(body_bytes, 'x');
}

std::string ChunkedResponse(size_t body_bytes) {
  char size[16];
  std::snprintf(size, sizeof(size), "%zx", body_bytes);
  return "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n" + std::string(size) +
         "\r\n" + std::string(body_bytes, 'x') + "\r\n0\r\n\r\n";
}

std::string PostRequest(size_t body_bytes) {
  return "POST /reviews/0 HTTP/1.1\r\nHost: reviews:9080\r\ncontent-type: application/json\r\ncontent-length: " +
         std::to_string(body_bytes) + "\r\n\r\n" + std::string(body_bytes, 'y');
}

std::string ChunkedPostRequest(size_t body_bytes) {
  char size[16];
  std::snprintf(size, sizeof(size), "%zx", body_bytes);
  return "POST /reviews/0 HTTP/1.1\r\nHost: reviews:9080\r\ntransfer-encoding: chunked\r\n\r\n" + std::string(size) +
         "\r\n" + std::string(body_bytes, 'y') + "\r\n0\r\n\r\n";
}

}  // namespace weft::bench
