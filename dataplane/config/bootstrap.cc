#include "dataplane/config/bootstrap.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "api/cpp/envoy_types.h"
#include "dataplane/base/strings.h"
#include "dataplane/config/compile_upstream.h"
#include "dataplane/config/compile_overload.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"

namespace weft::config {
namespace {

namespace core = envoy::config::core::v3;
using BootstrapProto = envoy::config::bootstrap::v3::Bootstrap;

bool IsLoopback(const net::Address& a) {
  if (a.is_unix()) return true;
  return a.is_v6() ? a.Ip() == "::1" : a.Ip().starts_with("127.");
}

// Reads the parts of one file. One object a file, on the stack.
class Reader {
 public:
  Reader(const BootstrapOptions& options, const CompileEnv& env) : options_(options), env_(env), errors_(&found_) {}

  std::unique_ptr<Bootstrap> Read(const BootstrapProto& proto) {
    proto_ = &proto;
    auto out = std::make_unique<Bootstrap>();
    out_ = out.get();
    if (proto.admin().has_address()) ReadAdmin();
    RefuseIf(proto.admin().access_log_size() > 0, "admin.access_log", "not supported: leave it out", &errors_);
    if (proto.has_overload_manager()) {
      out->overload =
          CompileOverload(proto.overload_manager(), "overload_manager", env_, &errors_);
    }
    if (proto.cluster_manager().has_upstream_bind_config()) {
      net::DialOptions bind;
      CompileBindConfig(proto.cluster_manager().upstream_bind_config(),
                        "cluster_manager.upstream_bind_config", &bind, &errors_);
      env_.upstream_bind = out->upstream_bind =
          std::make_shared<const net::DialOptions>(std::move(bind));
    }
    ReadClusters();
    ReadListeners();
    ReadDynamic();
    ReadNode();
    out->wire = proto.SerializeAsString();
    if (errors_.any()) return nullptr;
    return out;
  }
  std::vector<api::SourceError>& found() { return found_; }

 private:
  void ReadAdmin() {
    auto a = CompileAddress(proto_->admin().address(), "admin.address", 0, &errors_);
    if (!a) return;
    if (!IsLoopback(*a)) {
      errors_.Add("admin.address.socket_address.address",
                  StrCat(a->Ip(), " can be reached from other hosts: expected a loopback address or a pipe"));
    }
    out_->admin = *a;
  }

  void ReadClusters() {
    std::set<std::string> names;
    for (int i = 0; i < proto_->static_resources().clusters_size(); ++i) {
      const auto& c = proto_->static_resources().clusters(i);
      const std::string at = StrCat("static_resources.clusters[", i, "]");
      if (!c.name().empty() && !names.insert(c.name()).second) {
        errors_.Add(at + ".name", StrCat("\"", c.name(), "\" is the name of another cluster too"));
      }
      auto compiled = CompileCluster(c, at, env_, &errors_);
      if (!compiled) continue;
      RefuseIf(!compiled->eds_name.empty() && !proto_->dynamic_resources().has_ads_config(),
               at + ".eds_cluster_config.eds_config.ads", "there is no dynamic_resources.ads_config", &errors_);
      out_->clusters.push_back({c.SerializeAsString(), *std::move(compiled)});
    }
    cluster_names_ = std::move(names);
  }

  void ReadListeners() {
    // Clusters that come by discovery can't be known here.
    env_.cluster_exists = [this](std::string_view name) {
      return proto_->dynamic_resources().has_cds_config() || cluster_names_.contains(std::string(name));
    };
    std::set<std::string> names, addresses;
    for (int i = 0; i < proto_->static_resources().listeners_size(); ++i) {
      const auto& l = proto_->static_resources().listeners(i);
      const std::string at = StrCat("static_resources.listeners[", i, "]");
      if (!l.name().empty() && !names.insert(l.name()).second) {
        errors_.Add(at + ".name", StrCat("\"", l.name(), "\" is the name of another listener too"));
      }
      auto compiled = CompileListener(l, at, env_, &errors_);
      if (!compiled) continue;
      const net::Address& address = compiled->spec->address;
      if ((address.is_unix() || address.port() != 0) && !addresses.insert(address.ToString()).second) {
        errors_.Add(at + ".address", StrCat(address.ToString(), " is the address of another listener too"));
      }
      RefuseIf(!compiled->rds.empty() && !proto_->dynamic_resources().has_ads_config(), at + ".filter_chains",
               StrCat("routes \"", compiled->rds.empty() ? "" : compiled->rds.begin()->first,
                      "\" come by rds, and there is no dynamic_resources.ads_config"),
               &errors_);
      out_->listeners.push_back({l.SerializeAsString(), *std::move(compiled)});
    }
    env_.cluster_exists = nullptr;
  }

  void ReadDynamic() {
    const auto& d = proto_->dynamic_resources();
    if (!d.has_ads_config()) {
      RefuseIf(d.has_lds_config(), "dynamic_resources.lds_config", "there is no dynamic_resources.ads_config", &errors_);
      RefuseIf(d.has_cds_config(), "dynamic_resources.cds_config", "there is no dynamic_resources.ads_config", &errors_);
      return;
    }
    XdsSettings xds;
    ReadAds(d.ads_config(), "dynamic_resources.ads_config", &xds);
    if (d.has_lds_config()) {
      xds.listeners = true;
      CheckConfigSource(d.lds_config(), "dynamic_resources.lds_config", &errors_);
      xds.listeners_timeout = InitialFetchTimeout(d.lds_config(), "dynamic_resources.lds_config", &errors_);
    }
    if (d.has_cds_config()) {
      xds.clusters = true;
      CheckConfigSource(d.cds_config(), "dynamic_resources.cds_config", &errors_);
      xds.clusters_timeout = InitialFetchTimeout(d.cds_config(), "dynamic_resources.cds_config", &errors_);
    }
    out_->xds = std::move(xds);
  }

  void ReadAds(const core::ApiConfigSource& ads, const std::string& at, XdsSettings* xds) {
    switch (ads.api_type()) {
      case core::ApiConfigSource::DELTA_GRPC:
        xds->delta = true;
        break;
      case core::ApiConfigSource::GRPC:
        xds->delta = false;
        break;
      default:
        errors_.Add(at + ".api_type", core::ApiConfigSource::ApiType_IsValid(ads.api_type())
                                          ? StrCat(core::ApiConfigSource::ApiType_Name(ads.api_type()),
                                                   " is not supported: expected DELTA_GRPC or GRPC")
                                          : StrCat(static_cast<int>(ads.api_type()), " is no API type"));
    }
    if (ads.transport_api_version() != core::V3) {
      errors_.Add(at + ".transport_api_version", ads.transport_api_version() == core::AUTO
                                                     ? std::string("is missing: expected V3")
                                                     : StrCat("V2 is not supported: expected V3"));
    }
    RefuseIf(ads.cluster_names_size() > 0, at + ".cluster_names", "belongs to REST: name the cluster in grpc_services",
             &errors_);
    if (ads.grpc_services_size() != 1) {
      errors_.Add(at + ".grpc_services", StrCat("has ", ads.grpc_services_size(), " entries: expected one"));
      return;
    }
    const core::GrpcService& service = ads.grpc_services(0);
    const std::string s = at + ".grpc_services[0]";
    RefuseIf(service.has_timeout(), s + ".timeout", "has no meaning for a stream: set connect_timeout of the cluster",
             &errors_);
    for (int i = 0; i < service.initial_metadata_size(); ++i) {
      const auto& m = service.initial_metadata(i);
      if (m.key().empty() || m.key().front() == ':') {
        errors_.Add(StrCat(s, ".initial_metadata[", i, "].key"), StrCat("\"", m.key(), "\" is no header name"));
      }
      xds->servers.metadata.emplace_back(AsciiLower(m.key()), m.value());
    }
    if (service.has_google_grpc()) {
      errors_.Add(s + ".google_grpc", "not supported: expected envoy_grpc with a cluster of static_resources");
      return;
    }
    if (!service.has_envoy_grpc() || service.envoy_grpc().cluster_name().empty()) {
      errors_.Add(s + ".envoy_grpc.cluster_name", "is missing");
      return;
    }
    ReadXdsCluster(service.envoy_grpc(), s + ".envoy_grpc.cluster_name", xds);
  }

  void ReadXdsCluster(const core::GrpcService::EnvoyGrpc& grpc, const std::string& at, XdsSettings* xds) {
    const std::string& name = grpc.cluster_name();
    xds->cluster = name;
    const CompiledCluster* cluster = nullptr;
    for (const StaticCluster& c : out_->clusters) {
      if (c.compiled.spec->name == name) cluster = &c.compiled;
    }
    if (cluster == nullptr) {
      // One that did not compile has its own message.
      RefuseIf(!cluster_names_.contains(name), at, StrCat("there is no cluster \"", name, "\" in static_resources.clusters"),
               &errors_);
      return;
    }
    if (cluster->spec->protocol != upstream::UpstreamProtocol::kHttp2) {
      errors_.Add(at, StrCat("cluster \"", name, "\" does not speak HTTP/2, which gRPC needs: set "
                             "explicit_http_config.http2_protocol_options in its typed_extension_protocol_options"));
      return;
    }
    if (cluster->endpoints == nullptr || cluster->endpoints->endpoints.empty()) {
      errors_.Add(at, StrCat("cluster \"", name, "\" has no endpoint in load_assignment"));
      return;
    }
    XdsServers& servers = xds->servers;
    for (const auto& e : cluster->endpoints->endpoints) servers.addresses.push_back(e.address);
    servers.authority = grpc.authority().empty() ? name : grpc.authority();
    servers.grpc.connect_timeout = cluster->spec->connect_timeout;
    RefuseIf(cluster->spec->security != nullptr, at,
             StrCat("cluster \"", name, "\" has a transport_socket with TLS, which is not supported "
                    "towards management servers"),
             &errors_);
    const http::h2::SessionOptions& h2 = *cluster->spec->http2;
    const http::h2::SessionOptions defaults = upstream::DefaultHttp2();
    if (h2.keepalive_interval > 0) {
      servers.grpc.keepalive_interval = h2.keepalive_interval;
      servers.grpc.keepalive_timeout = h2.keepalive_timeout;
    }
    if (h2.stream_window != defaults.stream_window) servers.grpc.stream_window = h2.stream_window;
    if (h2.connection_window != defaults.connection_window) servers.grpc.connection_window = h2.connection_window;
  }

  void ReadNode() {
    core::Node node = proto_->node();
    if (!options_.service_node.empty()) node.set_id(options_.service_node);
    if (!options_.service_cluster.empty()) node.set_cluster(options_.service_cluster);
    if (!options_.service_zone.empty()) node.mutable_locality()->set_zone(options_.service_zone);
    if (out_->xds) {
      RefuseIf(node.id().empty(), "node.id", "is missing: a management server must know who asks (or give --service-node)",
               &errors_);
      RefuseIf(node.cluster().empty(), "node.cluster",
               "is missing: a management server must know who asks (or give --service-cluster)", &errors_);
    }
    out_->node_id = node.id();
    out_->node_cluster = node.cluster();
    node.set_user_agent_name("weft-proxy");
    if (!options_.version.empty()) node.set_user_agent_version(options_.version);
    out_->node = node.SerializeAsString();
  }

  const BootstrapOptions& options_;
  CompileEnv env_;
  std::vector<api::SourceError> found_;
  decide::Errors errors_;
  const BootstrapProto* proto_ = nullptr;
  Bootstrap* out_ = nullptr;
  std::set<std::string> cluster_names_;
};

}  // namespace

std::unique_ptr<Bootstrap> ReadBootstrap(std::string_view text, const std::string& file, const BootstrapOptions& options,
                                         const CompileEnv& env, std::vector<api::SourceError>* errors) {
  api::LinkEnvoyTypes();
  std::vector<api::SourceError> own;
  auto give = [&] { errors->insert(errors->end(), own.begin(), own.end()); };
  std::vector<api::Document> documents = api::ParseDocuments(text, file, &own);
  if (api::HasError(own)) {
    give();
    return nullptr;
  }
  if (documents.size() != 1) {
    api::SourceError e;
    e.file = file;
    e.message = documents.empty() ? "is empty: expected an Envoy v3 bootstrap (node, static_resources, ...)"
                                  : StrCat("holds ", documents.size(), " documents: expected one");
    own.push_back(std::move(e));
    give();
    return nullptr;
  }
  BootstrapProto proto;
  api::ReadOptions read;
  read.unknown = options.ignore_unknown_fields ? api::UnknownFields::kWarn : api::UnknownFields::kRefuse;
  bool readable = documents[0].ReadInto(&proto, read, &own);
  std::unique_ptr<Bootstrap> out;
  if (readable) {
    Reader reader(options, env);
    out = reader.Read(proto);
    for (api::SourceError& e : reader.found()) {
      api::SourceError placed = documents[0].ErrorAt(e.path, std::move(e.message));
      placed.warning = e.warning;
      own.push_back(std::move(placed));
    }
  }
  give();
  return out;
}

std::unique_ptr<Bootstrap> ReadBootstrapFile(const std::string& file, const BootstrapOptions& options,
                                             const CompileEnv& env, std::vector<api::SourceError>* errors) {
  constexpr size_t kMax = 64u << 20;
  auto fail = [&](std::string message) {
    api::SourceError e;
    e.file = file;
    e.message = std::move(message);
    errors->push_back(std::move(e));
    return nullptr;
  };
  int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(StrCat("cannot be read: ", std::string_view(strerror(errno))));
  std::string text;
  char buf[65536];
  ssize_t n;
  while ((n = read(fd, buf, sizeof(buf))) > 0 && text.size() <= kMax) text.append(buf, static_cast<size_t>(n));
  int error = errno;
  close(fd);
  if (n < 0) return fail(StrCat("cannot be read: ", std::string_view(strerror(error))));
  if (text.size() > kMax) return fail("is larger than 64 MB");
  return ReadBootstrap(text, file, options, env, errors);
}

}  // namespace weft::config
