#!/usr/bin/env bash
# lab/subscriber_key.sh DIRECTORY: the public key of a throw-away cluster's subscriber; makes the pair at first use.
set -euo pipefail
directory=${1:?usage: lab/subscriber_key.sh DIRECTORY}
(umask 077 && mkdir -p "$directory")
key=$directory/subscriber_key
# Several tasks may look it up at once.
(
  flock 9
  [[ -s $key.pub ]] || { rm -f "$key" && ssh-keygen -q -t ed25519 -N '' -C subscriber -f "$key"; }
) 9>"$key.lock"
cat "$key.pub"
