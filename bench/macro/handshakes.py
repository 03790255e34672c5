#!/usr/bin/env python3
"""New mutual TLS connections to one port, one after the other: connect, handshake, close. Prints what the watched processes used
for each as JSON, in the words of //bench/macro:load.

In TLS 1.3 a client is done before the server has seen its certificate. Hence each connection ends its own side and waits for the
server to close: what comes then is the end, or the alert of a server that was not content. No request is sent, except on the one
connection whose session ticket the resumed ones use. The cost of this client is nobody's: only the watched processes are counted.
"""

import argparse
import json
import socket
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--warmup", type=float, default=0.2)
    p.add_argument("--folder", type=Path, required=True, help="with ca.pem, client.pem and client.key")
    p.add_argument("--name", required=True, help="of the server")
    p.add_argument("--watch", required=True, metavar="PID,PID", help="whose CPU time is counted")
    p.add_argument("--resume", action="store_true", help="every connection resumes a session")
    return p.parse_args()


def open_tls(context, args, session=None):
    plain = socket.create_connection(("127.0.0.1", args.port), 5)
    try:
        return context.wrap_socket(plain, server_hostname=args.name, session=session)
    except BaseException:
        plain.close()
        raise


def connect(context, args, session):
    """One connection, whole."""
    with open_tls(context, args, session) as tls:
        if tls.session_reused != bool(session):
            raise OSError("the server %s the session" % ("did not resume" if session else "resumed, though nobody asked,"))
        tls.setblocking(False)
        try:
            tls.unwrap()  # says close_notify...
        except ssl.SSLWantReadError:
            pass  # ...and does not wait for the server's
        tls.settimeout(5)
        socket.socket.shutdown(tls, socket.SHUT_WR)  # of TCP; TLS still reads
        try:
            if tls.recv(4096):
                raise OSError("the server sent data that nobody asked for")
        except ssl.SSLZeroReturnError:
            pass  # the server's close_notify


def ticketed_session(context, args):
    """A session with a ticket: servers may send it with the first answer only."""
    with open_tls(context, args) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: bench.local\r\n\r\n")
        tls.recv(65536)
        if not tls.session.has_ticket:
            raise harness.BenchError("the server gave no session ticket")
        return tls.session


def turn(context, args, seconds, session, errors):
    """How many connections were made in so many seconds."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            connect(context, args, session)
            count += 1
        except (OSError, ValueError) as e:
            errors.append(str(e))
            time.sleep(0.01)
    return count


def main():
    args = parse()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(args.folder / "ca.pem")
    context.load_cert_chain(args.folder / "client.pem", args.folder / "client.key")
    context.set_alpn_protocols(["http/1.1"])
    errors = []
    session = ticketed_session(context, args) if args.resume else None
    turn(context, args, args.warmup, session, errors)
    use = harness.Use([int(pid) for pid in args.watch.split(",")])
    began = time.monotonic()
    count = turn(context, args, args.seconds, session, errors)
    wall = time.monotonic() - began
    print(json.dumps({"requests": count, "wall_s": wall, "requests_per_s": count / wall, "watched": {"proxy": use.until_now(count)},
                      "errors": {"total": len(errors), "first": errors[0] if errors else ""}}))


if __name__ == "__main__":
    harness.main_guard(main)
