"""Rows of new mutual TLS connections: full handshakes and resumed ones, by handshakes.py."""

import json
import sys
from pathlib import Path

import harness
from rows.base import Goal, Row, Shape

CLIENT = Path(__file__).resolve().parents[1] / "handshakes.py"


class Handshake(Row):
    name = "handshake"
    title = "new mutual TLS connections, full handshakes, P-256 certificates"
    unit, form = "us/connection", "%.0f"
    among = ("envoy", "haproxy", "weft-proxy")
    goals = [Goal(1.0, "envoy")]
    shape = Shape(down_tls=True)
    secure = True
    resumed = False

    def turn(self, bench, peer):
        argv = [sys.executable, CLIENT, "--port", peer.port, "--seconds", bench.args.seconds, "--warmup", bench.args.warmup,
                "--folder", bench.pki.folder, "--name", bench.pki.server.name, "--watch", ",".join(map(str, peer.pids()))]
        if self.resumed:
            argv.append("--resume")
        out = harness.run_tool(bench.supervisor, "handshakes", argv, bench.load_core, bench.args.seconds + bench.args.warmup + 20)
        return json.loads(out)


class Resumed(Handshake):
    name = "resumed"
    title = "new mutual TLS connections, resumed sessions"
    resumed = True


ROWS = [Handshake(), Resumed()]
