#!/bin/sh
# The lint itself finds what it is there for.
exec python3 test/lint/layers_selftest.py
