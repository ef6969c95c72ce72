# shellcheck shell=bash
# Helpers of the lab scripts. Source it; it changes to the root of the checkout.
# shellcheck disable=SC2034 # the names are for those who source it

lab_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$lab_root" || exit 1

# Everything the controller keeps between runs.
state_dir=$lab_root/.keyfold
log_dir=$state_dir/logs

base_image=keyfold-base:13
node_image=keyfold-node:13
build_image=keyfold-build:13

say() { printf '%s\n' "$*" >&2; }

# die WHAT-HAPPENED WHAT-WAS-NOT-DONE WHAT-TO-RUN-NEXT
die() {
  printf 'error: %s\n' "$1" >&2
  [[ -z ${2-} ]] || printf '  not done: %s\n' "$2" >&2
  [[ -z ${3-} ]] || printf '  next:     %s\n' "$3" >&2
  exit 1
}

# await SECONDS COMMAND…: poll until the command succeeds or the time is over.
await() {
  local limit=$1 begun=$SECONDS
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS - begun < limit)) || return 1
    sleep 0.2
  done
}

# logged NAME COMMAND…: the command's output goes to a log; on failure its end is shown.
logged() {
  local log=$log_dir/$1.log rc=0
  shift
  mkdir -p "$log_dir"
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  if ((rc)); then
    say "--- last lines of ${log#"$lab_root"/}"
    tail -n 40 "$log" >&2
    say "---"
  fi
  return "$rc"
}

# locked NAME COMMAND…: one at a time on this machine, also across checkouts.
locked() {
  local lock=${TMPDIR:-/tmp}/keyfold-$1.$UID.lock
  shift
  (
    flock 9
    "$@" 9>&-
  ) 9>"$lock"
}

# digest FILES-ON-STDIN: one short hash of names, modes and contents.
digest() {
  LC_ALL=C sort | tar --create --no-recursion --mtime=@0 --owner=0 --group=0 --numeric-owner --files-from=- |
    sha256sum | cut -c1-16
}

image_label() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

as_root() { [[ $(id -u) == 0 ]]; }

# apt_install PACKAGES…: only those that are missing.
apt_install() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == 'install ok installed' ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  as_root || die "these Debian packages are missing: ${missing[*]}" "nothing was installed" \
    "as root: apt-get install ${missing[*]}"
  locked apt apt_get_install "${missing[@]}" ||
    die "apt-get could not install: $*" "the step that needs them" "read .keyfold/logs/apt.log, then run make again"
}

apt_get_install() {
  export DEBIAN_FRONTEND=noninteractive
  # A machine whose lists are fresh enough needs no update.
  logged apt apt-get install --yes --no-install-recommends "$@" ||
    { logged apt-update apt-get update && logged apt apt-get install --yes --no-install-recommends "$@"; }
}
