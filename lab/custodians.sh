#!/usr/bin/env bash
# lab/custodians.sh DIRECTORY: five throw-away custodians of a local cluster, as JSON for keyfold_custodians.
# Their age keys are made in DIRECTORY/custodians at first use. Real custodians make and keep their own (docs/custody.md).
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir -p "${1:?usage: lab/custodians.sh DIRECTORY}"
directory=$(realpath "$1")/custodians
umask 077

make_missing() {
  local name
  apt_install age
  mkdir -p "$directory"
  for name in alice bob carol dave erin; do
    [[ -s $directory/$name.key ]] || { age-keygen >"$directory/.$name" 2>/dev/null && mv "$directory/.$name" "$directory/$name.key"; }
  done
}

[[ -s $directory/erin.key ]] || locked custodians make_missing
comma=
printf '['
for key in "$directory"/*.key; do
  printf '%s{"name": "%s", "recipient": "%s"}' "$comma" "$(basename "$key" .key)" "$(sed -n 's/^# public key: //p' "$key")"
  comma=', '
done
printf ']\n'
