"""Bootstraps for tests, as values: what most of them are made of. JSON is YAML, so real Envoys read them too."""

import json

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(text):
    ip, _, port = text.rpartition(":")  # "1.2.3.4:5", ":::5"
    return {"socket_address": {"address": ip, "port_value": int(port)}}


def listener(name, at, cluster, manager=None, transport=None, route=None, routes=()):
    """HTTP at `at`, everything to one cluster; `manager` and `route`: further fields; `routes`: what is tried before."""
    chain = {"filters": [{"name": "hcm", "typed_config": {
        "@type": HCM, "stat_prefix": name, **(manager or {}),
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            *routes, {"match": {"prefix": "/"}, "route": {"cluster": cluster, **(route or {})}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]}}]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": name, "address": address(at), "filter_chains": [chain]}


def cluster(name, at, http2=False, transport=None, **more):
    """`at`: an address, or a list of them."""
    ats = [at] if isinstance(at, str) else at
    out = {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(a)}} for a in ats]}]}, **more}
    if transport:
        out["transport_socket"] = transport
    if http2:
        out["typed_extension_protocol_options"] = {HTTP_OPTIONS: {
            "@type": "type.googleapis.com/" + HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}}
    return out


def bootstrap(admin, listeners, clusters, **more):
    return json.dumps({"node": {"id": "test", "cluster": "test"}, "admin": {"address": address(admin)},
                       "static_resources": {"listeners": listeners, "clusters": clusters}, **more}, indent=1)
