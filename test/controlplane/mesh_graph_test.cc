// The graph of the mesh under random changes: what was kept equals what a graph makes anew from the same objects.
#include "controlplane/translate/mesh_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "controlplane/ingest/read.h"
#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

ObjectPtr Parse(const std::string& text) {
  const ReadObjectsResult read = ReadObjects(text, "f.yaml");
  EXPECT_EQ(read.objects.size(), 1u) << text;
  EXPECT_NE(read.objects[0].object, nullptr) << api::ToString(read.objects[0].errors);
  return read.objects[0].object;
}

// Random objects over few names, so that they meet.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  int Pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  ObjectPtr RandomObject() {
    switch (Pick(4)) {
      case 0: return Service();
      case 1: return Parse(testing::WorkloadYaml(App(), "v" + std::to_string(Pick(3)), "127.0.2." + std::to_string(1 + Pick(6)), Ns()));
      case 2: return Rule();
      default: return Routes();
    }
  }

 private:
  std::string Ns() { return Pick(4) == 0 ? "other" : "default"; }
  std::string App() { return std::string(1, static_cast<char>('a' + Pick(4))); }
  std::string Head(const std::string& kind) {
    return "apiVersion: networking.istio.io/v1\nkind: " + kind + "\nmetadata: {name: " + App() + ", namespace: " + Ns() + "}\nspec:\n";
  }
  std::string Host() { return Pick(6) == 0 ? "'*.default.svc.cluster.local'" : App() + "." + Ns() + ".svc.cluster.local"; }

  ObjectPtr Service() {
    std::string text = Head("ServiceEntry") + "  hosts: [" + App() + "." + Ns() + ".svc.cluster.local]\n  resolution: STATIC\n";
    text += "  ports:\n  - {number: " + std::to_string(9080 + Pick(2)) + ", name: http, protocol: HTTP}\n";
    if (Pick(2) == 0) text += "  - {number: 80, name: web, protocol: HTTP}\n";
    if (Pick(3) == 0) {
      text += "  endpoints: [{address: 127.0.2." + std::to_string(1 + Pick(6)) + ", labels: {version: v1}}]\n";
    } else {
      text += "  workloadSelector: {labels: {app: " + App() + "}}\n";
    }
    return Parse(text);
  }
  ObjectPtr Rule() {
    std::string text = Head("DestinationRule") + "  host: " + Host() + "\n  subsets:\n";
    for (int i = 0; i <= Pick(3); ++i) text += "  - {name: v" + std::to_string(i) + ", labels: {version: v" + std::to_string(i) + "}}\n";
    if (Pick(2) == 0) text += "  trafficPolicy: {connectionPool: {tcp: {maxConnections: " + std::to_string(1 + Pick(3)) + "}}}\n";
    return Parse(text);
  }
  ObjectPtr Routes() {
    return Parse(Head("VirtualService") + "  hosts: [" + Host() + "]\n  http:\n  - route:\n    - {destination: {host: " + App() +
                 ", subset: v" + std::to_string(Pick(3)) + "}, weight: " + std::to_string(1 + Pick(3)) +
                 "}\n    - {destination: {host: " + App() + "}, weight: 1}\n");
  }

  std::mt19937 random_;
};

// Everything that two proxies can ask for.
std::vector<ResourceRequest> Requests() {
  std::vector<ResourceRequest> out;
  for (int i = 1; i <= 2; ++i) {
    ProxyKey key = testing::ReviewsProxy();
    key.address = "127.0.2." + std::to_string(i);
    key.ns = i == 1 ? "default" : "other";
    key.labels = {{"app", "a"}, {"version", "v1"}};
    key.service_listeners = {{"a.default.svc.cluster.local:9080", 15101}};
    const auto proxy = std::make_shared<const ProxyKey>(key);
    const std::string own = "proxy/" + std::to_string(i);
    for (const char* port : {"15001", "15101", "9080", "9081", "80"}) {
      out.push_back({{ResourceType::kListener, own, key.address + "_" + port}, proxy});
      out.push_back({{ResourceType::kListener, own, "127.0.3.2_" + std::string(port)}, proxy});
      out.push_back({{ResourceType::kCluster, own, "inbound|" + std::string(port) + "||"}, proxy});
    }
    for (const char* route : {"80", "9080", "9081", "http_proxy"}) out.push_back({{ResourceType::kRoute, "ns/" + key.ns, route}, nullptr});
  }
  for (const char* app : {"a", "b", "c", "d"}) {
    const std::string host = std::string(app) + ".default.svc.cluster.local";
    out.push_back({{ResourceType::kRoute, "", host + ":9080"}, nullptr});
    for (const char* subset : {"", "v0", "v1", "v2"}) {
      out.push_back({{ResourceType::kCluster, "", "outbound|9080|" + std::string(subset) + "|" + host}, nullptr});
      out.push_back({{ResourceType::kEndpoint, "", "outbound|9080|" + std::string(subset) + "|" + host}, nullptr});
    }
  }
  return out;
}

TEST(MeshGraphProperty, IncrementalEqualsFromScratch) {
  const char* text = std::getenv("WEFT_GRAPH_STEPS");
  const int steps = text != nullptr ? std::atoi(text) : 400;
  World world(4711);
  const std::vector<ResourceRequest> requests = Requests();
  MeshGraph kept{MeshOptions()};
  std::map<ObjectKey, ObjectPtr> objects;
  std::map<ResourceId, std::string> versions;  // as told
  for (const ResourceRequest& request : requests) {
    const ResourcePtr resource = kept.resource.Observe(request);
    versions[request.id] = resource == nullptr ? "" : resource->version;
  }
  for (int step = 0; step < steps; ++step) {
    if (!objects.empty() && world.Pick(4) == 0) {
      auto victim = std::next(objects.begin(), world.Pick(static_cast<int>(objects.size())));
      kept.Erase(victim->first);
      objects.erase(victim);
    } else {
      const ObjectPtr object = world.RandomObject();
      objects[object->key] = object;
      kept.Put(*object);
    }
    for (const auto& [request, resource] : kept.resource.TakeChanged()) {
      const std::string version = resource == nullptr ? "" : resource->version;
      ASSERT_NE(versions[request.id], version) << "told without a change, step " << step << ": " << request.id.name;
      versions[request.id] = version;
    }
    MeshGraph fresh{MeshOptions()};
    for (const auto& [key, object] : objects) fresh.Put(*object);
    for (const ResourceRequest& request : requests) {
      const ResourcePtr expected = fresh.resource.Get(request);
      ASSERT_EQ(versions[request.id], expected == nullptr ? "" : expected->version)
          << "step " << step << ": " << request.id.scope << " " << request.id.name;
    }
  }
  for (const ResourceRequest& request : requests) kept.resource.Unobserve(request);
  for (const auto& [key, object] : objects) kept.Erase(key);
  EXPECT_EQ(kept.graph.cells(), 0u) << "nothing is left of what nobody uses";
}

}  // namespace
}  // namespace weft::ctl
