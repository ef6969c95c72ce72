#!/usr/bin/env bash
# plug.sh NAME…: a loop device of 64 MiB for each, as /dev/disk/by-id/usb-Keyfold_Lab_NAME-0:0. A container has no udev.
set -euo pipefail

[[ -e /dev/loop-control ]] || mknod /dev/loop-control c 10 237
mkdir -p /dev/disk/by-id
for name in "$@"; do
  image=/var/lib/stick-$name.img
  truncate --size=64M "$image"
  # Others on this machine take loop devices too: one that is free may be taken a moment later.
  for _ in {1..20}; do
    # Without its node in /dev it is "lost", and said so.
    device=$(losetup --find | cut -d" " -f1)
    [[ -e $device ]] || mknod "$device" b 7 "${device#/dev/loop}"
    if losetup "$device" "$image"; then break; fi
    device=
  done
  : "${device:?no loop device is free}"
  # Held open and told to go: it is detached with the container's last process, however the container ends.
  systemd-run --quiet --unit="stick-$name" --service-type=exec --property=StandardInput="file:$device" sleep infinity
  losetup --detach "$device"
  ln -s "$device" "/dev/disk/by-id/usb-Keyfold_Lab_$name-0:0"
done
