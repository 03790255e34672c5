#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataplane/config/xds_transport.h"
#include "dataplane/event/loop.h"

namespace weft::config {

// What is known of one resource. "Refused" may still hold an older version that was good.
enum class ResourceState : uint8_t { kRequested, kExists, kAbsent, kRefused };
std::string_view ResourceStateName(ResourceState s);

// One resource that was not taken, and why; `reason` begins with the field path where there is one.
struct XdsRefusal {
  std::string name, version, reason;
};

// One response of a server, as the rest of the process sees it. Also what the client finds out by itself: resources
// that did not come in time, or whose time to live is over, are `removed` too.
struct XdsUpdate {
  struct Resource {
    std::string name, version;
    std::string value;  // wire form of the message inside the Any
  };
  std::string type_url;
  std::string version;
  std::vector<Resource> resources;
  std::vector<std::string> removed;  // gone, or known not to exist
  bool from_server = true;
};

struct XdsOptions {
  bool delta = true;
  std::string node;  // serialized envoy.config.core.v3.Node
  // Delay before a new stream: doubles from the first to the second, times a random factor of 0.5 to 1. The upper end
  // is low, so that a controller that has returned is seen soon.
  MonoNanos backoff_min = 100 * kMillisecond;
  MonoNanos backoff_max = 5 * kSecond;
  std::function<double()> random;  // [0, 1); null: a generator of its own
};

// The client side of aggregated discovery, delta or state of the world, for any resource type: subscriptions, versions,
// answers, reconnecting. Knows nothing about what is in a resource but that field 1 is its name.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
//
// A response is answered after its `done` was called, in order; good resources of a response with bad ones stay taken,
// and the answer lists each bad one in error_detail.message and, as envoy.service.discovery.v3.ResourceError, in details.
// Subscriptions of one loop turn go out as one request a type.
//
// Owner: ConfigManager. Thread: the main loop's. Destroyed when: the owner likes, not from inside a watcher's call.
class XdsClient final : private XdsTransport::Handler, private event::TurnEndTask {
 public:
  using Done = std::function<void(std::vector<XdsRefusal>)>;
  class Watcher {
   public:
    // `done` is called once, at once or later on the same thread, with what was refused.
    virtual void OnXdsUpdate(XdsUpdate update, Done done) = 0;
    // Connected, or lost with a reason.
    virtual void OnXdsConnection(bool connected, const std::string& detail) {}

   protected:
    ~Watcher() = default;
  };

  struct ResourceInfo {
    ResourceState state = ResourceState::kRequested;
    std::string version;          // held; empty: none
    std::string refused_version;  // kRefused
    std::string reason;           // kRefused, kAbsent
    int64_t updated_micros = 0;   // wall time of the last change
  };
  struct Status {
    bool connected = false;
    std::string server;      // address tried last
    std::string last_error;  // why the last stream ended
    std::string control_plane;
    uint64_t streams = 0, failures = 0, responses = 0, acks = 0, nacks = 0;
  };

  XdsClient(event::Loop& loop, XdsTransport& transport, XdsOptions options, Watcher* watcher);
  ~XdsClient();

  // Before Start. `complete`: a state-of-the-world response names everything, so what it lacks is gone (listeners,
  // clusters). First requests of a stream go out in the order of registration.
  void AddType(std::string_view type_url, bool complete);
  void Start();

  void SubscribeAll(std::string_view type_url);
  // After `timeout` without an answer the resource is reported as removed (and still wanted); 0: never.
  void Subscribe(std::string_view type_url, const std::string& name, MonoNanos timeout);
  void Unsubscribe(std::string_view type_url, const std::string& name);

  // Tells that the process holds this version already (from disk): servers then send only what differs. Takes effect
  // with the next stream: see Restart.
  void Seed(std::string_view type_url, const std::string& name, const std::string& version);
  // Drops the stream, if there is one, and begins anew at once.
  void Restart();

  const Status& status() const { return status_; }
  // Null when nothing is known of it.
  const ResourceInfo* Find(std::string_view type_url, const std::string& name) const;

 private:
  struct Resource {
    ResourceInfo info;
    bool named = false;  // subscribed by name
    MonoNanos ttl_end = 0;
  };
  // A response that was handed to the watcher and is not answered yet.
  struct Unanswered {
    uint64_t id = 0;
    uint64_t stream = 0;  // 0: not from a server
    std::string nonce, version;
    std::vector<std::pair<std::string, std::string>> taken;  // name, version
    std::vector<std::string> removed;
    std::vector<XdsRefusal> refused;
    bool done = false;
  };
  struct Type {
    std::string url;
    bool complete = false, wildcard = false;
    bool asked = false;  // a request was sent on this stream
    bool dirty = false;  // the state-of-the-world list of names has changed
    std::unordered_map<std::string, Resource> resources;
    std::map<std::string, bool> changes;  // delta: name -> subscribe (else unsubscribe)
    std::string accepted_version, last_nonce;  // state of the world
    std::deque<Unanswered> unanswered;
  };

  void OnXdsReady() override;
  void OnXdsMessage(std::string bytes) override;
  void OnXdsClosed(const GrpcStatus& status) override;
  void RunAtTurnEnd() override;

  Type* Find(std::string_view type_url);
  void OpenStream();
  void DropStream();
  void OnDelta(const std::string& bytes);
  void OnStateOfTheWorld(const std::string& bytes);
  static bool Wanted(const Type& type);
  void BadMessage(std::string_view what);
  void RefuseType(const std::string& url, const std::string& nonce);
  void Deliver(Type& type, Unanswered pending, XdsUpdate update);
  void OnDone(const std::string& url, uint64_t id, std::vector<XdsRefusal> refused);
  void Settle(Type& type, Unanswered& u);
  void Answer(Type& type, const Unanswered& u);
  void SendRequest(Type& type, const Unanswered* answer);
  void ForgetRefusals(Type& type);
  void SendDelta(Type& type, const Unanswered* answer);
  void SendStateOfTheWorld(Type& type, const Unanswered* answer);
  void Absent(Type& type, const std::string& name, std::string reason);
  void SetTtl(Type& type, const std::string& name, MonoNanos ttl);
  void OnDeadline();
  void ArmDeadline();

  event::Loop& loop_;
  XdsTransport& transport_;
  const XdsOptions options_;
  Watcher* watcher_;
  std::vector<std::unique_ptr<Type>> types_;
  std::unique_ptr<XdsTransport::Stream> stream_;
  uint64_t stream_id_ = 0;
  bool ready_ = false;
  bool node_sent_ = false;
  bool heard_ = false;      // this stream has brought a response
  size_t failures_ = 0;     // streams in a row that brought none
  uint64_t next_id_ = 1;
  event::Timer reconnect_;
  // Ends of waiting and of times to live: deadline -> type, name.
  std::multimap<MonoNanos, std::pair<Type*, std::string>> deadlines_;
  event::Timer deadline_;
  Status status_;
  std::shared_ptr<XdsClient*> self_;  // null inside once destroyed: late `done` calls find nobody
  double Random();  // [0, 1)
  uint64_t random_state_;
};

// The name inside a resource's wire form: field 1, a string in every xDS resource. Empty when there is none or the
// bytes are no message.
std::string NameInWire(std::string_view wire);

}  // namespace weft::config
