#!/usr/bin/env bash
# What every run with containers needs first. The controller's Python installs while the images are made.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

# What is handed over to subscribers is sealed with it.
apt_install age
lab/venv.sh &
venv=$!
rc=0
lab/image.sh && lab/deb.sh || rc=$?
wait "$venv" || rc=$?
exit "$rc"
