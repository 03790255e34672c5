"""weft_e2e_test: a Python program that tests the real binaries."""

def weft_e2e_test(name, data = [], size = "medium", **kwargs):
    """A test program `name`.py beside harness.py.

    name: the file without .py. data: what it starts besides weft-proxy and weft-controller.
    exclusive: its load and its measured times need the machine to itself.
    """
    native.sh_test(
        name = name,
        srcs = [name + ".py"],
        data = data + [
            "//controlplane/app:weft-controller",
            "//dataplane/app:weft-proxy",
            "//test/e2e:harness",
        ],
        size = size,
        tags = ["e2e", "exclusive"],
        **kwargs
    )
