#!/usr/bin/env bash
# What every run with containers needs first. The controller's Python installs while the images are made.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

lab/venv.sh &
venv=$!
rc=0
lab/image.sh && lab/deb.sh || rc=$?
wait "$venv" || rc=$?
exit "$rc"
