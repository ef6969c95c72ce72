"""Time the check of one archive in the store, sha256sum of the same bytes, and curl of them: verify.py MEGABYTES.

Prints {"verify", "sha256sum", "curl"}: seconds. As root on a node of the backup site. The archive stays in a scratch
collection, as the writer may not delete.
"""

import hashlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keyfold import config
from keyfold.backup.manifest import ArchiveEntry
from keyfold.backup.verify import archive_of
from keyfold.remote.webdav import WebDavRemote

_MEGABYTE = 1 << 20


def main() -> None:
    store = config.load().store
    if store is None:
        sys.exit("this node has no access to the store: nothing was measured; run it in the backup site")
    size = int(sys.argv[1]) * _MEGABYTE
    place = f"keyfold-bench-{secrets.token_hex(8)}"
    with (
        tempfile.NamedTemporaryFile(dir="/var/lib/keyfold") as file,
        WebDavRemote(store.url, store.ca, store.writer_cert, store.writer_key) as remote,
    ):
        digest = hashlib.sha256()
        for _ in range(size // _MEGABYTE):
            block = secrets.token_bytes(_MEGABYTE)
            digest.update(block)
            file.write(block)
        file.flush()
        remote.make_collection(place)
        with Path(file.name).open("rb") as body:
            remote.put_new(f"{place}/a.age", body, size)
        entry = ArchiveEntry("bench", "-", "a.age", 0, size, digest.hexdigest())
        begun = time.monotonic()
        problem = archive_of(remote, place, entry)
        verified = time.monotonic()
        subprocess.run(["sha256sum", file.name], check=True, stdout=subprocess.DEVNULL)
        summed = time.monotonic()
        identity = ("--cacert", store.ca, "--cert", store.writer_cert, "--key", store.writer_key)
        subprocess.run(
            ["curl", "--silent", "--fail", *identity, "--output", "/dev/null", f"{store.url}{place}/a.age"], check=True
        )
        fetched = time.monotonic()
    if problem:
        sys.exit(f"the archive did not verify: {problem}")
    print(json.dumps({"verify": verified - begun, "sha256sum": summed - verified, "curl": fetched - summed}))


main()
