#include "api/cpp/envoy_types.h"

#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/config_dump_shared.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb.h"
#include "envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case.pb.h"
#include "envoy/extensions/resource_monitors/cgroup_memory/v3/cgroup_memory.pb.h"
#include "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.pb.h"
#include "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.pb.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "google/rpc/status.pb.h"

namespace weft::api {

void LinkEnvoyTypes() {
  using google::protobuf::LinkMessageReflection;
  // One message of each file is enough: a file comes in as a whole, and brings what it imports.
  LinkMessageReflection<envoy::admin::v3::ConfigDump>();
  LinkMessageReflection<envoy::admin::v3::ListenersConfigDump>();
  LinkMessageReflection<envoy::config::bootstrap::v3::Bootstrap>();
  LinkMessageReflection<envoy::config::route::v3::RouteConfiguration>();
  LinkMessageReflection<envoy::extensions::access_loggers::file::v3::FileAccessLog>();
  LinkMessageReflection<envoy::extensions::access_loggers::stream::v3::StdoutAccessLog>();
  LinkMessageReflection<envoy::extensions::filters::http::grpc_web::v3::GrpcWeb>();
  LinkMessageReflection<envoy::extensions::filters::http::header_mutation::v3::HeaderMutation>();
  LinkMessageReflection<envoy::extensions::filters::http::router::v3::Router>();
  LinkMessageReflection<
      envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager>();
  LinkMessageReflection<
      envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig>();
  LinkMessageReflection<envoy::extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig>();
  LinkMessageReflection<
      envoy::extensions::resource_monitors::cgroup_memory::v3::CgroupMemoryConfig>();
  LinkMessageReflection<envoy::extensions::resource_monitors::downstream_connections::v3::
                            DownstreamConnectionsConfig>();
  LinkMessageReflection<envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer>();
  LinkMessageReflection<envoy::extensions::transport_sockets::tls::v3::Secret>();
  LinkMessageReflection<envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext>();
  LinkMessageReflection<envoy::extensions::transport_sockets::tls::v3::SPIFFECertValidatorConfig>();
  LinkMessageReflection<envoy::extensions::upstreams::http::v3::HttpProtocolOptions>();
  LinkMessageReflection<google::rpc::Status>();
}

}  // namespace weft::api
