"""weft_proto_library: protoc from Debian, C++ output, one target for a group of .proto files.

Sources import each other by their path below `root` (a folder of this package, "" for the package itself), and the
generated headers are included by the same path: `#include "envoy/config/core/v3/base.pb.h"`.
"""

ProtoGroup = provider(fields = ["sources", "roots"])

def _gen_impl(ctx):
    root = ctx.label.package
    outs, args_plugins = [], []
    out_dir = ctx.bin_dir.path + "/" + root
    for src in ctx.files.srcs:
        rel = src.path[len(root) + 1:]
        stem = rel[:-len(".proto")]
        exts = [".pb.h", ".pb.cc"] + ([".grpc.pb.h", ".grpc.pb.cc"] if ctx.attr.grpc else [])
        outs += [ctx.actions.declare_file(stem + e) for e in exts]
    dep_srcs = depset(transitive = [d[ProtoGroup].sources for d in ctx.attr.deps])
    args = ctx.actions.args()
    args.add("-I" + root)
    args.add("-I/usr/include")
    args.add("--cpp_out=" + out_dir)
    if ctx.attr.grpc:
        args.add("--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin")
        args.add("--grpc_out=" + out_dir)
    args.add_all([s.path[len(root) + 1:] for s in ctx.files.srcs])
    ctx.actions.run(
        executable = "/usr/bin/protoc",
        arguments = [args],
        inputs = depset(ctx.files.srcs, transitive = [dep_srcs]),
        outputs = outs,
        mnemonic = "Protoc",
        progress_message = "Generating C++ for %s" % ctx.label,
        use_default_shell_env = True,
    )
    return [
        DefaultInfo(files = depset(outs)),
        OutputGroupInfo(
            headers = depset([o for o in outs if o.path.endswith(".h")]),
            sources = depset([o for o in outs if o.path.endswith(".cc")]),
        ),
        ProtoGroup(sources = depset(ctx.files.srcs, transitive = [dep_srcs])),
    ]

_gen = rule(
    implementation = _gen_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".proto"]),
        "deps": attr.label_list(providers = [ProtoGroup]),
        "grpc": attr.bool(),
    },
)

def weft_proto_library(name, srcs, deps = [], grpc = False, visibility = None):
    """A cc_library of generated code. deps: other weft_proto_library targets of this package. grpc: with service stubs."""
    _gen(name = name + "_gen", srcs = srcs, deps = [d + "_gen" for d in deps], grpc = grpc, visibility = visibility)
    native.filegroup(name = name + "_hdrs", srcs = [name + "_gen"], output_group = "headers")
    native.filegroup(name = name + "_srcs", srcs = [name + "_gen"], output_group = "sources")
    native.cc_library(
        name = name,
        srcs = [name + "_srcs"],
        hdrs = [name + "_hdrs"],
        includes = ["."],
        copts = ["-w", "-O1"],
        deps = deps + ["@sys//:protobuf"] + (["@sys//:grpc"] if grpc else []),
        visibility = visibility,
    )
