#!/usr/bin/env bash
# The images: base (bare Debian 13 with systemd) -> node (packages baked in) -> build (compiler and test tools)
# and clients (subscribers' tools).
# Each carries a hash of what defines it; an image whose hash still fits is reused.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

root_image=keyfold-root:13
context=lab/image

# Debian 13 sources on the mirrors this machine's own apt uses.
apt_sources() {
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    while read -r origin component release uri; do
    [[ $origin == Debian && $component == main ]] || continue
    case $release in
      *-backports* | *-proposed* | *-debug) ;;
      *) printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$uri" "${release/#${release%%-*}/trixie}" ;;
    esac
  done | sort -u
}

bootstrap() {
  local sources tarball=$state_dir/root.tar
  apt_install mmdebstrap debian-archive-keyring
  sources=$(apt_sources)
  if [[ -z $sources ]]; then
    as_root && logged apt-update apt-get update
    sources=$(apt_sources)
  fi
  [[ -n $sources ]] || die "apt on this machine knows no Debian mirror" "the base image was not made" \
    "run apt-get update, or docker pull debian:13, then make again"
  say "no registry answers: making the root file system with mmdebstrap"
  mkdir -p "$state_dir"
  printf "%s\n" "$sources" >"$state_dir/sources.list"
  logged mmdebstrap mmdebstrap --variant=minbase --include="$(paste -sd, "$context/base.packages")" \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' trixie "$tarball" "$state_dir/sources.list" ||
    die "mmdebstrap failed" "the base image was not made" "read .keyfold/logs/mmdebstrap.log"
  docker import "$tarball" "$root_image" >/dev/null
  rm -f "$tarball" "$state_dir/sources.list"
}

# Prints the image to begin from.
root_of_base() {
  if timeout 60 docker pull --quiet debian:13 >/dev/null 2>&1; then
    echo debian:13
  else
    bootstrap >&2
    echo "$root_image"
  fi
}

# image NAME PARENT: builds context/Dockerfile.NAME unless the image there has the wanted hash.
image() {
  local name=$1 parent=$2 tag=keyfold-$1:13 want from begun=$SECONDS
  want=$({ image_label "$parent" keyfold.inputs; files_of "$name" | digest; } | sha256sum | cut -c1-16)
  [[ $(image_label "$tag" keyfold.inputs) != "$want" ]] || return 0
  say "making image $tag"
  from=$parent
  [[ -n $from ]] || from=$(root_of_base)
  logged "image-$name" env DOCKER_BUILDKIT=0 docker build --file "$context/Dockerfile.$name" --build-arg FROM="$from" \
    --label keyfold.inputs="$want" --tag "$tag" "$context" ||
    die "image $tag could not be built" "no container was made from it" "read .keyfold/logs/image-$name.log"
  # The one it replaces has lost its name.
  docker image prune --force --filter label=keyfold.inputs >/dev/null
  say "image $tag made in $((SECONDS - begun)) s"
}

files_of() { printf '%s\n' "$context/Dockerfile.$1" "$context/$1.packages"; }

images() {
  image base ''
  image node "$base_image"
  image build "$node_image"
  image clients "$node_image"
}

lab/engine.sh
locked images images
