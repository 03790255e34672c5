#!/usr/bin/env python3
"""Starts that can't succeed: a message that says what is wrong, where, and what would be right; an exit code that is not 0
(1: it did not work, 2: the command line is wrong); and never a hang."""

import os
import re
import socket

import harness
from harness import wait_until

MESH = """\
name: bad-start
configDirectory: config
workloads:
- name: a
  command: [sleep, "1000"]
  ports: [{name: http, number: 9080}]
"""

USED = r"(in use|already uses this address)"


class BadStartTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.ip = net.ip("0.1")
        # Somebody else's port.
        cls.taken_socket = socket.socket()
        cls.taken_socket.bind((cls.ip, 0))
        cls.taken_socket.listen(1)
        cls.env.cleanups.append(cls.taken_socket.close)
        cls.taken = cls.taken_socket.getsockname()[1]
        cls.admin, cls.port = net.port(), net.port()
        cls.good = harness.STATIC % {"ip": cls.ip, "admin": cls.admin, "port": cls.port, "origin": net.port()}
        cls.folder = cls.env.folder / "work"
        cls.write("good.yaml", cls.good)
        cls.write("config/empty.txt", "")
        cls.write("mesh.yaml", MESH)

    @classmethod
    def write(cls, name, text):
        return cls.env.write("work/" + name, text)

    def expect(self, name, arguments, code, *patterns, absent=()):
        """Runs one of our programs, which has to end with that code and to say all of these."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("WEFT_")}
        got, text = harness.run([harness.program(name)] + list(arguments), timeout=15, cwd=self.folder, env=env)
        for pattern in patterns:
            self.assertRegex(text, pattern, " ".join(map(str, arguments)))
        for pattern in absent:
            self.assertNotRegex(text, pattern)
        self.assertEqual(got, code, "exit code of %s %s, which said: %s" % (name, arguments, text))
        return text

    def bad_bootstrap(self, what, text, *patterns):
        with self.subTest(what):
            self.write("bad.yaml", text)
            for mode in ([], ["--mode", "validate"]):
                self.expect("weft-proxy", ["-c", "bad.yaml", *mode], 1, *patterns)

    # -- weft-proxy

    def test_proxy_flags(self):
        cases = [
            ([], "a bootstrap is needed: -c FILE"),
            (["--no-such"], "--no-such"),
            (["-c"], "config-path.*FILE"),
            (["-c", "good.yaml", "--config-yaml", "node: {}"], "either -c or --config-yaml"),
            (["-c", "good.yaml", "--concurrency", "0"], "concurrency.* 1 (to|-) 256"),
            (["-c", "good.yaml", "--concurrency", "many"], "concurrency.*many"),
            (["-c", "good.yaml", "-l", "loud"], '--log-level: "loud" is none of trace, debug, info'),
            (["-c", "good.yaml", "--mode", "maybe"], "mode.*maybe.*serve.*validate"),
            (["-c", "good.yaml", "--drain-time-s", "-1"], "drain-time-s"),
        ]
        for arguments, pattern in cases:
            with self.subTest(" ".join(arguments)):
                self.expect("weft-proxy", arguments, 2, pattern)
        self.expect("weft-proxy", ["--version"], 0, r"^weft-proxy \d+\.\d+\.\d+")
        self.expect("weft-proxy", ["--help"], 0, "--mode", "--concurrency", "-c,--config-path")

    def test_proxy_files(self):
        self.expect("weft-proxy", ["-c", "not/there.yaml"], 1, r"not/there\.yaml.*No such file or directory")
        self.expect("weft-proxy", ["-c", "."], 1, r"\.: .*[Ii]s a directory")
        # A path below a file can't be made by anybody, root included.
        self.expect("weft-proxy", ["-c", "good.yaml", "--log-path", "/dev/null/x.log"], 1, "/dev/null/x.log")
        self.write("log.yaml", self.good.replace("          route_config:", """\
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/null/access.log
          route_config:"""))
        self.expect("weft-proxy", ["-c", "log.yaml"], 1, r"log\.yaml:18:21: .*access_log\[0\].*path: .*/dev/null/access\.log")
        self.expect("weft-proxy", ["-c", "good.yaml", "--admin-address-path", "/dev/null/admin"], 1, "/dev/null/admin")

    def test_proxy_bootstraps(self):
        good = self.good
        listener = r"static_resources\.listeners\[0\]"
        manager = listener + r"\.filter_chains\[0\]\.filters\[0\]\.typed_config"
        self.bad_bootstrap("empty", "", r"bad\.yaml: is empty: expected an Envoy v3 bootstrap")
        self.bad_bootstrap("two documents", good + "---\n" + good, r"bad\.yaml: holds 2 documents: expected one")
        self.bad_bootstrap("no YAML", good.replace("- name: main", "- name: [main"), r"bad\.yaml:7:12: .*line 6")
        self.bad_bootstrap("not a mapping", "- 1\n- 2\n", r"bad\.yaml:1:1: .*mapping")
        self.bad_bootstrap("an unknown field", good.replace("stat_prefix", "stat_prefx"),
                           r'bad\.yaml:13:11: %s: unknown field "stat_prefx"; did you mean "stat_prefix"\?' % manager)
        self.bad_bootstrap("a wrong type", good.replace("port_value: %d" % self.port, "port_value: many"),
                           r'bad\.yaml:7:\d+: %s\.address\.socket_address\.port_value: expected a number, got "many"' % listener)
        self.bad_bootstrap("a port out of range", good.replace("port_value: %d" % self.port, "port_value: 70000"),
                           r"bad\.yaml:7:\d+: %s\.address\.socket_address\.port_value: 70000.*65535" % listener)
        self.bad_bootstrap("an unknown type", good.replace("v3.Router", "v3.Routr"),
                           r'bad\.yaml:24:\d+: %s\.http_filters\[0\]\.typed_config\.@type: unknown type .*Routr' % manager)
        self.bad_bootstrap("a cluster that there is not", good.replace("route: {cluster: origin}", "route: {cluster: orgin}"),
                           r'bad\.yaml:20:\d+: .*routes\[0\]\.route\.cluster: there is no cluster "orgin"')
        self.bad_bootstrap("a key twice", good.replace("  - name: origin", "  - name: origin\n    name: again"),
                           r'bad\.yaml:27:5: static_resources\.clusters\[0\]\.name: key "name" is there twice; first at line 26')
        self.bad_bootstrap("a duration that is none", good.replace("    type: STATIC", "    type: STATIC\n    connect_timeout: soon"),
                           r'bad\.yaml:28:22: static_resources\.clusters\[0\]\.connect_timeout: .*"soon"')
        self.bad_bootstrap("a bad expression", good.replace("match: {prefix: /}", 'match: {safe_regex: {regex: "(["}}'),
                           r"bad\.yaml:19:\d+: .*routes\[0\]\.match\.safe_regex\.regex: ")
        self.bad_bootstrap("an admin port that others can reach", good.replace("{address: %s, port_value: %d}" % (self.ip, self.admin),
                                                                               "{address: 0.0.0.0, port_value: 1}"),
                           r"bad\.yaml:3:\d+: admin\.address.*0\.0\.0\.0 can be reached from other hosts")
        self.bad_bootstrap("ADS without its cluster", good + """\
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]}
  lds_config: {resource_api_version: V3, ads: {}}
""", r'bad\.yaml:34:\d+: dynamic_resources\.ads_config\.grpc_services\[0\]\.envoy_grpc\.cluster_name: there is no cluster "xds-grpc"')
        # Several mistakes are told at once.
        self.bad_bootstrap("three mistakes", good.replace("stat_prefix", "stat_prefx").replace("v3.Router", "v3.Routr").replace(
            "type: STATIC", "type: STATC"), r"bad\.yaml:13:11: ", r"bad\.yaml:24:\d+: ", r'bad\.yaml:27:11: .*"STATC"')

    def test_proxy_unknown_fields_can_be_warnings(self):
        self.write("unknown.yaml", self.good.replace("stat_prefix: main", "stat_prefix: main\n          from_the_future: 1"))
        self.expect("weft-proxy", ["-c", "unknown.yaml", "--mode", "validate"], 1, "error: .*from_the_future")
        self.expect("weft-proxy", ["-c", "unknown.yaml", "--mode", "validate", "--ignore-unsupported"], 0,
                    "warning: .*from_the_future", "OK")

    def test_proxy_validate_changes_nothing(self):
        # Not even a port that is in use matters.
        self.write("taken.yaml", self.good.replace("port_value: %d" % self.port, "port_value: %d" % self.taken))
        self.expect("weft-proxy", ["-c", "taken.yaml", "--mode", "validate"], 0, r"configuration 'taken\.yaml' OK")
        log = self.folder / "made.log"
        self.write("log.yaml", self.good.replace("          route_config:", """\
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %s
          route_config:""" % log))
        self.expect("weft-proxy", ["-c", "log.yaml", "--mode", "validate"], 0)
        self.assertFalse(log.exists())

    def test_proxy_ports(self):
        taken = "%s:%d" % (self.ip, self.taken)
        self.write("taken.yaml", self.good.replace("port_value: %d" % self.port, "port_value: %d" % self.taken))
        self.expect("weft-proxy", ["-c", "taken.yaml"], 1, r"listener main: .*%s: .*%s" % (re.escape(taken), USED), "ss -ltnp|port",
                    absent=["ready after"])
        self.write("taken.yaml", self.good.replace("port_value: %d" % self.admin, "port_value: %d" % self.taken))
        self.expect("weft-proxy", ["-c", "taken.yaml"], 1, r"admin: .*%s: .*%s" % (re.escape(taken), USED), absent=["ready after"])
        self.write("foreign.yaml", self.good.replace("{address: %s, port_value: %d}" % (self.ip, self.port),
                                                     "{address: 192.0.2.99, port_value: 8080}"))
        self.expect("weft-proxy", ["-c", "foreign.yaml"], 1, r"listener main: .*192\.0\.2\.99:8080: no interface .*has this address")
        # Two of the same kind: the second one is told, although both would share the port by SO_REUSEPORT.
        first = self.env.start_proxy("first", self.good, "%s:%d" % (self.ip, self.admin))
        try:
            self.write("second.yaml", self.good.replace("port_value: %d" % self.admin, "port_value: %d" % self.env.network.port()))
            self.expect("weft-proxy", ["-c", "second.yaml"], 1, r"%s:%d: .*%s" % (re.escape(self.ip), self.port, USED))
        finally:
            first.child.end()

    def test_proxy_without_its_controller_says_so_and_waits(self):
        """No start that can't succeed: the controller may come. What happens then is controller_death_test's."""
        xds = self.env.network.address()
        ip, port = harness.split_address(xds)
        text = self.good.replace("  clusters:\n", """\
  clusters:
  - name: xds-grpc
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: xds-grpc
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %d}}}}]}]
""" % (ip, port)) + """\
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]}
  cds_config: {resource_api_version: V3, ads: {}}
"""
        proxy = self.env.start_proxy("without-controller", text, "%s:%d" % (self.ip, self.admin), wait=False)
        try:
            wait_until(lambda: proxy.child.text(), lambda: re.search(
                r"xds: .*%s: Connection refused; trying again" % re.escape(xds), proxy.child.text()))
            answer = proxy.ready()
            self.assertEqual(answer.status, 503)
            self.assertIn("clusters from %s" % xds, answer.text())
            self.assertTrue(proxy.child.alive())
        finally:
            self.assertEqual(proxy.child.end(), 0)

    # -- weft-controller

    def controller(self, *arguments, config="config"):
        net = self.env.network
        addresses = {"--xds-address": net.address(), "--admin-address": net.address()}
        for flag in addresses:
            if flag in arguments:
                addresses[flag] = None
        return ["--config", config] + [x for flag, a in addresses.items() if a for x in (flag, a)] + list(arguments)

    def test_controller_flags(self):
        cases = [
            ([], "--config DIR is required: a directory of YAML files"),
            (["--no-such"], "--no-such"),
            (self.controller("--log-level", "loud"), r'log-level: "loud" is not one of trace, debug, info'),
            (self.controller("--max-proxies", "0"), "max-proxies: .*0"),
            (self.controller("--max-proxies", "few"), "max-proxies: .*few"),
        ]
        for arguments, pattern in cases:
            with self.subTest(" ".join(map(str, arguments))):
                self.expect("weft-controller", arguments, 2, pattern, "weft-controller --help")
        self.expect("weft-controller", ["--version"], 0, r"^weft-controller \d+\.\d+\.\d+")
        self.expect("weft-controller", ["--help"], 0, "--config", "--xds-address", "--mgmt-socket")

    def test_controller_directories_and_addresses(self):
        taken = "%s:%d" % (self.ip, self.taken)
        cases = [
            (self.controller(config="not/there"), r"--config not/there: there is no such directory; create it \(mkdir -p not/there\)"),
            (self.controller(config="good.yaml"), r"--config good\.yaml: is not a directory"),
            (self.controller("--config", "not/there"), r"--config not/there: there is no such directory"),
            (self.controller("--xds-address", self.ip), r'--xds-address: "%s" is not HOST:PORT' % re.escape(self.ip)),
            (self.controller("--xds-address", self.ip + ":99999"), r'--xds-address: ".*:99999" is not HOST:PORT'),
            (self.controller("--xds-address", taken), r"can't listen on %s: .*%s.*--xds-address" % (re.escape(taken), USED)),
            (self.controller("--admin-address", taken), r"can't listen on %s: .*%s.*--admin-address" % (re.escape(taken), USED)),
            (self.controller("--xds-address", "192.0.2.99:15010"), r"can't listen on 192\.0\.2\.99:15010: this machine does not have"),
            (self.controller("--log-file", "/dev/null/x.log"), r"--log-file /dev/null/x\.log: can't be opened"),
            (self.controller("--mgmt-socket", self.folder / "mgmt.sock"), r"management socket needs a directory of its own with mode 0700"),
            (self.controller("--mgmt-socket", "/dev/null/mgmt.sock"), r"/dev/null"),
        ]
        os.chmod(self.folder, 0o755)
        for arguments, pattern in cases:
            with self.subTest(" ".join(map(str, arguments))):
                self.expect("weft-controller", arguments, 1, r"^weft-controller: .*" + pattern, absent=["serves xDS"])

    def test_a_second_controller_is_told_of_the_first(self):
        first = self.env.start_controller([self.folder / "config"])
        try:
            self.expect("weft-controller", self.controller("--xds-address", first.xds), 1, USED)
        finally:
            self.assertEqual(first.child.end(), 0)

    def test_broken_files_do_not_keep_the_controller_from_starting(self):
        """They are reported; the rest is served."""
        config = self.folder / "broken"
        self.write("broken/bad.yaml", "kind: [\n")
        self.write("broken/typo.yaml", harness.weights("reviews", v1=100).replace("subset:", "subst:"))
        self.write("broken/good.yaml", harness.SERVICE_ENTRY.format(service="reviews"))
        controller = self.env.start_controller([config])
        try:
            errors = controller.errors()
            self.assertTrue(any(re.search(r"broken/bad\.yaml:\d+:\d+: ", e) for e in errors), errors)
            self.assertTrue(any(re.search(r'broken/typo\.yaml:8:\d+: .*"subst"; did you mean "subset"', e) for e in errors), errors)
            self.assertEqual([o["name"] for o in controller.configz()["objects"] if o["generationInEffect"]], ["reviews"])
            self.assertRegex(controller.child.text(), r"read 1 objects .*; [23] errors in them")
        finally:
            self.assertEqual(controller.child.end(), 0)

    # -- weftctl

    def test_weftctl_command_line(self):
        cases = [
            ([], "--help"),
            (["aply"], r'there is no command "aply" \(did you mean apply\?\)'),
            (["dev"], "--help"),
            (["dev", "upp"], r'there is no command "upp" \(did you mean up\?\)'),
            (["proxy-config", "lissener"], r'"lissener" \(did you mean listener\?\)'),
            (["apply"], "-f|--file"),
            (["proxy-status", "-o", "xml"], "xml"),
            (["dev", "up", "mesh.yaml", "--loopback", "nonsense"], r"--loopback: expected 127\.N"),
        ]
        for arguments, pattern in cases:
            with self.subTest(" ".join(arguments)):
                self.expect("weftctl", arguments, 2, pattern)

    def test_weftctl_mesh_files(self):
        up = ["dev", "up", "bad-mesh.yaml", "--state", "mesh-state"]
        for name in harness.PROGRAMS:
            up += ["--bin", str(harness.program(name).parent)]
        self.expect("weftctl", ["dev", "up", "not-there.yaml"], 1, r"not-there\.yaml: No such file or directory")
        cases = [
            ("a wrong type", MESH.replace("number: 9080", "number: ninety"),
             r'bad-mesh\.yaml:6:32: workloads\[0\]\.ports\[0\]\.number: expected a number, got "ninety"'),
            ("an unknown field", MESH.replace("command:", "comand:"), r'bad-mesh\.yaml:5:3: workloads\[0\]: unknown field "comand"; did you mean "command"'),
            ("no such folder", MESH.replace("configDirectory: config", "configDirectory: not-there"),
             r"bad-mesh\.yaml:2:18: configDirectory: there is no folder .*not-there"),
            ("no such program", MESH.replace("sleep", "no-such-program"), r'there is no program "no-such-program"'),
            ("no YAML", "name: [\n", r"bad-mesh\.yaml:\d+:\d+: "),
            ("empty", "", r"bad-mesh\.yaml"),
            ("two workloads of one name", MESH + MESH.split("workloads:\n")[1], r"bad-mesh\.yaml:7:\d+: "),
        ]
        for what, text, pattern in cases:
            with self.subTest(what):
                self.write("bad-mesh.yaml", text)
                self.expect("weftctl", up, 1, pattern)
                self.assertFalse((self.folder / "mesh-state").exists(), "nothing is left behind")

    def test_weftctl_ports_in_use(self):
        """A mesh whose addresses somebody has: who, and what to do; nothing is left running."""
        net = self.env.network
        with socket.socket() as s:
            s.bind((net.ip("0.1"), 15010))
            s.listen(1)
            up = ["dev", "up", "mesh.yaml", "--state", "mesh-state", "--loopback", net.prefix]
            for name in harness.PROGRAMS:
                up += ["--bin", str(harness.program(name).parent)]
            self.expect("weftctl", up, 1, re.escape(net.ip("0.1") + ":15010"), USED + "|taken")
        self.assertFalse((self.folder / "mesh-state").exists(), "nothing is left behind")

    def test_weftctl_without_a_mesh(self):
        gone = ["--socket", str(self.folder / "not-there.sock")]
        cases = [
            (["dev", "status", "--state", "not-there"], r"no mesh has its state in .*not-there", "dev up"),
            (["dev", "down", "--state", "not-there"], r"no mesh has its state in .*not-there", "dev up"),
            (["get", "vs", *gone], r"no controller listens at .*not-there\.sock", "--socket"),
            (["proxy-status", *gone], r"no controller listens at .*not-there\.sock", "--socket"),
            (["apply", "-f", "not-there.yaml", *gone], r"not-there\.yaml: No such file or directory"),
            (["apply", "-f", "config", *gone], r"config has no \*\.yaml"),
        ]
        for arguments, *patterns in cases:
            with self.subTest(" ".join(arguments)):
                self.expect("weftctl", arguments, 1, *patterns)


if __name__ == "__main__":
    harness.main()
