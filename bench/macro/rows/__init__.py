"""The rows of the goals' table, in its order."""

from rows import http1, http2, memory, tls

_by_name = {row.name: row for module in (http1, http2, tls, memory) for row in module.ROWS}
ALL = [_by_name[name] for name in (
    "h1", "h2", "grpc", "mtls-pair", "mtls-pair-1", "handshake", "resumed", "tcp", "bulk-h1", "bulk-h2", "latency", "memory", "workers")]
NAMES = [row.name for row in ALL]
