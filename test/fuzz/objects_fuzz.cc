// Text to resources: whatever is read and judged good must be generated, and the proxy's own compiler must take it.
// Nothing may crash, hang or leak.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/ingest/object_store.h"
#include "controlplane/ingest/read.h"
#include "controlplane/translate/mesh_graph.h"
#include "dataplane/decide/route_table.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

[[noreturn]] void Fail(const std::string& what, std::string_view text) {
  std::fprintf(stderr, "%s\n%.*s\n", what.c_str(), static_cast<int>(text.size()), text.data());
  std::abort();
}

void Add(std::string_view text, const std::string& file, ObjectStore& store, MeshGraph& graph) {
  std::vector<SourceEvent> events;
  for (ReadObject& object : ReadObjects(text, file).objects) {
    if (object.object != nullptr) {
      events.emplace_back(Put{std::move(object.object), std::move(object.errors)});
    } else if (object.key.has_value()) {
      events.emplace_back(Refused{*object.key, Origin{0, 0, file, object.line}, std::move(object.errors)});
    }
  }
  for (const ObjectKey& key : store.Apply(std::move(events), 1)) {
    if (const ObjectPtr object = store.InEffect(key)) graph.Put(*object);
    else graph.Erase(key);
  }
}

template <typename M>
M Parse(const Resource& resource, std::string_view text) {
  M message;
  if (!message.ParseFromString(resource.value)) Fail("not a message: " + resource.name, text);
  return message;
}

void Check(const ResourceRequest& request, MeshGraph& graph, std::string_view text) {
  const ResourcePtr resource = graph.resource.Get(request);
  if (resource == nullptr) Fail("a name without a resource: " + request.id.name, text);
  switch (request.id.type) {
    case ResourceType::kListener: Parse<envoy::config::listener::v3::Listener>(*resource, text); break;
    case ResourceType::kCluster: Parse<envoy::config::cluster::v3::Cluster>(*resource, text); break;
    case ResourceType::kEndpoint: Parse<envoy::config::endpoint::v3::ClusterLoadAssignment>(*resource, text); break;
    case ResourceType::kRoute: {
      std::vector<api::SourceError> errors;
      const auto config = Parse<envoy::config::route::v3::RouteConfiguration>(*resource, text);
      if (decide::RouteTable::Compile(config, &errors) == nullptr) Fail(api::ToString(errors), text);
      break;
    }
  }
}

void One(std::string_view text) {
  ObjectStore store("cluster.local");
  MeshGraph graph{MeshOptions()};
  Add(testing::RegistryYaml() + testing::ReviewsRuleYaml(), "base.yaml", store, graph);
  Add(text, "fuzz.yaml", store, graph);
  for (const ObjectStatus& status : store.Statuses()) {
    for (const api::SourceError& error : status.errors) error.ToString();
  }
  const auto proxy = std::make_shared<const ProxyKey>(testing::ReviewsProxy());
  for (ResourceType type : kResourceTypes) {
    for (const std::string scope : {"", "proxy/1"}) {
      const auto names = graph.names.Get({{type, scope, ""}, scope.empty() ? nullptr : proxy});
      for (const std::string& name : *names) {
        const ProxyScope of(proxy, 1);
        Check({{type, of.Of(type, name), name}, proxy}, graph, text);
      }
    }
  }
}

}  // namespace
}  // namespace weft::ctl

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size <= 20000) weft::ctl::One({reinterpret_cast<const char*>(data), size});
  return 0;
}
