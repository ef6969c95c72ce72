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

# The longest come first, so that none is left alone at the end.
check_steps() { # UNIT-STEP ANSIBLE-LINT-STEP
  printf '%s\n' "node-unit-and-contract $1 node/tests" "controller-and-docs $1 tests" "ansible-lint $2" "mypy run_mypy" \
    "ruff run_ruff" "yamllint run_yamllint" "shellcheck run_shellcheck"
}

container_steps() {
  local scenario long="default node_loss"
  for scenario in $long; do echo "molecule-$scenario lab/scenario.sh $scenario"; done
  printf '%s\n' "node-in-container run_node" "c-module run_c" "package run_package"
  for scenario in molecule/*/molecule.yml; do
    scenario=$(basename "$(dirname "$scenario")")
    [[ " $long " == *" $scenario "* ]] || echo "molecule-$scenario lab/scenario.sh $scenario"
  done
}

rm -rf "$results"
mkdir -p "$results" "$log_dir"
what=${1:?usage: lab/test.sh check|all}
case $what in
  check)
    # Tests wait now and then: two lanes would not keep two processors busy.
    setup=lab/venv.sh lanes=3
    mapfile -t steps < <(check_steps run_unit_quick run_ansible_lint_quick)
    ;;
  all)
    setup=lab/setup.sh lanes=2
    mapfile -t steps < <(
      check_steps run_unit run_ansible_lint
      container_steps
    )
    ;;
  *) die "there is no set of tests called '$what'" "nothing was run" "lab/test.sh check or lab/test.sh all" ;;
esac
step setup "$setup"
at_once "$lanes" "${steps[@]}"
summary
