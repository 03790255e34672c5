// Prints what is generated from directories of resources as one static Envoy bootstrap, so that a real Envoy can be asked
// whether it takes all of it:
//   envoy_bootstrap DIRECTORY... > /tmp/b.json && envoy --mode validate -c /tmp/b.json
// Endpoint and route discovery are replaced by what they would bring.
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "api/cpp/envoy_types.h"
#include "api/cpp/json.h"
#include "controlplane/ingest/file/file_source.h"
#include "controlplane/translate/config_engine.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

template <typename M>
bool Read(const StatePtr& state, ResourceType type, const std::string& name, const ProxyRef& proxy, M* out) {
  const ResourcePtr resource = state->Get(type, name, proxy);
  if (resource != nullptr && out->ParseFromString(resource->value)) return true;
  std::fprintf(stderr, "missing: %s\n", name.c_str());
  return false;
}

int Run(int argc, char** argv) {
  api::LinkEnvoyTypes();
  ConfigEngine engine{MeshOptions{.access_log = "/dev/null"}};
  FileSourceOptions options;
  options.directories.assign(argv + 1, argv + argc);
  engine.AddSource(std::make_unique<FileSource>(options));
  engine.Start();
  if (!engine.WaitForConfigGeneration(1, std::chrono::seconds(10))) return 1;
  for (const api::SourceError& error : engine.Errors()) std::fprintf(stderr, "%s\n", error.ToString().c_str());
  const ProxyRef proxy = engine.Attach(testing::ReviewsProxy());
  const StatePtr state = engine.state();

  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  bool good = true;
  for (const ResourcePtr& resource : state->List(ResourceType::kCluster, proxy)) {
    auto* cluster = bootstrap.mutable_static_resources()->add_clusters();
    good &= cluster->ParseFromString(resource->value);
    if (!cluster->has_eds_cluster_config()) continue;
    cluster->clear_eds_cluster_config();
    cluster->set_type(envoy::config::cluster::v3::Cluster::STATIC);
    good &= Read(state, ResourceType::kEndpoint, cluster->name(), proxy, cluster->mutable_load_assignment());
  }
  for (const ResourcePtr& resource : state->List(ResourceType::kListener, proxy)) {
    auto* listener = bootstrap.mutable_static_resources()->add_listeners();
    good &= listener->ParseFromString(resource->value);
    auto* config = listener->mutable_filter_chains(0)->mutable_filters(0)->mutable_typed_config();
    HttpConnectionManager manager;
    good &= config->UnpackTo(&manager);
    if (!manager.has_rds()) continue;
    const std::string route = manager.rds().route_config_name();
    good &= Read(state, ResourceType::kRoute, route, proxy, manager.mutable_route_config());
    config->PackFrom(manager);
  }
  std::printf("%s\n", api::MessageToJson(bootstrap).c_str());
  return good ? 0 : 1;
}

}  // namespace
}  // namespace weft::ctl

int main(int argc, char** argv) { return weft::ctl::Run(argc, argv); }
