"""Bring a partition to many objects quickly: multiply.py PARTITION COUNT < APPROVAL, as root.

Copies of the objects it has, under new file names, are given to the agent as an approved restore gives them: they go
through etcd to every node. SoftHSM, asked for each, would need minutes. In a partition with data objects only these are
copied, each with random content of its own: 1 to 4 KB, as no two keys are alike, and nothing that can be compressed.
"""

import base64
import json
import secrets
import struct
import sys
import uuid
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

from keyfold import config
from keyfold.agent.client import AgentClient
from keyfold.token.object_file import parse

_CALL_OBJECTS = 960
_PATTERNS = 100
_DATA = 0  # CKO_DATA
_VALUE = 0x11  # CKA_VALUE
_BYTES = 3  # an attribute's kind: a byte string
_SIZES = range(1024, 4097)


def _copy(row: Mapping[str, Any]) -> dict[str, Any]:
    data = row["data"]
    if row["meta"]["class"] == _DATA:
        data = base64.b64encode(_with_content(base64.b64decode(data), secrets.choice(_SIZES))).decode()
    return {"file": f"{uuid.uuid4()}.object", "meta": row["meta"], "data": data}


def _with_content(file: bytes, size: int) -> bytes:
    """The data object with random content, `size` bytes in all."""
    value = parse(file).attributes[_VALUE]
    if not isinstance(value, bytes):
        sys.exit("a data object without a value")
    before, after = file.split(struct.pack(">QQQ", _VALUE, _BYTES, len(value)) + value)
    fresh = secrets.token_bytes(max(size - len(file) + len(value), 1))
    return before + struct.pack(">QQQ", _VALUE, _BYTES, len(fresh)) + fresh + after


def main() -> None:
    partition, count = sys.argv[1], int(sys.argv[2])
    approval = json.load(sys.stdin)
    agent = AgentClient(config.load().agent_socket)
    snapshot = agent.stream("snapshot", partitions=[partition])
    revision = next(snapshot)["revision"]
    listed = [row for part in snapshot if "partition" in part for row in part["objects"]]
    there = [file for file, _, digest in listed if digest]
    some = [agent.call("object_at", partition=partition, file=file, revision=revision) for file in there[:_PATTERNS]]
    patterns = [row for row in some if row["meta"]["class"] == _DATA] or some
    copies = [_copy(row) for row in islice(cycle(patterns), count - len(there))]
    agent.call("restore_begin", approval=approval, begun={})
    for start in range(0, len(copies), _CALL_OBJECTS):
        part = copies[start : start + _CALL_OBJECTS]
        agent.call("restore_apply", approval=approval, partition=partition, objects=part)
    agent.call("restore_finish", approval=approval, result={})


main()
