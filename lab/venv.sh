#!/usr/bin/env bash
# The controller's Python: .venv from the pinned requirements, and the few collections the playbooks use.
# "--freeze" makes the pins anew out of requirements.in.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

venv=$lab_root/.venv
stamp=$venv/.keyfold-requirements
collections_from=ansible==12.3.0
collections=(ansible/posix community/crypto community/docker community/library_inventory_filtering_v1)
collections_dir=$state_dir/collections

# A version manager's python3 may be older than the system's.
find_python() {
  local python
  for python in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$python"; return; }
  done
  die "no Python 3.11 or newer was found" ".venv was not made" "install python3 (Debian 12 has 3.11)"
}

make_venv() { # REQUIREMENTS
  local python
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  "$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
  say "installing Python packages into .venv"
  logged pip "$venv/bin/pip" install --disable-pip-version-check --no-input --progress-bar off --requirement "$1" ||
    die "pip could not install the pinned packages" ".venv is not complete" "read .keyfold/logs/pip.log, then make venv"
}

# Galaxy is not needed: PyPI's "ansible" holds the collections.
unpack_collections() {
  local wheel_dir
  wheel_dir=$(mktemp -d)
  say "fetching Ansible collections"
  if logged collections "$venv/bin/pip" download --disable-pip-version-check --progress-bar off --no-deps \
    --dest "$wheel_dir" "$collections_from"; then
    rm -rf "$collections_dir"
    "$venv/bin/python" - "$wheel_dir"/ansible-*.whl "$collections_dir" "${collections[@]}" <<'PYTHON'
import sys
import zipfile

wheel, target, *wanted = sys.argv[1:]
prefixes = tuple(f"ansible_collections/{name}/" for name in wanted)
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target, [name for name in archive.namelist() if name.startswith(prefixes)])
PYTHON
    rm -rf "$wheel_dir"
  else
    rm -rf "$wheel_dir"
    die "pip could not download $collections_from" "the collections were not unpacked" "make venv"
  fi
}

# A stable name for mitogen's strategies, whatever the Python version: ANSIBLE_STRATEGY=mitogen_linear finds it.
link_mitogen() {
  local plugins
  plugins=$("$venv/bin/python" -c 'import ansible_mitogen as m; print(m.__path__[0] + "/plugins/strategy")')
  ln -sfn "$plugins" "$state_dir/strategy"
}

ensure() {
  local want
  want=$({
    cat requirements.txt
    printf '%s\n' "$lab_root" "$collections_from" "${collections[@]}"
  } | sha256sum)
  [[ $(cat "$stamp" 2>/dev/null) != "$want" || ! -d $collections_dir || ! -d $state_dir/strategy ]] || return 0
  mkdir -p "$state_dir"
  make_venv requirements.txt
  unpack_collections
  link_mitogen
  printf '%s\n' "$want" >"$stamp"
}

freeze() {
  make_venv requirements.in
  {
    echo "# Written by lab/venv.sh --freeze from requirements.in."
    "$venv/bin/pip" freeze --disable-pip-version-check --exclude pip --exclude setuptools
  } >requirements.txt
}

if [[ ${1:-} == --freeze ]]; then freeze; else locked "venv-$(cksum <<<"$lab_root" | cut -d' ' -f1)" ensure; fi
