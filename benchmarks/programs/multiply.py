"""Bring a partition to many objects quickly: multiply.py PARTITION COUNT < APPROVAL, as root.

Copies of the objects it has, under new file names, are given to the agent as an approved restore gives them: they go
through etcd to every node. SoftHSM, asked for each, would need minutes.
"""

import json
import sys
import uuid
from itertools import cycle, islice
from typing import Any

from keyfold import config
from keyfold.agent.client import AgentClient

_CALL_OBJECTS = 960


def main() -> None:
    partition, count = sys.argv[1], int(sys.argv[2])
    approval = json.load(sys.stdin)
    agent = AgentClient(config.load().agent_socket)
    snapshot = agent.stream("snapshot", partitions=[partition])
    there = [row for row in snapshot if "file" in row and row["file"] != "token.object"]
    copies: list[dict[str, Any]] = [
        {"file": f"{uuid.uuid4()}.object", "meta": row["meta"], "data": row["data"]}
        for row in islice(cycle(there), count - len(there))
    ]
    agent.call("restore_begin", approval=approval, begun={})
    for start in range(0, len(copies), _CALL_OBJECTS):
        part = copies[start : start + _CALL_OBJECTS]
        agent.call("restore_apply", approval=approval, partition=partition, objects=part)
    agent.call("restore_finish", approval=approval, result={})


main()
