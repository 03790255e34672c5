"""End-to-end tests, certificates: an authority over the openssl program, and clients and origins over Python's ssl."""

import ssl
import subprocess

from base import Trouble
from wire import Client, Origin


def openssl(*argv, stdin=None, timeout=20):
    done = subprocess.run(["openssl", *map(str, argv)], input=stdin, capture_output=True, timeout=timeout)
    if done.returncode != 0:
        raise Trouble("openssl %s: %s" % (" ".join(map(str, argv)), done.stderr.decode("utf-8", "replace")))
    return done.stdout.decode("utf-8", "replace")


class Leaf:
    """A certificate and its key, as files."""

    def __init__(self, chain, key):
        self.chain, self.key = chain, key


class Authority:
    """A root in a folder, and what it signs."""

    def __init__(self, folder, name="root"):
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.name, self.serial = name, 100
        self.key, self.certificate = self.folder / "ca.key", self.folder / "ca.pem"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        openssl("req", "-x509", "-new", "-key", self.key, "-days", "30", "-subj", "/O=weft test/CN=" + name,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-out", self.certificate)
        self.index = self.folder / "index.txt"
        self.index.write_text("")

    def leaf(self, name, sans, rsa=False, days=10, usage="serverAuth,clientAuth", expired=False, more=""):
        """`sans` as openssl writes them: "DNS:a.test,URI:spiffe://td/ns/a/sa/b". `more`: further lines of extensions."""
        self.serial += 1
        key, csr, cert = (self.folder / ("%s.%d.%s" % (name, self.serial, e)) for e in ("key", "csr", "pem"))
        if rsa:
            openssl("genrsa", "-out", key, "2048")
        else:
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", "/O=weft test/CN=" + name, "-out", csr)
        ext = self.folder / "ext"
        ext.write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=%s\n%s%s" %
                       (usage, "subjectAltName=%s\n" % sans if sans else "", more))
        if expired:
            config = self.folder / "expired.cnf"
            config.write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ndefault_md=sha256\n"
                              "policy=p\nunique_subject=no\ncopy_extensions=none\n[p]\norganizationName=optional\ncommonName=supplied\n"
                              % (self.index, self.folder / "serial", self.folder))
            (self.folder / "serial").write_text("%04X\n" % self.serial)
            openssl("ca", "-batch", "-config", config, "-cert", self.certificate, "-keyfile", self.key, "-in", csr, "-out", cert,
                    "-startdate", "200101000000Z", "-enddate", "200201000000Z", "-extfile", ext, "-notext")
        else:
            openssl("x509", "-req", "-in", csr, "-CA", self.certificate, "-CAkey", self.key, "-set_serial", self.serial,
                    "-days", days, "-extfile", ext, "-out", cert)
        return Leaf(cert, key)

    def crl(self, revoked=()):
        """A revocation list as a file."""
        config = self.folder / "crl.cnf"
        config.write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=5\nunique_subject=no\n" % self.index)
        for leaf in revoked:
            openssl("ca", "-config", config, "-cert", self.certificate, "-keyfile", self.key, "-revoke", leaf.chain)
        out = self.folder / "crl.pem"
        openssl("ca", "-config", config, "-cert", self.certificate, "-keyfile", self.key, "-gencrl", "-out", out)
        return out

    def ocsp(self, leaf, expired=False):
        """A response "good" about `leaf`, DER, as a file. An expired one has no valid signature: servers don't look at it."""
        request, response = self.folder / "ocsp.req", leaf.chain.with_suffix(".stale.ocsp" if expired else ".ocsp")
        serial = openssl("x509", "-in", leaf.chain, "-noout", "-serial").strip().split("=")[1]
        index = self.folder / "ocsp.index"
        index.write_text("V\t300101000000Z\t\t%s\tunknown\t/CN=x\n" % serial)
        openssl("ocsp", "-issuer", self.certificate, "-cert", leaf.chain, "-reqout", request, "-no_nonce")
        openssl("ocsp", "-index", index, "-rsigner", self.certificate, "-rkey", self.key, "-CA", self.certificate,
                "-reqin", request, "-respout", response, "-ndays", "5")
        if expired:  # the last time in it is nextUpdate, [0] GeneralizedTime
            der = bytearray(response.read_bytes())
            at = max(i for i in range(len(der) - 19) if der[i] == 0xa0 and der[i + 1:i + 4] == b"\x11\x18\x0f")
            der[at + 4:at + 19] = b"20200101000000Z"
            response.write_bytes(der)
        return response


def client_context(authority=None, leaf=None, alpn=(), minimum=None, maximum=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(authority.certificate)
    if leaf:
        context.load_cert_chain(leaf.chain, leaf.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    return context


class TlsClient(Client):
    """wire.Client over TLS."""

    def __init__(self, address, context, name="a.test", session=None, timeout=10.0):
        super().__init__(address, timeout)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=name, session=session)
        except BaseException:
            self.socket.close()
            raise

    def peer_pem(self):
        return ssl.DER_cert_to_PEM_cert(self.socket.getpeercert(True))


class TlsOrigin(Origin):
    """wire.Origin over TLS; `seen` has a dictionary for each handshake that succeeded."""

    def __init__(self, address, leaf, client_authority=None, alpn=("http/1.1",), name="tls-origin"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(leaf.chain, leaf.key)
        self.context.set_alpn_protocols(list(alpn))
        if client_authority:
            self.context.load_verify_locations(client_authority.certificate)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.seen, self.failures, self.names = [], 0, []
        self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        super().__init__(address, name)

    def serve(self, connection):
        try:
            connection.settimeout(20)
            tls = self.context.wrap_socket(connection, server_side=True)
            tls.settimeout(None)
        except OSError:
            self.failures += 1
            raise
        with self.lock:
            self.open.add(tls)
        self.seen.append({"resumed": tls.session_reused, "alpn": tls.selected_alpn_protocol(), "version": tls.version(),
                          "peer": tls.getpeercert()})
        try:
            super().serve(tls)
        finally:
            with self.lock:
                self.open.discard(tls)
            tls.close()
