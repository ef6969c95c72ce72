"""The first PINs of a partition: drawn here, used once, and known afterwards only to those they are sealed to.

The user PIN is sealed to the subscriber, the SO PIN to each of the officers there are at that moment: any one can open
it. What is sealed goes into etcd in the transaction that makes the partition, so an answer that is lost loses no PIN.
"""

from __future__ import annotations

import json
import os
import secrets
import string
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from keyfold.approval import officers
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.partition.recipient import sealable
from keyfold.replication import keys
from keyfold.store.interface import Put, Store

RECORD_KIND = "handover"
# 24 of 62 characters: 142 bits.
PIN_LENGTH = 24
_ALPHABET = string.ascii_letters + string.digits
_AGE_SECONDS = 20.0

Seal = Callable[[str, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Pins:
    user: str = field(repr=False)
    so: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new partition's PINs, and the record of them sealed: it belongs into the partition's own transaction."""

    pins: Pins
    record: Put


def draw_pins() -> Pins:
    return Pins(*("".join(secrets.choice(_ALPHABET) for _ in range(PIN_LENGTH)) for _ in range(2)))


def seal_with_age(secret: str, recipients: Sequence[str]) -> str:
    """The armored age file; the secret goes in over a pipe. KeyfoldError `invalid` if age refuses a recipient."""
    options = [word for recipient in recipients for word in ("-r", recipient)]
    try:
        done = subprocess.run(
            ["age", "--armor", *options],
            input=secret + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=_AGE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unsealed("internal", f"age does not run: {type(error).__name__}", "apt-get install age") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[0]
        raise _unsealed(
            "invalid", f"age cannot seal to the recipient: {reason}", "correct subscriber_key in the inventory"
        )
    return done.stdout


class Handover:
    """`draw` and `seal` are replaced in tests."""

    def __init__(self, store: Store, *, draw: Callable[[], Pins] = draw_pins, seal: Seal = seal_with_age) -> None:
        self._store = store
        self._draw = draw
        self._seal = seal

    def prepare(self, subscribers: Mapping[str, str]) -> dict[str, Prepared]:
        """For new partitions, by name → subscriber's key; errors of `seal`. Many at once: age takes 10 ms each."""
        item = self._store.get(keys.OFFICERS) if subscribers else None
        known = officers.decode(None if item is None else item.value).keys
        to = {officer: key for officer, key in sorted(known.items()) if sealable(key)}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = pool.map(lambda name: self._prepared(name, subscribers[name], to), subscribers)
            return dict(zip(subscribers, made, strict=True))

    def _prepared(self, name: str, subscriber_key: str, to: Mapping[str, str]) -> Prepared:
        pins = self._draw()
        record = {
            "user": self._seal(pins.user, [subscriber_key]),
            "user_sealed_to": subscriber_key,
            # Nobody to seal it to: nobody ever has it.
            "so": self._seal(pins.so, list(to.values())) if to else None,
            "so_sealed_to": list(to),
        }
        value = compact(record)
        return Prepared(pins, Put(keys.records(RECORD_KIND, name), value))

    def sealed(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What was prepared for these partitions; KeyfoldError `not_found` names one that has nothing."""
        return {name: self._one(name) for name in names}

    def _one(self, name: str) -> dict[str, Any]:
        item = self._store.get(keys.records(RECORD_KIND, name))
        if item is None:
            raise KeyfoldError(
                "not_found",
                f"nothing was sealed for a partition {name!r}",
                not_done="no handover was read",
                next_step="keyfold partition list; a partition's PINs are sealed when it is made",
            )
        record: dict[str, Any] = json.loads(item.value)
        return record


def _unsealed(code: str, what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError(code, what, not_done="no partition was created or changed", next_step=next_step)
