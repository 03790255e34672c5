#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/substitution/stream_fields.h"
#include "dataplane/decide/route_table.h"
#include "dataplane/http/stream.h"
#include "dataplane/proxy/body_transform.h"
#include "dataplane/proxy/error_table.h"
#include "dataplane/proxy/filter.h"
#include "dataplane/proxy/http_manager.h"
#include "dataplane/proxy/tcp_upstream.h"
#include "dataplane/upstream/cluster.h"

namespace weft::proxy {

// Looks fields up in a message for deciders, formats and logs.
class HeaderMapSource final : public HeaderSource {
 public:
  HeaderMapSource(const http::HeaderMap& headers, Arena& arena)
      : headers_(headers), arena_(arena) {}
  std::optional<std::string_view> Get(std::string_view lower_case_name) const override;

 private:
  const http::HeaderMap& headers_;
  Arena& arena_;  // joined values
};

// Where a request stands. docs/life_of_a_request.md has the chart.
enum class Phase : uint8_t {
  kReadHead,
  kAuthenticate,
  kRoute,
  kRequestFilters,
  kPick,
  kConnect,
  kSendRequest,
  kReadResponseHead,
  kResponseFilters,
  kRelay,
  kRecord,
};

// One request and its response: the linear driver between a downstream stream and upstream
// attempts. Retry goes back to Pick while the request can be sent again. Errors end in a local
// reply by the one error table. Owner: WorkerServices, which reuses it; it recycles itself when it
// is over. Thread: the worker's.
class Exchange final : public ListLink<ActiveExchangeTag>,
                       private http::ServerStreamEvents,
                       private http::ClientStreamEvents,
                       private upstream::StreamRequest,
                       private BodyTransform::Owner {
 public:
  explicit Exchange(WorkerServices& services);
  ~Exchange();

  void Start(Rc<HttpManager> manager, http::ServerStream& stream);

  // Bytes of bodies that wait in this process for a slow reader.
  size_t BufferedBytes() const;
  // 503 when nothing was answered yet, else the response is cut off.
  void ResetForOverload();
  // Unique on the worker; 0 when the exchange is over.
  uint64_t stream_id() const { return stream_ == nullptr ? 0 : stream_id_; }

  // For filters.
  http::RequestHead& request() { return stream_->request(); }
  http::ResponseHead& response() { return *response_; }
  Arena& arena() { return stream_->arena(); }
  const decide::RouteMatch& route() const { return match_; }
  // The most specific per-route configuration of a filter, as its factory compiled it; null when
  // there is none.
  const void* RouteConfig(std::string_view filter_name) const;
  // Calls f(config) for each level that configures the filter, most general first.
  template <typename F>
  void ForEachRouteConfig(std::string_view filter_name, F f) const {
    if (!routes_ || match_.vhost == nullptr) return;
    routes_->table->ForEachFilterConfig(match_, filter_name, [&](const decide::FilterConfig& c) {
      if (c.compiled != nullptr) f(c.compiled.get());
    });
  }
  // Records a local reply; the hook then returns Verdict::kDone. `body` outlives the exchange or is
  // in its arena.
  void Reply(int status, std::string_view body, std::string_view details,
             ResponseFlag flag = ResponseFlag::kCount);
  // Goes on after Verdict::kPause.
  void Resume();
  // The body passes through `transform` on its way. Hooks of heads only, once each.
  void TransformRequestBody(std::unique_ptr<BodyTransform> transform);
  void TransformResponseBody(std::unique_ptr<BodyTransform> transform) {
    response_transform_ = std::move(transform);
  }
  // The request is a gRPC call from now on.
  void MarkGrpc();
  // Applies header mutations with this exchange's fields. kInTurn: each sees what those before it
  // did. kTogether: all see what was there before the list, as with the lists of routes.
  enum class MutationOrder : uint8_t { kInTurn, kTogether };
  void Mutate(const std::vector<decide::HeaderMutation>& mutations, http::HeaderMap& headers,
              MutationOrder order = MutationOrder::kInTurn);

 private:
  friend class WorkerServices;
  static constexpr uint32_t kMaxReroutes = 5;
  static constexpr uint32_t kMaxReplays = 3;
  static constexpr size_t kReplayBytes = 64 * 1024;  // of a body that is kept until an answer comes
  static constexpr uint32_t kMaxRepicks =
      3;  // after endpoints that went away while the exchange waited for them

  // Phases, in order; each continues with the next or leaves the exchange waiting.
  void PrepareRequest();
  bool RefusedByOverload();
  void Route();
  bool TunnelAllowed();
  void CreateFilters();
  void RunRequestFilters();
  void PrepareUpstream();
  void Pick(upstream::ConnPool::Want want = upstream::ConnPool::Want::kAny);
  std::string_view ServerName(const upstream::ClusterSpec& spec);
  void DialTcp(upstream::Host& host);
  void PrepareWebSocket();
  bool WebSocketAgreed(http::ResponseHead& head);
  void SendRequest(http::ClientStream& stream);
  void RunResponseFilters(buffer::BodyPipe* body);
  void SendResponse(buffer::BodyPipe* body);
  void SendLocalReply();
  buffer::BodyPipe* MakeLocalReply();
  void Record();

  // ServerStreamEvents.
  void OnStreamReset(const Error& error) override;
  void OnStreamDone() override;
  // ClientStreamEvents.
  void OnInformational(const http::ResponseHead& head) override;
  void OnResponse(http::ResponseHead& head, buffer::BodyPipe* body) override;
  void OnClientReset(const Error& error) override;
  // upstream::StreamRequest.
  void OnStreamReady(http::ClientStream& stream) override;
  void OnStreamFailed(const Error& error) override;

  void OnTransformFailed(std::string_view detail) override;
  buffer::BodyPipe* RequestBody() {
    return request_transform_ != nullptr ? request_transform_->pipe() : stream_->request_body();
  }
  void Verdicts(Verdict v);
  void ForwardedFor();
  void NormalizePath();
  void ApplyTimeLimits();
  void ArmLimitTimer();
  int GrpcStatusNow();
  void RequestId();
  void RedirectRequest();
  void ReplyWith(const Error& error);
  void AttemptFailed(const Error& error);
  bool MayRetry(const Error& error);
  bool Replayable();
  bool ScheduleRetry();
  void EndAttempt();
  void GiveUsage();
  http::ClientStream* AttemptOver();  // only the numbers; returns the stream
  void ArmRouteTimer();
  void OnRouteTimer();
  void OnTryTimer();
  void OnLimitTimer();
  void CutOff(const Error& error);
  void CountAttemptResponse(int status);
  void FillFields(StreamFields* fields);
  void Clear();

  WorkerServices& services_;
  Rc<HttpManager> manager_;
  http::ServerStream* stream_ = nullptr;  // null once it is over
  http::ClientStream* client_ = nullptr;  // of the attempt under way
  TcpUpstream* dialing_ = nullptr;        // of a CONNECT that ends here, until it is client_
  Rc<PinnedRoutes> routes_;
  decide::RouteMatch match_;
  Rc<upstream::Cluster> cluster_;
  Rc<upstream::Host> host_;
  const upstream::Host* last_host_ = nullptr;  // of the attempt before; compared, never followed
  std::vector<std::unique_ptr<Filter>>
      filters_;               // null for those without state; empty when no filter has any
  std::unique_ptr<BodyTransform> request_transform_, response_transform_;  // may be null
  http::ResponseHead local_;  // head of a local reply
  http::ResponseHead* response_ = nullptr;  // local_ or the attempt's
  buffer::BodyPipe* upstream_body_ = nullptr;
  buffer::BodyPipe local_body_;
  std::string scratch_;
  event::Timer route_timer_, try_timer_;  // the latter also waits out a retry's back-off
  event::Timer limit_timer_;              // request_timeout, then max_stream_duration
  int64_t start_wall_micros_ = 0;
  MonoNanos start_ = 0, first_byte_ = 0, attempt_start_ = 0;
  uint64_t random_ = 0, stream_id_ = 0, flags_ = 0;
  std::string_view details_, reply_body_, transport_failure_;
  std::string_view websocket_key_;  // the one that we made; empty: the client's, or none
  char host_text_[64];
  size_t host_text_size_ = 0;
  MonoNanos route_timeout_ = 0, max_duration_ = 0;  // 0: none
  uint64_t upload_seen_ = 0;  // bytes of the upload when the route timer last found it stuck
  uint32_t next_filter_ = 0, attempts_ = 0, reroutes_ = 0, repicks_ = 0, replays_ = 0;
  int reply_status_ = 0, response_code_ = 0;
  int reply_grpc_status_ = -1;  // -1: what the HTTP status means
  Phase phase_ = Phase::kReadHead;
  bool response_started_ = false, waiting_backoff_ = false, holds_request_ = false,
       holds_retry_ = false, holds_upgrade_ = false, paused_ = false, resumed_ = false,
       upstream_response_ = false, grpc_ = false;
};

}  // namespace weft::proxy
