#include "dataplane/decide/retry.h"

#include <algorithm>

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

struct Condition {
  std::string_view name;
  RetryOn bit;
};

constexpr Condition kConditions[] = {
    {"5xx", RetryOn::k5xx},
    {"gateway-error", RetryOn::kGatewayError},
    {"reset", RetryOn::kReset},
    {"reset-before-request", RetryOn::kResetBeforeRequest},
    {"connect-failure", RetryOn::kConnectFailure},
    {"envoy-ratelimited", RetryOn::kEnvoyRateLimited},
    {"retriable-4xx", RetryOn::kRetriable4xx},
    {"refused-stream", RetryOn::kRefusedStream},
    {"retriable-status-codes", RetryOn::kRetriableStatusCodes},
    {"cancelled", RetryOn::kGrpcCancelled},
    {"deadline-exceeded", RetryOn::kGrpcDeadlineExceeded},
    {"internal", RetryOn::kGrpcInternal},
    {"resource-exhausted", RetryOn::kGrpcResourceExhausted},
    {"unavailable", RetryOn::kGrpcUnavailable},
};

std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

void CompileConditions(std::string_view text, const std::string& path, Errors* errors, RetryPolicy* out) {
  while (!text.empty()) {
    size_t comma = text.find(',');
    std::string_view token = Trim(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (token.empty()) continue;
    // Istio writes status codes among the conditions.
    if (token.size() == 3 && std::all_of(token.begin(), token.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      out->retriable_status_codes.push_back(static_cast<uint32_t>(std::stoi(std::string(token))));
      out->retry_on |= static_cast<uint32_t>(RetryOn::kRetriableStatusCodes);
      continue;
    }
    const Condition* found = std::find_if(std::begin(kConditions), std::end(kConditions),
                                          [token](const Condition& c) { return c.name == token; });
    if (found == std::end(kConditions)) {
      // Envoy ignores names that it doesn't know, so a configuration made for it stays acceptable.
      std::string known;
      for (const Condition& c : kConditions) StrAppend(&known, known.empty() ? "" : ", ", c.name);
      errors->Warn(path, StrCat("\"", token, "\" is not a known retry condition and has no effect; known: ", known));
      continue;
    }
    out->retry_on |= static_cast<uint32_t>(found->bit);
  }
}

}  // namespace

bool RetryPolicy::RetriesResponse(int status, int grpc_status, bool rate_limited) const {
  // The upstream said that a retry makes it worse (envoy docs: x-envoy-ratelimited).
  if (rate_limited) return Has(RetryOn::kEnvoyRateLimited);
  if (Has(RetryOn::k5xx) && status >= 500 && status <= 599) return true;
  if (Has(RetryOn::kGatewayError) && status >= 502 && status <= 504) return true;
  if (Has(RetryOn::kRetriable4xx) && status == 409) return true;
  if (Has(RetryOn::kRetriableStatusCodes) && status > 0 &&
      std::binary_search(retriable_status_codes.begin(), retriable_status_codes.end(), static_cast<uint32_t>(status))) {
    return true;
  }
  switch (grpc_status) {  // google.rpc.Code
    case 1:
      return Has(RetryOn::kGrpcCancelled);
    case 4:
      return Has(RetryOn::kGrpcDeadlineExceeded);
    case 8:
      return Has(RetryOn::kGrpcResourceExhausted);
    case 13:
      return Has(RetryOn::kGrpcInternal);
    case 14:
      return Has(RetryOn::kGrpcUnavailable);
    default:
      return false;
  }
}

bool RetryPolicy::RetriesFailure(AttemptFailure failure) const {
  // "5xx" and "gateway-error" count an upstream that does not answer at all.
  if (Has(RetryOn::k5xx) || Has(RetryOn::kGatewayError)) return true;
  switch (failure) {
    case AttemptFailure::kConnectFailure:
      return Has(RetryOn::kConnectFailure) || Has(RetryOn::kReset) || Has(RetryOn::kResetBeforeRequest);
    case AttemptFailure::kRefusedStream:
      return Has(RetryOn::kRefusedStream) || Has(RetryOn::kReset) || Has(RetryOn::kResetBeforeRequest);
    case AttemptFailure::kResetBeforeRequest:
      return Has(RetryOn::kResetBeforeRequest) || Has(RetryOn::kReset);
    case AttemptFailure::kReset:
    case AttemptFailure::kPerTryTimeout:
      return Has(RetryOn::kReset);
  }
  return false;
}

MonoNanos RetryPolicy::BackOff(uint32_t attempt, uint64_t random) const {
  MonoNanos interval = base_interval;
  for (uint32_t i = 1; i < attempt && interval < max_interval; ++i) interval *= 2;
  interval = std::min(interval, max_interval);
  return interval <= 0 ? 0 : static_cast<MonoNanos>(random % static_cast<uint64_t>(interval));
}

MonoNanos CompileDuration(const google::protobuf::Duration& duration, const std::string& path, Errors* errors) {
  constexpr int64_t kMaxSeconds = int64_t{100} * 366 * 86400;
  if (duration.seconds() < 0 || duration.nanos() < 0 || duration.nanos() > 999'999'999 ||
      duration.seconds() > kMaxSeconds) {
    errors->Add(path, StrCat("a duration of ", duration.seconds(), " s and ", duration.nanos(),
                             " ns: expected 0 or more, at most 100 years"));
    return 0;
  }
  return duration.seconds() * kSecond + duration.nanos();
}

std::shared_ptr<const RetryPolicy> CompileRetryPolicy(const envoy::config::route::v3::RetryPolicy& policy,
                                                      const std::string& path, Errors* errors) {
  auto out = std::make_shared<RetryPolicy>();
  CompileConditions(policy.retry_on(), path + ".retry_on", errors, out.get());
  if (policy.has_num_retries()) out->num_retries = policy.num_retries().value();
  if (policy.has_per_try_timeout()) {
    out->per_try_timeout = CompileDuration(policy.per_try_timeout(), path + ".per_try_timeout", errors);
  }
  for (int i = 0; i < policy.retriable_status_codes_size(); ++i) {
    uint32_t code = policy.retriable_status_codes(i);
    if (code < 100 || code > 599) {
      errors->Add(StrCat(path, ".retriable_status_codes[", i, "]"), StrCat(code, " is not an HTTP status (100 to 599)"));
    }
    out->retriable_status_codes.push_back(code);
  }
  std::sort(out->retriable_status_codes.begin(), out->retriable_status_codes.end());
  if (policy.has_retry_back_off()) {
    const auto& back_off = policy.retry_back_off();
    const std::string field = path + ".retry_back_off";
    if (!back_off.has_base_interval()) {
      errors->Add(field + ".base_interval", "is missing");
    } else {
      out->base_interval = CompileDuration(back_off.base_interval(), field + ".base_interval", errors);
      if (out->base_interval == 0) errors->Add(field + ".base_interval", "must be more than 0");
    }
    out->max_interval = back_off.has_max_interval()
                            ? CompileDuration(back_off.max_interval(), field + ".max_interval", errors)
                            : 10 * out->base_interval;
    if (out->max_interval < out->base_interval) errors->Add(field + ".max_interval", "is less than base_interval");
  }
  return out;
}

}  // namespace weft::decide
