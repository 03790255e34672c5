#!/bin/sh
# Compares api/envoy and api/google with the descriptors of the whole Envoy API, field by field.
#
# usage: test/conformance/api_compat.sh [PYTHON]
# PYTHON (python3 when absent) must have the packages `xds-protos` and `protobuf`, as after
#   python3 -m venv /tmp/xds && /tmp/xds/bin/pip install xds-protos
# Exit 0: no difference. Needs a network only for that installation, so it is not part of tools/test.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
api=$here/../../api
set_file=$(mktemp)
trap 'rm -f "$set_file"' EXIT
cd "$api"
find envoy google -name '*.proto' -print | sort | xargs protoc -I. -I/usr/include --include_imports \
    --descriptor_set_out="$set_file"
"${1:-python3}" "$here/api_compat.py" "$set_file"
