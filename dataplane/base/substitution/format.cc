#include "dataplane/base/substitution/format.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>

#include "dataplane/base/strings.h"
#include "dataplane/base/substitution/grpc_status.h"
#include "dataplane/base/substitution/response_flags.h"

namespace weft {

const char kDefaultAccessLogFormat[] =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
    "\"%UPSTREAM_HOST%\"\n";

namespace {

constexpr size_t kMaxFormatBytes = 64 * 1024;

void AppendNumber(uint64_t n, std::string* out) {
  char buf[20];
  char* end = std::to_chars(buf, buf + sizeof(buf), n).ptr;
  out->append(buf, end);
}

// Exactly `width` digits.
void AppendPadded(uint64_t n, int width, std::string* out) {
  char buf[20];
  for (int i = width - 1; i >= 0; --i) {
    buf[i] = static_cast<char>('0' + n % 10);
    n /= 10;
  }
  out->append(buf, width);
}

bool NeedsEscape(unsigned char c) { return c < 0x20 || c == 0x7f || c == '"' || c == '\\'; }

void AppendEscaped(std::string_view value, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  size_t clean = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(value[i]);
    if (!NeedsEscape(c)) continue;
    out->append(value.substr(clean, i - clean));
    clean = i + 1;
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(static_cast<char>(c));
    } else {
      out->append("\\x");
      out->push_back(kHex[c >> 4]);
      out->push_back(kHex[c & 15]);
    }
  }
  out->append(value.substr(clean));
}

void AppendUnknown(FormatStyle style, std::string* out) {
  if (style == FormatStyle::kLog) out->push_back('-');
}

// What a peer may have chosen: cut to max_length bytes, then escaped.
void AppendText(std::string_view value, uint32_t max_length, FormatStyle style, std::string* out) {
  if (value.empty()) return AppendUnknown(style, out);
  if (max_length != 0 && value.size() > max_length) value = value.substr(0, max_length);
  if (style == FormatStyle::kLog) return AppendEscaped(value, out);
  // Values of headers were checked by the codec; names that a peer chose elsewhere (SNI) were not.
  for (char c : value) {
    if (c != '\r' && c != '\n' && c != '\0') out->push_back(c);
  }
}

void AppendMillis(int64_t nanos, FormatStyle style, std::string* out) {
  if (nanos < 0) return AppendUnknown(style, out);
  AppendNumber(static_cast<uint64_t>(nanos / 1'000'000), out);
}

std::optional<std::string_view> FindRequestHeader(const StreamFields& f, std::string_view name) {
  if (name.empty()) return std::nullopt;
  if (name[0] == ':') {
    std::string_view v;
    if (name == ":method") v = f.method;
    if (name == ":path") v = f.path;
    if (name == ":authority") v = f.authority;
    if (name == ":scheme") v = f.scheme;
    if (v.empty()) return std::nullopt;
    return v;
  }
  if (name == "host" && !f.authority.empty()) return f.authority;
  return f.request_headers == nullptr ? std::nullopt : f.request_headers->Get(name);
}

std::optional<std::string_view> FindIn(const HeaderSource* headers, std::string_view name) {
  if (name.empty() || headers == nullptr) return std::nullopt;
  return headers->Get(name);
}

struct Civil {
  int64_t year;
  unsigned month, day;
};

// Days since 1970-01-01 -> proleptic Gregorian date: years are counted from March, so that the leap day is the last.
Civil CivilFromDays(int64_t days) {
  days += 719468;  // 0000-03-01
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  unsigned day_of_era = static_cast<unsigned>(days - era * 146097);
  unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  unsigned shifted_month = (5 * day_of_year + 2) / 153;
  unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  return {static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * shifted_month + 2) / 5 + 1};
}

// "2026-04-15T20:17:00.310Z" without strftime: one log line a request pays for it.
void AppendIsoMillis(int64_t wall_micros, std::string* out) {
  int64_t seconds = wall_micros / 1'000'000;
  int64_t micros = wall_micros % 1'000'000;
  if (micros < 0) {
    micros += 1'000'000;
    --seconds;
  }
  int64_t days = seconds / 86400;
  int64_t of_day = seconds % 86400;
  if (of_day < 0) {
    of_day += 86400;
    --days;
  }
  Civil c = CivilFromDays(days);
  AppendPadded(static_cast<uint64_t>(std::max<int64_t>(c.year, 0)), 4, out);
  out->push_back('-');
  AppendPadded(c.month, 2, out);
  out->push_back('-');
  AppendPadded(c.day, 2, out);
  out->push_back('T');
  AppendPadded(static_cast<uint64_t>(of_day / 3600), 2, out);
  out->push_back(':');
  AppendPadded(static_cast<uint64_t>(of_day / 60 % 60), 2, out);
  out->push_back(':');
  AppendPadded(static_cast<uint64_t>(of_day % 60), 2, out);
  out->push_back('.');
  AppendPadded(static_cast<uint64_t>(micros / 1000), 3, out);
  out->push_back('Z');
}

std::string Hostname() {
  char buf[256] = {0};
  if (gethostname(buf, sizeof(buf) - 1) != 0) return "-";
  return buf;
}

}  // namespace

std::string_view WithoutPort(std::string_view address) {
  if (!address.empty() && address[0] == '[') {
    size_t close = address.find(']');
    return close == std::string_view::npos ? address : address.substr(1, close - 1);
  }
  size_t colon = address.rfind(':');
  // More than one colon and no bracket: an IPv6 address that has no port.
  if (colon == std::string_view::npos || address.find(':') != colon) return address;
  return address.substr(0, colon);
}

std::string_view PortOf(std::string_view address) {
  size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return {};
  size_t close = address.rfind(']');
  if (close == std::string_view::npos ? address.find(':') != colon : colon < close) return {};
  return address.substr(colon + 1);
}

const Format::Definition* Format::Find(std::string_view name) {
  static constexpr Definition kDefinitions[] = {
      {"BYTES_RECEIVED", Command::kBytesReceived, Argument::kNone},
      {"BYTES_SENT", Command::kBytesSent, Argument::kNone},
      {"CONNECTION_ID", Command::kConnectionId, Argument::kNone},
      {"CONNECTION_TERMINATION_DETAILS", Command::kConnectionTerminationDetails, Argument::kNone},
      {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Command::kDownstreamDirectRemoteAddress, Argument::kNone},
      {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Command::kDownstreamDirectRemoteAddressWithoutPort,
       Argument::kNone},
      {"DOWNSTREAM_LOCAL_ADDRESS", Command::kDownstreamLocalAddress, Argument::kNone},
      {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Command::kDownstreamLocalAddressWithoutPort, Argument::kNone},
      {"DOWNSTREAM_LOCAL_PORT", Command::kDownstreamLocalPort, Argument::kNone},
      {"DOWNSTREAM_LOCAL_SUBJECT", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kLocalSubject},
      {"DOWNSTREAM_LOCAL_URI_SAN", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kLocalUriSan},
      {"DOWNSTREAM_PEER_CERT", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerCert},
      {"DOWNSTREAM_PEER_DNS_SAN", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerDnsSan},
      {"DOWNSTREAM_PEER_FINGERPRINT_256", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerFingerprint256},
      {"DOWNSTREAM_PEER_ISSUER", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerIssuer},
      {"DOWNSTREAM_PEER_SERIAL", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerSerial},
      {"DOWNSTREAM_PEER_SUBJECT", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerSubject},
      {"DOWNSTREAM_PEER_URI_SAN", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kPeerUriSan},
      {"DOWNSTREAM_REMOTE_ADDRESS", Command::kDownstreamRemoteAddress, Argument::kNone},
      {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Command::kDownstreamRemoteAddressWithoutPort, Argument::kNone},
      {"DOWNSTREAM_REMOTE_PORT", Command::kDownstreamRemotePort, Argument::kNone},
      {"DOWNSTREAM_TLS_CIPHER", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kCipher},
      {"DOWNSTREAM_TLS_VERSION", Command::kDownstreamTls, Argument::kNone, TlsSource::Value::kVersion},
      {"DURATION", Command::kDuration, Argument::kNone},
      {"ENVIRONMENT", Command::kEnvironment, Argument::kRequired},
      {"GRPC_STATUS", Command::kGrpcStatus, Argument::kOptional},
      {"GRPC_STATUS_NUMBER", Command::kGrpcStatus, Argument::kNone},
      {"HOSTNAME", Command::kHostname, Argument::kNone},
      {"PROTOCOL", Command::kProtocol, Argument::kNone},
      {"REQ", Command::kRequestHeader, Argument::kRequired},
      {"REQUESTED_SERVER_NAME", Command::kRequestedServerName, Argument::kNone},
      {"REQUEST_DURATION", Command::kRequestDuration, Argument::kNone},
      {"RESP", Command::kResponseHeader, Argument::kRequired},
      {"RESPONSE_CODE", Command::kResponseCode, Argument::kNone},
      {"RESPONSE_CODE_DETAILS", Command::kResponseCodeDetails, Argument::kNone},
      {"RESPONSE_DURATION", Command::kResponseDuration, Argument::kNone},
      {"RESPONSE_FLAGS", Command::kResponseFlags, Argument::kNone},
      {"RESPONSE_FLAGS_LONG", Command::kResponseFlagsLong, Argument::kNone},
      {"RESPONSE_TX_DURATION", Command::kResponseTxDuration, Argument::kNone},
      {"ROUTE_NAME", Command::kRouteName, Argument::kNone},
      {"START_TIME", Command::kStartTime, Argument::kOptional},
      {"STREAM_ID", Command::kStreamId, Argument::kNone},
      {"TRAILER", Command::kTrailer, Argument::kRequired},
      {"UPSTREAM_CLUSTER", Command::kUpstreamCluster, Argument::kNone},
      {"UPSTREAM_CLUSTER_RAW", Command::kUpstreamCluster, Argument::kNone},
      {"UPSTREAM_HOST", Command::kUpstreamHost, Argument::kNone},
      {"UPSTREAM_LOCAL_ADDRESS", Command::kUpstreamLocalAddress, Argument::kNone},
      {"UPSTREAM_LOCAL_SUBJECT", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kLocalSubject},
      {"UPSTREAM_LOCAL_URI_SAN", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kLocalUriSan},
      {"UPSTREAM_PEER_CERT", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerCert},
      {"UPSTREAM_PEER_DNS_SAN", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerDnsSan},
      {"UPSTREAM_PEER_FINGERPRINT_256", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerFingerprint256},
      {"UPSTREAM_PEER_ISSUER", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerIssuer},
      {"UPSTREAM_PEER_SERIAL", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerSerial},
      {"UPSTREAM_PEER_SUBJECT", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerSubject},
      {"UPSTREAM_PEER_URI_SAN", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kPeerUriSan},
      {"UPSTREAM_REMOTE_ADDRESS", Command::kUpstreamHost, Argument::kNone},
      {"UPSTREAM_REQUEST_ATTEMPT_COUNT", Command::kUpstreamRequestAttemptCount, Argument::kNone},
      {"UPSTREAM_TLS_CIPHER", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kCipher},
      {"UPSTREAM_TLS_VERSION", Command::kUpstreamTls, Argument::kNone, TlsSource::Value::kVersion},
      {"UPSTREAM_TRANSPORT_FAILURE_REASON", Command::kUpstreamTransportFailureReason, Argument::kNone},
      {"VIRTUAL_HOST_NAME", Command::kVirtualHostName, Argument::kNone},
  };
  if (name.empty()) {  // the head of the list, for KnownCommands
    return kDefinitions;
  }
  for (const Definition& d : kDefinitions) {
    if (d.name == name) return &d;
  }
  return nullptr;
}

std::string Format::KnownCommands() {
  std::string out;
  for (const Definition* d = Find({});; ++d) {
    StrAppend(&out, out.empty() ? "" : ", ", d->name);
    if (d->name == "VIRTUAL_HOST_NAME") return out;
  }
}

absl::Status Format::ParseHeaderNames(std::string_view argument, Step* step) {
  size_t question = argument.find('?');
  step->text = AsciiLower(argument.substr(0, question));
  if (question != std::string_view::npos) {
    step->alternative = AsciiLower(argument.substr(question + 1));
    if (step->alternative.empty() || step->alternative.find('?') != std::string::npos) {
      return absl::InvalidArgumentError(
          StrCat("\"", argument, "\": expected NAME or NAME?ALTERNATIVE with one alternative"));
    }
  }
  if (step->text.empty()) return absl::InvalidArgumentError("a header name is missing between the parentheses");
  for (const std::string* name : {&step->text, &step->alternative}) {
    for (unsigned char c : *name) {
      if (c <= 0x20 || c >= 0x7f) {
        return absl::InvalidArgumentError(StrCat("\"", argument, "\": not a header name"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Format::ParseTime(std::string_view spec, std::vector<TimePiece>* out) {
  std::string run;
  auto flush = [&] {
    if (run.empty()) return;
    out->push_back({TimePiece::kStrftime, 0, run});
    run.clear();
  };
  for (size_t i = 0; i < spec.size(); ++i) {
    if (spec[i] != '%') {
      run.push_back(spec[i]);
      continue;
    }
    if (++i == spec.size()) return absl::InvalidArgumentError("the time format ends in a single %");
    char c = spec[i];
    if (c == 's') {
      flush();
      out->push_back({TimePiece::kEpochSeconds, 0, ""});
    } else if (c == 'f') {
      flush();
      out->push_back({TimePiece::kFraction, 9, ""});
    } else if (c >= '1' && c <= '9' && i + 1 < spec.size() && spec[i + 1] == 'f') {
      flush();
      out->push_back({TimePiece::kFraction, static_cast<uint8_t>(c - '0'), ""});
      ++i;
    } else if (c == 'E' && i + 2 < spec.size() && spec[i + 1] >= '1' && spec[i + 1] <= '9' && spec[i + 2] == 'S') {
      run.append("%S.");
      flush();
      out->push_back({TimePiece::kFraction, static_cast<uint8_t>(spec[i + 1] - '0'), ""});
      i += 2;
    } else if (std::string_view("aAbBcCdDeFgGhHIjmMprRSTuUVwWxXyYzZ%").find(c) != std::string_view::npos) {
      run.push_back('%');
      run.push_back(c);
    } else {
      return absl::InvalidArgumentError(StrCat("\"%", std::string(1, c), "\" is not a time conversion"));
    }
  }
  flush();
  return absl::OkStatus();
}

absl::StatusOr<Format::Step> Format::ParseCommand(std::string_view text, size_t* at) {
  const size_t begin = *at;  // behind the first %
  size_t i = begin;
  while (i < text.size() && ((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= '0' && text[i] <= '9') || text[i] == '_')) ++i;
  std::string_view name = text.substr(begin, i - begin);
  auto error = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat("%", name, "% at byte ", begin - 1, ": ", what));
  };
  if (name.empty()) {
    return absl::InvalidArgumentError(
        StrCat("% at byte ", begin - 1, ": expected a command such as %PROTOCOL%, or %% for a percent sign"));
  }
  const Definition* def = Find(name);
  if (def == nullptr) return error(StrCat("unknown command; known ones: ", KnownCommands()));
  std::string_view argument;
  bool has_argument = i < text.size() && text[i] == '(';
  if (has_argument) {
    size_t close = text.find(')', i);
    if (close == std::string_view::npos) return error("the parenthesis is not closed");
    argument = text.substr(i + 1, close - i - 1);
    i = close + 1;
  }
  Step step;
  step.command = def->command;
  step.tls = def->tls;
  if (i < text.size() && text[i] == ':') {
    const char* digits = text.data() + i + 1;
    auto [end, ec] = std::from_chars(digits, text.data() + text.size(), step.max_length);
    if (ec != std::errc() || end == digits || step.max_length == 0) {
      return error("expected a length of 1 or more behind the colon");
    }
    i = static_cast<size_t>(end - text.data());
  }
  if (i >= text.size() || text[i] != '%') return error("the closing % is missing");
  *at = i + 1;
  if (has_argument && def->argument == Argument::kNone) return error("takes no argument");
  if (!has_argument && def->argument == Argument::kRequired) return error("needs an argument in parentheses");

  switch (def->command) {
    case Command::kRequestHeader:
    case Command::kResponseHeader:
    case Command::kTrailer:
      if (absl::Status s = ParseHeaderNames(argument, &step); !s.ok()) return error(std::string(s.message()));
      break;
    case Command::kGrpcStatus:
      // The style lies where header names have theirs.
      step.text = name == "GRPC_STATUS_NUMBER" ? "NUMBER" : std::string(argument);
      if (step.text.empty()) step.text = "CAMEL_STRING";
      if (step.text != "CAMEL_STRING" && step.text != "SNAKE_STRING" && step.text != "NUMBER") {
        return error(StrCat("\"", argument, "\": expected CAMEL_STRING, SNAKE_STRING or NUMBER"));
      }
      break;
    case Command::kStartTime:
      if (absl::Status s = ParseTime(argument, &step.time); !s.ok()) return error(std::string(s.message()));
      break;
    case Command::kHostname:
      step.command = Command::kLiteral;
      step.text = Hostname();
      break;
    case Command::kEnvironment: {
      const char* value = std::getenv(std::string(argument).c_str());
      step.command = Command::kLiteral;
      step.text = value == nullptr ? "-" : value;
      if (step.max_length != 0 && step.text.size() > step.max_length) step.text.resize(step.max_length);
      break;
    }
    default:
      break;
  }
  return step;
}

bool Format::has_line_break() const {
  static constexpr std::string_view kBreaks("\r\n\0", 3);
  for (const Step& step : steps_) {
    if (step.command == Command::kLiteral && step.text.find_first_of(kBreaks) != std::string::npos) return true;
    for (const TimePiece& piece : step.time) {
      if (piece.text.find_first_of(kBreaks) != std::string::npos) return true;
    }
  }
  return false;
}

void Format::AddLiteral(std::string_view text) {
  if (text.empty()) return;
  if (!steps_.empty() && steps_.back().command == Command::kLiteral) {
    steps_.back().text.append(text);
    return;
  }
  Step step;
  step.text = std::string(text);
  steps_.push_back(std::move(step));
}

absl::StatusOr<Format> Format::Compile(std::string_view text) {
  if (text.size() > kMaxFormatBytes) {
    return absl::InvalidArgumentError(StrCat("a format of ", text.size(), " bytes; at most ", kMaxFormatBytes));
  }
  Format format;
  size_t at = 0;
  while (at < text.size()) {
    size_t percent = text.find('%', at);
    format.AddLiteral(text.substr(at, percent == std::string_view::npos ? percent : percent - at));
    if (percent == std::string_view::npos) break;
    at = percent + 1;
    if (at < text.size() && text[at] == '%') {
      format.AddLiteral("%");
      ++at;
      continue;
    }
    absl::StatusOr<Step> step = ParseCommand(text, &at);
    if (!step.ok()) return step.status();
    if (step->command == Command::kLiteral) {
      format.AddLiteral(step->text);
    } else {
      format.steps_.push_back(*std::move(step));
    }
  }
  format.steps_.shrink_to_fit();
  return format;
}

void Format::AppendTime(const std::vector<TimePiece>& pieces, int64_t wall_micros, std::string* out) {
  if (pieces.empty()) return AppendIsoMillis(wall_micros, out);
  time_t seconds = static_cast<time_t>(wall_micros / 1'000'000);
  int64_t micros = wall_micros % 1'000'000;
  if (micros < 0) {
    micros += 1'000'000;
    --seconds;
  }
  struct tm broken_down;
  gmtime_r(&seconds, &broken_down);
  for (const TimePiece& piece : pieces) {
    switch (piece.kind) {
      case TimePiece::kEpochSeconds:
        AppendNumber(static_cast<uint64_t>(std::max<time_t>(seconds, 0)), out);
        break;
      case TimePiece::kFraction: {
        uint64_t value = static_cast<uint64_t>(micros) * 1000;
        for (int i = piece.digits; i < 9; ++i) value /= 10;
        AppendPadded(value, piece.digits, out);
        break;
      }
      case TimePiece::kStrftime: {
        char buf[512];
        out->append(buf, strftime(buf, sizeof(buf), piece.text.c_str(), &broken_down));
        break;
      }
    }
  }
}

void Format::AppendStep(const Step& step, const StreamFields& f, FormatStyle style, std::string* out) {
  const uint32_t max = step.max_length;
  auto header = [&](std::optional<std::string_view> first, auto&& second) {
    if (!first.has_value() && !step.alternative.empty()) first = second();
    AppendText(first.value_or(std::string_view()), max, style, out);
  };
  switch (step.command) {
    case Command::kLiteral:
    case Command::kHostname:
    case Command::kEnvironment:
      out->append(step.text);
      return;
    case Command::kStartTime:
      return AppendTime(step.time, f.start_wall_micros, out);
    case Command::kRequestHeader:
      return header(FindRequestHeader(f, step.text), [&] { return FindRequestHeader(f, step.alternative); });
    case Command::kResponseHeader:
      if (step.text == ":status") {
        if (f.response_code == 0) return AppendUnknown(style, out);
        return AppendNumber(static_cast<uint64_t>(f.response_code), out);
      }
      return header(FindIn(f.response_headers, step.text), [&] { return FindIn(f.response_headers, step.alternative); });
    case Command::kTrailer:
      return header(FindIn(f.response_trailers, step.text),
                    [&] { return FindIn(f.response_trailers, step.alternative); });
    case Command::kProtocol:
      return AppendText(f.protocol, max, style, out);
    case Command::kResponseCode:
      return AppendNumber(static_cast<uint64_t>(f.response_code), out);
    case Command::kResponseCodeDetails:
      return AppendText(f.response_code_details, max, style, out);
    case Command::kGrpcStatus: {
      if (f.grpc_status < 0) return AppendUnknown(style, out);
      GrpcNameStyle names = step.text == "NUMBER"         ? GrpcNameStyle::kNumber
                            : step.text == "SNAKE_STRING" ? GrpcNameStyle::kSnake
                                                          : GrpcNameStyle::kCamel;
      return AppendGrpcStatus(f.grpc_status, names, out);
    }
    case Command::kConnectionTerminationDetails:
      return AppendText(f.connection_termination_details, max, style, out);
    case Command::kResponseFlags:
    case Command::kResponseFlagsLong:
      if (f.response_flags == 0) return AppendUnknown(style, out);
      return AppendResponseFlags(f.response_flags, step.command == Command::kResponseFlagsLong, out);
    case Command::kBytesReceived:
      return AppendNumber(f.bytes_received, out);
    case Command::kBytesSent:
      return AppendNumber(f.bytes_sent, out);
    case Command::kDuration:
      return AppendMillis(f.duration_nanos, style, out);
    case Command::kRequestDuration:
      return AppendMillis(f.request_end_nanos, style, out);
    case Command::kResponseDuration:
      return AppendMillis(f.response_first_byte_nanos, style, out);
    case Command::kResponseTxDuration:
      return AppendMillis(f.response_first_byte_nanos < 0 || f.response_end_nanos < f.response_first_byte_nanos
                              ? -1
                              : f.response_end_nanos - f.response_first_byte_nanos,
                          style, out);
    case Command::kUpstreamHost:
      return AppendText(f.upstream_host, max, style, out);
    case Command::kUpstreamCluster:
      return AppendText(f.upstream_cluster, max, style, out);
    case Command::kUpstreamLocalAddress:
      return AppendText(f.upstream_local_address, max, style, out);
    case Command::kUpstreamTransportFailureReason:
      return AppendText(f.upstream_transport_failure_reason, max, style, out);
    case Command::kUpstreamRequestAttemptCount:
      return AppendNumber(f.upstream_attempts, out);
    case Command::kDownstreamRemoteAddress:
      return AppendText(f.downstream_remote_address, max, style, out);
    case Command::kDownstreamRemoteAddressWithoutPort:
      return AppendText(WithoutPort(f.downstream_remote_address), max, style, out);
    case Command::kDownstreamRemotePort:
      return AppendText(PortOf(f.downstream_remote_address), max, style, out);
    case Command::kDownstreamDirectRemoteAddress:
    case Command::kDownstreamDirectRemoteAddressWithoutPort: {
      std::string_view direct = f.downstream_direct_remote_address.empty() ? f.downstream_remote_address
                                                                            : f.downstream_direct_remote_address;
      if (step.command == Command::kDownstreamDirectRemoteAddressWithoutPort) direct = WithoutPort(direct);
      return AppendText(direct, max, style, out);
    }
    case Command::kDownstreamLocalAddress:
      return AppendText(f.downstream_local_address, max, style, out);
    case Command::kDownstreamLocalAddressWithoutPort:
      return AppendText(WithoutPort(f.downstream_local_address), max, style, out);
    case Command::kDownstreamLocalPort:
      return AppendText(PortOf(f.downstream_local_address), max, style, out);
    case Command::kRouteName:
      return AppendText(f.route_name, max, style, out);
    case Command::kVirtualHostName:
      return AppendText(f.virtual_host_name, max, style, out);
    case Command::kRequestedServerName:
      return AppendText(f.requested_server_name, max, style, out);
    case Command::kConnectionId:
      return AppendNumber(f.connection_id, out);
    case Command::kStreamId:
      return AppendNumber(f.stream_id, out);
    case Command::kDownstreamTls:
      return AppendText(f.downstream_tls != nullptr ? f.downstream_tls->Get(step.tls) : std::string_view(), max, style, out);
    case Command::kUpstreamTls:
      return AppendText(f.upstream_tls != nullptr ? f.upstream_tls->Get(step.tls) : std::string_view(), max, style, out);
  }
}

void Format::Append(const StreamFields& fields, FormatStyle style, std::string* out) const {
  for (const Step& step : steps_) AppendStep(step, fields, style, out);
}

}  // namespace weft
