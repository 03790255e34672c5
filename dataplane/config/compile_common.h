#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/base/clock.h"
#include "dataplane/decide/string_match.h"
#include "dataplane/net/address.h"
#include "dataplane/net/dial_options.h"
#include "dataplane/observe/access_log.h"
#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "google/protobuf/duration.pb.h"

namespace weft::tls {
class Context;
}

namespace weft::config {

// What compilers may ask of the process: nothing is global. All members may be empty.
struct CompileEnv {
  // Reads DataSource.filename; see ReadSmallFile.
  std::function<absl::StatusOr<std::string>(const std::string& path)> read_file;
  // Opens an access log ahead of its first line; a message when that is impossible.
  std::function<std::string(const std::string& path)> open_log;
  // Takes a TLS context whose files are to be watched.
  std::function<void(const std::shared_ptr<tls::Context>&)> watch_tls;
  // For static route configurations that validate their clusters.
  std::function<bool(std::string_view cluster)> cluster_exists;
  // Of clusters that have no upstream_bind_config of their own; may be null.
  std::shared_ptr<const net::DialOptions> upstream_bind;
  // xDS: a field that our protos lack is an error. Off: it is a warning.
  bool refuse_unknown_fields = true;
};

// At most 1 MB.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

// FNV-1a over the wire form, for `version` in specs.
uint64_t HashOf(std::string_view bytes);

// "a" + "b" -> "a.b"; either may be empty.
std::string JoinPath(std::string_view a, std::string_view b);

// 0 when out of range (an error at `path`). `positive`: 0 is out of range as well.
MonoNanos CompileDuration(const google::protobuf::Duration& d, const std::string& path, bool positive,
                          decide::Errors* errors);

// IP literal and port, or a Unix socket path. `min_port` 1 refuses 0.
std::optional<net::Address> CompileAddress(const envoy::config::core::v3::Address& address, const std::string& path,
                                           uint32_t min_port, decide::Errors* errors);

// Only plain TCP so far; any other type is refused by its name.
void CheckTransportSocket(const envoy::config::core::v3::TransportSocket& socket, const std::string& path,
                          decide::Errors* errors);

// Anything but the aggregated stream is refused.
void CheckConfigSource(const envoy::config::core::v3::ConfigSource& source, const std::string& path,
                       decide::Errors* errors);
// initial_fetch_timeout: 15 s when unset, 0 waits for ever.
MonoNanos InitialFetchTimeout(const envoy::config::core::v3::ConfigSource& source, const std::string& path,
                              decide::Errors* errors);

// Fields that came over the wire and that our trimmed protos lack.
void CheckUnknownFields(const google::protobuf::Message& message, const std::string& path, const CompileEnv& env,
                        decide::Errors* errors);

// Unpacks `any` into `out`, whose type must be the Any's. False, and an error, when it is not or is malformed.
bool UnpackAny(const google::protobuf::Any& any, google::protobuf::Message* out, const std::string& path,
               const CompileEnv& env, decide::Errors* errors);

// An error where a field is set that has no meaning here yet.
void RefuseIf(bool set, std::string path, std::string_view message, decide::Errors* errors);

std::optional<std::string> ReadDataSource(const envoy::config::core::v3::DataSource& source, const std::string& path,
                                          const CompileEnv& env, decide::Errors* errors);

std::vector<std::shared_ptr<const observe::AccessLogSpec>> CompileAccessLogs(
    const google::protobuf::RepeatedPtrField<envoy::config::accesslog::v3::AccessLog>& logs, const std::string& path,
    const CompileEnv& env, decide::Errors* errors);

// "path: message; path: message" of errors (no warnings), for NACKs; long lists are cut.
std::string Summary(const std::vector<api::SourceError>& errors);

}  // namespace weft::config
