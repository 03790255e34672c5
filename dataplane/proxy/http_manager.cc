#include "dataplane/proxy/http_manager.h"

#include <algorithm>
#include <ctime>

#include "dataplane/proxy/exchange.h"

namespace weft::proxy {

WorkerServices::WorkerServices(event::Loop& l, upstream::ClusterMap& c, observe::Shard& s,
                               observe::WorkerLogs& a, uint64_t seed)
    : loop(l), clusters(c), shard(s), logs(a), random(seed) {}

WorkerServices::~WorkerServices() = default;

std::string_view WorkerServices::Date() {
  int64_t second = WallMicros() / 1'000'000;
  if (second != date_second_) {
    date_second_ = second;
    time_t t = second;
    tm parts;
    gmtime_r(&t, &parts);
    date_size_ = strftime(date_, sizeof(date_), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  }
  return {date_, date_size_};
}

Exchange* WorkerServices::NewExchange() {
  if (free_.empty()) return new Exchange(*this);
  Exchange* e = free_.back().release();
  free_.pop_back();
  return e;
}

void WorkerServices::Recycle(Exchange* exchange) {
  finished_.emplace_back(exchange);
  loop.AtTurnEnd(this);
}

size_t WorkerServices::ResetLargest(size_t max, size_t min_bytes) {
  struct Large {
    size_t bytes;
    uint64_t stream_id;
    Exchange* exchange;
  };
  std::vector<Large> large;
  active.ForEach([&](Exchange& e) {
    size_t bytes = e.BufferedBytes();
    if (bytes >= min_bytes) large.push_back({bytes, e.stream_id(), &e});
  });
  size_t n = std::min(max, large.size());
  std::partial_sort(large.begin(), large.begin() + static_cast<ptrdiff_t>(n), large.end(),
                    [](const Large& a, const Large& b) { return a.bytes > b.bytes; });
  for (size_t i = 0; i < n; ++i) {
    // Cutting one off may have ended another: the connection may have gone with it.
    if (large[i].exchange->stream_id() == large[i].stream_id) large[i].exchange->ResetForOverload();
  }
  return n;
}

void WorkerServices::RunAtTurnEnd() {
  std::vector<std::unique_ptr<Exchange>> finished;
  finished.swap(finished_);
  for (auto& e : finished) {
    e->Clear();
    if (free_.size() < kMaxFree) free_.push_back(std::move(e));
  }
  finished.clear();
  if (finished_.empty()) finished_.swap(finished);  // keeps the capacity
}

HttpManager::HttpManager(WorkerServices& services, std::shared_ptr<const HttpManagerSpec> spec,
                         const RouteSlot* routes)
    : services_(services),
      spec_(std::move(spec)),
      rds_(routes),
      counters_(services.shard.Http(spec_->stat_prefix)) {
  if (spec_->routes != nullptr) own_.Set(spec_->routes);
}

HttpManager::~HttpManager() = default;

void HttpManager::OnRequest(http::ServerStream& stream) {
  services_.NewExchange()->Start(Rc<HttpManager>(this), stream);
}

void HttpManager::OnBadRequest(net::Transport& transport, const Error& error, int status,
                               http::Protocol protocol) {
  if (status == 0) {  // closed before a request was complete: nothing to answer or log
    if (error.code == ErrorCode::kBadRequest) counters_->downstream_cx_protocol_error.Inc();
    return;
  }
  const bool http2 = protocol == http::Protocol::kHttp2;
  counters_->downstream_rq_total.Inc();
  (http2 ? counters_->downstream_rq_http2_total : counters_->downstream_rq_http1_total).Inc();
  const bool late = error.code == ErrorCode::kHeaderTimeout;
  (late ? counters_->downstream_rq_header_timeout : counters_->downstream_cx_protocol_error).Inc();
  if (status == 431) counters_->downstream_rq_too_large.Inc();
  counters_->CountResponse(status);
  if (spec_->access_logs.empty()) return;
  StreamFields f;
  f.start_wall_micros = WallMicros();
  f.response_code = status;
  if (!late) f.response_flags = Bit(ResponseFlag::kDownstreamProtocolError);
  f.response_code_details = late    ? "request_header_timeout"
                            : http2 ? "http2.codec_error"
                                    : "http1.codec_error";
  if (!late) f.connection_termination_details = error.detail;
  f.protocol = http::ProtocolName(protocol);
  std::string peer = transport.peer_address().ToString(),
              local = transport.local_address().ToString();
  f.downstream_remote_address = peer;
  f.downstream_local_address = local;
  for (const auto& log : spec_->access_logs) services_.logs.Log(*log, f);
}

}  // namespace weft::proxy
