// The attempts of an exchange: choosing an endpoint, getting a connection, sending, trying again,
// giving up in time.
#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/proxy/exchange.h"

namespace weft::proxy {
namespace {

// Safe to send again when it may have been processed (RFC 9110 section 9.2.2).
bool IsIdempotent(std::string_view m) {
  return m == "GET" || m == "HEAD" || m == "OPTIONS" || m == "PUT" || m == "DELETE" || m == "TRACE";
}

}  // namespace

// ---- Pick, Connect, SendRequest

void Exchange::ArmRouteTimer() {
  if (route_timeout_ > 0) route_timer_.Arm(route_timeout_);
}

void Exchange::Pick(upstream::ConnPool::Want want) {
  phase_ = Phase::kPick;
  upstream::Cluster* cluster = services_.clusters.Get(match_.cluster);
  if (cluster == nullptr) {
    manager_->counters().no_cluster.Inc();
    Reply(match_.route->action.cluster_not_found_status, "", "cluster_not_found",
          ResponseFlag::kNoClusterFound);
    SendLocalReply();
    return;
  }
  // The name may stand for another cluster by now; what was taken of one is not given back to the
  // other.
  if (cluster_ && cluster_->spec().usage != cluster->spec().usage) GiveUsage();
  cluster_ = Rc<upstream::Cluster>(cluster);
  if (!holds_request_) {
    if (!upstream::ClusterUsage::Take(cluster->spec().usage->requests,
                                      cluster->spec().breakers.max_requests)) {
      cluster->counters().upstream_rq_pending_overflow.Inc();
      ReplyWith({ErrorCode::kOverflow});
      return;
    }
    holds_request_ = true;
  }
  upstream::Host* host = cluster->Pick(services_.random.Next());
  // A further attempt goes to another host when there is one: what Envoy does when told so by the
  // predicate previous_hosts.
  for (size_t i = 0; i < kMaxRepicks && attempts_ > 0 && host != nullptr && host == last_host_ &&
                     cluster->hosts().size() > 1;
       ++i) {
    host = cluster->Pick(services_.random.Next());
  }
  if (host == nullptr) {
    cluster->counters().upstream_cx_none_healthy.Inc();
    ReplyWith({ErrorCode::kNoHealthyUpstream});
    return;
  }
  host_ = Rc<upstream::Host>(host);
  last_host_ = host;
  ++attempts_;
  attempt_start_ = services_.loop.Now();
  size_t n = std::min(host->address_text().size(), sizeof(host_text_));
  memcpy(host_text_, host->address_text().data(), n);
  host_text_size_ = n;
  const decide::RetryPolicy* retry = match_.route->action.retry.get();
  if (retry != nullptr && retry->per_try_timeout > 0) try_timer_.Arm(retry->per_try_timeout);
  phase_ = Phase::kConnect;
  if (request().is_connect() && match_.route->action.upgrades.connect_ends()) {
    DialTcp(*host);
    return;
  }
  const upstream::ClusterSpec& spec = cluster->spec();
  upstream::StreamWish wish{want, request().protocol == http::Protocol::kHttp2, {}};
  if (spec.auto_sni) wish.sni = ServerName(spec);
  host->Acquire(this, wish);
}

// What a PROXY header towards the upstream tells is whose tunnel it is.
void Exchange::DialTcp(upstream::Host& host) {
  std::unique_ptr<net::ProxiedFor> proxied_for;
  if (cluster_->spec().security != nullptr) {
    net::Transport& t = stream_->transport();
    proxied_for = std::make_unique<net::ProxiedFor>(
        net::ProxiedFor{t.peer_address(), t.local_address()});
  }
  dialing_ = TcpUpstream::Dial(services_.loop, services_.clusters.slab(), host,
                               std::move(proxied_for), this);
}

// The host that the request asks for, without its port: the TLS server name of auto_sni.
std::string_view Exchange::ServerName(const upstream::ClusterSpec& spec) {
  std::string_view host = request().authority;
  if (!spec.sni_header.empty() && spec.sni_header != ":authority" && spec.sni_header != "host") {
    auto value = request().headers.Get(spec.sni_header);
    if (value.has_value()) host = *value;
  }
  if (host.starts_with('[')) return {};  // an IP address is no server name (RFC 6066 section 3)
  size_t colon = host.rfind(':');
  if (colon != std::string_view::npos) host = host.substr(0, colon);
  return net::Address::FromIp(host, 0) ? std::string_view() : host;
}

void Exchange::OnStreamReady(http::ClientStream& stream) { SendRequest(stream); }

void Exchange::SendRequest(http::ClientStream& stream) {
  phase_ = Phase::kSendRequest;
  client_ = &stream;
  dialing_ = nullptr;
  upstream::Cluster& cluster = *cluster_;
  cluster.counters().upstream_rq_total.Inc();
  cluster.counters().upstream_rq_active.Inc();
  ++host_->stats().rq_total;
  ++host_->stats().rq_active;
  http::RequestHead& r = request();
  if (buffer::BodyPipe* body = RequestBody(); body != nullptr && !r.wants_tunnel()) {
    if (attempts_ == 1) {
      body->KeepPulled(kReplayBytes);
    } else {
      body->Rewind();
    }
  }
  stream.set_events(this);
  stream.SendRequest(r, RequestBody());
}

void Exchange::OnStreamFailed(const Error& error) {
  dialing_ = nullptr;
  if (error.code == ErrorCode::kDrain && repicks_ < kMaxRepicks) {
    // The endpoint was removed while this waited for it: that was no attempt.
    ++repicks_;
    --attempts_;
    try_timer_.Cancel();
    host_.reset();
    Pick();
    return;
  }
  AttemptFailed(error);
}

void Exchange::OnClientReset(const Error& error) {
  if (response_started_ || upstream_response_) {
    // Part of an answer is on its way: it must not look complete.
    cluster_->counters().upstream_rq_rx_reset.Inc();
    flags_ |= Bit(OutcomeOf(error).flag);
    details_ = "upstream_reset_after_response_started{connection_termination}";
    AttemptOver();
    ++host_->stats().rq_error;
    if (RequestBody() != nullptr) RequestBody()->set_consumer(nullptr);
    manager_->counters().rq_reset_after_downstream_response_started.Inc();
    http::ServerStream* s = stream_;
    s->set_events(nullptr);
    s->Abort();
    Record();
    return;
  }
  cluster_->counters().upstream_rq_rx_reset.Inc();
  Error e = error;
  const bool race = client_->reused() && client_->bytes_received() == 0 && error.connection_lost;
  AttemptOver();
  ++host_->stats().rq_error;
  if (RequestBody() != nullptr) RequestBody()->set_consumer(nullptr);
  host_.reset();
  // A kept-alive connection that the upstream closed while our request was on its way: nothing was
  // lost, only a race; once, when doing it twice does no harm. What was provably not processed
  // (RFC 9113 section 8.7) may be sent again in any case.
  const bool unprocessed = e.unprocessed && replays_ < kMaxReplays;
  if (e.code == ErrorCode::kDisconnect && Replayable() &&
      (unprocessed || (race && replays_ == 0 && IsIdempotent(request().method)))) {
    // Where one was dead others may be too (the upstream was restarted), so this time a new
    // connection carries it.
    ++replays_;
    cluster_->counters().upstream_rq_replayed.Inc();
    try_timer_.Cancel();
    Pick(upstream::ConnPool::Want::kFresh);
    return;
  }
  AttemptFailed(e);
}

bool Exchange::Replayable() {
  buffer::BodyPipe* body = RequestBody();
  return body == nullptr || body->CanRewind();
}

bool Exchange::MayRetry(const Error& error) {
  const decide::RetryPolicy* retry = match_.route->action.retry.get();
  if (retry == nullptr || !Replayable()) return false;
  decide::AttemptFailure f;
  switch (error.code) {
    case ErrorCode::kConnectFailed:
    case ErrorCode::kConnectTimeout:
      f = decide::AttemptFailure::kConnectFailure;
      break;
    case ErrorCode::kDisconnect:
    case ErrorCode::kProtocol:
      f = error.unprocessed ? decide::AttemptFailure::kResetBeforeRequest
                            : decide::AttemptFailure::kReset;
      break;
    case ErrorCode::kRouteTimeout:
      f = decide::AttemptFailure::kPerTryTimeout;
      break;
    default:
      return false;
  }
  return retry->RetriesFailure(f);
}

// Takes a retry if the policy's number and the cluster's budget allow one.
bool Exchange::ScheduleRetry() {
  const decide::RetryPolicy* retry = match_.route->action.retry.get();
  observe::ClusterCounters& c = cluster_->counters();
  uint32_t retries = attempts_ - 1 - replays_;
  if (retries >= retry->num_retries) {
    c.upstream_rq_retry_limit_exceeded.Inc();
    flags_ |= Bit(ResponseFlag::kUpstreamRetryLimitExceeded);
    return false;
  }
  if (!holds_retry_ && !upstream::ClusterUsage::Take(cluster_->spec().usage->retries,
                                                     cluster_->spec().breakers.max_retries)) {
    c.upstream_rq_retry_overflow.Inc();
    return false;
  }
  holds_retry_ = true;
  c.upstream_rq_retry.Inc();
  waiting_backoff_ = true;
  try_timer_.Arm(retry->BackOff(retries + 1, services_.random.Next()));
  return true;
}

void Exchange::AttemptFailed(const Error& error) {
  try_timer_.Cancel();
  host_.reset();
  if (error.code == ErrorCode::kConnectFailed || error.code == ErrorCode::kConnectTimeout) {
    transport_failure_ = arena().Copy(error.detail);  // it may be the endpoint's to change
  }
  if (MayRetry(error) && ScheduleRetry()) return;
  ReplyWith(error);
}

void Exchange::OnTryTimer() {
  if (waiting_backoff_) {
    waiting_backoff_ = false;
    Pick();
    return;
  }
  // As the route's timeout, it does not count while the request is still arriving.
  MonoNanos timeout = match_.route->action.retry->per_try_timeout;
  MonoNanos end = stream_->request_end_time();
  MonoNanos left = std::max(end, attempt_start_) + timeout - services_.loop.Now();
  if (end == 0 || left > 0) {
    try_timer_.Arm(end == 0 ? timeout : left);
    return;
  }
  cluster_->counters().upstream_rq_per_try_timeout.Inc();
  if (client_ != nullptr) ++host_->stats().rq_timeout;
  EndAttempt();
  AttemptFailed({ErrorCode::kRouteTimeout, Side::kUpstream, false, 0, "upstream_per_try_timeout"});
}

// The timeout counts from the end of the request: a slow upload does not use up the upstream's
// time.
void Exchange::OnRouteTimer() {
  MonoNanos timeout = route_timeout_;
  MonoNanos end = stream_->request_end_time();
  MonoNanos now = services_.loop.Now();
  // What the upstream had to do is done: a slow reader is no fault of its.
  if (response_started_ && (upstream_body_ == nullptr || upstream_body_->ended())) return;
  if (end == 0) {
    // An upload that has not moved for this long, since nobody takes it, is not slow at the
    // sender's end.
    const buffer::BodyPipe& body = *stream_->request_body();
    uint64_t seen = std::exchange(upload_seen_, body.full() ? body.total() : 0);
    if (!body.full() || body.total() != seen) {
      route_timer_.Arm(timeout);
      return;
    }
  } else if (now < end + timeout) {
    route_timer_.Arm(end + timeout - now);
    return;
  }
  if (cluster_) cluster_->counters().upstream_rq_timeout.Inc();
  if (client_ != nullptr) ++host_->stats().rq_timeout;
  CutOff({ErrorCode::kRouteTimeout, Side::kUpstream, false, 0, "response_timeout"});
}

// Ends the exchange before its time: a local reply, or a response that the peer can tell is cut
// short.
void Exchange::CutOff(const Error& error) {
  try_timer_.Cancel();
  waiting_backoff_ = false;
  if (!response_started_) {
    EndAttempt();
    upstream_response_ = false;
    ReplyWith(error);
    return;
  }
  const ErrorOutcome& o = OutcomeOf(error);
  if (o.flag != ResponseFlag::kCount) flags_ |= Bit(o.flag);
  details_ = o.details;
  stream_->set_events(nullptr);
  stream_->Abort();
  Record();
}

void Exchange::ResetForOverload() {
  if (stream_ == nullptr) return;
  manager_->counters().downstream_rq_overload_close.Inc();
  CutOff({ErrorCode::kOverload});
}

void Exchange::OnLimitTimer() {
  const HttpManagerSpec& spec = manager_->spec();
  MonoNanos age = services_.loop.Now() - start_;
  if (spec.request_timeout > 0 && age >= spec.request_timeout && stream_->request_end_time() == 0 &&
      !response_started_) {
    manager_->counters().downstream_rq_timeout.Inc();
    CutOff({ErrorCode::kRequestTimeout, Side::kDownstream, false, 0, "request_overall_timeout"});
    return;
  }
  if (max_duration_ == 0) return;
  if (age < max_duration_) {
    limit_timer_.Arm(max_duration_ - age);
    return;
  }
  manager_->counters().downstream_rq_max_duration_reached.Inc();
  CutOff({ErrorCode::kRequestTimeout, Side::kLocal, false, 0, "max_duration_timeout"});
}

void Exchange::GiveUsage() {
  if (std::exchange(holds_request_, false))
    upstream::ClusterUsage::Give(cluster_->spec().usage->requests);
  if (std::exchange(holds_retry_, false))
    upstream::ClusterUsage::Give(cluster_->spec().usage->retries);
}

http::ClientStream* Exchange::AttemptOver() {
  cluster_->counters().upstream_rq_active.Dec();
  --host_->stats().rq_active;
  return std::exchange(client_, nullptr);
}

// Lets go of the attempt: a finished one returns its connection, an unfinished one is cut off.
void Exchange::EndAttempt() {
  StreamRequest::Cancel();
  if (dialing_ != nullptr) std::exchange(dialing_, nullptr)->Cancel();
  if (client_ != nullptr) {
    http::ClientStream* c = AttemptOver();
    if (RequestBody() != nullptr) RequestBody()->set_consumer(nullptr);
    c->set_events(nullptr);
    c->Release();
  }
  host_.reset();
}

}  // namespace weft::proxy
