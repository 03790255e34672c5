#include "dataplane/runtime/active_listener.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dataplane/decide/filter_chain_match.h"
#include "dataplane/runtime/worker.h"

namespace weft::runtime {

ActiveListener::ActiveListener(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
                               std::vector<int> fds)
    : worker_(worker),
      spec_(std::move(spec)),
      counters_(worker.shard().Listener(spec_->stat_prefix.empty() ? spec_->address.ToString()
                                                                   : spec_->stat_prefix)),
      chains_(spec_->chains.size() + (spec_->default_chain != nullptr ? 1 : 0)) {
  if (!spec_->listener_filters.empty()) {
    intake_counters_ = MakeRc<IntakeCounters>(worker.shard(), *spec_);
  }
  for (int fd : fds) {
    if (fd >= 0)
      sockets_.push_back(std::make_unique<net::Listener>(
          worker.loop(), fd, static_cast<net::Listener::Handler*>(this)));
  }
}

ActiveListener::~ActiveListener() {
  retired_ = false;  // the worker knows
  sockets_.clear();
  while (Intake* i = intakes_.front()) i->Close();
  chains_.clear();
}

std::vector<int> ActiveListener::TakeSockets() {
  std::vector<int> fds;
  for (auto& s : sockets_) fds.push_back(s->Release());
  sockets_.clear();
  return fds;
}

void ActiveListener::TakeChains(ActiveListener& from) {
  from.intakes_.ForEach([this](Intake& i) { i.set_owner(this); });
  intakes_.Splice(from.intakes_);
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
  if (!worker_.Admit(*counters_)) {
    close(fd);
    return;
  }
  if (late_ != nullptr) {
    late_->emplace_back(fd, peer);
    return;
  }
  if (!worker_.HandOver(fd, peer, *spec_)) Adopt(fd, peer);
}

void ActiveListener::Adopt(int fd, const net::Address& peer) {
  worker_.OnConnectionAccepted();
  // The local address is the listener's, unless that is one of several or a wildcard.
  bool known = !spec_->address.is_wildcard() && spec_->address.port() != 0 &&
               spec_->additional_addresses.empty();
  net::Address local = known ? spec_->address : net::Address();
  Take(std::make_unique<net::TcpTransport>(worker_.loop(), fd, peer, local), nullptr);
}

void ActiveListener::Take(std::unique_ptr<net::TcpTransport> transport,
                          std::unique_ptr<Inspected> inspected) {
  if (!intake_counters_) {
    Assign(std::move(transport), std::move(inspected));
    return;
  }
  auto* intake = new Intake(worker_, spec_, std::move(transport), std::move(inspected),
                            intake_counters_, *counters_, this);
  intakes_.PushBack(intake);
  intake->Start();
}

void ActiveListener::OnIntakeDone(std::unique_ptr<net::TcpTransport> transport,
                                  std::unique_ptr<Inspected> inspected) {
  if (transport == nullptr) {
    worker_.OnConnectionGone();
    MaybeRetired();
    return;
  }
  ActiveListener* to = nullptr;
  if (spec_->use_original_dst) to = worker_.ListenerAt(transport->local_address());
  if (to != nullptr && to != this) {
    to->Take(std::move(transport), std::move(inspected));
    MaybeRetired();
  } else {
    Assign(std::move(transport), std::move(inspected));
  }
}

void ActiveListener::MaybeRetired() {
  if (retired_ && empty()) worker_.OnListenerRetired(this);
}

int ActiveListener::Choose(net::TcpTransport& transport, const Inspected* inspected) const {
  const int fallback =
      spec_->default_chain != nullptr ? static_cast<int>(spec_->chains.size()) : -1;
  if (spec_->match == nullptr) return spec_->chains.empty() ? fallback : 0;
  int index =
      spec_->match->Find(FieldsOf(transport, inspected, spec_->match->uses_destination()));
  return index == decide::FilterChainMatch::kNone ? fallback : index;
}

void ActiveListener::Assign(std::unique_ptr<net::TcpTransport> transport,
                            std::unique_ptr<Inspected> inspected) {
  int index = Choose(*transport, inspected.get());
  if (index < 0) {
    counters_->no_filter_chain_match.Inc();
    transport.reset();
    worker_.OnConnectionGone();
    MaybeRetired();
    return;
  }
  auto& chain = chains_[static_cast<size_t>(index)];
  if (chain == nullptr) {
    chain = std::make_unique<ActiveChain>(worker_, *spec_, ChainSpec(static_cast<size_t>(index)),
                                          counters_, static_cast<ActiveChain::Owner*>(this));
    if (retired_ || announced_) chain->Drain(IdleConnections::kCloseSoon);
  }
  chain->Start(std::move(transport), std::move(inspected));
}

bool ActiveListener::empty() {
  return intakes_.empty() && std::all_of(chains_.begin(), chains_.end(), [](auto& c) {
           return c == nullptr || c->empty();
         });
}

void ActiveListener::OnChainEmpty(ActiveChain&) { MaybeRetired(); }

void ActiveListener::AnnounceDrain() {
  announced_ = true;
  for (auto& chain : chains_) {
    if (chain != nullptr) chain->Drain(IdleConnections::kCloseSoon);
  }
}

void ActiveListener::SetAccepting(bool on) {
  for (auto& s : sockets_) s->SetAccepting(on);
}

void ActiveListener::Retire(IdleConnections idle) {
  // Who is in the queue has been told that it is connected: it gets its answer, while those that
  // were idle before are closed.
  std::vector<std::pair<int, net::Address>> late;
  late_ = &late;
  for (auto& s : sockets_) s->AcceptPending();
  sockets_.clear();
  late_ = nullptr;
  if (idle == IdleConnections::kCloseNow) {
    while (Intake* i = intakes_.front()) i->Close();
  }
  for (auto& chain : chains_) {
    if (chain != nullptr) chain->Drain(idle);
  }
  retired_ = true;
  for (auto& [fd, peer] : late) Adopt(fd, peer);
}

void ActiveListener::CutOff() {
  intakes_.ForEach([](Intake& i) { i.Close(); });
  for (auto& chain : chains_) {
    if (chain != nullptr) chain->CutOff();
  }
}

}  // namespace weft::runtime
