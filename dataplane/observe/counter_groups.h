#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/observe/metric.h"

namespace weft::observe {

// Ready-made groups with Envoy's names (envoy docs: cluster_manager/cluster_stats, http_conn_man/stats,
// listeners/stats): one allocation each, made by Shard at first use; a field is updated in place:
//   counters->upstream_rq_total.Inc();
// Fields named *_1xx .. *_5xx come out in Prometheus as *_xx with a response code class.

#define WEFT_RESPONSE_CLASSES(C, prefix) \
  C(prefix##_1xx) C(prefix##_2xx) C(prefix##_3xx) C(prefix##_4xx) C(prefix##_5xx)

#define WEFT_CLUSTER_METRICS(C, G, H)                                                                             \
  C(upstream_cx_total) G(upstream_cx_active) C(upstream_cx_http1_total) C(upstream_cx_http2_total)                \
  C(upstream_cx_connect_fail) C(upstream_cx_connect_timeout) C(upstream_cx_idle_timeout) C(upstream_cx_overflow)  \
  C(upstream_cx_destroy) C(upstream_cx_destroy_local) C(upstream_cx_destroy_remote)                               \
  C(upstream_cx_destroy_with_active_rq) C(upstream_cx_destroy_local_with_active_rq)                               \
  C(upstream_cx_destroy_remote_with_active_rq) C(upstream_cx_none_healthy) C(upstream_cx_protocol_error)          \
  C(upstream_cx_max_requests) C(upstream_cx_max_duration_reached) C(upstream_cx_near_idle_limit)                  \
  C(upstream_rq_replayed) C(grpc_total) C(grpc_success) C(grpc_failure) C(upstream_cx_rx_bytes_total) C(upstream_cx_tx_bytes_total)                         \
  H(upstream_cx_connect_ms) H(upstream_cx_length_ms)                                                              \
  C(upstream_rq_total) G(upstream_rq_active) C(upstream_rq_pending_total) G(upstream_rq_pending_active)           \
  C(upstream_rq_pending_overflow) C(upstream_rq_pending_failure_eject) C(upstream_rq_cancelled)                   \
  C(upstream_rq_maintenance_mode) C(upstream_rq_timeout) C(upstream_rq_per_try_timeout)                           \
  C(upstream_rq_rx_reset) C(upstream_rq_tx_reset) C(upstream_rq_retry) C(upstream_rq_retry_success)               \
  C(upstream_rq_retry_overflow) C(upstream_rq_retry_limit_exceeded) C(upstream_rq_completed)                      \
  WEFT_RESPONSE_CLASSES(C, upstream_rq) H(upstream_rq_time)                                                       \
  C(membership_change) G(membership_healthy) G(membership_degraded) G(membership_excluded) G(membership_total)    \
  C(update_attempt) C(update_success) C(update_failure) C(update_empty) C(update_no_rebuild) G(version)           \
  G(max_host_weight) C(lb_healthy_panic) C(bind_errors) C(assignment_stale)

#define WEFT_HTTP_METRICS(C, G, H)                                                                                \
  C(downstream_cx_total) G(downstream_cx_active) C(downstream_cx_http1_total) G(downstream_cx_http1_active)       \
  C(downstream_cx_http2_total) G(downstream_cx_http2_active) C(downstream_cx_ssl_total)                           \
  G(downstream_cx_ssl_active) C(downstream_cx_destroy) C(downstream_cx_destroy_local)                             \
  C(downstream_cx_destroy_remote) C(downstream_cx_destroy_active_rq) C(downstream_cx_destroy_local_active_rq)     \
  C(downstream_cx_destroy_remote_active_rq) C(downstream_cx_protocol_error) C(downstream_cx_idle_timeout)         \
  C(downstream_cx_drain_close) C(downstream_cx_max_duration_reached) C(downstream_cx_overload_disable_keepalive)  \
  C(downstream_cx_rx_bytes_total) C(downstream_cx_tx_bytes_total) H(downstream_cx_length_ms)                      \
  C(downstream_rq_total) G(downstream_rq_active) C(downstream_rq_http1_total) C(downstream_rq_http2_total)        \
  C(downstream_rq_completed) WEFT_RESPONSE_CLASSES(C, downstream_rq) C(downstream_rq_rx_reset)                    \
  C(downstream_rq_tx_reset) C(downstream_rq_too_large) C(downstream_rq_timeout) C(downstream_rq_header_timeout)   \
  C(downstream_rq_idle_timeout) C(downstream_rq_max_duration_reached) C(downstream_rq_non_relative_path)          \
  C(downstream_rq_overload_close) C(downstream_rs_too_large) H(downstream_rq_time)                                \
  C(downstream_cx_upgrades_total) G(downstream_cx_upgrades_active) C(downstream_rq_ws_on_non_ws_route)            \
  C(no_route) C(no_cluster) C(rq_total) C(rq_redirect) C(rq_direct_response)                                      \
  C(rq_reset_after_downstream_response_started)

#define WEFT_LISTENER_METRICS(C, G, H)                                                                            \
  C(downstream_cx_total) G(downstream_cx_active) C(downstream_cx_destroy) C(downstream_cx_overflow)               \
  C(downstream_cx_overload_reject) C(downstream_global_cx_overflow) C(downstream_pre_cx_timeout)                  \
  G(downstream_pre_cx_active) C(no_filter_chain_match) H(downstream_cx_length_ms)

// One HTTP connection manager seen from one listener: listener.<address>.http.<stat prefix>.
#define WEFT_LISTENER_HTTP_METRICS(C, G, H) C(downstream_rq_completed) WEFT_RESPONSE_CLASSES(C, downstream_rq)

// HTTP/2 codecs (envoy docs: http_conn_man/stats, codec statistics). The last four are ours: frames that ask for an
// answer (PING, SETTINGS) or do nothing, streams that the peer resets, streams that it makes us reset, and header
// blocks in too many CONTINUATION frames.
#define WEFT_HTTP2_METRICS(C, G, H)                                                                               \
  C(header_overflow) C(inbound_empty_frames_flood) C(inbound_priority_frames_flood)                               \
  C(inbound_window_update_frames_flood) C(keepalive_timeout) C(outbound_control_flood) C(outbound_flood)          \
  C(rx_messaging_error) C(rx_reset) C(stream_refused_errors) C(trailers) C(tx_reset) G(streams_active)            \
  C(goaway_sent) C(inbound_control_frames_flood) C(inbound_reset_flood) C(outbound_reset_flood)                   \
  C(inbound_continuation_flood)

// Requests by exact status: upstream_rq_404. A short list, since an upstream uses few; grows at the first of each.
// Owner: ClusterCounters. Thread: the shard's writes, any reads. Destroyed when: its group is.
class ResponseCodes {
 public:
  ResponseCodes() = default;
  ResponseCodes(const ResponseCodes&) = delete;
  ResponseCodes& operator=(const ResponseCodes&) = delete;
  ~ResponseCodes();

  // Codes outside 100..599 are not counted.
  void Inc(int code);

  template <typename F>
  void ForEach(F&& f) const {
    for (const Node* n = head_.load(std::memory_order_acquire); n != nullptr; n = n->next) f(n->code, n->counter);
  }

 private:
  struct Node {
    int code;
    Node* next;
    Counter counter;
  };
  std::atomic<Node*> head_{nullptr};
};

#define WEFT_DECLARE_COUNTER(name) ::weft::observe::Counter name;
#define WEFT_DECLARE_GAUGE(name) ::weft::observe::Gauge name;
#define WEFT_DECLARE_HISTOGRAM(name) ::weft::observe::Histogram name;
#define WEFT_VISIT_METRIC(name) f(#name, name);

// For a plain group: `ForEach(f)` calls f(const char* name, const Counter&|Gauge&|Histogram&) in a fixed order.
#define WEFT_METRIC_FIELDS(metrics)                                                                    \
  metrics(WEFT_DECLARE_COUNTER, WEFT_DECLARE_GAUGE, WEFT_DECLARE_HISTOGRAM) template <typename F> void \
      ForEach(F&& f) const {                                                                           \
    metrics(WEFT_VISIT_METRIC, WEFT_VISIT_METRIC, WEFT_VISIT_METRIC)                                   \
  }

// `cluster.<name>.`
struct ClusterCounters {
  WEFT_METRIC_FIELDS(WEFT_CLUSTER_METRICS)
  ResponseCodes codes;  // upstream_rq_<code>
  // grpc_<status>, filed under kGrpcBase + status.
  static constexpr int kGrpcBase = 100;
  ResponseCodes grpc_codes;

  // Completed request: the total, its class and its code.
  void CountResponse(int code);
  // A gRPC call that is over; -1: without a status.
  void CountGrpc(int status);
};
static_assert(sizeof(ClusterCounters) <= 80 * 8, "one a cluster and worker");

// `http.<stat prefix>.`
struct HttpCounters {
  WEFT_METRIC_FIELDS(WEFT_HTTP_METRICS)

  void CountResponse(int code);
};
static_assert(sizeof(HttpCounters) <= 56 * 8);

// `listener.<address>.`
struct ListenerCounters {
  WEFT_METRIC_FIELDS(WEFT_LISTENER_METRICS)
};
static_assert(sizeof(ListenerCounters) <= 12 * 8);

// `listener.<address>.http.<stat prefix>.`
struct ListenerHttpCounters {
  WEFT_METRIC_FIELDS(WEFT_LISTENER_HTTP_METRICS)

  void CountResponse(int code);
};
static_assert(sizeof(ListenerHttpCounters) == 6 * 8);

// `http2.` for listeners, `cluster.<name>.http2.` for upstreams.
struct Http2Counters {
  WEFT_METRIC_FIELDS(WEFT_HTTP2_METRICS)
};
static_assert(sizeof(Http2Counters) <= 18 * 8);

}  // namespace weft::observe
