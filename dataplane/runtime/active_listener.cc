#include "dataplane/runtime/active_listener.h"

#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "dataplane/decide/filter_chain_match.h"
#include "dataplane/runtime/worker.h"

namespace weft::runtime {
namespace {

decide::IpBytes IpOf(const net::Address& a) {
  if (!a.valid() || a.is_unix()) return {};
  if (a.is_v6()) return decide::IpBytes::V6(&reinterpret_cast<const sockaddr_in6*>(a.sa())->sin6_addr);
  return decide::IpBytes::V4(&reinterpret_cast<const sockaddr_in*>(a.sa())->sin_addr);
}

}  // namespace

ActiveListener::ActiveListener(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
                               std::vector<int> fds)
    : worker_(worker),
      spec_(std::move(spec)),
      counters_(worker.shard().Listener(spec_->stat_prefix.empty() ? spec_->address.ToString()
                                                                   : spec_->stat_prefix)),
      chains_(spec_->chains.size() + (spec_->default_chain != nullptr ? 1 : 0)) {
  for (int fd : fds) {
    if (fd >= 0)
      sockets_.push_back(std::make_unique<net::Listener>(
          worker.loop(), fd, static_cast<net::Listener::Handler*>(this)));
  }
}

ActiveListener::~ActiveListener() {
  retired_ = false;  // the worker knows
  sockets_.clear();
  chains_.clear();
}

std::vector<int> ActiveListener::TakeSockets() {
  std::vector<int> fds;
  for (auto& s : sockets_) fds.push_back(s->Release());
  sockets_.clear();
  return fds;
}

void ActiveListener::TakeChains(ActiveListener& from) {
  for (auto& chain : from.chains_) {
    if (chain == nullptr) continue;
    for (size_t i = 0; i < chains_.size(); ++i) {
      if (chains_[i] != nullptr || ChainSpec(i)->version == 0 ||
          ChainSpec(i)->version != chain->spec().version) {
        continue;
      }
      chain->set_owner(this);
      chains_[i] = std::move(chain);
      break;
    }
  }
}

void ActiveListener::OnAccept(int fd, const net::Address& peer) {
  worker_.OnConnectionAccepted();
  // The local address is the listener's, unless that is one of several or a wildcard.
  bool known = !spec_->address.is_wildcard() && spec_->address.port() != 0 &&
               spec_->additional_addresses.empty();
  net::Address local = known ? spec_->address : net::Address();
  Assign(std::make_unique<net::TcpTransport>(worker_.loop(), fd, peer, local), nullptr);
}

int ActiveListener::Choose(net::TcpTransport& transport, const Inspected* inspected) const {
  const int fallback =
      spec_->default_chain != nullptr ? static_cast<int>(spec_->chains.size()) : -1;
  if (spec_->match == nullptr) return spec_->chains.empty() ? fallback : 0;
  decide::ConnectionFields f;
  if (spec_->match->uses_destination()) {
    f.destination = IpOf(transport.local_address());
    f.destination_port = transport.local_address().port();
  }
  const net::Address& peer = transport.peer_address();
  f.source = f.direct_source = IpOf(peer);
  f.source_port = peer.port();
  if (inspected != nullptr) {
    f.server_name = inspected->server_name;
    if (!inspected->transport_protocol.empty()) f.transport_protocol = inspected->transport_protocol;
    f.application_protocols = &inspected->application_protocols;
    if (inspected->direct_peer.valid()) f.direct_source = IpOf(inspected->direct_peer);
  }
  int index = spec_->match->Find(f);
  return index == decide::FilterChainMatch::kNone ? fallback : index;
}

void ActiveListener::Assign(std::unique_ptr<net::TcpTransport> transport,
                            std::unique_ptr<Inspected> inspected) {
  int index = Choose(*transport, inspected.get());
  if (index < 0) {
    counters_->no_filter_chain_match.Inc();
    worker_.OnConnectionGone();
    return;
  }
  auto& chain = chains_[static_cast<size_t>(index)];
  if (chain == nullptr) {
    chain = std::make_unique<ActiveChain>(worker_, *spec_, ChainSpec(static_cast<size_t>(index)),
                                          counters_, static_cast<ActiveChain::Owner*>(this));
    if (retired_) chain->Drain(IdleConnections::kCloseSoon);
  }
  chain->Start(std::move(transport), std::move(inspected));
}

bool ActiveListener::empty() {
  return std::all_of(chains_.begin(), chains_.end(),
                     [](auto& c) { return c == nullptr || c->empty(); });
}

void ActiveListener::OnChainEmpty(ActiveChain&) {
  if (retired_ && empty()) worker_.OnListenerRetired(this);
}

void ActiveListener::Retire(IdleConnections idle) {
  // Who is in the queue has been told that it is connected.
  if (idle == IdleConnections::kCloseSoon) {
    for (auto& s : sockets_) s->AcceptPending();
  }
  sockets_.clear();
  retired_ = true;
  for (auto& chain : chains_) {
    if (chain != nullptr) chain->Drain(idle);
  }
}

void ActiveListener::CutOff() {
  for (auto& chain : chains_) {
    if (chain != nullptr) chain->CutOff();
  }
}

}  // namespace weft::runtime
