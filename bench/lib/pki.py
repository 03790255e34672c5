"""Certificates of the benches: a P-256 root and two leaves of it, by the openssl program."""

import ssl
import subprocess

from harness import BenchError


def openssl(*argv):
    try:
        done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BenchError("cannot run openssl: %s" % e)
    if done.returncode != 0:
        raise BenchError("openssl %s failed:\n%s" % (argv[0], done.stderr))


class Leaf:
    """A certificate and its key: files; `both` has them in one, as HAProxy wants it."""

    def __init__(self, folder, name):
        self.name, self.uri = name + ".bench", "spiffe://bench/ns/default/sa/" + name
        self.chain, self.key, self.both = (folder / (name + ending) for ending in (".pem", ".key", ".both.pem"))


class Pki:
    """`ca`, `server` and `client`, as files of a folder."""

    def __init__(self, folder):
        self.folder, self.ca, self.ca_key = folder, folder / "ca.pem", folder / "ca.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.ca_key)
        openssl("req", "-x509", "-new", "-key", self.ca_key, "-days", "2", "-subj", "/O=bench/CN=root", "-addext",
                "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign", "-out", self.ca)
        self.server, self.client = self.leaf("server"), self.leaf("client")

    def leaf(self, name):
        leaf = Leaf(self.folder, name)
        request, extensions = leaf.chain.with_suffix(".csr"), leaf.chain.with_suffix(".ext")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", leaf.key)
        openssl("req", "-new", "-key", leaf.key, "-subj", "/O=bench/CN=" + leaf.name, "-out", request)
        extensions.write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
                              "subjectAltName=DNS:%s,URI:%s\n" % (leaf.name, leaf.uri))
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "2",
                "-extfile", extensions, "-out", leaf.chain)
        leaf.both.write_text(leaf.chain.read_text() + leaf.key.read_text())
        return leaf

    def client_context(self):
        """Python's side of a connection to the proxy: verifies it, shows the client's certificate, speaks HTTP/1.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.client.chain, self.client.key)
        context.set_alpn_protocols(["http/1.1"])
        return context
