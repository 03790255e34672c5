#include "dataplane/proxy/exchange.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>
#include <utility>

#include "dataplane/base/substitution/grpc_status.h"
#include "dataplane/decide/rewrite.h"
#include "dataplane/http/path.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/proxy/grpc.h"
#include "dataplane/proxy/websocket.h"

namespace weft::proxy {

using http::HeaderId;

namespace {

std::string_view FormatAddress(const net::Address& a, Arena& arena) {
  if (!a.valid()) return {};
  char buf[net::Address::kMaxIp + 16];
  char* p = buf;
  if (a.is_v6()) *p++ = '[';
  p += a.FormatIp(p);
  if (a.is_v6()) *p++ = ']';
  if (!a.is_unix()) {
    *p++ = ':';
    p = std::to_chars(p, p + 6, a.port()).ptr;
  }
  return arena.Copy({buf, static_cast<size_t>(p - buf)});
}

std::string_view FormatNumber(int64_t n, Arena& arena) {
  char buf[24];
  return arena.Copy({buf, static_cast<size_t>(std::to_chars(buf, buf + sizeof(buf), n).ptr - buf)});
}

}  // namespace

std::optional<std::string_view> HeaderMapSource::Get(std::string_view name) const {
  const http::Header* first = headers_.Find(name);
  if (first == nullptr) return std::nullopt;
  if (headers_.Count(name) == 1) return first->value;
  size_t size = 0;
  for (const http::Header& h : headers_) {
    if (http::EqualsIgnoreCase(h.name, name)) size += h.value.size() + 1;
  }
  char* out = arena_.Allocate(size);
  char* p = out;
  for (const http::Header& h : headers_) {
    if (!http::EqualsIgnoreCase(h.name, name)) continue;
    if (p != out) *p++ = ',';
    memcpy(p, h.value.data(), h.value.size());
    p += h.value.size();
  }
  return std::string_view(out, static_cast<size_t>(p - out));
}

Exchange::Exchange(WorkerServices& services)
    : services_(services),
      route_timer_(
          services.loop.timers(), [](void* self) { static_cast<Exchange*>(self)->OnRouteTimer(); },
          this),
      try_timer_(
          services.loop.timers(), [](void* self) { static_cast<Exchange*>(self)->OnTryTimer(); },
          this),
      limit_timer_(
          services.loop.timers(), [](void* self) { static_cast<Exchange*>(self)->OnLimitTimer(); },
          this) {}

Exchange::~Exchange() = default;

void Exchange::Clear() {
  manager_.reset();
  stream_ = nullptr;
  client_ = nullptr;
  dialing_ = nullptr;
  routes_.reset();
  match_ = {};
  cluster_.reset();
  host_.reset();
  last_host_ = nullptr;
  filters_.clear();
  request_transform_.reset();
  response_transform_.reset();
  local_.Clear();
  response_ = nullptr;
  upstream_body_ = nullptr;
  local_body_.Reset(nullptr);
  first_byte_ = attempt_start_ = 0;
  flags_ = 0;
  details_ = reply_body_ = transport_failure_ = websocket_key_ = {};
  host_text_size_ = 0;
  next_filter_ = attempts_ = 0;
  reply_status_ = response_code_ = 0;
  reply_grpc_status_ = -1;
  route_timeout_ = max_duration_ = 0;
  reroutes_ = repicks_ = replays_ = 0;
  upload_seen_ = 0;
  phase_ = Phase::kReadHead;
  response_started_ = waiting_backoff_ = holds_request_ = holds_retry_ = paused_ = resumed_ =
      upstream_response_ = grpc_ = false;
}

// ---- ReadHead

void Exchange::Start(Rc<HttpManager> manager, http::ServerStream& stream) {
  manager_ = std::move(manager);
  stream_ = &stream;
  stream.set_events(this);
  start_wall_micros_ = WallMicros();
  start_ = stream.start_time();
  random_ = services_.random.Next();
  stream_id_ = services_.next_stream_id++;
  observe::HttpCounters& c = manager_->counters();
  c.downstream_rq_total.Inc();
  c.downstream_rq_active.Inc();
  c.rq_total.Inc();
  if (request().protocol == http::Protocol::kHttp2) {
    c.downstream_rq_http2_total.Inc();
  } else {
    c.downstream_rq_http1_total.Inc();
  }
  services_.active.PushBack(this);
  if (!RefusedByOverload()) PrepareRequest();
}

bool Exchange::RefusedByOverload() {
  const OverloadState& o = *services_.overload;
  observe::HttpCounters& c = manager_->counters();
  if (o.Applies(OverloadAction::kDisableHttpKeepalive, random_ >> 16)) {
    c.downstream_cx_overload_disable_keepalive.Inc();
    stream_->SetCloseAfter();
  }
  if (!o.Applies(OverloadAction::kStopAcceptingRequests, random_ >> 32)) return false;
  c.downstream_rq_overload_close.Inc();
  ReplyWith({ErrorCode::kOverload});
  return true;
}

size_t Exchange::BufferedBytes() const {
  if (stream_ == nullptr) return 0;
  size_t n = local_body_.available() + stream_->unsent();
  if (client_ != nullptr) n += client_->unsent();
  if (const buffer::BodyPipe* b = stream_->request_body()) n += b->available();
  if (upstream_body_ != nullptr) n += upstream_body_->available();
  return n;
}

void Exchange::PrepareRequest() {
  http::RequestHead& r = request();
  if (stream_->transport().tls() != nullptr) r.scheme = "https";
  http::RemoveHopByHop(r.headers);
  ForwardedFor();
  const HttpManagerSpec& spec = manager_->spec();
  if ((spec.normalize_path || spec.merge_slashes) && http::NeedsNormalizing(r.path))
    NormalizePath();
  if (auto type = r.headers.Get(HeaderId::kContentType)) grpc_ = IsGrpc(*type);
  max_duration_ = spec.max_stream_duration;
  ArmLimitTimer();
  if (spec.use_remote_address) {
    // At the edge neither a field nor an absolute target's scheme is believed.
    r.headers.Set(HeaderId::kXForwardedProto,
                  stream_->transport().tls_version().empty() ? "http" : "https");
  } else if (!r.headers.Has(HeaderId::kXForwardedProto)) {
    r.headers.Add(HeaderId::kXForwardedProto, r.scheme);
  }
  ForwardClientCert(spec.client_cert, stream_->transport(), r.headers, arena(), scratch_);
  RequestId();
  if (!spec.via.empty()) r.headers.Add(HeaderId::kVia, spec.via);
  Route();
}

// Both limits count from the first byte.
void Exchange::ArmLimitTimer() {
  MonoNanos limit = stream_->request_end_time() == 0 ? manager_->spec().request_timeout : 0;
  if (limit == 0 || (max_duration_ > 0 && max_duration_ < limit)) limit = max_duration_;
  if (limit > 0) {
    limit_timer_.Arm(std::max<MonoNanos>(start_ + limit - services_.loop.Now(), 1));
  } else {
    limit_timer_.Cancel();
  }
}

// What the route and the request's grpc-timeout say about time.
void Exchange::ApplyTimeLimits() {
  http::RequestHead& r = request();
  std::optional<MonoNanos> asked;
  if (grpc_) {
    if (auto value = r.headers.Get(HeaderId::kGrpcTimeout)) asked = ParseGrpcTimeout(*value);
  }
  TimeLimits limits =
      LimitsOf(match_.route->action, manager_->spec().max_stream_duration, asked, grpc_);
  route_timeout_ = limits.route_timeout;
  if (limits.by_grpc_timeout) {
    char text[10];
    size_t n = FormatGrpcTimeout(route_timeout_, text);
    r.headers.Set(HeaderId::kGrpcTimeout, arena().Copy({text, n}));
  }
  if (limits.max_duration == max_duration_) return;
  max_duration_ = limits.max_duration;
  ArmLimitTimer();
}

void Exchange::NormalizePath() {
  http::RequestHead& r = request();
  if (manager_->spec().normalize_path && r.path.starts_with('/')) {
    scratch_.clear();
    http::AppendNormalizedPath(r.path, &scratch_);
    r.path = arena().Copy(scratch_);
  }
  if (manager_->spec().merge_slashes) {
    scratch_.clear();
    http::AppendWithMergedSlashes(r.path, &scratch_);
    r.path = arena().Copy(scratch_);
  }
}

// X-Forwarded-For as Envoy's use_remote_address describes it.
void Exchange::ForwardedFor() {
  const HttpManagerSpec& spec = manager_->spec();
  if (!spec.use_remote_address || spec.skip_xff_append) return;
  char ip[net::Address::kMaxIp];
  std::string_view peer(ip, stream_->transport().peer_address().FormatIp(ip));
  http::HeaderMap& h = request().headers;
  if (auto old = h.Get(HeaderId::kXForwardedFor)) {
    char* p = arena().Allocate(old->size() + 1 + peer.size());
    memcpy(p, old->data(), old->size());
    p[old->size()] = ',';
    memcpy(p + old->size() + 1, peer.data(), peer.size());
    h.Set(HeaderId::kXForwardedFor, {p, old->size() + 1 + peer.size()});
  } else {
    h.Add(HeaderId::kXForwardedFor, arena().Copy(peer));
  }
}

void Exchange::RequestId() {
  const HttpManagerSpec& spec = manager_->spec();
  http::HeaderMap& h = request().headers;
  bool keep = !spec.use_remote_address || spec.preserve_external_request_id;
  if (!spec.generate_request_id || (keep && h.Has(HeaderId::kXRequestId))) return;
  char* p = arena().Allocate(36);
  services_.random.Uuid(p);
  h.Set(HeaderId::kXRequestId, {p, 36});
}

// ---- Route

void Exchange::Route() {
  phase_ = Phase::kRoute;
  routes_ = manager_->routes();
  http::RequestHead& r = request();
  if (routes_) {
    HeaderMapSource source(r.headers, arena());
    decide::RequestView view{r.method, r.scheme, r.authority, r.path, &source};
    match_ = routes_->table->Match(view, random_, nullptr);
  }
  if (match_.route == nullptr) {  // the filters run all the same, as in Envoy
    RunRequestFilters();
    return;
  }
  if (r.wants_tunnel() && !TunnelAllowed()) {
    manager_->counters().downstream_rq_ws_on_non_ws_route.Inc();
    CreateFilters();
    Reply(403, "", "upgrade_failed");
    SendLocalReply();
    return;
  }
  const decide::RouteAction& action = match_.route->action;
  if (action.idle_timeout.has_value()) stream_->set_idle_timeout(*action.idle_timeout);
  ApplyTimeLimits();
  RunRequestFilters();
}

// Whether the manager and the route let the request ask for a tunnel; of an offer of several
// protocols the first one that they allow is left.
bool Exchange::TunnelAllowed() {
  http::RequestHead& r = request();
  const decide::UpgradeRules& manager = manager_->spec().upgrades;
  const decide::UpgradeRules* route = &match_.route->action.upgrades;
  if (r.is_connect()) return decide::UpgradeAllowed(manager, route, "connect");
  std::string_view chosen = decide::ChooseUpgrade(manager, route, r.upgrade);
  if (chosen.empty()) return false;
  r.upgrade = chosen;
  return true;
}

const void* Exchange::RouteConfig(std::string_view filter_name) const {
  if (!routes_ || match_.vhost == nullptr) return nullptr;
  const decide::FilterConfig* c = routes_->table->FindFilterConfig(match_, filter_name);
  return c == nullptr ? nullptr : c->compiled.get();
}

// ---- RequestFilters

void Exchange::CreateFilters() {
  if (!filters_.empty()) return;
  for (const auto& f : manager_->spec().filters) filters_.push_back(f->Create());
}

void Exchange::RunRequestFilters() {
  phase_ = Phase::kRequestFilters;
  const auto& factories = manager_->spec().filters;
  CreateFilters();
  while (next_filter_ < factories.size()) {
    size_t i = next_filter_++;
    resumed_ = false;
    Verdict v = filters_[i] != nullptr ? filters_[i]->OnRequestHead(*this)
                                       : factories[i]->OnRequestHead(*this);
    switch (v) {
      case Verdict::kContinue:
        break;
      case Verdict::kPause:
        if (resumed_) break;  // what it waits for was there at once
        paused_ = true;
        return;
      case Verdict::kDone:
        SendLocalReply();
        return;
      case Verdict::kReroute:
        if (++reroutes_ > kMaxReroutes) {
          Reply(500, "too many reroutes", "reroute_limit");
          SendLocalReply();
          return;
        }
        match_ = {};
        Route();
        return;
    }
  }
  PrepareUpstream();
}

void Exchange::Resume() {
  if (!paused_) {
    resumed_ = true;
    return;
  }
  paused_ = false;
  if (phase_ == Phase::kRequestFilters) {
    RunRequestFilters();
  } else if (phase_ == Phase::kResponseFilters) {
    RunResponseFilters(upstream_body_);
  }
}

void Exchange::Reply(int status, std::string_view body, std::string_view details,
                     ResponseFlag flag) {
  reply_status_ = status;
  reply_body_ = body;
  details_ = details;
  if (flag != ResponseFlag::kCount) flags_ |= Bit(flag);
}

void Exchange::TransformRequestBody(std::unique_ptr<BodyTransform> transform) {
  if (stream_->request_body() == nullptr) return;
  request_transform_ = std::move(transform);
  request_transform_->Attach(services_.loop, services_.clusters.slab(), stream_->request_body(),
                             this);
}

void Exchange::MarkGrpc() {
  grpc_ = true;
  if (match_.route != nullptr) ApplyTimeLimits();
}

void Exchange::OnTransformFailed(std::string_view detail) {
  if (stream_ == nullptr) return;
  if (response_started_) {
    CutOff({ErrorCode::kBadRequest, Side::kDownstream, false, 0, detail});
    return;
  }
  EndAttempt();
  upstream_response_ = grpc_ = false;
  Reply(400, detail, "bad_request_body");
  SendLocalReply();
}

void Exchange::Mutate(const std::vector<decide::HeaderMutation>& mutations,
                      http::HeaderMap& headers, MutationOrder order) {
  if (mutations.empty()) return;
  StreamFields fields;
  HeaderMapSource request_source(request().headers, arena());
  HeaderMapSource response_source(response_ != nullptr ? response_->headers : local_.headers,
                                  arena());
  fields.request_headers = &request_source;
  fields.response_headers = &response_source;
  FillFields(&fields);
  auto copy = [this](std::string_view s) { return arena().Copy(s); };
  if (order == MutationOrder::kTogether) {
    decide::ApplyMutationsTogether(mutations, fields, &scratch_, copy, headers);
  } else {
    decide::ApplyMutations(mutations, fields, &scratch_, copy, headers);
  }
}

// What the route changes in the request, once, before the first attempt.
void Exchange::PrepareUpstream() {
  if (match_.route == nullptr) {
    manager_->counters().no_route.Inc();
    ReplyWith({ErrorCode::kNoRoute});
    return;
  }
  const decide::RouteAction& action = match_.route->action;
  switch (action.kind) {
    case decide::RouteAction::Kind::kRedirect:
      manager_->counters().rq_redirect.Inc();
      RedirectRequest();
      return;
    case decide::RouteAction::Kind::kDirectResponse:
      manager_->counters().rq_direct_response.Inc();
      Reply(action.direct_response->status, action.direct_response->body, "direct_response");
      SendLocalReply();
      return;
    default:
      break;
  }
  http::RequestHead& r = request();
  routes_->table->ForEachRequestMutations(
      match_, [&](const std::vector<decide::HeaderMutation>& m) {
        Mutate(m, r.headers, MutationOrder::kTogether);
      });
  bool tell = !manager_->spec().suppress_envoy_headers;
  if (!action.prefix_rewrite.empty() && !r.is_connect()) {
    if (tell) r.headers.Set(HeaderId::kXEnvoyOriginalPath, r.path);
    scratch_.clear();
    decide::AppendRewrittenPath(match_.route->match, r.path, action.prefix_rewrite, &scratch_);
    r.path = arena().Copy(scratch_);
  }
  bool weighted_host = match_.weighted != nullptr && !match_.weighted->host_rewrite_literal.empty();
  const std::string& host =
      weighted_host ? match_.weighted->host_rewrite_literal : action.host_rewrite_literal;
  if (!host.empty()) {
    if (tell) r.headers.Set(HeaderId::kXEnvoyOriginalHost, r.authority);
    r.authority = host;
  }
  if (route_timeout_ > 0 && tell) {
    r.headers.Set(HeaderId::kXEnvoyExpectedRqTimeoutMs,
                  FormatNumber(route_timeout_ / kMillisecond, arena()));
  }
  if (http::EqualsIgnoreCase(r.upgrade, "websocket")) PrepareWebSocket();
  ArmRouteTimer();
  Pick();
}

// A client over HTTP/2 has no key (RFC 8441 section 5), and an HTTP/1 server wants one. It goes along
// over HTTP/2 as well: there may be an HTTP/1 server behind the next proxy.
void Exchange::PrepareWebSocket() {
  http::HeaderMap& h = request().headers;
  if (request().protocol != http::Protocol::kHttp2 || h.Find(kWebSocketKey) != nullptr) return;
  char* key = arena().Allocate(kWebSocketKeySize);
  MakeWebSocketKey(services_.random, key);
  websocket_key_ = {key, kWebSocketKeySize};
  h.Add(kWebSocketKey, websocket_key_);
}

// Whether the upstream's consent is one, as far as that is ours to judge; gives the client the proof
// that it waits for. Between a client and a server that both speak HTTP/1 it is theirs.
bool Exchange::WebSocketAgreed(http::ResponseHead& head) {
  auto key = request().headers.Get(kWebSocketKey);
  if (!key.has_value() || !http::EqualsIgnoreCase(request().upgrade, "websocket")) return true;
  const bool ours = !websocket_key_.empty();
  const bool over_http2 = head.protocol == http::Protocol::kHttp2;
  if (!ours && !over_http2) return true;
  char* right = arena().Allocate(kWebSocketAcceptSize);
  AnswerWebSocketKey(*key, right);
  const std::string_view expected(right, kWebSocketAcceptSize);
  auto accept = head.headers.Get(kWebSocketAccept);
  if (accept.has_value() ? *accept != expected : !over_http2) return false;
  if (ours) {
    head.headers.Remove(kWebSocketAccept);
  } else if (!accept.has_value()) {
    head.headers.Add(kWebSocketAccept, expected);
  }
  return true;
}

void Exchange::RedirectRequest() {
  const http::RequestHead& r = request();
  HeaderMapSource source(r.headers, arena());
  scratch_.clear();
  decide::AppendRedirectLocation(*match_.route, {r.method, r.scheme, r.authority, r.path, &source},
                                 &scratch_);
  local_.headers.Add(HeaderId::kLocation, arena().Copy(scratch_));
  Reply(match_.route->action.redirect->status, "", "direct_response");
  SendLocalReply();
}

// ---- ReadResponseHead, ResponseFilters, Relay

void Exchange::OnInformational(const http::ResponseHead& head) {
  // All of them pass, 100 too: whether the request's body is wanted is the upstream's to say (RFC
  // 9110 sections 10.1.1 and 15.2).
  if (stream_ != nullptr) stream_->SendInformational(head);
}

void Exchange::CountAttemptResponse(int status) {
  cluster_->counters().CountResponse(status);
  ++(status >= 500 ? host_->stats().rq_error : host_->stats().rq_success);
  cluster_->counters().upstream_rq_time.Record(
      static_cast<uint64_t>((services_.loop.Now() - attempt_start_) / kMillisecond));
}

void Exchange::OnResponse(http::ResponseHead& head, buffer::BodyPipe* body) {
  phase_ = Phase::kReadResponseHead;
  if (first_byte_ == 0 || attempts_ > 1) first_byte_ = services_.loop.Now();
  CountAttemptResponse(head.status);
  const decide::RetryPolicy* retry = match_.route->action.retry.get();
  if (retry != nullptr && Replayable() && !head.tunnel) {
    if (retry->RetriesResponse(head.status, GrpcStatusOf(head.headers),
                               head.headers.Get("x-envoy-ratelimited").has_value())) {
      uint32_t before = attempts_;
      if (ScheduleRetry()) {
        EndAttempt();
        assert(before == attempts_);
        return;
      }
    } else if (holds_retry_) {
      cluster_->counters().upstream_rq_retry_success.Inc();
    }
  }
  try_timer_.Cancel();
  if (head.tunnel && !WebSocketAgreed(head)) {
    EndAttempt();
    ReplyWith({ErrorCode::kProtocol, Side::kUpstream, false, 0,
               "Sec-WebSocket-Accept is not the answer to Sec-WebSocket-Key"});
    return;
  }
  if (head.tunnel) route_timer_.Cancel();  // it was for the upstream's consent
  upstream_response_ = true;
  if (RequestBody() != nullptr) RequestBody()->StopKeeping();
  response_ = &head;
  http::RemoveHopByHop(head.headers);
  if (!manager_->spec().suppress_envoy_headers) {
    head.headers.Set(HeaderId::kXEnvoyUpstreamServiceTime,
                     FormatNumber((services_.loop.Now() - attempt_start_) / kMillisecond, arena()));
  }
  routes_->table->ForEachResponseMutations(
      match_, [&](const std::vector<decide::HeaderMutation>& m) {
        Mutate(m, head.headers, MutationOrder::kTogether);
      });
  next_filter_ = static_cast<uint32_t>(manager_->spec().filters.size());
  RunResponseFilters(body);
}

void Exchange::RunResponseFilters(buffer::BodyPipe* body) {
  phase_ = Phase::kResponseFilters;
  upstream_body_ = body;
  const auto& factories = manager_->spec().filters;
  while (next_filter_ > 0) {
    size_t i = --next_filter_;
    if (i >= filters_.size()) continue;  // refused before filters ran
    resumed_ = false;
    Verdict v = filters_[i] != nullptr ? filters_[i]->OnResponseHead(*this)
                                       : factories[i]->OnResponseHead(*this);
    if (v == Verdict::kPause && !resumed_) {
      paused_ = true;
      return;
    }
    if (v == Verdict::kDone) {  // the reply takes the response's place, and the filters that are
                                // left see it
      EndAttempt();
      upstream_response_ = false;
      local_.Clear();
      upstream_body_ = body = MakeLocalReply();
    }
  }
  SendResponse(body);
}

void Exchange::SendResponse(buffer::BodyPipe* body) {
  phase_ = Phase::kRelay;
  http::HeaderMap& h = response_->headers;
  const HttpManagerSpec& spec = manager_->spec();
  switch (spec.server_header) {
    case ServerHeader::kOverwrite:
      h.Set(HeaderId::kServer, spec.server_name);
      break;
    case ServerHeader::kAppendIfAbsent:
      if (!h.Has(HeaderId::kServer)) h.Add(HeaderId::kServer, spec.server_name);
      break;
    case ServerHeader::kPassThrough:
      break;
  }
  if (!h.Has(HeaderId::kDate)) h.Add(HeaderId::kDate, arena().Copy(services_.Date()));
  if (!spec.via.empty()) h.Add(HeaderId::kVia, spec.via);
  response_code_ = response_->status;
  response_started_ = true;
  if (details_.empty()) details_ = "via_upstream";
  if (response_transform_ != nullptr && body != nullptr) {
    body = response_transform_->Attach(services_.loop, services_.clusters.slab(), body, this);
  }
  if (response_->tunnel) {
    holds_upgrade_ = true;
    manager_->counters().downstream_cx_upgrades_total.Inc();
    manager_->counters().downstream_cx_upgrades_active.Inc();
  }
  stream_->SendResponse(*response_, body);
}

void Exchange::ReplyWith(const Error& error) {
  const ErrorOutcome& o = OutcomeOf(error);
  if (cluster_ && error.code != ErrorCode::kRequestTimeout && error.code != ErrorCode::kInternal) {
    cluster_->counters().CountResponse(o.status);  // what the cluster's callers got
  }
  Reply(o.status, o.body, o.details, o.flag);
  if (error.detail == "max_duration_timeout") {
    reply_grpc_status_ = static_cast<int>(GrpcStatus::kDeadlineExceeded);
  }
  SendLocalReply();
}

void Exchange::SendLocalReply() {
  buffer::BodyPipe* body = MakeLocalReply();
  next_filter_ = static_cast<uint32_t>(manager_->spec().filters.size());
  RunResponseFilters(body);
}

// From what Reply() recorded; null when it has no body.
buffer::BodyPipe* Exchange::MakeLocalReply() {
  route_timer_.Cancel();
  try_timer_.Cancel();
  paused_ = false;
  local_.status = reply_status_;
  response_ = &local_;
  buffer::BodyPipe* body = nullptr;
  if (grpc_) {
    // A gRPC client reads grpc-status alone: trailers-only, all in one head.
    int code = reply_grpc_status_ >= 0 ? reply_grpc_status_
                                       : static_cast<int>(GrpcStatusFromHttp(reply_status_));
    local_.status = 200;
    local_.headers.Set(HeaderId::kContentType, "application/grpc");
    local_.headers.Set(HeaderId::kGrpcStatus, FormatNumber(code, arena()));
    if (!reply_body_.empty()) {
      local_.headers.Set(HeaderId::kGrpcMessage, PercentEncodeMessage(reply_body_, arena()));
    }
  } else if (!reply_body_.empty()) {
    local_.has_body = true;
    local_.content_length = static_cast<int64_t>(reply_body_.size());
    if (!local_.headers.Has(HeaderId::kContentType))
      local_.headers.Add(HeaderId::kContentType, "text/plain");
    local_body_.Reset(nullptr, reply_body_.size() + 1);
    local_body_.Write(buffer::Slice::Static(reply_body_));
    local_body_.End();
    body = &local_body_;
  }
  if (match_.route != nullptr) {
    routes_->table->ForEachResponseMutations(
        match_, [&](const std::vector<decide::HeaderMutation>& m) {
          Mutate(m, local_.headers, MutationOrder::kTogether);
        });
  }
  return body;
}

// ---- Record

void Exchange::OnStreamDone() { Record(); }

void Exchange::OnStreamReset(const Error& error) {
  const ErrorOutcome& o = OutcomeOf(error);
  observe::HttpCounters& c = manager_->counters();
  if (error.code == ErrorCode::kStreamIdleTimeout) {
    c.downstream_rq_idle_timeout.Inc();
    if (!response_started_) response_code_ = stream_->request_end_time() != 0 ? 504 : 408;
  } else {
    c.downstream_rq_rx_reset.Inc();
    if (!response_started_ && o.status == 400) response_code_ = 400;
  }
  if (client_ != nullptr) cluster_->counters().upstream_rq_tx_reset.Inc();
  if (o.flag != ResponseFlag::kCount) flags_ |= Bit(o.flag);
  if (details_.empty() || details_ == "via_upstream") details_ = o.details;
  Record();
}

// Of a gRPC call, as far as it is known; -1 otherwise.
int Exchange::GrpcStatusNow() {
  if (!grpc_) return -1;
  if (upstream_body_ != nullptr && client_ != nullptr && upstream_body_->trailers() != nullptr) {
    if (int code = GrpcStatusOf(*upstream_body_->trailers()); code >= 0) return code;
  }
  if (response_ == nullptr) return -1;
  if (int code = GrpcStatusOf(response_->headers); code >= 0) return code;
  return response_->status == 200 ? -1 : static_cast<int>(GrpcStatusFromHttp(response_->status));
}

void Exchange::FillFields(StreamFields* f) {
  const http::RequestHead& r = request();
  f->start_wall_micros = start_wall_micros_;
  if (MonoNanos end = stream_->request_end_time(); end != 0) f->request_end_nanos = end - start_;
  if (first_byte_ != 0) f->response_first_byte_nanos = first_byte_ - start_;
  f->method = r.method;
  f->path = r.path;
  f->scheme = r.scheme;
  f->authority = r.authority;
  f->protocol = http::ProtocolName(r.protocol);
  f->response_code =
      response_code_ != 0 ? response_code_ : (response_ != nullptr ? response_->status : 0);
  f->grpc_status = GrpcStatusNow();
  f->response_code_details = details_;
  f->response_flags = flags_;
  f->bytes_received = stream_->bytes_received();
  f->bytes_sent = stream_->bytes_sent();
  f->downstream_remote_address = FormatAddress(stream_->transport().peer_address(), arena());
  f->downstream_local_address = FormatAddress(stream_->transport().local_address(), arena());
  f->upstream_host = {host_text_, host_text_size_};
  if (cluster_) f->upstream_cluster = cluster_->spec().stat_name();
  f->upstream_transport_failure_reason = transport_failure_;
  f->upstream_attempts = attempts_;
  if (client_ != nullptr)
    f->upstream_local_address = FormatAddress(client_->transport().local_address(), arena());
  if (match_.route != nullptr) f->route_name = match_.route->name;
  if (match_.vhost != nullptr) f->virtual_host_name = match_.vhost->name;
  if (const net::TlsInfo* tls = stream_->transport().tls()) {
    f->downstream_tls = tls;
    f->requested_server_name = tls->sni();
  }
  if (client_ != nullptr) f->upstream_tls = client_->transport().tls();
  f->stream_id = stream_id_;
  f->connection_id = stream_->connection_id();
}

void Exchange::Record() {
  phase_ = Phase::kRecord;
  route_timer_.Cancel();
  try_timer_.Cancel();
  limit_timer_.Cancel();
  waiting_backoff_ = paused_ = false;
  MonoNanos now = services_.loop.Now();
  observe::HttpCounters& c = manager_->counters();
  c.downstream_rq_active.Dec();
  if (std::exchange(holds_upgrade_, false)) c.downstream_cx_upgrades_active.Dec();
  if (response_code_ != 0) c.CountResponse(response_code_);
  c.downstream_rq_time.Record(static_cast<uint64_t>((now - start_) / kMillisecond));
  if (grpc_ && cluster_) cluster_->counters().CountGrpc(GrpcStatusNow());
  if (!manager_->spec().access_logs.empty()) {
    StreamFields fields;
    HeaderMapSource request_source(request().headers, arena());
    HeaderMapSource response_source(response_ != nullptr ? response_->headers : local_.headers,
                                    arena());
    fields.request_headers = &request_source;
    fields.response_headers = &response_source;
    const http::HeaderMap* trailers =
        client_ != nullptr && upstream_body_ != nullptr ? upstream_body_->trailers() : nullptr;
    HeaderMapSource trailer_source(trailers != nullptr ? *trailers : local_.headers, arena());
    if (trailers != nullptr) fields.response_trailers = &trailer_source;
    FillFields(&fields);
    fields.duration_nanos = fields.response_end_nanos = now - start_;
    for (const auto& log : manager_->spec().access_logs) services_.logs.Log(*log, fields);
  }
  if (request_transform_ != nullptr) request_transform_->Detach();
  if (response_transform_ != nullptr) response_transform_->Detach();
  EndAttempt();
  GiveUsage();
  stream_ = nullptr;
  ListLink<ActiveExchangeTag>::Unlink();
  services_.Recycle(this);
}

}  // namespace weft::proxy
