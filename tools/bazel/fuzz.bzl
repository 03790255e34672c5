"""weft_fuzz_target: a libFuzzer target that is also a test.

`bazel test` replays the corpus and small changes of each input, for parsers of foreign bytes for 20 s
(test/fuzz/corpus_runner.cc), with any compiler.
`bazel build --config=fuzz` links libFuzzer instead: run the binary with the corpus folder as its argument.
"""

def weft_fuzz_target(name, srcs, corpus, deps = [], seconds = 0, **kwargs):
    """name: also the binary. srcs: defines LLVMFuzzerTestOneInput. corpus: a folder of this package with the inputs.

    seconds: how long `bazel test` goes on with mixtures of the inputs. tools/test --full fuzzes these targets longest.
    """
    folder = native.package_name() + "/" + corpus
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs + select({
            "//test/fuzz:fuzzing": [],
            "//conditions:default": ["//test/fuzz:corpus_runner.cc"],
        }),
        args = select({
            "//test/fuzz:fuzzing": ["-runs=0", folder],
            "//conditions:default": (["--seconds=%d" % seconds] if seconds else []) + [folder],
        }),
        tags = ["fuzz-long"] if seconds else [],
        data = native.glob([corpus + "/**"]),
        linkopts = select({
            "//test/fuzz:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps,
        **kwargs
    )
