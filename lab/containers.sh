#!/usr/bin/env bash
# lab/containers.sh up SET [IMAGE] | down SET | names SET
#
# A set is five machines on a network of its own. SET is "local" (keyfold-hsm1, …) or the name of a
# Molecule scenario (keyfold-SCENARIO-hsm1, …). "up" keeps what runs, starts what is stopped, makes what
# is missing; "down" removes the set's containers and network, by label.
# KEYFOLD_HOSTS="hsm1 hsm2" makes fewer.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

usage="usage: lab/containers.sh up SET [IMAGE] | down SET | names SET"
action=${1:?$usage}
set_name=${2:?$usage}
image=${3:-$node_image}
read -ra hosts <<<"${KEYFOLD_HOSTS:-hsm1 hsm2 hsm3 store1 app1}"

network=keyfold-$set_name
of_set=(--filter "label=keyfold.lab=$set_name")
of_ours=("${of_set[@]}" --filter "label=keyfold.checkout=$lab_root")

container() { if [[ $set_name == local ]]; then echo "keyfold-$1"; else echo "keyfold-$set_name-$1"; fi; }

# The last number of a machine's address, so that it keeps it over stop and start.
address_of() {
  case $1 in
    hsm*) echo $((10 + ${1#hsm})) ;;
    store*) echo $((20 + ${1#store})) ;;
    app*) echo $((30 + ${1#app})) ;;
    *) die "no address is planned for a machine called $1" "the set $set_name was not made" "name it hsmN, storeN or appN" ;;
  esac
}

remove() { # FILTERS…
  docker ps --all --quiet "$@" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
  docker network ls --quiet "$@" | xargs --no-run-if-empty docker network rm >/dev/null
}

# Names are per machine, checkouts may be many.
refuse_other_checkouts() {
  local other
  other=$({
    docker ps --all "${of_set[@]}" --format '{{.Label "keyfold.checkout"}}'
    docker network ls "${of_set[@]}" --format '{{.Label "keyfold.checkout"}}'
  } | grep -Fxv "$lab_root" | head -n 1) || return 0
  # A scenario's containers, and those of a checkout that is gone, are nobody's to keep.
  if [[ $set_name == local && -d $other && ${CI:-} != true ]]; then
    die "the containers of the set 'local' belong to the checkout $other" "no container was made or touched" \
      "make -C $other down"
  fi
  say "removing the set '$set_name' of $other"
  remove "${of_set[@]}" --filter "label=keyfold.checkout=$other"
}

ensure_network() {
  local n first
  [[ -z $(docker network ls --quiet "${of_ours[@]}") ]] || return 0
  # Docker fixes addresses only in subnets that were asked for, so look for one that is free.
  first=$(($(cksum <<<"$set_name" | cut -d' ' -f1) % 200))
  for n in {0..55}; do
    docker network create --label keyfold.lab="$set_name" --label keyfold.checkout="$lab_root" \
      --subnet "10.213.$((first + n)).0/24" "$network" >/dev/null 2>&1 && return 0
  done
  docker network create --subnet "10.213.$first.0/24" "$network" >&2 || true
  die "no network could be made for the set '$set_name'" "no container was made" "read docker's message above"
}

boot() {
  local host=$1 name subnet loops
  name=$(container "$host")
  case $(docker inspect --format '{{.State.Running}}' "$name" 2>/dev/null || true) in
    true) ;;
    false) docker start "$name" >/dev/null ;;
    *)
      subnet=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$network")
      # systemd without --privileged. NET_ADMIN is for the firewall rules that cut a node off.
      # What role client sets on a real machine; in a container /proc/sys cannot be written.
      loops=()
      # Loop devices are this scenario's USB sticks; nobody else gets at the host's.
      [[ $set_name/$host != media/hsm3 ]] || loops=(--device-cgroup-rule "b 7:* rmw" --device-cgroup-rule "c 10:237 rmw")
      docker run --detach --name "$name" --hostname "$host" \
        --network "$network" --network-alias "$host" --ip "${subnet%.0/24}.$(address_of "$host")" \
        --label keyfold.lab="$set_name" --label keyfold.checkout="$lab_root" \
        --cap-add SYS_ADMIN --cap-add NET_ADMIN \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=private \
        --sysctl net.ipv4.tcp_retries2=5 \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec "${loops[@]}" \
        "$image" >/dev/null
      ;;
  esac
  await 60 booted "$name" || {
    docker exec "$name" systemctl --failed --no-pager >&2 || docker logs --tail 20 "$name" >&2 || true
    die "container $name did not finish booting" "the set '$set_name' is not usable" \
      "lab/containers.sh down $set_name, then try again"
  }
}

# "degraded" counts: an HSM that a test left with a failed unit is still a machine that is up.
booted() { [[ $(docker exec "$1" systemctl is-system-running --wait 2>/dev/null) == @(running|degraded) ]]; }

up() {
  local host pids=() pid failed=0
  refuse_other_checkouts
  ensure_network
  for host in "${hosts[@]}"; do
    boot "$host" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}

case $action in
  up) up ;;
  down) remove "${of_ours[@]}" ;;
  names) for host in "${hosts[@]}"; do container "$host"; done ;;
  *) die "$usage" ;;
esac
