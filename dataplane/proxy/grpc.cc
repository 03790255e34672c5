#include "dataplane/proxy/grpc.h"

#include <algorithm>
#include <charconv>

namespace weft::proxy {

namespace {

constexpr std::string_view kGrpcType = "application/grpc";
constexpr size_t kMaxDigits = 8;

}  // namespace

bool IsGrpc(std::string_view t) {
  if (t.size() < kGrpcType.size() ||
      !http::EqualsIgnoreCase(t.substr(0, kGrpcType.size()), kGrpcType)) {
    return false;
  }
  return t.size() == kGrpcType.size() || t[kGrpcType.size()] == '+' || t[kGrpcType.size()] == ';';
}

int GrpcStatusOf(const http::HeaderMap& headers) {
  auto value = headers.Get(http::HeaderId::kGrpcStatus);
  int code = -1;
  if (!value.has_value()) return -1;
  auto [end, ec] = std::from_chars(value->data(), value->data() + value->size(), code);
  return ec == std::errc() && end == value->data() + value->size() && code >= 0 ? code : -1;
}

std::optional<MonoNanos> ParseGrpcTimeout(std::string_view v) {
  if (v.size() < 2 || v.size() > kMaxDigits + 1) return std::nullopt;
  int64_t n = 0;
  const char* last = v.data() + v.size() - 1;
  for (const char* p = v.data(); p != last; ++p) {
    if (*p < '0' || *p > '9') return std::nullopt;
    n = n * 10 + (*p - '0');
  }
  // 8 digits of hours are 3.6e20 ns: more than fits, and as good as 200 years.
  constexpr MonoNanos kMax = INT64_MAX / 2;
  auto times = [&](MonoNanos unit) { return n > kMax / unit ? kMax : n * unit; };
  switch (*last) {
    case 'H':
      return times(3600 * kSecond);
    case 'M':
      return times(60 * kSecond);
    case 'S':
      return times(kSecond);
    case 'm':
      return times(kMillisecond);
    case 'u':
      return times(1000);
    case 'n':
      return n;
    default:
      return std::nullopt;
  }
}

size_t FormatGrpcTimeout(MonoNanos timeout, char* out) {
  struct Unit {
    MonoNanos nanos;
    char name;
  };
  constexpr Unit kUnits[] = {{kMillisecond, 'm'}, {kSecond, 'S'}, {60 * kSecond, 'M'},
                             {3600 * kSecond, 'H'}};
  int64_t n = 0;
  char unit = 'H';
  for (const Unit& u : kUnits) {
    n = (std::max<MonoNanos>(timeout, 0) + u.nanos - 1) / u.nanos;
    unit = u.name;
    if (n < 100'000'000) break;
  }
  char* end = std::to_chars(out, out + kMaxDigits, std::min<int64_t>(n, 99'999'999)).ptr;
  *end++ = unit;
  return static_cast<size_t>(end - out);
}

std::string_view PercentEncodeMessage(std::string_view message, Arena& arena) {
  auto plain = [](unsigned char c) { return c >= 0x20 && c <= 0x7e && c != '%'; };
  size_t size = 0;
  for (unsigned char c : message) size += plain(c) ? 1 : 3;
  char* out = arena.Allocate(size);
  char* p = out;
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (unsigned char c : message) {
    if (plain(c)) {
      *p++ = static_cast<char>(c);
      continue;
    }
    *p++ = '%';
    *p++ = kHex[c >> 4];
    *p++ = kHex[c & 15];
  }
  return {out, size};
}

// envoy docs: RouteAction.max_stream_duration, and the older max_grpc_timeout. With the former the
// route's timeout does not count at all.
TimeLimits LimitsOf(const decide::RouteAction& action, MonoNanos manager_max_duration,
                    std::optional<MonoNanos> grpc_timeout, bool is_grpc) {
  TimeLimits out;
  out.max_duration = manager_max_duration;
  if (action.duration == nullptr) {
    out.route_timeout = action.timeout;
    return out;
  }
  const decide::DurationLimits& d = *action.duration;
  if (d.max_grpc_timeout.has_value() && !d.has_max_stream_duration) {
    out.route_timeout = action.timeout;
    if (!is_grpc) return out;
    MonoNanos t = grpc_timeout.value_or(0);
    if (d.grpc_timeout_offset < t) t -= d.grpc_timeout_offset;
    if (*d.max_grpc_timeout != 0 && (t == 0 || t > *d.max_grpc_timeout)) t = *d.max_grpc_timeout;
    out.route_timeout = t;
    out.by_grpc_timeout = t != 0;
    return out;
  }
  if (!d.has_max_stream_duration) {
    out.route_timeout = action.timeout;
    return out;
  }
  if (is_grpc && grpc_timeout.has_value() && d.grpc_timeout_header_max.has_value()) {
    MonoNanos t = *grpc_timeout;
    if (*d.grpc_timeout_header_max != 0) t = std::min(t, *d.grpc_timeout_header_max);
    // 0 would mean that there is no limit.
    out.max_duration = std::max<MonoNanos>(t > d.grpc_timeout_header_offset
                                               ? t - d.grpc_timeout_header_offset
                                               : 0,
                                           1);
  } else if (d.max_stream_duration.has_value()) {
    out.max_duration = *d.max_stream_duration;
  }
  return out;
}

}  // namespace weft::proxy
