"""Plants one violation at a time in a small tree and looks for it in the lint's answer."""

import os
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.getcwd(), "tools/lint"))
import layers  # noqa: E402


class LayersTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for name in layers.TOP_LEVEL:
            if "." in name or name == "WORKSPACE":
                self.write(name, "")
            else:
                os.makedirs(os.path.join(self.root, name))
        self.write("dataplane/BUILD.bazel", layers.package_groups())

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def problems(self):
        return layers.Linter(self.root).run()

    def expect(self, path, text, *wanted):
        self.write(path, text)
        found = self.problems()
        self.assertEqual(len(found), len(wanted), found)
        for problem, want in zip(found, wanted):
            self.assertIn(want, problem)
        os.remove(os.path.join(self.root, path))
        self.assertEqual(self.problems(), [], "and nothing without it")

    def test_clean_tree(self):
        self.write("dataplane/net/a.h", '#include "dataplane/event/loop.h"\n#include <string>\n')
        self.write("dataplane/event/loop.cc", "#include <uv.h>\n")
        self.write("bench/relay.cc", "#include <uv.h>\n")
        self.write("dataplane/tls/ctx.cc", "#include <openssl/ssl.h>\n")
        self.write("dataplane/app/main.cc", '#include "dataplane/runtime/worker.h"\n#include "dataplane/admin/admin.h"\n')
        self.write("controlplane/x/x.cc", '#include "dataplane/decide/route_table.h"\n#include "api/cpp/yaml.h"\n')
        self.write("test/decide/t.cc", '#include "dataplane/proxy/exchange.h"\n')
        self.write("dataplane/net/BUILD.bazel", 'cc_library(name = "net", deps = ["//dataplane/event", "@sys//:uv"])\n')
        self.assertEqual(self.problems(), [])

    def test_include_against_the_layers(self):
        self.expect("dataplane/net/a.h", '#pragma once\n#include "dataplane/http/message.h"\n',
                    "dataplane/net/a.h:2: includes dataplane/http/message.h: net may see base, buffer, event")
        self.expect("dataplane/decide/a.cc", '#include "dataplane/event/loop.h"\n', "decide may see base of dataplane/")
        self.expect("dataplane/http/a.cc", '#include "dataplane/tls/context.h"\n', "http may see")
        self.expect("dataplane/runtime/a.cc", '#include "dataplane/admin/admin.h"\n', "runtime may see")
        self.expect("dataplane/observe/a.cc", '  #  include "dataplane/net/address.h"\n', "observe may see base, event")

    def test_deps_against_the_layers(self):
        self.expect("dataplane/event/BUILD.bazel",
                    'cc_library(\n    name = "x",\n    deps = [\n        "//dataplane/net:address",\n    ],\n)\n',
                    "dataplane/event/BUILD.bazel:4: depends on dataplane/net: event may see base")
        self.expect("dataplane/event/BUILD.bazel",
                    '[cc_library(name = n, deps = ["//dataplane/net"] + ["//api"]) for n in ["a"]]\n', "depends on dataplane/net")
        self.expect("dataplane/event/BUILD.bazel", 'cc_library(name = "x"\n', "can't be read")
        # Being visible to a layer above is no dependency on it.
        self.write("dataplane/event/BUILD.bazel", 'cc_library(name = "x", visibility = ["//dataplane/net:__pkg__"])\n')
        self.assertEqual(self.problems(), [])

    def test_visible_to_all(self):
        self.expect("dataplane/net/BUILD.bazel", 'package(default_visibility = ["//visibility:public"])\n',
                    'dataplane/net/BUILD.bazel:1: visible to all; "//dataplane:net_users"')
        self.expect("dataplane/http/h1/BUILD.bazel", 'cc_library(name = "x", visibility = ["//visibility:public"])\n',
                    '"//dataplane:http_users"')
        self.write("controlplane/BUILD.bazel", 'package(default_visibility = ["//visibility:public"])\n')
        self.write("dataplane/net/BUILD.bazel", 'package(default_visibility = ["//dataplane:net_users"])\n')
        self.assertEqual(self.problems(), [])

    def test_trees(self):
        self.expect("controlplane/xds/a.cc", '#include "dataplane/upstream/cluster_spec.h"\n', "controlplane may see")
        self.expect("tools/weftctl/a.cc", '#include "dataplane/proxy/exchange.h"\n', "tools/weftctl may see")
        self.expect("tools/demo/a.cc", '#include "dataplane/http/message.h"\n', "tools/demo may see nothing")
        self.expect("dataplane/base/a.h", '#include "controlplane/model/object.h"\n', "dataplane/ sees api/ and itself only")
        self.expect("api/cpp/a.h", '#include "controlplane/model/object.h"\n', "api/ is below everything")
        self.expect("controlplane/app/a.cc", '#include "tools/weftctl/process.h"\n', "below tools and tests")
        self.expect("dataplane/new/a.h", '#include "dataplane/base/rc.h"\n', "not in the list of layers")

    def test_owned_headers(self):
        self.expect("dataplane/net/a.cc", "#include <uv.h>\n", "only dataplane/event talks to libuv")
        self.expect("controlplane/a/a.cc", '#include "uv.h"\n', "only dataplane/event talks to libuv")
        self.expect("dataplane/http/a.cc", "#include <openssl/ssl.h>\n", "only dataplane/tls talks to BoringSSL")
        self.expect("dataplane/base/a.h", '#include "absl/synchronization/mutex.h"\n', "std::mutex instead")
        self.expect("dataplane/base/a.h", '#include "absl/log/log.h"\n', "dataplane/base/log.h instead")

    def test_banned_words(self):
        self.expect("dataplane/base/a.h", "absl::" + "Mutex mu;\n", "std::mutex and friends")
        self.expect("docs/a.md", "some text\nTO" + "DO: more\n", "docs/a.md:2: TO" + "DO")
        self.expect("tools/up", "#!/bin/sh\n# FIX" + "ME\n", "tools/up:2: FIX" + "ME")
        self.expect("tools/setup", "curl https://files.python" + "hosted.org/x\n", "registry's host")
        self.expect("docs/a.md", "from p" + "ypi.org\n", "registry's host")
        self.write("docs/a.md", "The customers' to" + "do list; kpypi.organic\n")
        self.assertEqual(self.problems(), [])

    def test_top_level(self):
        self.write("scripts/a.sh", "")
        self.assertEqual(len(self.problems()), 1)
        self.assertIn("scripts:1: does not belong at the top level", self.problems()[0])
        shutil.rmtree(os.path.join(self.root, "scripts"))
        os.remove(os.path.join(self.root, "README.md"))
        self.assertEqual(self.problems(), ["README.md:1: is missing at the top level"])

    def test_package_groups(self):
        self.write("dataplane/BUILD.bazel", layers.package_groups().replace('"//dataplane/net/...",', "", 1))
        self.assertIn("differs from the layers", self.problems()[0])
        os.remove(os.path.join(self.root, "dataplane/BUILD.bazel"))
        self.assertIn("is missing", self.problems()[0])


if __name__ == "__main__":
    unittest.main(verbosity=1)
