#include "dataplane/upstream/host.h"

#include <algorithm>

namespace weft::upstream {
namespace {

ConnPool::Protocol ProtocolOf(UpstreamProtocol p, bool http2) {
  switch (p) {
    case UpstreamProtocol::kHttp1:
      return ConnPool::Protocol::kHttp1;
    case UpstreamProtocol::kHttp2:
      return ConnPool::Protocol::kHttp2;
    case UpstreamProtocol::kAuto:
      return ConnPool::Protocol::kAlpn;
    case UpstreamProtocol::kDownstream:
      break;
  }
  return http2 ? ConnPool::Protocol::kHttp2 : ConnPool::Protocol::kHttp1;
}

}  // namespace

Host::Host(http::h1::ClientContext& http1, const EndpointSpec& endpoint,
           std::shared_ptr<const ClusterSpec> spec, observe::ClusterCounters* counters)
    : context_{http1, std::move(spec), counters, endpoint, {}, {}},
      address_text_(endpoint.address.ToString()),
      plain_(!context_.spec->auto_sni && context_.spec->protocol != UpstreamProtocol::kDownstream),
      pool_(context_, ProtocolOf(context_.spec->protocol, false)) {}

Host::~Host() = default;

ConnPool& Host::SpecialPool(const StreamWish& wish) {
  bool http2 = context_.spec->protocol == UpstreamProtocol::kDownstream && wish.http2;
  std::string_view sni = context_.spec->auto_sni ? wish.sni : std::string_view();
  if (!http2 && sni.empty()) return pool_;
  for (Special& s : special_) {
    if (s.http2 == http2 && s.sni == sni) return *s.pool;
  }
  // Names come from requests: those that nobody uses any more must not pile up. A pool that is on
  // the stack has someone who waits or runs.
  if (special_.size() >= kSweepAbove) {
    std::erase_if(special_, [](const Special& s) { return s.pool->unused(); });
  }
  special_.push_back({std::string(sni), http2,
                      std::make_unique<ConnPool>(
                          context_, ProtocolOf(context_.spec->protocol, http2), std::string(sni))});
  if (draining_) special_.back().pool->Drain();
  return *special_.back().pool;
}

void Host::Drain() {
  Rc<Host> self(this);  // who is told may let go of the last reference
  draining_ = true;
  pool_.Drain();
  for (size_t i = 0; i < special_.size(); ++i) special_[i].pool->Drain();
}

size_t Host::connection_count() const {
  size_t n = pool_.connection_count() + tcp_active_;
  for (const Special& s : special_) n += s.pool->connection_count();
  return n;
}

uint64_t Host::dialed() const {
  uint64_t n = pool_.dialed() + tcp_dialed_;
  for (const Special& s : special_) n += s.pool->dialed();
  return n;
}

uint64_t Host::dial_failures() const {
  uint64_t n = pool_.dial_failures() + tcp_failures_;
  for (const Special& s : special_) n += s.pool->dial_failures();
  return n;
}

bool Host::BeginTcp() {
  observe::ClusterCounters& c = *context_.counters;
  if (!ClusterUsage::Take(context_.spec->usage->connections,
                          context_.spec->breakers.max_connections)) {
    c.upstream_cx_overflow.Inc();
    return false;
  }
  ++tcp_dialed_;
  ++tcp_active_;
  c.upstream_cx_total.Inc();
  c.upstream_cx_active.Inc();
  return true;
}

void Host::TcpOver() {
  --tcp_active_;
  context_.counters->upstream_cx_active.Dec();
  context_.counters->upstream_cx_destroy.Inc();
  ClusterUsage::Give(context_.spec->usage->connections);
}

}  // namespace weft::upstream
