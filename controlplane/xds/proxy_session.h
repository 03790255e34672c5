#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controlplane/xds/messages.h"
#include "controlplane/xds/resource.h"
#include "controlplane/xds/stats.h"

namespace weft::ctl::xds {

using SteadyTime = std::chrono::steady_clock::time_point;
using SystemTime = std::chrono::system_clock::time_point;

struct SessionOptions {
  // No second response of a type goes out before the first is answered, so that changes merge for a
  // slow proxy. A proxy that does not answer for this long gets the next one all the same.
  std::chrono::milliseconds answer_limit{10000};
  // How long routes wait for their clusters, and removals for the routes that may still use what is
  // removed.
  std::chrono::milliseconds hold_limit{5000};
  // A delta response is split above this; gRPC clients refuse messages above 4 MB unless told
  // otherwise.
  size_t max_response_bytes = 3u << 20;
  // A state-of-the-world response can't be split: above this the stream ends with a reason.
  size_t max_unsplit_bytes = 64u << 20;
  size_t max_names_per_type = 200000;
  size_t max_types = 64;
};

enum class SyncState : uint8_t { kNotSent, kSynced, kStale, kRefused };

// What one proxy has of one type; see weft.mgmt.v1.TypeState.
struct TypeStatus {
  std::string type_url;
  SyncState state = SyncState::kNotSent;
  std::string reason;
  std::string generated_version, pushed_version, accepted_version;
  bool wildcard = false;
  size_t subscribed = 0;
  size_t resources = 0;
  std::vector<Refusal> refused;
  std::vector<std::string> missing;  // subscribed by name, do not exist
  std::optional<SystemTime> last_push, last_answer;
  uint64_t pushes = 0, acks = 0, nacks = 0;
};

// One resource that a proxy was sent.
struct SentResource {
  std::string type_url;
  ResourcePtr resource;
  std::string accepted_version;  // empty: none yet
  bool refused = false;
};

// One aggregated discovery stream of one proxy: what it subscribed to, what it was sent, what it
// took. One delta subscription model serves both protocol variants; state of the world is a view of
// it that differs in how a request is read (the list of names is compared with the last one) and in
// how a response is filled (the types that must be complete are).
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
//
// It is pulled: requests and states go in by OnRequest and OnState, and whoever can write asks Next
// for the next response. So a proxy that does not read holds one response, and everything that
// changes meanwhile is merged.
//
// Owner: Connection. Thread: one at a time (Connection's lock). Destroyed when: the stream has
// ended.
class ProxySession {
 public:
  ProxySession(Protocol protocol, const SessionOptions& options, Counters* counters);

  Protocol protocol() const { return protocol_; }

  // An error ends the stream: the client broke the protocol or a limit; the message is for it.
  absl::Status OnRequest(const Request& request, SteadyTime now);

  // The newest state. Merges with what has not been sent.
  void OnState(std::shared_ptr<const ResourceView> view, SteadyTime now);

  // The next response, in make-before-break order, or none: nothing to say, or it has to wait.
  // ResourceExhausted: the response can't be sent to this client at all.
  absl::StatusOr<std::optional<Response>> Next(SteadyTime now);

  // When Next may answer differently without any event; none: never.
  std::optional<SteadyTime> deadline() const { return deadline_; }

  // Not const: it looks first at what has become due.
  std::vector<TypeStatus> Status(SteadyTime now);
  // What the proxy was sent or said that it has, by type and name. `resource` has no value when
  // only the proxy knows it: a version from before this stream that is no longer the current one.
  std::vector<SentResource> Sent() const;

 private:
  struct Entry {
    ResourcePtr sent;  // last sent, or what the client said that it holds (then without a value);
                       // null: nothing
    ResourcePtr accepted;  // last that the client took
    bool told_absent = false;
    bool resend = false;
  };
  struct Outstanding {
    std::string nonce;
    SteadyTime sent_at;
    SteadyTime changed_at;
    std::string version;
    std::vector<ResourcePtr> resources;
    std::vector<std::string> removed;
    bool isolating = false;
  };
  struct Refused {
    Refusal refusal;
    bool certain = false;  // the client named it, or it was alone in its response
  };
  struct Type {
    std::string url;
    int rank = 0;
    bool complete =
        false;  // a state-of-the-world response must name everything (listeners and clusters)
    bool wildcard = false;
    bool names_given = false;  // state of the world: an empty list no longer means everything
    bool answer = false;       // a response is due even when it is empty
    bool rescan = true;
    absl::flat_hash_set<std::string> names;
    absl::flat_hash_map<std::string, Entry> entries;
    // To be sent: a null pointer is a removal.
    absl::btree_map<std::string, ResourcePtr> pending;
    absl::flat_hash_map<std::string, Refused> refused;
    std::deque<Outstanding> outstanding;
    // Groups of names out of a refused response, sent again (by halves) to find the culprit.
    std::deque<std::vector<std::string>> isolate;
    std::string last_nonce;
    uint64_t sent_hash = 0;  // over names and versions in `entries[].sent`
    std::string accepted_version;
    std::string last_error;
    uint64_t seen_generation = 0;
    std::optional<SteadyTime> held_since, removal_held_since, changed_at;
    std::optional<SystemTime> last_push, last_answer;
    uint64_t pushes = 0, acks = 0, nacks = 0;
  };

  Type* Find(std::string_view url);
  absl::StatusOr<Type*> FindOrAdd(const std::string& url, bool* added);

  absl::Status Subscribe(Type& type, const Request& request, bool first);
  absl::Status SubscribeDelta(Type& type, const Request& request, bool first);
  absl::Status SubscribeStateOfTheWorld(Type& type, const Request& request, bool first);
  void AddName(Type& type, const std::string& name, bool force);
  void DropName(Type& type, const std::string& name);
  void DropWildcard(Type& type);
  void Forget(Type& type, const std::string& name);

  void OnAnswer(Type& type, const Request& request, SteadyTime now);
  void Accept(Type& type, const ResourcePtr& resource);
  void Refuse(Type& type, const Outstanding& response, const Nack& nack);
  void RefuseForgotten(Type& type, const Nack& nack);
  void Suspect(Type& type, const std::vector<std::string>& names, bool certain,
               const std::string& reason);
  void ClearRefusal(Type& type, const std::string& name);

  // Brings `pending` up to date with the view.
  void Scan(Type& type, SteadyTime now);
  void Reconsider(Type& type, const std::string& name, const ResourcePtr& current);
  bool IsBreak(const Type& type, const std::string& name) const;
  bool HasUpserts(const Type& type) const;
  bool HasBreaks(const Type& type) const;

  bool AwaitsAnswer(const Type& type, SteadyTime now);
  bool Made(SteadyTime now);
  bool RoutesSettled();
  void WakeAt(SteadyTime when);

  std::optional<Response> NextIsolated(Type& type, SteadyTime now);
  absl::StatusOr<std::optional<Response>> FillDelta(Type& type, bool with_breaks, SteadyTime now);
  absl::StatusOr<std::optional<Response>> FillStateOfTheWorld(Type& type, bool with_breaks,
                                                              SteadyTime now);
  void MarkSent(Type& type, const ResourcePtr& resource, SteadyTime now);
  void MarkRemoved(Type& type, const std::string& name);
  void SetSent(Type& type, const std::string& name, Entry& entry, ResourcePtr resource);
  Response Seal(Type& type, Response response, bool isolating, SteadyTime now);

  const Protocol protocol_;
  const SessionOptions options_;
  Counters* const counters_;
  std::shared_ptr<const ResourceView> view_;
  // In push order.
  std::vector<std::unique_ptr<Type>> types_;
  uint64_t next_nonce_ = 1;
  std::optional<SteadyTime> deadline_;
  // Clusters that were sent changed before the client subscribed to their endpoints on this stream.
  absl::flat_hash_set<std::string> rewarm_;
  // Clusters whose endpoints the client has to acknowledge before routes follow, and until when.
  absl::flat_hash_map<std::string, SteadyTime> expected_endpoints_;
};

}  // namespace weft::ctl::xds
