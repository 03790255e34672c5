#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/decide/upgrade.h"
#include "dataplane/http/h2/options.h"
#include "dataplane/http/message.h"
#include "dataplane/proxy/forwarded_client_cert.h"

namespace weft::decide {
class RouteTable;
}
namespace weft::observe {
class AccessLogSpec;
}

namespace weft::proxy {

class FilterFactory;

// kAuto: by ALPN, or by what the connection begins with.
enum class Codec : uint8_t { kAuto, kHttp1, kHttp2 };
enum class ServerHeader : uint8_t { kOverwrite, kAppendIfAbsent, kPassThrough };

// One HTTP connection manager, compiled: immutable, shared by all workers.
// Source: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager;
// defaults are Envoy's.
struct HttpManagerSpec {
  std::string stat_prefix;
  // Exactly one of the two: a route configuration by name (RDS) or one of its own.
  std::string rds_name;
  std::shared_ptr<const decide::RouteTable> routes;

  Codec codec = Codec::kAuto;
  // http2_protocol_options. Limits of heads, timeouts and requests a connection come from the fields
  // below.
  http::h2::SessionOptions http2;
  // http_protocol_options.
  bool accept_http_10 = false;
  std::string default_host_for_http_10;  // empty: a request without Host is refused
  http::HeaderCase header_case = http::HeaderCase::kAsReceived;
  decide::UpgradeRules upgrades;
  uint32_t max_request_head_bytes = 60 * 1024;
  uint32_t max_request_headers = 100;
  MonoNanos idle_timeout = 3600 * kSecond;  // of a downstream connection without a request; 0: none
  MonoNanos stream_idle_timeout = 300 * kSecond;
  MonoNanos request_timeout = 0;  // until the whole request is there; 0: none
  MonoNanos request_headers_timeout =
      0;  // until the head is there; 0: none. Idle timeout bounds it anyway.
  MonoNanos max_stream_duration = 0;
  MonoNanos drain_timeout = 5 * kSecond;
  MonoNanos delayed_close_timeout = 1 * kSecond;
  uint32_t max_requests_per_connection = 0;
  bool use_remote_address = false;
  bool skip_xff_append = false;
  ClientCertForwarding client_cert;
  bool generate_request_id = true;
  bool preserve_external_request_id = false;
  bool normalize_path = false;
  bool merge_slashes = false;
  std::string via;
  std::string server_name = "weft";
  ServerHeader server_header = ServerHeader::kOverwrite;
  bool suppress_envoy_headers = false;  // router filter's

  // In the order of the configuration; the router is last and is not among them.
  std::vector<std::shared_ptr<const FilterFactory>> filters;
  std::vector<std::shared_ptr<const observe::AccessLogSpec>> access_logs;
};

}  // namespace weft::proxy
