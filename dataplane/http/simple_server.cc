#include "dataplane/http/simple_server.h"

#include <malloc.h>
#include <unistd.h>

#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/http/h1/server_connection.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/tcp_transport.h"

namespace weft::http {

namespace {
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool FindParameter(std::string_view query, std::string_view name, std::string_view* value) {
  while (!query.empty()) {
    size_t amp = query.find('&');
    std::string_view item = query.substr(0, amp);
    query = amp == std::string_view::npos ? std::string_view() : query.substr(amp + 1);
    size_t eq = item.find('=');
    if (item.substr(0, eq) == name) {
      *value = eq == std::string_view::npos ? std::string_view() : item.substr(eq + 1);
      return true;
    }
  }
  return false;
}
}  // namespace

std::string PercentDecode(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '%' && i + 2 < s.size() && HexDigit(s[i + 1]) >= 0 && HexDigit(s[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(s[i + 1]) * 16 + HexDigit(s[i + 2])));
      i += 2;
    } else {
      out.push_back(s[i] == '+' ? ' ' : s[i]);
    }
  }
  return out;
}

std::string QueryParameter(std::string_view query, std::string_view name) {
  std::string_view v;
  return FindParameter(query, name, &v) ? PercentDecode(v) : std::string();
}

bool HasQueryParameter(std::string_view query, std::string_view name) {
  std::string_view v;
  return FindParameter(query, name, &v);
}

// One request under way: gathers the body, then asks the handler.
class SimpleServer::Impl final : public ServerHandler,
                                 public ServerConnection::Owner,
                                 public net::Listener::Handler {
 public:
  Impl(event::Loop& l, SimpleServer::Handler h)
      : loop(l), context(l, slab), handler(std::move(h)) {}
  // Ends everything; what may be on the stack is freed by the loop, and this after it.
  void Shutdown() {
    listener.reset();
    handler = nullptr;
    while (auto* c = connections.front()) c->Close();
  }

  class Call final : public ServerStreamEvents, public buffer::BodyPipe::Consumer {
   public:
    Call(Impl& impl, ServerStream& stream) : impl_(impl), stream_(&stream) {
      stream.set_events(this);
      if (buffer::BodyPipe* body = stream.request_body()) {
        if (stream.request().expect_continue) {
          ResponseHead go_on;
          go_on.status = 100;
          stream.SendInformational(go_on);
        }
        body->set_consumer(this);
      }
    }
    // A large page was put together of many small pieces, which the C library keeps: 330 MB behind
    // one look at the statistics of 10,000 clusters.
    ~Call() {
      if (response_.body.size() < kLargePage) return;
      response_.body = std::string();
      malloc_trim(0);
    }
    void OnPipeReady() override {
      if (stream_ == nullptr || answered_) return;
      buffer::BodyPipe& body = *stream_->request_body();
      body.Pull(received_);
      if (received_.size() > kMaxBodyBytes) {
        body.set_consumer(nullptr);
        Respond({413, "the body is larger than 1 MB\n"});
        return;
      }
      if (body.finished()) Ask();
    }
    void Ask() {
      const RequestHead& r = stream_->request();
      SimpleRequest q;
      q.method = r.method;
      size_t mark = r.path.find('?');
      q.path = r.path.substr(0, mark);
      if (mark != std::string_view::npos) q.query = r.path.substr(mark + 1);
      q.host = r.authority;
      q.body = received_.ToString();
      std::weak_ptr<Call*> alive = alive_;
      SimpleServer::Handler handler = impl_.handler;  // which may destroy the server
      handler(q, [alive](SimpleResponse response) {
        if (auto call = alive.lock()) (*call)->Respond(std::move(response));
      });
    }
    void Respond(SimpleResponse response) {
      if (stream_ == nullptr || answered_) return;
      answered_ = true;
      response_ = std::move(response);
      ResponseHead head;
      head.status = response_.status;
      head.headers.Add(HeaderId::kContentType, response_.content_type);
      head.headers.Add("cache-control", "no-store");
      head.headers.Add("x-content-type-options", "nosniff");
      for (const auto& [name, value] : response_.headers) head.headers.Add(name, value);
      if (response_.body.empty()) {
        stream_->SendResponse(head, nullptr);
        return;
      }
      head.has_body = true;
      head.content_length = static_cast<int64_t>(response_.body.size());
      body_.Reset(nullptr, response_.body.size() + 1);
      body_.Write(buffer::Slice::Static(response_.body));
      body_.End();
      stream_->SendResponse(head, &body_);
    }
    void OnStreamReset(const Error&) override { End(); }
    void OnStreamDone() override { End(); }

   private:
    static constexpr size_t kLargePage = 1024 * 1024;

    void End() {
      stream_ = nullptr;
      alive_.reset();
      impl_.loop.DeferDelete(std::unique_ptr<Call>(this));
    }
    Impl& impl_;
    ServerStream* stream_;
    buffer::SliceBuffer received_;
    SimpleResponse response_;
    buffer::BodyPipe body_;
    bool answered_ = false;
    std::shared_ptr<Call*> alive_ = std::make_shared<Call*>(this);
  };

  void OnRequest(ServerStream& stream) override {
    Call* call = new Call(*this, stream);
    if (stream.request_body() == nullptr) call->Ask();
  }
  void OnBadRequest(net::Transport&, const Error&, int, Protocol) override {}
  void OnClosed(ServerConnection& c) override {
    c.ListLink<ServerConnectionTag>::Unlink();
    loop.DeferDelete(std::unique_ptr<ServerConnection>(&c));
  }
  void OnAccept(int fd, const net::Address& peer) override {
    auto* c = new h1::ServerConnection(
        context, options, std::make_unique<net::TcpTransport>(loop, fd, peer), this, this);
    connections.PushBack(c);
  }

  event::Loop& loop;
  buffer::Slab slab;
  h1::ServerContext context;
  h1::ServerOptions options;
  SimpleServer::Handler handler;
  std::unique_ptr<net::Listener> listener;
  IntrusiveList<ServerConnection, ServerConnectionTag> connections;
  net::Address address;
};

SimpleServer::SimpleServer(event::Loop& loop, Handler handler)
    : impl_(std::make_unique<Impl>(loop, std::move(handler))) {}

SimpleServer::~SimpleServer() {
  impl_->Shutdown();
  event::Loop& loop = impl_->loop;
  loop.DeferDelete(std::move(impl_));
}

bool SimpleServer::Listen(const net::Address& address, std::string* error) {
  net::ListenOptions o;
  o.reuse_port = false;
  int fd = net::OpenListenSocket(address, o, error);
  if (fd < 0) return false;
  impl_->listener = std::make_unique<net::Listener>(impl_->loop, fd, impl_.get());
  impl_->address = impl_->listener->local_address();
  return true;
}

const net::Address& SimpleServer::address() const { return impl_->address; }

}  // namespace weft::http
