#!/usr/bin/env bash
# Builds the packages in a container into .keyfold/dist/, unless the newest ones there have the same inputs.
# .keyfold/dist/keyfold-node.deb and keyfold-subscriber.deb always lead to them.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

dist=$state_dir/dist
stamp=$dist/inputs

# Everything the package is made of, tracked or not yet.
sources() {
  find node/debian node/flags.mk node/keyfold node/pkcs11 node/reconnect node/systemd node/pyproject.toml -type f \
    ! -path '*/__pycache__/*' ! -name '*.o' ! -name '*.so' ! -path '*.egg-info/*' ! -path 'node/*/build/*'
}

# Runs in the container: a source tree on standard input, the packages on standard output.
# shellcheck disable=SC2016 # expanded in the container
build_in_container='
  set -e
  mkdir /tmp/build && cd /tmp/build && tar x && cd node
  sed -i "1s/([^)]*)/($1)/" debian/changelog
  # The image has what is needed, without the C++ compiler that build-essential insists on.
  dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >&2
  cd ..
  tar --create keyfold-node_*.deb keyfold-subscriber_*.deb
'

build() {
  local want version=0 package log=$log_dir/deb.log begun=$SECONDS
  want=$({
    sources | digest
    image_label "$build_image" keyfold.inputs
  } | sha256sum | cut -c1-8)
  [[ $(cat "$stamp" 2>/dev/null) != "$want" || ! -s $dist/keyfold-node.deb || ! -s $dist/keyfold-subscriber.deb ]] || return 0
  mkdir -p "$dist" "$log_dir"
  # The time makes a rebuilt package newer, so that apt upgrades to it.
  version=$(sed -n '1s/.*(\(.*\)).*/\1/p' node/debian/changelog)+$(date -u +%Y%m%d%H%M%S).$want
  say "building keyfold-node and keyfold-subscriber $version"
  if sources | tar --create --files-from=- |
    docker run --rm --interactive "$build_image" sh -c "$build_in_container" build "$version" >"$dist/packages.tar" 2>"$log"; then
    rm -f "$dist"/*.deb
    tar --extract --no-same-owner --directory="$dist" --file="$dist/packages.tar"
    rm "$dist/packages.tar"
    for package in keyfold-node keyfold-subscriber; do
      ln -sfn "$(cd "$dist" && echo "$package"_*.deb)" "$dist/$package.deb"
    done
    printf '%s\n' "$want" >"$stamp"
    say "packages built in $((SECONDS - begun)) s"
  else
    rm -f "$dist/packages.tar"
    tail -n 40 "$log" >&2
    die "the packages could not be built" "no package was made; the old ones are still in .keyfold/dist" "read .keyfold/logs/deb.log"
  fi
}

locked "deb-$(cksum <<<"$lab_root" | cut -d' ' -f1)" build
