#include "dataplane/config/compile_common.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "api/cpp/names.h"
#include "api/cpp/unknown.h"
#include "dataplane/base/strings.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;

std::string PrintDuration(const google::protobuf::Duration& d) {
  return StrCat(static_cast<double>(d.seconds()) + static_cast<double>(d.nanos()) / 1e9, " s");
}

}  // namespace

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  constexpr size_t kMax = 1 << 20;
  auto fail = [&](std::string_view why) {
    return absl::NotFoundError(StrCat("cannot read ", path, ": ", why));
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(strerror(errno));
  std::string out;
  char buf[16384];
  ssize_t n;
  while ((n = read(fd, buf, sizeof(buf))) > 0 && out.size() <= kMax) out.append(buf, static_cast<size_t>(n));
  int error = errno;
  close(fd);
  if (n < 0) return fail(strerror(error));
  if (out.size() > kMax) return fail("larger than 1 MB");
  return out;
}

uint64_t HashOf(std::string_view bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3u;
  return h;
}

std::string JoinPath(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return std::string(a.empty() ? b : a);
  return b.front() == '[' ? StrCat(a, b) : StrCat(a, ".", b);
}

MonoNanos CompileDuration(const google::protobuf::Duration& d, const std::string& path, bool positive,
                          decide::Errors* errors) {
  // Well inside int64 nanoseconds, so that sums with the clock can't overflow.
  constexpr int64_t kMaxSeconds = int64_t{100} * 366 * 86400;
  bool sane = d.seconds() >= 0 && d.nanos() >= 0 && d.nanos() < 1'000'000'000 && d.seconds() <= kMaxSeconds;
  if (!sane || (positive && d.seconds() == 0 && d.nanos() == 0)) {
    errors->Add(path, StrCat(PrintDuration(d), ": expected ", positive ? "more than 0 s" : "0 s or more",
                             ", at most 100 years"));
    return 0;
  }
  return d.seconds() * kSecond + d.nanos();
}

void RefuseIf(bool set, std::string path, std::string_view message, decide::Errors* errors) {
  if (set) errors->Add(std::move(path), std::string(message));
}

std::optional<net::Address> CompileAddress(const core::Address& address, const std::string& path, uint32_t min_port,
                                           decide::Errors* errors) {
  if (address.has_pipe()) {
    const core::Pipe& pipe = address.pipe();
    RefuseIf(pipe.mode() != 0, path + ".pipe.mode", "not supported: set permissions on the directory", errors);
    if (pipe.path().empty()) {
      errors->Add(path + ".pipe.path", "is missing");
      return std::nullopt;
    }
    auto a = net::Address::FromPath(pipe.path());
    if (!a) errors->Add(path + ".pipe.path", StrCat("\"", pipe.path(), "\": expected an absolute path or @name, at most 107 bytes"));
    return a;
  }
  if (!address.has_socket_address()) {
    errors->Add(path, "is missing: expected socket_address (address and port_value) or pipe (path)");
    return std::nullopt;
  }
  const core::SocketAddress& s = address.socket_address();
  const std::string at = path + ".socket_address";
  bool ok = true;
  auto bad = [&](std::string field, std::string message) {
    errors->Add(at + field, std::move(message));
    ok = false;
  };
  if (s.protocol() != core::SocketAddress::TCP) bad(".protocol", "UDP is not supported: expected TCP");
  if (s.ipv4_compat()) bad(".ipv4_compat", "not supported: use an IPv4 address");
  if (s.port_specifier_case() == core::SocketAddress::kNamedPort) {
    bad(".named_port", "not supported: expected port_value, a number");
  } else if (s.port_specifier_case() != core::SocketAddress::kPortValue) {
    bad(".port_value", "is missing");
  } else if (s.port_value() > 65535 || s.port_value() < min_port) {
    bad(".port_value", StrCat(s.port_value(), ": expected ", min_port, " to 65535"));
  }
  if (s.address().empty()) {
    bad(".address", "is missing");
  } else if (!net::Address::FromIp(s.address(), 0)) {
    bad(".address", StrCat("\"", s.address(), "\": expected an IP address; names are not resolved here"));
  }
  if (!ok) return std::nullopt;
  return net::Address::FromIp(s.address(), s.port_value());
}

void CheckTransportSocket(const core::TransportSocket& socket, const std::string& path, decide::Errors* errors) {
  if (!socket.has_typed_config()) {
    RefuseIf(socket.name() != "envoy.transport_sockets.raw_buffer", path + ".typed_config", "is missing", errors);
    return;
  }
  if (socket.typed_config().type_url() != api::kRawBufferType) {
    errors->Add(path + ".typed_config", StrCat("transport socket ", api::MessageNameOf(socket.typed_config().type_url()),
                                               " is not supported: expected ", api::MessageNameOf(api::kRawBufferType)));
  }
}

void CheckConfigSource(const core::ConfigSource& source, const std::string& path, decide::Errors* errors) {
  switch (source.config_source_specifier_case()) {
    case core::ConfigSource::kAds:
      break;
    case core::ConfigSource::kSelf:
      // "The source that this resource came from": there is only one.
      RefuseIf(source.self().transport_api_version() == core::V2, path + ".self.transport_api_version",
               "V2 is not supported: expected V3", errors);
      break;
    case core::ConfigSource::kPathConfigSource:
      errors->Add(path + ".path_config_source", "not supported: expected ads: {}");
      break;
    case core::ConfigSource::kApiConfigSource:
      errors->Add(path + ".api_config_source", "a stream for one resource type is not supported: expected ads: {}");
      break;
    case core::ConfigSource::CONFIG_SOURCE_SPECIFIER_NOT_SET:
      errors->Add(path, "has no source: expected ads: {}");
      break;
  }
  RefuseIf(source.resource_api_version() == core::V2, path + ".resource_api_version", "V2 is not supported: expected V3",
           errors);
}

MonoNanos InitialFetchTimeout(const core::ConfigSource& source, const std::string& path, decide::Errors* errors) {
  if (!source.has_initial_fetch_timeout()) return 15 * kSecond;
  return CompileDuration(source.initial_fetch_timeout(), path + ".initial_fetch_timeout", false, errors);
}

void CheckUnknownFields(const google::protobuf::Message& message, const std::string& path, const CompileEnv& env,
                        decide::Errors* errors) {
  for (const std::string& found : api::FindUnknownFields(message)) {
    // "virtual_hosts[0].route: field 15 of envoy..."; the path is empty for a field of the message itself.
    size_t colon = found.find(": field ");
    std::string at = colon == std::string::npos ? "" : found.substr(0, colon);
    std::string what = StrCat(colon == std::string::npos ? found : found.substr(colon + 2), " is not supported");
    if (env.refuse_unknown_fields) {
      errors->Add(JoinPath(path, at), what);
    } else {
      errors->Warn(JoinPath(path, at), what + ": ignored");
    }
  }
}

bool UnpackAny(const google::protobuf::Any& any, google::protobuf::Message* out, const std::string& path,
               const CompileEnv& env, decide::Errors* errors) {
  if (api::MessageNameOf(any.type_url()) != out->GetTypeName()) {
    errors->Add(path, StrCat("is of type ", api::MessageNameOf(any.type_url()), ": expected ", out->GetTypeName()));
    return false;
  }
  if (!out->ParseFromString(any.value())) {
    errors->Add(path, StrCat("malformed bytes: no valid ", out->GetTypeName()));
    return false;
  }
  CheckUnknownFields(*out, path, env, errors);
  return true;
}

std::optional<std::string> ReadDataSource(const core::DataSource& source, const std::string& path,
                                          const CompileEnv& env, decide::Errors* errors) {
  RefuseIf(source.has_watched_directory(), path + ".watched_directory",
           "not supported here: the file is read once, with its configuration", errors);
  switch (source.specifier_case()) {
    case core::DataSource::kInlineString:
      return source.inline_string();
    case core::DataSource::kInlineBytes:
      return source.inline_bytes();
    case core::DataSource::kFilename: {
      auto text = env.read_file ? env.read_file(source.filename()) : ReadSmallFile(source.filename());
      if (text.ok()) return *std::move(text);
      errors->Add(path + ".filename", std::string(text.status().message()));
      return std::nullopt;
    }
    case core::DataSource::kEnvironmentVariable: {
      const char* value = getenv(source.environment_variable().c_str());
      if (value != nullptr) return std::string(value);
      errors->Add(path + ".environment_variable", StrCat(source.environment_variable(), " is not set"));
      return std::nullopt;
    }
    case core::DataSource::SPECIFIER_NOT_SET:
      break;
  }
  errors->Add(path, "is empty: expected filename, inline_string, inline_bytes or environment_variable");
  return std::nullopt;
}

namespace {

// The text of a format; an empty one is the default. Nothing when there was an error.
std::optional<std::string> CompileFormat(const core::SubstitutionFormatString& format, const std::string& path,
                                         const CompileEnv& env, decide::Errors* errors) {
  RefuseIf(format.omit_empty_values(), path + ".omit_empty_values", "not supported: absent values are written as -",
           errors);
  switch (format.format_case()) {
    case core::SubstitutionFormatString::kTextFormat:
      return format.text_format();
    case core::SubstitutionFormatString::kTextFormatSource:
      return ReadDataSource(format.text_format_source(), path + ".text_format_source", env, errors);
    case core::SubstitutionFormatString::FORMAT_NOT_SET:
      break;
  }
  errors->Add(path, "has no format: expected text_format_source or text_format");
  return std::nullopt;
}

template <typename Message>
std::optional<std::string> FormatOf(const Message& m, const std::string& path, const CompileEnv& env,
                                    decide::Errors* errors) {
  if (!m.has_log_format()) return "";
  return CompileFormat(m.log_format(), path + ".log_format", env, errors);
}

}  // namespace

std::vector<std::shared_ptr<const observe::AccessLogSpec>> CompileAccessLogs(
    const google::protobuf::RepeatedPtrField<envoy::config::accesslog::v3::AccessLog>& logs, const std::string& path,
    const CompileEnv& env, decide::Errors* errors) {
  std::vector<std::shared_ptr<const observe::AccessLogSpec>> out;
  for (int i = 0; i < logs.size(); ++i) {
    const std::string at = StrCat(path, "[", i, "].typed_config");
    const google::protobuf::Any& any = logs[i].typed_config();
    std::string file;
    std::optional<std::string> format;
    if (!logs[i].has_typed_config()) {
      errors->Add(at, "is missing");
      continue;
    }
    if (any.type_url() == api::kFileAccessLogType) {
      envoy::extensions::access_loggers::file::v3::FileAccessLog m;
      if (!UnpackAny(any, &m, at, env, errors)) continue;
      file = m.path();
      if (file.empty()) errors->Add(at + ".path", "is missing");
      format = FormatOf(m, at, env, errors);
    } else if (any.type_url() == api::kStdoutAccessLogType) {
      envoy::extensions::access_loggers::stream::v3::StdoutAccessLog m;
      if (!UnpackAny(any, &m, at, env, errors)) continue;
      file = "/dev/stdout";
      format = FormatOf(m, at, env, errors);
    } else if (any.type_url() == api::kStderrAccessLogType) {
      envoy::extensions::access_loggers::stream::v3::StderrAccessLog m;
      if (!UnpackAny(any, &m, at, env, errors)) continue;
      file = "/dev/stderr";
      format = FormatOf(m, at, env, errors);
    } else {
      errors->Add(at, StrCat("access log ", api::MessageNameOf(any.type_url()),
                             " is not supported: expected FileAccessLog, StdoutAccessLog or StderrAccessLog"));
      continue;
    }
    if (!format || file.empty()) continue;
    auto spec = observe::AccessLogSpec::Compile(file, *format);
    if (!spec.ok()) {
      errors->Add(at + ".log_format", std::string(spec.status().message()));
      continue;
    }
    if (env.open_log) {
      std::string why = env.open_log(file);
      if (!why.empty()) {
        errors->Add(at + ".path", std::move(why));
        continue;
      }
    }
    out.push_back(*std::move(spec));
  }
  return out;
}

std::string Summary(const std::vector<api::SourceError>& errors) {
  constexpr size_t kMax = 4096;
  std::string out;
  for (const api::SourceError& e : errors) {
    if (e.warning) continue;
    if (out.size() > kMax) {
      out += "; ...";
      break;
    }
    StrAppend(&out, out.empty() ? "" : "; ", e.path, e.path.empty() ? "" : ": ", e.message);
  }
  return out;
}

}  // namespace weft::config
