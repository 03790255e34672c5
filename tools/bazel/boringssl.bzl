"""BoringSSL out of the sources that the boring-sys crate carries: the one place where a current BoringSSL is published
under a version that can be pinned. Only the C++ sources are used; no Rust is compiled."""

# A new version: set both, and look whether boringssl.BUILD still names the lists that gen/sources.bzl has.
VERSION = "5.4.0"
SHA256 = "4986392770df40d11d0d6294b0dd8399570f4a6e76d6953c7a34f7dd1defbd76"  # of the crate file

_FOLDERS = ["crypto", "gen", "include", "ssl", "third_party"]

def _fetch(ctx, cached):
    """Vendors the crate and leaves its BoringSSL in `cached`, so that another clone needs neither network nor cargo."""
    if not ctx.which("cargo"):
        fail("cargo is missing: run tools/setup (Debian's package is cargo-web)")
    ctx.file("crate/lib.rs", "")
    ctx.file("crate/Cargo.toml", """[package]
name = "boringssl-sources"
version = "0.0.0"
edition = "2018"
[lib]
path = "lib.rs"
[dependencies]
boring-sys = "=%s"
""" % VERSION)
    why = ""
    for flags in [[], ["--offline"], []]:  # offline: what cargo has cached will do
        done = ctx.execute(["cargo", "vendor"] + flags + ["vendor"], working_directory = "crate", timeout = 900)
        if done.return_code == 0:
            break
        why = done.stderr
    if done.return_code != 0:
        fail("cargo vendor could not fetch boring-sys %s:\n%s" % (VERSION, why))
    package = ctx.path("crate/vendor/boring-sys")
    if '"package":"%s"' % SHA256 not in ctx.read(package.get_child(".cargo-checksum.json")):
        fail("boring-sys %s is not the crate that tools/bazel/boringssl.bzl pins (sha256 %s)" % (VERSION, SHA256))

    # Renamed into place when it is whole; another build that was quicker wins.
    done = ctx.execute(["sh", "-c", """
        set -e
        mkdir -p "$(dirname "$2")"
        new=$(mktemp -d "$2.XXXXXX")
        chmod 755 "$new"
        for folder in $3; do cp -R "$1/$folder" "$new/"; done
        mv -T "$new" "$2" 2>/dev/null || { rm -rf "$new"; [ -d "$2" ]; }
    """, "sh", str(package.get_child("deps").get_child("boringssl")), cached, " ".join(_FOLDERS)])
    if done.return_code != 0:
        fail("cannot write %s: %s" % (cached, done.stderr))
    ctx.delete("crate")

def _impl(ctx):
    home = ctx.os.environ.get("WEFT_CACHE", "")
    if not home:
        home = ctx.os.environ.get("XDG_CACHE_HOME", ctx.os.environ.get("HOME", "/tmp") + "/.cache") + "/weft"
    cached = "%s/boringssl/%s-%s" % (home, VERSION, SHA256[:12])
    if ctx.execute(["test", "-d", cached]).return_code != 0:
        _fetch(ctx, cached)

    # Copied, so that emptying the cache does not break a workspace that is set up.
    done = ctx.execute(["cp", "-R"] + ["%s/%s" % (cached, folder) for folder in _FOLDERS] + ["."])
    if done.return_code != 0:
        fail("cannot copy %s: %s" % (cached, done.stderr))
    ctx.file("BUILD.bazel", ctx.read(ctx.attr.build_file))

boringssl_repository = repository_rule(
    implementation = _impl,
    attrs = {"build_file": attr.label(default = "//tools/bazel:boringssl.BUILD", allow_single_file = True)},
    environ = ["HOME", "WEFT_CACHE", "XDG_CACHE_HOME"],
)
