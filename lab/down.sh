#!/usr/bin/env bash
# Removes the demo's cluster. With --all also the images, .venv, .keyfold and an engine that lab/engine.sh started.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

if docker info >/dev/null 2>&1; then
  lab/containers.sh down local
elif [[ -d $state_dir/local ]]; then
  # Without its containers' engine the cluster cannot be removed, and its secrets must not go first.
  lab/engine.sh
  lab/containers.sh down local
fi
rm -rf "$state_dir/local" "$state_dir/demo-timings.json"
[[ ${1:-} == --all ]] || exit 0

if docker info >/dev/null 2>&1; then
  ours=(--filter "label=keyfold.checkout=$lab_root")
  docker ps --all --quiet "${ours[@]}" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
  docker network ls --quiet "${ours[@]}" | xargs --no-run-if-empty docker network rm >/dev/null
  docker images --quiet 'keyfold-*' | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null
  lab/engine.sh stop
fi
rm -rf "$state_dir" "$lab_root/.venv"
