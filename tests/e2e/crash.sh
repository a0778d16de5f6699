#!/usr/bin/env bash
# `./dev crash [KILLS]`: kill -9 the broker under load and audit what it had acknowledged. --help
set -euo pipefail
exec /usr/bin/python3 "$(dirname "${BASH_SOURCE[0]}")/lib/crash_main.py" "$@"
