#!/usr/bin/env bash
# Builds keyfold-node in a container into .keyfold/dist/, unless the newest package there has the same inputs.
# .keyfold/dist/keyfold-node.deb always leads to it.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

dist=$state_dir/dist
stamp=$dist/inputs

# Everything the package is made of, tracked or not yet.
sources() {
  find node/debian node/keyfold node/pkcs11 node/systemd node/pyproject.toml -type f \
    ! -path '*/__pycache__/*' ! -name '*.o' ! -name '*.so' ! -path '*.egg-info/*' ! -path 'node/pkcs11/build/*'
}

# Runs in the container: a source tree on standard input, the package on standard output.
# shellcheck disable=SC2016 # expanded in the container
build_in_container='
  set -e
  mkdir /tmp/build && cd /tmp/build && tar x && cd node
  sed -i "1s/([^)]*)/($1)/" debian/changelog
  # The image has what is needed, without the C++ compiler that build-essential insists on.
  dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >&2
  cat ../keyfold-node_*.deb
'

build() {
  local want version=0 deb log=$log_dir/deb.log begun=$SECONDS
  want=$({
    sources | digest
    image_label "$build_image" keyfold.inputs
  } | sha256sum | cut -c1-8)
  [[ $(cat "$stamp" 2>/dev/null) != "$want" || ! -s $dist/keyfold-node.deb ]] || return 0
  mkdir -p "$dist" "$log_dir"
  # The time makes a rebuilt package newer, so that apt upgrades to it.
  version=$(sed -n '1s/.*(\(.*\)).*/\1/p' node/debian/changelog)+$(date -u +%Y%m%d%H%M%S).$want
  deb=keyfold-node_${version}_$(dpkg --print-architecture).deb
  say "building $deb"
  if sources | tar --create --files-from=- |
    docker run --rm --interactive "$build_image" sh -c "$build_in_container" build "$version" >"$dist/$deb.part" 2>"$log"; then
    rm -f "$dist"/*.deb
    mv "$dist/$deb.part" "$dist/$deb"
    ln -sfn "$deb" "$dist/keyfold-node.deb"
    printf '%s\n' "$want" >"$stamp"
    say "package built in $((SECONDS - begun)) s"
  else
    rm -f "$dist/$deb.part"
    tail -n 40 "$log" >&2
    die "keyfold-node could not be built" "no package was made; the old one is still in .keyfold/dist" "read .keyfold/logs/deb.log"
  fi
}

locked "deb-$(cksum <<<"$lab_root" | cut -d' ' -f1)" build
