#include "dataplane/runtime/worker_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <map>

#include "dataplane/net/listener.h"

namespace weft::runtime {

WorkerPool::WorkerPool(event::Loop& main, observe::Registry& registry, observe::AccessLogs& logs, int workers)
    : main_(main) {
  for (int i = 0; i < workers; ++i) workers_.push_back(std::make_unique<Worker>(i, registry, logs));
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Start() {
  for (auto& w : workers_) w->Start();
}

void WorkerPool::Stop() {
  for (auto& w : workers_) w->Stop();
}

bool WorkerPool::Open(const config::ListenerSpec& spec, std::vector<std::vector<int>>* fds, std::string* error) {
  std::vector<net::Address> asked = {spec.address};
  asked.insert(asked.end(), spec.additional_addresses.begin(), spec.additional_addresses.end());
  fds->assign(workers_.size(), std::vector<int>(asked.size(), -1));
  auto it = listeners_.find(spec.name);
  if (it != listeners_.end() && it->second.asked == asked) return true;  // the sockets stay
  if (!spec.bind_to_port) return true;
  net::ListenOptions options;
  options.freebind = spec.freebind;
  options.backlog = static_cast<int>(spec.backlog);
  Bound bound;
  bound.asked = asked;
  bool ok = true;
  for (size_t a = 0; a < asked.size() && ok; ++a) {
    net::ListenOptions own = options;
    own.reuse_port = spec.reuse_port;
    // SO_REUSEPORT would share the address with another process of the same user without a word: probe for it first.
    if (asked[a].port() != 0 && !asked[a].is_unix()) {
      net::ListenOptions probe = options;
      probe.reuse_port = false;
      int fd = net::OpenListenSocket(asked[a], probe, error);
      if (fd < 0) {
        ok = false;
        break;
      }
      close(fd);
    }
    net::Address address = asked[a];
    for (size_t w = 0; w < workers_.size(); ++w) {
      // Without SO_REUSEPORT (and for a Unix socket) all workers accept from one socket.
      bool shared = address.is_unix() || !spec.reuse_port;
      int fd = shared && w > 0 ? fcntl((*fds)[0][a], F_DUPFD_CLOEXEC, 0)
                               : net::OpenListenSocket(address, own, error);
      if (fd < 0) {
        ok = false;
        break;
      }
      (*fds)[w][a] = fd;
      if (address.port() == 0 && !address.is_unix()) {
        sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        getsockname(fd, reinterpret_cast<sockaddr*>(&ss), &len);
        address = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&ss), len);
      }
    }
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
  listeners_[spec.name] = std::move(bound);
  return true;
}

void WorkerPool::Apply(std::shared_ptr<const config::Update> update, std::function<void(ApplyResult)> done) {
  auto result = std::make_shared<ApplyResult>();
  std::vector<std::vector<ListenerPut>> puts(workers_.size());
  // A removed listener's address may be taken over by another one in the same update.
  for (const std::string& name : update->removed_listeners) listeners_.erase(name);
  for (const auto& spec : update->listeners) {
    std::vector<std::vector<int>> fds;
    std::string error;
    if (!Open(*spec, &fds, &error)) {
      result->refused_listeners.emplace_back(spec->name, error);
      continue;
    }
    for (size_t w = 0; w < workers_.size(); ++w) puts[w].push_back({spec, std::move(fds[w])});
  }
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  for (size_t w = 0; w < workers_.size(); ++w) {
    workers_[w]->Apply(update, std::move(puts[w]), [this, left, result, done] {
      if (left->fetch_sub(1) == 1 && done) main_.Post([done, result] { done(std::move(*result)); });
    });
  }
}

void WorkerPool::Drain(std::function<void()> done) {
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  for (auto& w : workers_) {
    w->Drain([this, left, done] {
      if (left->fetch_sub(1) == 1) main_.Post(done);
    });
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
