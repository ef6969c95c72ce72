#!/usr/bin/env bash
# lab/test.sh check|all: runs the steps, keeps each one's output in .keyfold/logs, ends in one summary.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lab/steps.sh
. lab/steps.sh
# shellcheck source=lab/summary.sh
. lab/summary.sh

results=$state_dir/results
export PATH=$lab_root/.venv/bin:$PATH NO_COLOR=1

# step NAME COMMAND…: never fails itself; the outcome is a file.
step() {
  local name=$1 log=$log_dir/$1.log begun=$SECONDS rc=0 result
  result=$results/$EPOCHREALTIME-$name
  shift
  printf '  begun   %s\n' "$name"
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  printf '%s %s %s\n' "$name" "$rc" "$((SECONDS - begun))" >"$result"
  if ((rc)); then
    printf '  FAILED  %-28s %4s s  %s\n' "$name" "$((SECONDS - begun))" "${log#"$lab_root"/}"
    tail -n 60 "$log" | sed 's/^/          | /'
  else
    printf '  ok      %-28s %4s s\n' "$name" "$((SECONDS - begun))"
  fi
}

# at_once N STEPS…: each "name command" in a line of its own, N at a time.
at_once() {
  local limit=$1 line words
  shift
  for line in "$@"; do
    while (($(jobs -rp | wc -l) >= limit)); do wait -n || true; done
    read -ra words <<<"$line"
    step "${words[@]}" &
  done
  wait
}

check() { # UNIT-STEP ANSIBLE-LINT-STEP
  at_once 2 "node-unit-and-contract $1 node/tests" "mypy run_mypy" "ansible-lint $2" "controller-and-docs $1 tests" \
    "ruff run_ruff" "yamllint run_yamllint" "shellcheck run_shellcheck"
}

containers() {
  local scenario scenarios=()
  step package run_package
  for scenario in molecule/*/molecule.yml; do
    scenario=$(basename "$(dirname "$scenario")")
    scenarios+=("molecule-$scenario lab/scenario.sh $scenario")
  done
  at_once 2 "c-module run_c" "node-in-container run_node" "${scenarios[@]}"
}

rm -rf "$results"
mkdir -p "$results" "$log_dir"
what=${1:?usage: lab/test.sh check|all}
case $what in
  check)
    step setup lab/venv.sh
    check run_unit_quick run_ansible_lint_quick
    ;;
  all)
    step setup lab/setup.sh
    check run_unit run_ansible_lint
    containers
    ;;
  *) die "there is no set of tests called '$what'" "nothing was run" "lab/test.sh check or lab/test.sh all" ;;
esac
summary
