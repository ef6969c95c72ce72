#!/usr/bin/env bash
# From whatever this machine has to a running cluster and the tour on it. The cluster stays up.
# How long each part took is left in .keyfold/demo-timings.json.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

timings=()
cold=$([[ -n $(image_label "$build_image" keyfold.inputs) ]] && echo false || echo true)

# part NAME TITLE COMMAND…
part() {
  local name=$1 title=$2 begun=$EPOCHREALTIME
  shift 2
  printf '\n== %s\n' "$title"
  "$@"
  timings+=("\"$name\": $(seconds_since "$begun")")
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

site() {
  ANSIBLE_STRATEGY=${ANSIBLE_STRATEGY:-mitogen_linear} ANSIBLE_DEPRECATION_WARNINGS=false \
    ansible-playbook playbooks/site.yml </dev/null ||
    die "playbooks/site.yml failed on inventories/local" "the tour was not run; the containers are still up" \
      "correct it, then make demo again (it goes on from here), or make down"
}

begun=$EPOCHREALTIME
part setup "Engine, images, the controller's Python, the keyfold-node package" lab/setup.sh
part containers "Five machines: hsm1 (dc1), hsm2 (dc2), hsm3 and store1 (backup site), app1 (a subscriber)" \
  lab/containers.sh up local
export PATH=$lab_root/.venv/bin:$PATH
part site "playbooks/site.yml on inventories/local" site
part tour "The tour" lab/tour/run
total=$(seconds_since "$begun")

printf '{"cold": %s, "seconds": %s, "parts": {%s}}\n' "$cold" "$total" "$(
  IFS=,
  echo "${timings[*]}"
)" >"$state_dir/demo-timings.json"
printf '\nmake demo took %s s. The cluster is up: docker exec keyfold-hsm1 keyfold status; make down removes it.\n' "$total"
