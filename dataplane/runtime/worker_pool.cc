#include "dataplane/runtime/worker_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "dataplane/base/strings.h"
#include "dataplane/net/listener.h"

namespace weft::runtime {

WorkerPool::WorkerPool(event::Loop& main, observe::Registry& registry, observe::AccessLogs& logs,
                       int workers)
    : main_(main), peers_(static_cast<size_t>(workers)) {
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(i, peers_, registry, logs));
  }
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Start() {
  for (auto& w : workers_) w->Start();
}

void WorkerPool::Stop() {
  for (auto& w : workers_) w->Stop();
}

// Opens the sockets of all workers for address number `a`; `address` gets the port that was chosen
// for port 0.
bool WorkerPool::OpenAddress(const config::ListenerSpec& spec, size_t a, const Change& change,
                             net::Address* address, std::vector<std::vector<int>>* fds,
                             std::string* error) {
  net::ListenOptions options;
  options.freebind = spec.freebind;
  options.backlog = static_cast<int>(spec.backlog);
  for (const auto& [name, other] : listeners_) {
    if (name == spec.name ||
        std::find(other.bound.begin(), other.bound.end(), *address) == other.bound.end())
      continue;
    *error = StrCat("cannot listen on ", address->ToString(), ": listener \"", name,
                    "\" of this proxy has this address; choose another port");
    return false;
  }
  // Sockets of ours that are about to be closed don't count as taken.
  auto ours = [&](const std::vector<net::Address>& v) {
    return std::find(v.begin(), v.end(), *address) != v.end();
  };
  bool leaving = ours(closing_) || ours(change.released);
  for (const auto& [name, b] : change.removed) leaving |= ours(b.bound);
  if (auto old = listeners_.find(spec.name); old != listeners_.end())
    leaving |= ours(old->second.bound);
  if (leaving && address->is_unix())
    unlink(address->Ip().c_str());  // a new file beside the one that is closing
  // SO_REUSEPORT would share the address with another process of the same user without a word:
  // probe for it first.
  if (address->port() != 0 && !address->is_unix() && !leaving) {
    net::ListenOptions probe = options;
    probe.reuse_port = false;
    int fd = net::OpenListenSocket(*address, probe, error);
    if (fd < 0) return false;
    close(fd);
  }
  // Without SO_REUSEPORT (and for a Unix socket) all workers accept from one socket.
  options.reuse_port = spec.reuse_port;
  bool shared = address->is_unix() || !spec.reuse_port;
  for (size_t w = 0; w < workers_.size(); ++w) {
    int fd;
    if (shared && w > 0) {
      fd = fcntl((*fds)[0][a], F_DUPFD_CLOEXEC, 0);
      if (fd < 0) *error = StrCat("cannot listen on ", address->ToString(), ": ", strerror(errno));
    } else {
      fd = net::OpenListenSocket(*address, options, error);
    }
    if (fd < 0) return false;
    (*fds)[w][a] = fd;
    if (address->port() == 0 && !address->is_unix()) {
      sockaddr_storage ss;
      socklen_t len = sizeof(ss);
      getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len);
      *address = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
    }
  }
  return true;
}

// `fds`: a row a worker, empty when the listener has no socket, -1 where the one that is there is
// kept; `take_from` names the listener that has it when that is another one.
bool WorkerPool::Open(const config::ListenerSpec& spec, Change* change, std::string* take_from,
                      std::vector<std::vector<int>>* fds, std::string* error) {
  Bound bound;
  bound.asked = {spec.address};
  bound.asked.insert(bound.asked.end(), spec.additional_addresses.begin(),
                     spec.additional_addresses.end());
  auto release = [&](const Bound& b) {
    change->released.insert(change->released.end(), b.bound.begin(), b.bound.end());
  };
  auto it = listeners_.find(spec.name);
  fds->assign(workers_.size(), {});
  if (!spec.bind_to_port) {
    if (it != listeners_.end()) {
      release(it->second);
      listeners_.erase(it);
    }
    return true;
  }
  for (auto& row : *fds) row.assign(bound.asked.size(), -1);
  if (it != listeners_.end() && it->second.asked == bound.asked) return true;  // the sockets stay
  for (auto removed = change->removed.begin(); removed != change->removed.end(); ++removed) {
    if (spec.address.port() == 0 || removed->second.asked != bound.asked) continue;
    *take_from = removed->first;  // the same under another name: nobody who connects may notice
    if (it != listeners_.end()) release(it->second);
    listeners_[spec.name] = std::move(removed->second);
    change->removed.erase(removed);
    return true;
  }
  bool ok = true;
  for (size_t a = 0; a < bound.asked.size() && ok; ++a) {
    net::Address address = bound.asked[a];
    ok = OpenAddress(spec, a, *change, &address, fds, error);
    bound.bound.push_back(address);
  }
  if (!ok) {
    for (auto& row : *fds) {
      for (int fd : row) {
        if (fd >= 0) close(fd);
      }
    }
    return false;
  }
  if (it != listeners_.end()) release(it->second);
  listeners_[spec.name] = std::move(bound);
  return true;
}

void WorkerPool::Apply(std::shared_ptr<const config::Update> update,
                       std::function<void(ApplyResult)> done) {
  auto result = std::make_shared<ApplyResult>();
  std::vector<std::vector<ListenerPut>> puts(workers_.size());
  // A removed listener's address may be taken over by another one in the same update.
  Change change;
  for (const std::string& name : update->removed_listeners) {
    auto it = listeners_.find(name);
    if (it == listeners_.end()) continue;
    change.removed[name] = std::move(it->second);
    listeners_.erase(it);
  }
  for (const auto& spec : update->listeners) {
    if (drained_) break;
    std::vector<std::vector<int>> fds;
    std::string error, take_from;
    if (!Open(*spec, &change, &take_from, &fds, &error)) {
      result->refused_listeners.emplace_back(spec->name, error);
      continue;
    }
    for (size_t w = 0; w < workers_.size(); ++w)
      puts[w].push_back({spec, std::move(fds[w]), take_from});
  }
  for (const auto& [name, b] : change.removed) {
    change.released.insert(change.released.end(), b.bound.begin(), b.bound.end());
  }
  closing_.insert(closing_.end(), change.released.begin(), change.released.end());
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  auto finish = [this, result, done = std::move(done), released = std::move(change.released)] {
    for (const net::Address& a : released)
      closing_.erase(std::find(closing_.begin(), closing_.end(), a));
    if (done) done(std::move(*result));
  };
  for (size_t w = 0; w < workers_.size(); ++w) {
    workers_[w]->Apply(update, std::move(puts[w]), [this, left, finish] {
      if (left->fetch_sub(1) == 1) main_.Post(finish);
    });
  }
}

void WorkerPool::Drain(std::function<void()> done) {
  drained_ = true;
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  for (auto& w : workers_) {
    w->Drain([this, left, done] {
      if (left->fetch_sub(1) == 1) main_.Post(done);
    });
  }
}

void WorkerPool::AnnounceDrain() {
  for (auto& w : workers_) w->AnnounceDrain();
}

void WorkerPool::SetAccepting(bool on) {
  if (std::exchange(accepting_, on) == on) return;  // nor may it end a pause for want of descriptors
  for (auto& w : workers_) w->SetAccepting(on);
}

std::vector<uint32_t> WorkerPool::Connections() const {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < workers_.size(); ++i) out.push_back(peers_.loads.connections(i));
  return out;
}

void WorkerPool::ResetLargestStreams(uint16_t level) {
  // As many a turn as Envoy resets, shared out; a stream below a crowded worker's read is not worth
  // a failure.
  constexpr size_t kMaxStreams = 50, kMinBytes = 4 * 1024;
  size_t share = (kMaxStreams * level + OverloadState::kSaturated - 1) / OverloadState::kSaturated;
  size_t each = (share + workers_.size() - 1) / workers_.size();
  for (auto& w : workers_) {
    w->Post([worker = w.get(), each] { worker->services().ResetLargest(each, kMinBytes); });
  }
}

void WorkerPool::CollectHosts(std::function<void(std::vector<upstream::HostStatus>)> done) {
  auto parts = std::make_shared<std::vector<std::vector<upstream::HostStatus>>>(workers_.size());
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  for (size_t w = 0; w < workers_.size(); ++w) {
    workers_[w]->Post([this, w, worker = workers_[w].get(), parts, left, done] {
      worker->CollectHosts(&(*parts)[w]);
      if (left->fetch_sub(1) != 1) return;
      main_.Post([parts, done] {
        std::map<std::pair<std::string, std::string>, upstream::HostStatus> sums;
        for (const auto& part : *parts) {
          for (const upstream::HostStatus& h : part) {
            upstream::HostStatus& s = sums[{h.cluster, h.address}];
            s.cluster = h.cluster;
            s.address = h.address;
            s.requests.rq_total += h.requests.rq_total;
            s.requests.rq_success += h.requests.rq_success;
            s.requests.rq_error += h.requests.rq_error;
            s.requests.rq_timeout += h.requests.rq_timeout;
            s.requests.rq_active += h.requests.rq_active;
            s.cx_active += h.cx_active;
            s.cx_total += h.cx_total;
            s.cx_connect_fail += h.cx_connect_fail;
          }
        }
        std::vector<upstream::HostStatus> out;
        for (auto& [key, h] : sums) out.push_back(std::move(h));
        done(std::move(out));
      });
    });
  }
}

std::vector<std::pair<std::string, net::Address>> WorkerPool::ListenAddresses() const {
  std::vector<std::pair<std::string, net::Address>> out;
  for (const auto& [name, b] : listeners_) {
    for (const net::Address& a : b.bound) out.emplace_back(name, a);
  }
  return out;
}

}  // namespace weft::runtime
