"""The state of each endpoint, for `keyfold status`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keyfold.store.etcd.codec import header_revision, number
from keyfold.store.etcd.faults import fault
from keyfold.store.etcd.transport import Endpoint, NotDone, PerhapsDone
from keyfold.store.interface import MemberStatus

_SECONDS = 2.0


def members(endpoints: Sequence[Endpoint]) -> tuple[MemberStatus, ...]:
    """Ask all endpoints at once; takes 2 seconds at most."""
    with ThreadPoolExecutor(max_workers=len(endpoints)) as pool:
        return tuple(pool.map(_member, endpoints))


def _member(endpoint: Endpoint) -> MemberStatus:
    deadline = time.monotonic() + _SECONDS
    try:
        status = _ask(endpoint, "/v3/maintenance/status", deadline)
        listed = _ask(endpoint, "/v3/cluster/member/list", deadline)
    except (NotDone, PerhapsDone) as error:
        return MemberStatus(endpoint.url, endpoint.url, False, False, 0, 0, str(error))
    own = status["header"]["member_id"]
    names = {member["ID"]: member.get("name", "") for member in listed.get("members", ())}
    complaints: list[str] = status.get("errors", [])
    return MemberStatus(
        name=names.get(own) or endpoint.url,
        endpoint=endpoint.url,
        healthy=not complaints,
        leader=status.get("leader") == own,
        db_size_bytes=number(status, "dbSize"),
        revision=header_revision(status),
        error="; ".join(complaints),
    )


def _ask(endpoint: Endpoint, path: str, deadline: float) -> dict[str, Any]:
    answer = endpoint.post(path, b"{}", deadline=deadline, require_leader=False)
    if answer.status != 200:
        raise PerhapsDone(fault(endpoint.url, answer.status, answer.body).reason)
    result: dict[str, Any] = json.loads(answer.body)
    return result
