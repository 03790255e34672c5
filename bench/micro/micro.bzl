"""weft_microbench: a Google Benchmark program that can count allocations."""

def weft_microbench(name, srcs, deps = [], **kwargs):
    """A program of micro benches, and a test that each of them still runs.

    name: ends in _bench. srcs: benches registered by BENCHMARK(...); main() comes from the library.
    """
    if not name.endswith("_bench"):
        fail("weft_microbench: the name of %s must end in _bench" % name)
    native.cc_binary(
        name = name,
        srcs = srcs,
        testonly = True,
        deps = deps + [
            "//bench/micro:counting_allocator",
            "@sys//:benchmark_main",
        ],
        **kwargs
    )
    native.sh_test(
        name = name + "_runs_test",
        srcs = ["//bench/micro:runs_test.sh"],
        args = ["$(rootpath :%s)" % name],
        data = [":" + name],
        size = "small",
    )
