#!/usr/bin/env bash
# lab/fuzz.sh [INPUTS] [SEED]: hostile input at the agent's socket, a subscriber's and the self-service's, a million each unless told otherwise.
# It prints the seed; the same one makes the same inputs again.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=lab/steps.sh
. lab/steps.sh

inputs=${1:-1000000}
seed=${2:-$((RANDOM * 32768 + RANDOM))}
[[ $inputs$seed =~ ^[0-9]+$ ]] || die "inputs and seed are whole numbers" "nothing was run" "lab/fuzz.sh 1000000 42"

lab/deb.sh
# The usual limit is for tests that take seconds.
in_build_seconds=$((900 + inputs / 20))
in_build_image "dpkg --install .keyfold/dist/keyfold-node.deb >/dev/null
  make --silent -C node/pkcs11
  export KEYFOLD_FUZZ_INPUTS=$inputs KEYFOLD_FUZZ_SEED=$seed
  python3 -m pytest -p no:cacheprovider --capture=no --durations=0 -m container node/tests/integration/test_hostile_input.py"
