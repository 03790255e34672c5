#!/bin/sh
# The repository keeps to its layers. Looks at the real sources, which the link in the runfiles leads to.
exec python3 tools/lint/layers.py
