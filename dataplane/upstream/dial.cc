#include "dataplane/upstream/dial.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "dataplane/base/strings.h"

namespace weft::upstream {

// One address.
class Dial::Attempt final : private net::Connector::Handler {
 public:
  Attempt(Dial& dial, const net::Address& to, const net::DialOptions& options)
      : dial_(dial), connector_(dial.host_.loop(), this) {
    connector_.Start(to, 0, options);
  }
  bool bind_failed() const { return connector_.bind_failed(); }

 private:
  void OnConnected(std::unique_ptr<net::Transport> transport) override {
    dial_.OnConnected(std::move(transport));
  }
  void OnConnectFailed(int error) override { dial_.OnConnectFailed(*this, error); }
  Dial& dial_;
  net::Connector connector_;
};

Dial::Dial(HostContext& host, std::vector<std::string_view> alpn, std::string_view sni,
           Handler* handler, std::unique_ptr<const net::ProxiedFor> proxied_for)
    : host_(host),
      handler_(handler),
      alpn_(std::move(alpn)),
      sni_(sni),
      proxied_for_(std::move(proxied_for)),
      started_(host.loop().Now()),
      deadline_(host.spec->connect_timeout > 0 ? started_ + host.spec->connect_timeout : 0),
      timer_(
          host.loop().timers(), [](void* self) { static_cast<Dial*>(self)->OnTimer(); }, this) {
  Next();
}

Dial::~Dial() = default;

size_t Dial::addresses() const {
  return std::max<size_t>(host_.endpoint.dial_order.size(), 1);
}

void Dial::Next() {
  static const net::DialOptions kDefaults;
  const auto& order = host_.endpoint.dial_order;
  const net::Address& to = order.empty() ? host_.endpoint.address : order[next_];
  ++next_;
  const auto& options = host_.spec->dialing;
  attempts_.push_back(
      std::make_unique<Attempt>(*this, to, options != nullptr ? *options : kDefaults));
  ArmTimer();
}

void Dial::ArmTimer() {
  MonoNanos wait = deadline_ == 0 ? 0 : std::max<MonoNanos>(deadline_ - host_.loop().Now(), 1);
  if (!attempts_.empty() && next_ < addresses()) wait = wait == 0 ? kStagger : std::min(wait, kStagger);
  if (wait > 0) {
    timer_.Arm(wait);
  } else {
    timer_.Cancel();
  }
}

void Dial::OnTimer() {
  if (deadline_ != 0 && host_.loop().Now() >= deadline_) {
    host_.counters->upstream_cx_connect_timeout.Inc();
    Fail({ErrorCode::kConnectTimeout, Side::kUpstream, true, ETIMEDOUT, "connection timeout"});
    return;
  }
  // The endpoint may have lost addresses meanwhile.
  if (!attempts_.empty() && next_ < addresses()) {
    Next();
  } else {
    ArmTimer();
  }
}

void Dial::OnConnectFailed(Attempt& attempt, int error) {
  if (attempt.bind_failed()) host_.counters->bind_errors.Inc();
  auto it = std::find_if(attempts_.begin(), attempts_.end(),
                         [&](auto& a) { return a.get() == &attempt; });
  host_.loop().DeferDelete(std::move(*it));
  attempts_.erase(it);
  if (next_ < addresses()) {
    Next();
  } else if (attempts_.empty()) {
    Fail({ErrorCode::kConnectFailed, Side::kUpstream, true, error, "connection failure"});
  }
}

void Dial::OnConnected(std::unique_ptr<net::Transport> transport) {
  host_.idle_limit.NoteRoundTrip(host_.loop().Now() - started_);
  for (auto& a : attempts_) host_.loop().DeferDelete(std::move(a));
  attempts_.clear();
  const ClusterSpec& spec = *host_.spec;
  if (spec.security == nullptr) {
    Done(std::move(transport));
    return;
  }
  ArmTimer();
  net::HandshakeOptions options;
  options.alpn = alpn_;
  options.hostname = host_.endpoint.hostname;
  options.counters = host_.tls_counters.get();
  options.sni = sni_;
  options.proxied_for = proxied_for_.get();
  handshake_ =
      spec.security->Begin(host_.loop(), host_.http1.slab, std::move(transport), options, this);
}

void Dial::OnSecured(std::unique_ptr<net::Transport> transport) { Done(std::move(transport)); }

void Dial::OnHandshakeFailed(std::string_view detail) {
  host_.last_failure = StrCat("TLS error: ", detail);
  Fail({ErrorCode::kConnectFailed, Side::kUpstream, true, 0, host_.last_failure});
}

void Dial::Done(std::unique_ptr<net::Transport> transport) {
  timer_.Cancel();
  host_.counters->upstream_cx_connect_ms.Record(
      static_cast<uint64_t>((host_.loop().Now() - started_) / kMillisecond));
  handler_->OnDialed(*this, std::move(transport));
}

void Dial::Fail(const Error& error) {
  timer_.Cancel();
  for (auto& a : attempts_) host_.loop().DeferDelete(std::move(a));
  attempts_.clear();
  if (handshake_ != nullptr) host_.loop().DeferDelete(std::move(handshake_));
  host_.counters->upstream_cx_connect_fail.Inc();
  handler_->OnDialFailed(*this, error);
}

}  // namespace weft::upstream
