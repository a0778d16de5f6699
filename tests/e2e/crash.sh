#!/usr/bin/env bash
# `./dev crash [KILLS]`: kill -9 the broker under load and audit what it had acknowledged. --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MQTTD_BIN=${MQTTD_BIN:-$here/../../build/release/bin/mqttd}
export MQLOAD_BIN=${MQLOAD_BIN:-$here/../../build/release/bin/mqload}
exec /usr/bin/python3 "$here/lib/crash_main.py" "$@"
