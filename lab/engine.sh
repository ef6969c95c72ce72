#!/usr/bin/env bash
# A Docker engine that answers: the one that is there, or Debian's, started by hand where systemd does not run.
# "lab/engine.sh stop" ends one that was started by hand here.
set -euo pipefail
# shellcheck source=lab/lib.sh
. "$(dirname "$0")/lib.sh"

daemon_log=/var/log/keyfold-dockerd.log
daemon_pid=/run/keyfold-dockerd.pid

answers() { docker info --format '{{.ServerVersion}}' 2>/dev/null | grep -q .; }

start() {
  # Somebody may have started it while we waited for the lock.
  if answers; then return 0; fi
  if [[ -d /run/systemd/system ]]; then
    systemctl start docker
  else
    # An engine that was killed leaves pid files that a new one would believe.
    rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
    setsid dockerd >"$daemon_log" 2>&1 </dev/null &
    echo $! >"$daemon_pid"
  fi
  await 60 answers && return 0
  [[ ! -e $daemon_log ]] || tail -n 20 "$daemon_log" >&2
  die "the Docker engine was started and does not answer" "no container was made" \
    "read $daemon_log (or journalctl -u docker), or start an engine yourself, then run make again"
}

stop() {
  local pid
  pid=$(cat "$daemon_pid" 2>/dev/null) || return 0
  rm -f "$daemon_pid"
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 0
  kill "$pid"
  await 30 test ! -e "/proc/$pid"
}

# Every systemd takes a dozen of the 128 inotify instances that the kernel gives root by default; so does an agent one.
raise_inotify_limit() {
  local limit=/proc/sys/fs/inotify/max_user_instances
  (($(cat "$limit") >= 1024)) || { echo 1024 >"$limit"; } 2>/dev/null ||
    say "note: $limit is $(cat "$limit"); with many containers 'sysctl fs.inotify.max_user_instances=1024' may be needed"
}

if [[ ${1:-} == stop ]]; then
  stop
  exit
fi
raise_inotify_limit
if answers; then exit 0; fi
as_root || die "no Docker engine answers ('docker info' fails)" "no container was made" \
  "start Docker, or join the group docker, or run make as root"
command -v dockerd >/dev/null || {
  say "installing Debian's docker.io"
  apt_install docker.io iptables
}
# Debian 13 ships the client as a package of its own.
command -v docker >/dev/null || apt_install docker-cli
locked engine start
