#!/usr/bin/env bash
# The commands of tools/ that people begin with: quick when nothing is to do, clear about wrong arguments, alive without
# HOME, USER, LANG and a terminal. dpkg-query and apt-get are stand-ins here; the real ones are tried in a bare Debian root.
set -u
cd "$(dirname "$0")/../.." 2>/dev/null && [ -x tools/setup ] || cd "${TEST_SRCDIR:?}/${TEST_WORKSPACE:?}"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
failed=0
check() { if "${@:2}"; then echo "ok: $1"; else echo "FAILED: $1"; cat "$work/out" 2>/dev/null; failed=1; fi; }
has() { grep -qF -- "$1" "$work/out"; }

mkdir "$work/bin" "$work/empty"
for tool in $(ls /usr/bin /bin | sort -u); do case $tool in sudo | dpkg-query | apt-get | apt-cache) ;; *) ln -sf "$(PATH=/usr/bin:/bin command -v "$tool")" "$work/bin/$tool" 2>/dev/null ;; esac; done
all=$(tools/setup --list | grep -v '^python: ')
# Says that everything is installed, but for the names in $work/missing.
cat >"$work/bin/dpkg-query" <<STANDIN
#!/bin/bash
for p in $(echo $all); do grep -qx "\$p" "$work/missing" 2>/dev/null || printf 'ii %s ' "\$p"; done
STANDIN
# Installs by taking the names out of $work/missing; fails when told to.
cat >"$work/bin/apt-get" <<STANDIN
#!/bin/bash
echo "apt-get \$*" >>"$work/calls"
case " \$* " in
  *" install "*)
    [ ! -e "$work/broken" ] || { echo "E: the disk is on fire" >&2; exit 100; }
    sleep 0.3
    [ ! -e "$work/installing" ] || touch "$work/two-at-once"
    cp "$work/policy" "$work/policy-meanwhile"
    touch "$work/installing"; sleep 0.3; rm "$work/installing"
    : >"$work/missing" ;;
esac
STANDIN
printf '#!/bin/bash\nif [ "$2" = nosuch ]; then echo "  Candidate: (none)"; else echo "  Candidate: 1.0"; fi\n' >"$work/bin/apt-cache"
chmod +x "$work/bin/dpkg-query" "$work/bin/apt-get" "$work/bin/apt-cache"
run() { env -i PATH="$work/bin" HOME="$work" WEFT_POLICY_RC_D="$work/policy" "$@" >"$work/out" 2>&1 </dev/null; }

run tools/setup; check "setup has nothing to do" [ $? -eq 0 ]
check "and says nothing" [ ! -s "$work/out" ]
begun=$(date +%s%N); run tools/setup; took=$((($(date +%s%N) - begun) / 1000000))
check "and takes less than half a second (took $took ms)" [ "$took" -lt 500 ]
env -i PATH="$work/bin" tools/setup --list >"$work/out" 2>&1; check "it runs without HOME, USER, LANG" [ $? -eq 0 ]

if [ "$(id -u)" -eq 0 ]; then
  printf 'libuv1-dev\ng++\n' >"$work/missing"; : >"$work/calls"
  run tools/setup; check "missing packages are installed" [ $? -eq 0 ]
  check "only those" grep -qE 'install .* (g\+\+ libuv1-dev|libuv1-dev g\+\+)$' "$work/calls"
  check "services are kept from starting meanwhile" grep -q 'exit 101' "$work/policy-meanwhile"
  check "and not any longer" [ ! -e "$work/policy" ]
  printf '#!/bin/sh\nexit 0\n' >"$work/policy"; echo g++ >"$work/missing"
  run tools/setup; check "a policy that was there stays" grep -q 'exit 0' "$work/policy"
  rm "$work/policy"

  echo g++ >"$work/missing"
  env -i PATH="$work/bin" HOME="$work" WEFT_POLICY_RC_D="$work/policy" tools/setup >"$work/out1" 2>&1 </dev/null & first=$!
  env -i PATH="$work/bin" HOME="$work" WEFT_POLICY_RC_D="$work/policy" tools/setup >"$work/out2" 2>&1 </dev/null & second=$!
  wait $first; one=$?; wait $second; two=$?
  cat "$work/out1" "$work/out2" >"$work/out"
  check "two at once both end well" [ $one -eq 0 -a $two -eq 0 ]
  check "and install in turns" [ ! -e "$work/two-at-once" ]

  echo g++ >"$work/missing"; touch "$work/broken"
  run tools/setup; check "a failed installation is a failure" [ $? -ne 0 ]
  check "that shows apt's own words" has "the disk is on fire"
  check "and what to do" has "then tools/setup again"
  rm -f "$work/broken"
fi

run tools/setup --nonsense; check "setup refuses unknown arguments" [ $? -ne 0 ]; check "by name" has "unknown argument '--nonsense'"
run tools/up --traffic ten; check "up wants a number" [ $? -ne 0 ]; check "and says so" has "--traffic needs a number, got 'ten'"
run tools/up --help; check "up has help" has "--check"
run tools/test --help; check "test has help" has "--full"
for script in tools/setup tools/up tools/test; do check "$script parses" bash -n "$script"; done
exit $failed
