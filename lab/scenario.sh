#!/usr/bin/env bash
# lab/scenario.sh NAME [COMMAND…]: one Molecule scenario, "test" unless told otherwise (converge, verify, login, destroy, …).
# Fails also where Molecule only warns: no tests found, a playbook that is missing.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lab/summary.sh
. lab/summary.sh

name=${1:?usage: lab/scenario.sh NAME [COMMAND…]}
shift
[[ -e molecule/$name/molecule.yml ]] || die "there is no scenario called '$name'" "nothing was run" \
  "one of: $(cd molecule && printf '%s ' */molecule.yml | sed 's#/molecule.yml##g')"

export PATH=$lab_root/.venv/bin:$PATH
# Molecule's own default is a checksum of the directory's name: two checkouts called alike would share it.
export MOLECULE_EPHEMERAL_DIRECTORY=$state_dir/molecule/$name
# One scenario stays on Ansible's own strategy, so that nothing works only with mitogen.
if [[ $name != default ]]; then export ANSIBLE_STRATEGY=${ANSIBLE_STRATEGY:-mitogen_linear}; fi
export ANSIBLE_DEPRECATION_WARNINGS=false NO_COLOR=1 ANSIBLE_NOCOLOR=1
mkdir -p "$MOLECULE_EPHEMERAL_DIRECTORY" "$log_dir"

# The tests open what was handed over, as a subscriber would.
apt_install age
# The roles install the package: it has to be the one of these sources.
lab/deb.sh

output=$log_dir/molecule-$name.out
action=${1:-test}
[[ $# == 0 ]] || shift
# A step that hangs must fail, not use up the time of the whole run.
timeout --foreground 1500 molecule "$action" --no-command-borders --scenario-name "$name" "$@" 2>&1 | tee "$output"
if skipped=$(molecule_skipped "$output"); then
  die "Molecule skipped a step of '$name': $skipped" "the scenario did not test what it says" "correct molecule/$name/molecule.yml"
fi
