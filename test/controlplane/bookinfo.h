// The sample mesh of the tests: what `weftctl dev up` writes for Bookinfo, in small.
#pragma once

#include <string>

#include "controlplane/translate/proxy_key.h"

namespace weft::ctl::testing {

inline std::string ServiceYaml(const std::string& name, const std::string& ns = "default", int port = 9080) {
  return "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " + name + ", namespace: " + ns +
         "}\nspec:\n  hosts: [" + name + "." + ns + ".svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: STATIC\n" +
         "  ports: [{number: " + std::to_string(port) + ", name: http, protocol: HTTP}]\n" +
         "  workloadSelector: {labels: {app: " + name + "}}\n---\n";
}

inline std::string WorkloadYaml(const std::string& app, const std::string& version, const std::string& address,
                                const std::string& ns = "default") {
  return "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: " + app + "-" + version +
         ", namespace: " + ns + "}\nspec:\n  address: " + address + "\n  labels: {app: " + app + ", version: " + version +
         "}\n  serviceAccount: bookinfo-" + app + "\n---\n";
}

inline std::string RegistryYaml() {
  return ServiceYaml("productpage") + ServiceYaml("reviews") + ServiceYaml("ratings") +
         WorkloadYaml("productpage", "v1", "127.0.2.1") + WorkloadYaml("reviews", "v1", "127.0.2.2") +
         WorkloadYaml("reviews", "v2", "127.0.2.3") + WorkloadYaml("reviews", "v3", "127.0.2.4") +
         WorkloadYaml("ratings", "v1", "127.0.2.5");
}

inline std::string ReviewsRuleYaml() {
  return R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
)";
}

inline std::string ReviewsRoutesYaml(int v1, int v3) {
  return R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
      weight: )" + std::to_string(v1) + R"(
    - destination: {host: reviews, subset: v3}
      weight: )" + std::to_string(v3) + "\n";
}

// The sidecar of reviews-v1.
inline ProxyKey ReviewsProxy() {
  ProxyKey key;
  key.name = "reviews-v1-1";
  key.ns = "default";
  key.address = "127.0.2.2";
  key.dns_domain = "default.svc.cluster.local";
  key.labels = {{"app", "reviews"}, {"version", "v1"}};
  key.app_address = "127.0.1.2";
  key.outbound_address = "127.0.3.2";
  key.http_proxy_port = 15001;
  key.service_listeners = {{"ratings.default.svc.cluster.local:9080", 15101},
                           {"reviews.default.svc.cluster.local:9080", 15102}};
  return key;
}

}  // namespace weft::ctl::testing
