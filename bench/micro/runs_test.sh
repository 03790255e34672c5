#!/bin/sh
# Runs each bench of the program $1 for a moment: a bench that no longer runs, or that reports an error, fails here.
set -eu
output=$("$1" --benchmark_min_time=0.001 --benchmark_format=csv 2>&1) || { echo "$output"; exit 1; }
echo "$output"
case $output in
  *ERROR* | *error_occurred,*true*) echo "a bench reported an error" >&2; exit 1 ;;
esac
echo "$output" | grep -q '^"' || { echo "no bench ran" >&2; exit 1; }
