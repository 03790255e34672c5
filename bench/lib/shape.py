"""What a proxy of the benches is to do (Shape), and the bootstrap that says so to the proxies that read Envoy's v3 configuration."""

import dataclasses
import json

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclasses.dataclass(frozen=True)
class Shape:
    """One listener, everything to one origin. The same for every peer of a row."""

    tcp: bool = False        # bytes only; else HTTP, downstream h1 or h2 as the client begins
    up: str = "h1"           # to the origin: "h1" or "h2"
    down_tls: bool = False   # TLS by a P-256 certificate
    down_mutual: bool = True  # with TLS: clients must have a certificate too
    up_tls: bool = False     # mutual TLS to the next hop, which must be the server of `pki`
    websocket: bool = False  # upgrades are allowed
    workers: int = 1
    clusters: int = 0        # so many more, which nothing uses
    pki: object = None       # pki.Pki, when anything is TLS


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def tls_context(pki, leaf, peer, **more):
    common = {"tls_certificates": [{"certificate_chain": {"filename": str(leaf.chain)}, "private_key": {"filename": str(leaf.key)}}],
              **more}
    if peer:
        common["validation_context"] = {"trusted_ca": {"filename": str(pki.ca)}, "match_typed_subject_alt_names": [
            {"san_type": "URI", "matcher": {"exact": peer.uri}}]}
    return {"common_tls_context": common}


def transport(kind, context):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": TLS + kind, **context}}


def network_filter(shape):
    if shape.tcp:
        return {"name": "envoy.filters.network.tcp_proxy", "typed_config": {"@type": TCP, "stat_prefix": "bench", "cluster": "origin"}}
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": HCM, "stat_prefix": "bench", "generate_request_id": False,
        **({"upgrade_configs": [{"upgrade_type": "websocket"}]} if shape.websocket else {}),
        "route_config": {"name": "bench", "virtual_hosts": [{"name": "bench", "domains": ["*"], "routes": [
            # No timeout: the streams that stay open would end by it.
            {"match": {"prefix": "/"}, "route": {"cluster": "origin", **({"timeout": "0s"} if shape.up == "h2" else {})}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]}}


def listener(shape, port):
    chain = {"filters": [network_filter(shape)]}
    if shape.down_tls:
        context = tls_context(shape.pki, shape.pki.server, shape.pki.client if shape.down_mutual else None,
                              alpn_protocols=["h2", "http/1.1"])
        if shape.down_mutual:
            context["require_client_certificate"] = True
        chain["transport_socket"] = transport("DownstreamTlsContext", context)
    return {"name": "bench", "address": address(port), "filter_chains": [chain]}


def cluster(name, port, **more):
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", **more, "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}


def origin_cluster(shape, port):
    limit = 100000
    more = {"circuit_breakers": {"thresholds": [{"max_connections": limit, "max_pending_requests": limit, "max_requests": limit}]}}
    if shape.up == "h2":
        more["typed_extension_protocol_options"] = {HTTP_OPTIONS: {
            "@type": "type.googleapis.com/" + HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}}
    if shape.up_tls:
        more["transport_socket"] = transport("UpstreamTlsContext", {
            "sni": shape.pki.server.name, **tls_context(shape.pki, shape.pki.client, shape.pki.server)})
    return cluster("origin", port, **more)


def bootstrap(shape, admin, port, origin):
    """The file's text: JSON is YAML."""
    idle = [cluster("outbound|9080||service-%d.default.svc.cluster.local" % n, origin) for n in range(shape.clusters)]
    return json.dumps({
        "node": {"id": "bench", "cluster": "bench"}, "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener(shape, port)], "clusters": [origin_cluster(shape, origin), *idle]}}, indent=1)
