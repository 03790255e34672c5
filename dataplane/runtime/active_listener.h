#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "dataplane/config/update.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/tcp_transport.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/runtime/active_chain.h"
#include "dataplane/runtime/intake.h"

namespace weft::runtime {

class Worker;

// One version of one listener on one worker: its sockets and its filter chains. A new version takes
// the sockets over, and the chains that it has unchanged; the old one retires with the rest, whose
// connections finish and close. Owner: Worker. Thread: the worker's.
class ActiveListener final : private net::Listener::Handler,
                             private Intake::Owner,
                             private ActiveChain::Owner {
 public:
  ActiveListener(Worker& worker, std::shared_ptr<const config::ListenerSpec> spec,
                 std::vector<int> fds);
  ~ActiveListener();

  const config::ListenerSpec& spec() const { return *spec_; }
  // The listening descriptors, for the version that follows.
  std::vector<int> TakeSockets();
  // Takes the chains that this version has unchanged, with their connections, and the connections that
  // have no chain yet.
  void TakeChains(ActiveListener& from);
  // A connection that another worker accepted for this one, admitted there.
  void Adopt(int fd, const net::Address& peer);
  // Tells every client to go, and new ones after their first answer; goes on accepting.
  void AnnounceDrain();
  void SetAccepting(bool on);
  // Stops accepting and drains; tells the worker when the last connection is gone.
  void Retire(IdleConnections idle);
  // The drain time is over: what is idle is closed; requests under way still finish.
  void CutOff();
  bool empty();

 private:
  void OnAccept(int fd, const net::Address& peer) override;
  void OnChainEmpty(ActiveChain& chain) override;
  void OnIntakeDone(std::unique_ptr<net::TcpTransport> transport,
                    std::unique_ptr<Inspected> inspected) override;

  // Begins with a connection that the worker has counted; `inspected`: by the listener that it came
  // from, else null.
  void Take(std::unique_ptr<net::TcpTransport> transport, std::unique_ptr<Inspected> inspected);
  void MaybeRetired();

  // Gives the connection its chain, or closes it.
  void Assign(std::unique_ptr<net::TcpTransport> transport, std::unique_ptr<Inspected> inspected);
  const std::shared_ptr<const config::FilterChainSpec>& ChainSpec(size_t index) const {
    return index < spec_->chains.size() ? spec_->chains[index] : spec_->default_chain;
  }
  // Index for ChainSpec and chains_; -1: no chain takes it.
  int Choose(net::TcpTransport& transport, const Inspected* inspected) const;

  Worker& worker_;
  const std::shared_ptr<const config::ListenerSpec> spec_;
  observe::ListenerCounters* counters_;
  Rc<IntakeCounters> intake_counters_;  // null: no listener filters
  IntrusiveList<Intake, IntakeTag> intakes_;
  std::vector<std::unique_ptr<net::Listener>> sockets_;
  // As in the specification, the default chain behind the others. Made at the first connection.
  std::vector<std::unique_ptr<ActiveChain>> chains_;
  bool retired_ = false, announced_ = false;
  std::vector<std::pair<int, net::Address>>* late_ = nullptr;  // while the queue is emptied at the end
};

}  // namespace weft::runtime
