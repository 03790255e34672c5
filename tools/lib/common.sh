# Shared by tools/setup, tools/up and tools/test. Sourced, never run: sets the environment that the others rely on and
# defines how they talk. No python, curl or sudo is needed up to here, as none is there on a bare Debian.

weft_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# A minimal container or a CI runner may have none of these; Bazel needs HOME and USER, apt's scripts want a known language.
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6 || true)
  [ -n "$HOME" ] && [ -w "$HOME" ] || HOME=/tmp/weft-home-$(id -u)
  mkdir -p "$HOME" || { echo "error: no writable home directory; set HOME to a folder that you can write" >&2; exit 1; }
fi
export HOME USER="${USER:-$(id -un 2>/dev/null || id -u)}" LC_ALL="${LC_ALL:-C.UTF-8}"
weft_cache=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  c_bold=$'\e[1m' c_dim=$'\e[2m' c_red=$'\e[31m' c_green=$'\e[32m' c_yellow=$'\e[33m' c_off=$'\e[0m' on_terminal=1
else
  c_bold='' c_dim='' c_red='' c_green='' c_yellow='' c_off='' on_terminal=''
fi

started=$SECONDS
# say TEXT: one line of progress, with the time since the command began.
say() { printf '%s[%3ds]%s %s\n' "$c_dim" $((SECONDS - started)) "$c_off" "$*" >&2; }
# warn TEXT: something the person should know, that does not end the command.
warn() { printf '%swarning:%s %s\n' "$c_yellow" "$c_off" "$*" >&2; }
# die WHAT [WHY AND WHAT TO DO]...: one line an argument, then exit 1.
die() {
  printf '%serror:%s %s\n' "$c_red" "$c_off" "$1" >&2; shift
  [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

# build_weft TARGET...: with one line of progress every few seconds; the whole output only when it fails.
build_weft() {
  mkdir -p "$weft_cache"
  local log=$weft_cache/build.log begun=$SECONDS pid
  say "building (the first time takes several minutes; $(nproc) cores)"
  (cd "$weft_root" && exec bazel build --show_progress_rate_limit=1 --color=no --curses=no "$@") >"$log" 2>&1 </dev/null &
  pid=$!
  trap 'kill -TERM $pid 2>/dev/null; wait $pid; exit 130' INT TERM
  local shown='' now last=$SECONDS
  while kill -0 $pid 2>/dev/null; do
    sleep 0.2
    now=$(tr '\r' '\n' <"$log" | grep -E '^\[[0-9,]+ / [0-9,]+\]' | tail -n 1 | cut -c1-110 || true)
    [ -n "$now" ] && [ "$now" != "$shown" ] || continue
    if [ -n "$on_terminal" ]; then
      printf '\r\e[K%s[%3ds]%s   %s' "$c_dim" $((SECONDS - started)) "$c_off" "$now" >&2
    elif [ $((SECONDS - last)) -ge 15 ]; then
      say "  $now"; last=$SECONDS
    else continue; fi
    shown=$now
  done
  [ -z "$on_terminal" ] || printf '\r\e[K' >&2
  local code=0
  wait $pid || code=$?
  trap - INT TERM
  if [ $code -ne 0 ]; then
    grep -vE '^(\[|Loading|Analyzing|INFO)' "$log" | tail -n 40 >&2 || true
    die "the build failed (bazel's exit code $code)" "The whole output is in $log."
  fi
  say "built in $((SECONDS - begun)) s"
}
