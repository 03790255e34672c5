#include "controlplane/xds/hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dataplane/base/log.h"

namespace weft::ctl::xds {
namespace {

// "envoy 1.40.0".
std::string ClientName(const Node& node) {
  std::string version = node.user_agent_version();
  if (node.has_user_agent_build_version()) {
    const auto& v = node.user_agent_build_version().version();
    version = absl::StrCat(v.major_number(), ".", v.minor_number(), ".", v.patch());
  }
  if (node.user_agent_name().empty()) return version;
  return version.empty() ? node.user_agent_name()
                         : absl::StrCat(node.user_agent_name(), " ", version);
}

}  // namespace

Connection::Connection(Hub* hub, uint64_t id, Protocol protocol, const Node& node, std::string peer,
                       std::unique_ptr<ProxyResources> resources, std::shared_ptr<Stream> stream)
    : hub_(hub),
      id_(id),
      node_id_(node.id()),
      cluster_(node.cluster()),
      client_(ClientName(node)),
      peer_(std::move(peer)),
      resources_(std::move(resources)),
      stream_(std::move(stream)),
      session_(protocol, hub->options_.session, &hub->counters_) {
  session_.OnState(resources_->Current(), hub_->Now());
}

void Connection::OnRequest(const Request& request) {
  absl::Status status;
  {
    std::lock_guard lock(mutex_);
    if (stream_ == nullptr) return;
    status = session_.OnRequest(request, hub_->Now());
  }
  if (request.nack) {
    std::string refused;
    for (const Refusal& r : request.nack->refusals)
      absl::StrAppend(&refused, refused.empty() ? " " : ", ", r.name);
    LogWarning(absl::StrCat("xds: ", node_id_, " refused ", request.type_url, refused, ": ",
                            request.nack->message));
  }
  if (!status.ok()) {
    Bump(hub_->counters_.bad_requests);
    LogWarning(
        absl::StrCat("xds: stream of ", node_id_, " (", peer_, ") ended: ", status.message()));
    Close(status);
    return;
  }
  hub_->queue_.Add(shared_from_this());
}

void Connection::OnWritten() {
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
  }
  hub_->queue_.Add(shared_from_this());
}

void Connection::OnClosed() {
  {
    std::lock_guard lock(mutex_);
    if (stream_ == nullptr) return;
    stream_.reset();
  }
  hub_->Remove(id_);
}

void Connection::Push() {
  std::shared_ptr<Stream> stream;
  std::optional<Response> response;
  absl::Status failed;
  {
    std::lock_guard lock(mutex_);
    // While a response is in the transport nothing is computed: OnWritten leads here again.
    if (stream_ == nullptr || writing_) return;
    const SteadyTime now = hub_->Now();
    session_.OnState(resources_->Current(), now);
    absl::StatusOr<std::optional<Response>> next = session_.Next(now);
    if (!next.ok()) {
      failed = next.status();
    } else if (*next) {
      response = *std::move(next);
      writing_ = true;
      write_started_ = now;
      stream = stream_;
    }
  }
  if (!failed.ok()) {
    LogError(absl::StrCat("xds: stream of ", node_id_, " ended: ", failed.message()));
    Close(failed);
  } else if (response) {
    stream->Write(*response);  // without the lock: it may call OnWritten
  }
}

void Connection::Tick(SteadyTime now) {
  bool due = false, stalled = false;
  {
    std::lock_guard lock(mutex_);
    if (stream_ == nullptr) return;
    stalled = writing_ && now >= write_started_ + hub_->options_.write_limit;
    due = !writing_ && session_.deadline() && now >= *session_.deadline();
  }
  if (stalled) {
    Bump(hub_->counters_.stalled_closed);
    LogWarning(
        absl::StrCat("xds: ", node_id_, " (", peer_, ") does not read its stream; ended it"));
    Close(absl::DeadlineExceededError("the client did not read the stream"));
  } else if (due) {
    hub_->queue_.Add(shared_from_this());
  }
}

void Connection::Close(const absl::Status& status) {
  std::shared_ptr<Stream> stream;
  {
    std::lock_guard lock(mutex_);
    stream = stream_;
  }
  if (stream != nullptr) stream->Close(status);
}

ConnectionStatus Connection::Status() {
  ConnectionStatus status{id_, node_id_, cluster_, client_, peer_};
  status.since = since_;
  std::lock_guard lock(mutex_);
  status.protocol = session_.protocol();
  status.writing = writing_;
  session_.OnState(resources_->Current(), hub_->Now());
  status.types = session_.Status(hub_->Now());
  return status;
}

std::vector<SentResource> Connection::Sent() {
  std::lock_guard lock(mutex_);
  return session_.Sent();
}

Hub::Hub(ResourceProvider* provider, const HubOptions& options, Clock clock)
    : provider_(provider),
      options_(options),
      clock_(std::move(clock)),
      queue_(options.push_threads) {
  if (!clock_) ticks_ = std::thread([this] { RunTicks(); });
}

Hub::~Hub() { Shutdown(); }

absl::StatusOr<std::shared_ptr<Connection>> Hub::Open(Protocol protocol, const Node& node,
                                                      std::string peer,
                                                      std::shared_ptr<Stream> stream) {
  {
    // Before anything is computed for it.
    std::lock_guard lock(mutex_);
    if (stopping_) return absl::UnavailableError("the controller is stopping");
    if (connections_.size() >= options_.max_sessions) {
      Bump(counters_.sessions_rejected);
      return absl::ResourceExhaustedError(absl::StrCat("the controller serves at most ",
                                                       options_.max_sessions,
                                                       " streams; try another or later"));
    }
  }
  absl::StatusOr<std::unique_ptr<ProxyResources>> resources = provider_->Open(node);
  if (!resources.ok()) {
    Bump(counters_.sessions_rejected);
    LogWarning(absl::StrCat("xds: refused a stream of node \"", node.id(), "\" from ", peer, ": ",
                            resources.status().message()));
    return resources.status();
  }
  std::lock_guard lock(mutex_);
  if (stopping_) return absl::UnavailableError("the controller is stopping");
  const uint64_t id = next_id_++;
  auto connection = std::make_shared<Connection>(this, id, protocol, node, std::move(peer),
                                                 *std::move(resources), std::move(stream));
  connections_.emplace(id, connection);
  Bump(counters_.sessions_opened);
  return connection;
}

void Hub::OnNewState() {
  for (auto& connection : All()) {
    if (!queue_.Add(connection)) Bump(counters_.merged_states);
  }
}

void Hub::Tick() {
  const SteadyTime now = Now();
  for (auto& connection : All()) connection->Tick(now);
}

void Hub::RunTicks() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, options_.tick, [this] { return stopping_; })) {
    lock.unlock();
    Tick();
    lock.lock();
  }
}

void Hub::Shutdown() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    stop_.notify_all();
  }
  if (ticks_.joinable()) ticks_.join();
  queue_.Stop();
  for (auto& connection : All())
    connection->Close(absl::UnavailableError("the controller is stopping"));
}

std::vector<std::shared_ptr<Connection>> Hub::All() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  return all;
}

void Hub::Remove(uint64_t id) {
  std::shared_ptr<Connection> gone;
  std::lock_guard lock(mutex_);
  auto it = connections_.find(id);
  if (it == connections_.end()) return;
  gone = std::move(it->second);
  connections_.erase(it);
  Bump(counters_.sessions_closed);
}

std::vector<ConnectionStatus> Hub::Status() const {
  std::vector<ConnectionStatus> all;
  for (auto& connection : All()) all.push_back(connection->Status());
  std::sort(all.begin(), all.end(), [](const ConnectionStatus& a, const ConnectionStatus& b) {
    return a.node_id != b.node_id ? a.node_id < b.node_id : a.id < b.id;
  });
  return all;
}

std::vector<SentResource> Hub::Sent(const std::string& node_id) const {
  std::vector<SentResource> all;
  for (auto& connection : All()) {
    if (connection->node_id() != node_id) continue;
    for (SentResource& sent : connection->Sent()) all.push_back(std::move(sent));
  }
  return all;
}

size_t Hub::sessions() const {
  std::lock_guard lock(mutex_);
  return connections_.size();
}

}  // namespace weft::ctl::xds
