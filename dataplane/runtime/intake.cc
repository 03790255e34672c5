#include "dataplane/runtime/intake.h"

#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/net/detect.h"
#include "dataplane/net/proxy_protocol.h"
#include "dataplane/runtime/worker.h"

namespace weft::runtime {
namespace {

using Kind = config::ListenerFilterSpec::Kind;

// linux/netfilter_ipv6/ip6_tables.h, which C++ can't include.
constexpr int kIp6OriginalDst = 80;

decide::IpBytes IpOf(const net::Address& a) {
  if (!a.valid() || a.is_unix()) return {};
  if (a.is_v6()) {
    return decide::IpBytes::V6(&reinterpret_cast<const sockaddr_in6*>(a.sa())->sin6_addr);
  }
  return decide::IpBytes::V4(&reinterpret_cast<const sockaddr_in*>(a.sa())->sin_addr);
}

}  // namespace

IntakeCounters::IntakeCounters(observe::Shard& shard, const config::ListenerSpec& listener) {
  const std::string address =
      listener.stat_prefix.empty() ? listener.address.ToString() : listener.stat_prefix;
  auto of_listener = [&](const char* name) {
    return shard.GetCounter({observe::ScopeId::Listener(address), name});
  };
  auto of = [&](const char* scope, std::string name) {
    return shard.GetCounter({observe::ScopeId::Process(scope), std::move(name)});
  };
  remote_close = of_listener("downstream_listener_filter_remote_close");
  error = of_listener("downstream_listener_filter_error");
  proxy_error = of_listener("downstream_cx_proxy_proto_error");
  tls_found = of("tls_inspector", "tls_found");
  tls_not_found = of("tls_inspector", "tls_not_found");
  client_hello_too_large = of("tls_inspector", "client_hello_too_large");
  sni_found = of("tls_inspector", "sni_found");
  sni_not_found = of("tls_inspector", "sni_not_found");
  alpn_found = of("tls_inspector", "alpn_found");
  alpn_not_found = of("tls_inspector", "alpn_not_found");
  http10_found = of("http_inspector", "http10_found");
  http11_found = of("http_inspector", "http11_found");
  http2_found = of("http_inspector", "http2_found");
  http_not_found = of("http_inspector", "http_not_found");
  std::string prefix;
  for (const auto& f : listener.listener_filters) {
    if (f.kind == Kind::kProxyProtocol && !f.stat_prefix.empty()) prefix = f.stat_prefix + ".";
  }
  proxy_missing_allowed = of("proxy_proto", prefix + "not_found_allowed");
  proxy_missing_disallowed = of("proxy_proto", prefix + "not_found_disallowed");
  for (int v : {0, 1}) {
    const std::string version = prefix + (v == 0 ? "versions.v1." : "versions.v2.");
    proxy_found[v] = of("proxy_proto", version + "found");
    proxy_disallowed[v] = of("proxy_proto", version + "disallowed");
    proxy_failed[v] = of("proxy_proto", version + "error");
  }
}

decide::ConnectionFields FieldsOf(net::TcpTransport& transport, const Inspected* inspected,
                                  bool destination) {
  decide::ConnectionFields f;
  if (destination) {
    f.destination = IpOf(transport.local_address());
    f.destination_port = transport.local_address().port();
  }
  const net::Address& peer = transport.peer_address();
  f.source = f.direct_source = IpOf(peer);
  f.source_port = peer.port();
  if (inspected != nullptr) {
    f.server_name = inspected->server_name;
    if (!inspected->transport_protocol.empty()) {
      f.transport_protocol = inspected->transport_protocol;
    }
    f.application_protocols = &inspected->application_protocols;
    if (inspected->direct_peer.valid()) f.direct_source = IpOf(inspected->direct_peer);
  }
  return f;
}

Intake::Intake(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
               std::unique_ptr<net::TcpTransport> transport, std::unique_ptr<Inspected> inspected,
               Rc<IntakeCounters> counters, observe::ListenerCounters& listener, Owner* owner)
    : worker_(worker),
      spec_(std::move(spec)),
      transport_(std::move(transport)),
      counters_(std::move(counters)),
      listener_(listener),
      owner_(owner),
      inspected_(inspected != nullptr ? std::move(inspected) : std::make_unique<Inspected>()),
      timer_(
          worker.loop().timers(), [](void* self) { static_cast<Intake*>(self)->OnTimer(); }, this) {
  listener_.downstream_pre_cx_active.Inc();
}

Intake::~Intake() = default;

void Intake::Start() { Run({}, buffer::BlockRef()); }

void Intake::OnReadable() {
  buffer::BlockRef block = worker_.slab().Get();
  iovec space = {block->data(), block->capacity()};
  const ssize_t n = transport_->Read(&space, 1);
  if (n == -EAGAIN) return;
  if (n < 0 || (n == 0 && held_.empty())) {
    counters_->remote_close->Inc();
    Over(false, {}, {});
    return;
  }
  ended_ = n == 0;
  std::string_view in(block->data(), static_cast<size_t>(n));
  if (!held_.empty()) {
    held_.append(in);
    block.reset();
    in = held_;
  }
  Run(in, std::move(block));
}

void Intake::Run(std::string_view in, buffer::BlockRef block) {
  for (; next_ < spec_->listener_filters.size(); ++next_) {
    const config::ListenerFilterSpec& filter = spec_->listener_filters[next_];
    switch (RunFilter(filter, in.substr(std::min(consumed_, in.size())))) {
      case Verdict::kNext:
        break;
      case Verdict::kClose:
        counters_->error->Inc();
        Over(false, {}, {});
        return;
      case Verdict::kMore:
        if (block) held_.assign(in);  // and nothing more than that waits with it
        if (!std::exchange(waiting_, true)) {
          inspected_->watched = true;
          if (spec_->listener_filters_timeout > 0) timer_.Arm(spec_->listener_filters_timeout);
          transport_->set_handler(this);
        }
        return;
    }
  }
  Over(true, in.substr(std::min(consumed_, in.size())), std::move(block));
}

Intake::Verdict Intake::RunFilter(const config::ListenerFilterSpec& filter, std::string_view in) {
  switch (filter.kind) {
    case Kind::kOriginalDst:
      OriginalDestination();
      return Verdict::kNext;
    case Kind::kProxyProtocol:
      return RunProxyProtocol(filter, in);
    case Kind::kTlsInspector:
      return Needs() == decide::FilterChainMatch::kNothing ? Verdict::kNext : RunTls(filter, in);
    case Kind::kHttpInspector:
      return (Needs() & decide::FilterChainMatch::kApplicationProtocol) == 0 ||
                     inspected_->transport_protocol == "tls"
                 ? Verdict::kNext
                 : RunHttp(in);
  }
  return Verdict::kNext;
}

uint8_t Intake::Needs() {
  if (spec_->match == nullptr) return decide::FilterChainMatch::kNothing;
  return spec_->match->Needs(
      FieldsOf(*transport_, inspected_.get(), spec_->match->uses_destination()));
}

void Intake::OriginalDestination() {
  sockaddr_storage ss;
  socklen_t size = sizeof(ss);
  const bool v6 = transport_->local_address().is_v6();
  if (transport_->local_address().is_unix() ||
      getsockopt(transport_->fd(), v6 ? SOL_IPV6 : SOL_IP, v6 ? kIp6OriginalDst : SO_ORIGINAL_DST,
                 &ss, &size) != 0) {
    return;  // not redirected
  }
  // The kernel leaves `size` as it was.
  size = ss.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  transport_->set_addresses(net::Address(),
                            net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), size));
}

Intake::Verdict Intake::RunProxyProtocol(const config::ListenerFilterSpec& filter,
                                         std::string_view in) {
  net::ProxyHeader header;
  net::ProxyHeaderResult result = net::ParseProxyHeader(in, &header);
  if (result == net::ProxyHeaderResult::kMore && ended_) {
    result = net::ProxyHeaderResult::kMalformed;
  }
  const int version = !in.empty() && in[0] == 'P' ? 0 : 1;
  switch (result) {
    case net::ProxyHeaderResult::kMore:
      return Verdict::kMore;
    case net::ProxyHeaderResult::kNone:
      if (filter.allow_without_proxy_protocol) {
        counters_->proxy_missing_allowed->Inc();
        return Verdict::kNext;
      }
      counters_->proxy_missing_disallowed->Inc();
      counters_->proxy_error->Inc();
      return Verdict::kClose;
    case net::ProxyHeaderResult::kMalformed:
      counters_->proxy_failed[version]->Inc();
      counters_->proxy_error->Inc();
      return Verdict::kClose;
    case net::ProxyHeaderResult::kDone:
      break;
  }
  if (!(version == 0 ? filter.allow_v1 : filter.allow_v2)) {
    counters_->proxy_disallowed[version]->Inc();
    counters_->proxy_error->Inc();
    return Verdict::kClose;
  }
  counters_->proxy_found[version]->Inc();
  consumed_ += header.size;
  if (header.has_addresses) {
    inspected_->direct_peer = transport_->peer_address();
    transport_->set_addresses(header.source, header.destination);
  }
  return Verdict::kNext;
}

Intake::Verdict Intake::RunTls(const config::ListenerFilterSpec& filter, std::string_view in) {
  using Result = net::ClientHelloParser::Result;
  if (hello_ == nullptr) {
    hello_ = std::make_unique<net::ClientHelloParser>(filter.max_client_hello_bytes);
  }
  Result result = hello_->Feed(in);
  if (result == Result::kMore && ended_) result = Result::kMalformed;
  switch (result) {
    case Result::kMore:
      return Verdict::kMore;
    case Result::kTooLarge:
      counters_->client_hello_too_large->Inc();
      return Verdict::kClose;
    case Result::kNotTls:
      counters_->tls_not_found->Inc();
      return Verdict::kNext;
    case Result::kMalformed:
      counters_->tls_not_found->Inc();
      return filter.close_on_client_hello_error ? Verdict::kClose : Verdict::kNext;
    case Result::kDone:
      break;
  }
  const net::ClientHello& hello = hello_->hello();
  counters_->tls_found->Inc();
  (hello.server_name.empty() ? counters_->sni_not_found : counters_->sni_found)->Inc();
  (hello.protocols.empty() ? counters_->alpn_not_found : counters_->alpn_found)->Inc();
  inspected_->transport_protocol = "tls";
  inspected_->server_name = hello.server_name;
  inspected_->application_protocols = hello.protocols;
  return Verdict::kNext;
}

Intake::Verdict Intake::RunHttp(std::string_view in) {
  net::HttpGuess guess = net::GuessHttp(in);
  if (guess == net::HttpGuess::kMore && ended_) guess = net::HttpGuess::kNotHttp;
  const char* protocol = nullptr;
  switch (guess) {
    case net::HttpGuess::kMore:
      return Verdict::kMore;
    case net::HttpGuess::kNotHttp:
      counters_->http_not_found->Inc();
      return Verdict::kNext;
    case net::HttpGuess::kHttp10:
      counters_->http10_found->Inc();
      protocol = "http/1.0";
      break;
    case net::HttpGuess::kHttp11:
      counters_->http11_found->Inc();
      protocol = "http/1.1";
      break;
    case net::HttpGuess::kHttp2:
      counters_->http2_found->Inc();
      protocol = "h2c";
      break;
  }
  inspected_->application_protocols = {protocol};
  return Verdict::kNext;
}

void Intake::OnTimer() {
  listener_.downstream_pre_cx_timeout.Inc();
  if (!spec_->continue_on_listener_filters_timeout) {
    Over(false, {}, {});
    return;
  }
  // A client that waits for the server to speak: it gets a chain by what is known.
  Over(true, std::string_view(held_).substr(std::min(consumed_, held_.size())), {});
}

void Intake::Close() { Over(false, {}, {}); }

void Intake::Over(bool keep, std::string_view rest, buffer::BlockRef block) {
  ListLink<IntakeTag>::Unlink();
  timer_.Cancel();
  listener_.downstream_pre_cx_active.Dec();
  if (!keep) transport_.reset();
  if (keep && !rest.empty()) {
    if (!block) {  // it came in pieces
      block = worker_.slab().GetLarge(static_cast<uint32_t>(rest.size()));
      memcpy(block->data(), rest.data(), rest.size());
      rest = {block->data(), rest.size()};
    }
    transport_->Unread(buffer::Slice(std::move(block), rest.data(), rest.size()));
  }
  worker_.loop().DeferDelete(std::unique_ptr<Intake>(this));
  owner_->OnIntakeDone(std::move(transport_), std::move(inspected_));
}

}  // namespace weft::runtime
