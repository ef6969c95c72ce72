"""On a node, as root: what this node, its agent and etcd each say a partition holds, as identity digests.

usage: python3 node_files.py PARTITION [--files]

Prints one JSON object, `files` read from the token directory here and now, `agent` as the agent answers
(local_digests), `etcd` out of a snapshot, each {file: digest}; and etcd's `revision`. A part that
cannot be had is null. With --files nothing but `files` is asked for.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from keyfold.agent.client import AgentClient
from keyfold.errors import KeyfoldError
from keyfold.token.object_file import TornFile, identity, parse

CLIENT = AgentClient(Path("/run/keyfold/agent.sock"), timeout_seconds=30)


def files(partition: str) -> dict[str, str]:
    """Torn files are told as such, not left out; one that goes meanwhile is gone."""
    tokens = Path("/var/lib/keyfold/partitions", partition, "tokens")
    found = {}
    for path in tokens.glob("*/*.object"):
        with suppress(FileNotFoundError):
            found[path.name] = _digest(path.read_bytes())
    return found


def _digest(data: bytes) -> str:
    try:
        parse(data)
        return identity(data)
    except TornFile as error:
        return f"torn: {error}"


def agent(partition: str) -> dict[str, str] | None:
    try:
        return dict(CLIENT.call("local_digests", partition=partition)["digests"])
    except KeyfoldError:
        return None


def etcd(partition: str) -> tuple[int, dict[str, str]] | tuple[None, None]:
    """Every object read from etcd, not what the agent knows of it."""
    try:
        replies: list[dict[str, Any]] = list(CLIENT.stream("snapshot", partitions=[partition]))
        revision = replies[0]["revision"]
        files = [described[0] for reply in replies if "partition" in reply for described in reply["objects"]]
        contents = {file: CLIENT.call("object_at", partition=partition, file=file, revision=revision) for file in files}
    except KeyfoldError:
        return None, None
    return revision, {file: identity(base64.b64decode(content["data"])) for file, content in contents.items()}


if __name__ == "__main__":
    name, *only_files = sys.argv[1:]
    found: dict[str, Any] = {"files": files(name)}
    if not only_files:
        found["revision"], found["etcd"] = etcd(name)
        found["agent"] = agent(name)
    print(json.dumps(found))
