"""What backups are compared with: `tar | age | curl`, and restic through rclone, on the backup site's node.

Both go to the same Apache, over TLS with the node's certificate, into a directory where nothing is write-once: restic
deletes its own locks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.keyfold_bench.machines import PLACE, on

NODE = "hsm3"
_STORE = "store1"
_DIRECTORY = "/srv/peers"
_URL = f"https://{_STORE}/peers"
_HOME = "/var/lib/keyfold-bench-peers"
_RESTORED = f"{_HOME}/restored"
_PKI = "/etc/keyfold/pki"
_TOKENS = "/var/lib/keyfold/partitions/{}/tokens"
# SoftHSM's lock files are empty; Keyfold does not store them either.
_EXCLUDED = "--exclude=*.lock"
_INSTALL = """
command -v restic rclone curl >/dev/null && exit
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends restic rclone curl
"""
_SERVE = f"""
grep -q {_DIRECTORY} /etc/apache2/apache2.conf || cat >>/etc/apache2/apache2.conf
install -d -o www-data -g www-data {_DIRECTORY}
systemctl reload apache2
"""
_LOCATION = f"""
Alias /peers {_DIRECTORY}
<Location /peers>
  Dav filesystem
  Require ssl-verify-client
</Location>
"""
_KEYS = f"""
mkdir -p {_HOME}
test -e {_HOME}/age.key || age-keygen --output {_HOME}/age.key
test -e {_HOME}/restic.password || head -c 32 /dev/urandom | base64 >{_HOME}/restic.password
"""
# One archive per partition, as a backup set has it.
_PIPE = f"""
set -o pipefail
recipient=$(age-keygen -y {_HOME}/age.key)
for partition in "$@"; do
  tar --create {_EXCLUDED} --directory=/var/lib/keyfold/partitions/$partition tokens |
    age --encrypt --recipient $recipient |
    curl --silent --show-error --fail --cacert $RCLONE_CA_CERT --cert $RCLONE_CLIENT_CERT --key $RCLONE_CLIENT_KEY \\
      --upload-file - {_URL}/$partition.age
done
"""
_ENVIRONMENT = (
    "env",
    f"RESTIC_PASSWORD_FILE={_HOME}/restic.password",
    f"RESTIC_CACHE_DIR={_HOME}/cache",
    "RESTIC_REPOSITORY=rclone:peer:restic",
    "RCLONE_CONFIG_PEER_TYPE=webdav",
    f"RCLONE_CONFIG_PEER_URL={_URL}/",
    "RCLONE_CONFIG_PEER_VENDOR=other",
    f"RCLONE_CA_CERT={_PKI}/ca.crt",
    f"RCLONE_CLIENT_CERT={_PKI}/store-writer.crt",
    f"RCLONE_CLIENT_KEY={_PKI}/store-writer.key",
    f"HOME={_HOME}",
)


def prepare() -> None:
    """Debian's restic, rclone and curl on the node, a place in the store, keys."""
    on(NODE, "sh", "-ec", _INSTALL)
    on(NODE, "sh", "-ec", _KEYS)
    on(_STORE, "sh", "-ec", _SERVE, given=_LOCATION)


def pipe(partitions: Sequence[str]) -> float:
    """Seconds of `tar | age | curl` of the partitions' object files, one after the other."""
    _empty()
    return seconds(*_ENVIRONMENT, "bash", "-ec", _PIPE, "pipe", *partitions)


def restic_backup(partitions: Sequence[str]) -> float:
    """Seconds of the first `restic backup` of the partitions' object files into a new repository."""
    _empty()
    on(NODE, *_ENVIRONMENT, "restic", "--quiet", "init")
    sources = [_TOKENS.format(partition) for partition in partitions]
    return seconds(*_ENVIRONMENT, "restic", "--quiet", "backup", _EXCLUDED, *sources)


def restic_restore() -> float:
    """Seconds in which restic writes that back."""
    on(NODE, "rm", "-rf", _RESTORED)
    return seconds(*_ENVIRONMENT, "restic", "--quiet", "restore", "latest", "--target", _RESTORED)


def _empty() -> None:
    on(_STORE, "sh", "-c", f"rm -rf {_DIRECTORY}/*")


def seconds(*command: str) -> float:
    return timed(*command)[0]


def timed(*command: str, given: str | None = None) -> tuple[float, float, str]:
    """(seconds, most resident MB of it and its children, output) of a command on the node."""
    timer = ("python3", "-m", "benchmarks.programs.timed")
    said = json.loads(on(NODE, "env", f"--chdir={PLACE}", *timer, *command, given=given))
    return float(said["seconds"]), float(said["rss_mb"]), str(said["output"])
