"""End-to-end tests, configuration: a mesh shaped as the sample application's, the sample itself, a static bootstrap."""

import collections
import json
import shutil

from base import PROGRAMS, Trouble, program, run, source_file, split_address, wait_until
from wire import Client, ask


def indent(text, by):
    pad = " " * by
    return "".join(pad + line if line.strip() else line for line in text.splitlines(True))


# A bootstrap without discovery: everything to one origin.
STATIC = """\
node: {id: limits, cluster: limits}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: origin}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(origin)d}}}
"""


# --- A demo-shaped mesh ---------------------------------------------------------------------------------------------------

class Workload:
    """Replica number N: program 127.x.1.N, sidecar 127.x.2.N, outbound side 127.x.3.N; see the contract in seams."""

    def __init__(self, mesh, number, service, version):
        net = mesh.env.network
        self.mesh, self.number, self.service, self.version = mesh, number, service, version
        self.name = "%s-%s-1" % (service, version)
        self.program, self.sidecar, self.outbound = net.ip("1.%d" % number), net.ip("2.%d" % number), net.ip("3.%d" % number)
        self.inbound = self.sidecar + ":9080"
        self.admin = self.sidecar + ":15000"
        self.http_proxy = self.sidecar + ":15001"
        self.by_port = self.outbound + ":9080"
        self.node = "sidecar~%s~%s.default~default.svc.cluster.local" % (self.sidecar, self.name)
        self.proxy = None

    def service_listener(self, service):
        return "%s:%d" % (self.sidecar, self.mesh.service_port(service))

    def bootstrap(self, api_type="DELTA_GRPC"):
        listeners = ", ".join('"%s.default.svc.cluster.local:9080": %d' % (s, self.mesh.service_port(s)) for s in self.mesh.services)
        xds_ip, xds_port = split_address(self.mesh.xds)
        return """\
node:
  id: {node}
  cluster: {service}.default
  metadata:
    NAMESPACE: default
    LABELS: {{app: {service}, version: {version}}}
    SERVICE_ACCOUNT: {service}
    CLUSTER_ID: e2e
    APP_ADDRESS: {program}
    OUTBOUND_ADDRESS: {outbound}
    HTTP_PROXY_PORT: 15001
    SERVICE_LISTENERS: {{{listeners}}}
    ACCESS_LOG: {log}
admin:
  address:
    socket_address: {{address: {sidecar}, port_value: 15000}}
dynamic_resources:
  ads_config:
    api_type: {api_type}
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {{cluster_name: xds-grpc}}
  lds_config: {{resource_api_version: V3, ads: {{}}}}
  cds_config: {{resource_api_version: V3, ads: {{}}}}
static_resources:
  clusters:
  - name: xds-grpc
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {{}}
    load_assignment:
      cluster_name: xds-grpc
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{address: {xds_ip}, port_value: {xds_port}}}
""".format(node=self.node, service=self.service, version=self.version, program=self.program, outbound=self.outbound,
           listeners=listeners, sidecar=self.sidecar, api_type=api_type, xds_ip=xds_ip, xds_port=xds_port,
           log=self.access_log)

    @property
    def access_log(self):
        return self.mesh.env.folder / ("%s.access.log" % self.name)

    def entry(self):
        return """\
apiVersion: networking.istio.io/v1alpha3
kind: WorkloadEntry
metadata: {{name: {name}, namespace: default}}
spec:
  address: {address}
  labels: {{app: {service}, version: {version}}}
  serviceAccount: {service}
  ports: {{http: 9080}}
""".format(name=self.name, address=self.sidecar, service=self.service, version=self.version)

    def start_origin(self):
        return self.mesh.env.start_origin(self.program + ":9080", self.name)

    def start_proxy(self, flags=(), wait=True):
        self.proxy = self.mesh.env.start_proxy(self.name, self.bootstrap(), self.admin, flags, wait)
        return self.proxy

    def start_envoy(self, api_type="DELTA_GRPC", wait=True):
        self.proxy = self.mesh.env.start_envoy(self.name, self.bootstrap(api_type), self.admin, wait=wait)
        return self.proxy


SERVICE_ENTRY = """\
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {{name: {service}, namespace: default}}
spec:
  hosts: [{service}.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: {service}}}}}
"""

DESTINATION_RULE = """\
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {{name: {service}, namespace: default}}
spec:
  host: {service}
  subsets:
{subsets}"""


def destination_rule(service, versions):
    return DESTINATION_RULE.format(service=service, subsets="".join(
        "  - {name: %s, labels: {version: %s}}\n" % (v, v) for v in versions))


def virtual_service(service, http):
    """`http`: the rules, as the text of a YAML sequence."""
    return ("apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: %s, namespace: default}\n"
            "spec:\n  hosts: [%s]\n  http:\n%s" % (service, service, indent(http, 2)))


def weights(service, **by_version):
    """A VirtualService that splits by weight."""
    routes = "".join("  - destination: {host: %s, subset: %s}\n    weight: %d\n" % (service, v, w) for v, w in by_version.items())
    return virtual_service(service, "- route:\n" + routes)


class Mesh:
    """Registry and routing directories, a controller, and workloads to add. Addresses as `weftctl dev up` gives them."""

    def __init__(self, env, services=("productpage", "reviews")):
        self.env = env
        self.services = sorted(services)
        self.xds, self.admin = env.network.ip("0.1") + ":15010", env.network.ip("0.1") + ":15014"
        self.registry, self.routing = env.folder / "registry", env.folder / "routing"
        self.registry.mkdir()
        self.routing.mkdir()
        self.workloads = []
        self.controller = None
        for s in self.services:
            env.write("registry/service.%s.yaml" % s, SERVICE_ENTRY.format(service=s))

    def service_port(self, service):
        return 15101 + self.services.index(service)

    def add(self, service, version="v1"):
        w = Workload(self, len(self.workloads) + 1, service, version)
        self.workloads.append(w)
        self.env.write("registry/workload.%s.yaml" % w.name, w.entry())
        return w

    def start_controller(self, **kwargs):
        self.controller = self.env.start_controller([self.registry, self.routing], self.xds, self.admin, **kwargs)
        return self.controller

    def route(self, name, text):
        return self.env.write("routing/" + name, text)

    def wait_synced(self, *workloads, seconds=15):
        names = [w.name for w in workloads or self.workloads if w.proxy]
        wait_until(lambda: "all of %s are in sync:\n%s" % (names, json.dumps(self.controller.syncz(), indent=1)[:6000]),
                   lambda: self.controller.all_synced(names), seconds)


def versions_seen(address, requests, path="/reviews/0", host="reviews:9080", headers=()):
    """Which origins answered, with how many of the requests; a failed one counts under its status."""
    seen = collections.Counter()
    client = None
    for _ in range(requests):
        try:
            client = client or Client(address)
            answer = client.ask(path, host=host, headers=headers)
            seen[answer.header("x-origin") if answer.status == 200 else answer.status] += 1
            if (answer.header("connection") or "") == "close":
                client.close()
                client = None
        except OSError as e:
            seen[type(e).__name__] += 1
            client = None
    if client:
        client.close()
    return seen


# --- The sample application, by weftctl -----------------------------------------------------------------------------------

class Demo:
    """`weftctl dev up` of a copy of tools/demo, as a child of this test: everything ends with it."""

    def __init__(self, env):
        self.env = env
        files = env.folder / "demo"
        files.mkdir()
        shutil.copy(source_file("tools/demo/bookinfo.yaml"), files)
        (files / "config").mkdir()
        for f in source_file("tools/demo/config").iterdir():
            shutil.copy(f, files / "config")
        self.config = files / "config"
        self.state = env.folder / "state"
        argv = [program("weftctl"), "dev", "up", files / "bookinfo.yaml", "--foreground", "--state", self.state,
                "--loopback", env.network.prefix]
        for name in PROGRAMS:
            argv += ["--bin", program(name).parent]
        self.child = env.start("weftctl-dev-up", argv)
        env.wait_ready(self.child, lambda: "everything is ready" in self.child.text() and
                       all(p["state"] == "RUNNING" for p in self.processes()), 60)
        self.page = env.network.ip("2.1") + ":9080"
        env.wait_ready(self.child, lambda: ask(self.page, "/api/v1/products/0/reviews").status == 200)

    def status(self):
        code, out = run([program("weftctl"), "dev", "status", "--state", self.state, "-o", "json"])
        if code != 0:
            raise Trouble(out)
        return json.loads(out)

    def processes(self):
        return self.status()["processes"]

    def pids(self, wanted):
        """Of the processes for whose name wanted(name) is true: name -> pid."""
        return {p["name"]: int(p["process"]["pid"]) for p in self.processes() if wanted(p["name"])}

    def sidecars(self):
        return self.pids(lambda name: name.endswith("/sidecar"))
