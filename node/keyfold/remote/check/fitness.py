"""The grade that a store got is kept, and a run does not store anything where the last one said refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.remote.check.grade import REFUSE, Grade

RECORD_KIND = "store_check"


def record_id(url: str) -> str:
    """One record per store; a URL itself is no name in etcd."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def record(url: str, checked: str, grade: Grade) -> dict[str, Any]:
    """What is kept; `checked` is when, RFC 3339."""
    return {
        "url": url,
        "checked": checked,
        "verdict": grade.verdict,
        "write_once": grade.write_once,
        "refused": reasons(grade),
    }


def reasons(grade: Grade) -> list[str]:
    """Why Keyfold must refuse the store; empty if it need not."""
    return [f"{one.happened}: {one.means}" for one in grade.findings if one.verdict == REFUSE]


def require_fit(records: Mapping[str, Mapping[str, Any]], url: str) -> None:
    """KeyfoldError `unfit` if the last check of this store said refuse. A store that was never checked is used."""
    last = records.get(record_id(url))
    if last is not None and last["verdict"] == REFUSE:
        raise KeyfoldError(
            "unfit",
            f"the store {url} is unfit for backups (checked {last['checked']}): {'; '.join(last['refused'])}",
            not_done="nothing was stored",
            next_step="correct the store or choose another, then run: keyfold store check",
        )
