"""Keys and register of offline media in etcd: made together, destroyed for good (docs/media.md).

A key's end has three steps, each of which may be repeated: `destroy` deletes it from etcd, and nodes follow; `forget`,
once they have, makes them scrub what is left of its files, and compacts etcd's history; `certify` closes the register.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from keyfold.agent.admin import administrator_only
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.backup.cluster import identity_of
from keyfold.backup.recipient import decode_recipient, encode_recipient
from keyfold.clock import stamp
from keyfold.config import credential
from keyfold.custody.media_keys import MediaKeys
from keyfold.custody.record import fingerprint
from keyfold.errors import KeyfoldError
from keyfold.invalidation.history import sweep
from keyfold.json_bytes import compact
from keyfold.media import certificate
from keyfold.media.register import (
    ACTIVE,
    DESTROYED,
    DUE,
    REASONS,
    RECORD_KIND,
    WRITING,
    Destroyed,
    Medium,
    check_id,
    check_new,
    due_of,
    of_row,
    of_rows,
    unknown,
)
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.sealed import ClearSealer
from keyfold.replication.token_files import live_puts, stored
from keyfold.store.interface import Delete, KeyValue, Op, Put, Unchanged

log = logging.getLogger(__name__)

Request = Mapping[str, Any]


class Media:
    def __init__(self, service: Service, media_keys: MediaKeys) -> None:
        self._service = service
        self._store = service.store
        self._keys = media_keys

    def table(self) -> dict[str, Operation]:
        operations: dict[str, Operation] = {
            "medium_begin": self.begin,
            "medium_written": self.written,
            "medium_destroy": self.destroy,
            "medium_forget": self.forget,
            "medium_certify": self.certify,
        }
        return {name: administrator_only(operation) for name, operation in operations.items()}

    # --- made -------------------------------------------------------------------------------------------------

    def begin(self, caller: Caller, request: Request) -> Reply:
        """`medium`: its row, state `writing`; its key is in the system partition. `conflict`: name or device taken."""
        medium, name, device = check_id(request["id"]), str(request["name"]), str(request["device"])
        check_new(name, device, self._register())
        self._service.registry.sealer(SYSTEM)
        cluster = self._value(keys.CLUSTER)
        seal_to = decode_recipient(cluster["backup_recipient"])
        made = self._keys.make(self._token_files(), credential("system.pin"), medium, seal_to)
        now = self._service.clock.utc()
        row = Medium(
            id=medium,
            name=name,
            device=device,
            partitions=tuple(str(one) for one in request["partitions"]),
            ticket=str(request["ticket"]),
            reason=str(request["reason"]),
            by=str(request["by"]),
            node=self._service.config.node,
            created=stamp(now),
            due=stamp(due_of(now)),
            recipient=encode_recipient(made.point),
            key_fingerprint=fingerprint(made.point),
            files=tuple(sorted(made.files)),
        )
        ops = [*self._live(made.files), Put(keys.medium_key(medium), compact(made.sealed))]
        self._commit(row, 0, ops, "medium key made", caller, ticket=row.ticket, device=device, by=row.by)
        return {"medium": row.as_row()}

    def written(self, caller: Caller, request: Request) -> Reply:
        """`medium`, state `active`: the set on it was read back and is good."""
        item, row = self._row(request["id"])
        if row.state != WRITING:
            raise _wrong(row, f"it is {row.state}, nobody is writing it", "nothing was changed")
        active = replace(
            row, state=ACTIVE, set_id=str(request["set_id"]), manifest_sha256=str(request["manifest_sha256"])
        )
        detail = {"set": active.set_id, "partitions": list(active.partitions), "ticket": active.ticket}
        self._commit(active, item.mod_revision, [], "medium written", caller, **detail)
        return {"medium": active.as_row()}

    # --- destroyed --------------------------------------------------------------------------------------------

    def destroy(self, caller: Caller, request: Request) -> Reply:
        """`medium`, and `revision` from which on its key is in etcd no more; unchanged if it was destroyed before.

        KeyfoldError `refused` where it is to be because it is due, and is not, or the clocks cannot be believed.
        """
        item, row = self._row(request["id"])
        if not row.lives:
            return {"medium": row.as_row(), "revision": item.mod_revision}
        because, now = str(request["because"]), self._service.clock.utc()
        if because not in REASONS:
            raise ValueError(because)
        if because == DUE:
            self._require_due(row, now)
        asked = {name: str(request.get(name, "")) for name in ("by", "ticket", "reason")}
        gone = replace(row, state=DESTROYED, destroyed=Destroyed(stamp(now), because, **asked))
        ops: list[Op] = [Delete(keys.live(SYSTEM, file)) for file in row.files]
        ops += [Delete(keys.medium_key(row.id)), Put(keys.HISTORY_DUE, SYSTEM.encode())]
        detail = {name: value or None for name, value in asked.items()}
        revision = self._commit(gone, item.mod_revision, ops, "medium key destroyed", caller, because=because, **detail)
        return {"medium": gone.as_row(), "revision": revision}

    def forget(self, caller: Caller, request: Request) -> Reply:
        """`medium`, `revision` that nodes have to reach, `history`: what is still to be done there, by member."""
        item, row = self._row(request["id"])
        if row.lives:
            raise _wrong(row, "its key lives", "nothing was forgotten")
        revision = item.mod_revision
        if not row.forgotten:
            row = replace(row, forgotten=True)
            purged = [Put(keys.purged(SYSTEM, file), b"medium") for file in row.files]
            revision = self._commit(row, item.mod_revision, purged, "medium key forgotten", caller)
        swept = sweep(self._store)
        return {
            "medium": row.as_row(),
            "revision": revision,
            "history": {} if swept is None else swept.problems,
        }

    def certify(self, caller: Caller, request: Request) -> Reply:
        """`medium` with its certificate. KeyfoldError `refused` unless the cluster signed it, for this medium."""
        item, row = self._row(request["id"])
        if row.lives or not row.forgotten:
            raise _wrong(row, "its key is not gone everywhere yet", "it was not certified")
        cluster = identity_of(self._value(keys.CLUSTER)).signer
        made = certificate.verify(str(request["certificate"]).encode(), cluster)
        if made.medium != row.id:
            raise _wrong(row, f"this is the certificate of medium {made.medium}", "it was not certified")
        done = replace(row, certificate=str(request["certificate"]))
        self._commit(done, item.mod_revision, [], "medium certified destroyed", caller)
        return {"medium": done.as_row()}

    def _require_due(self, row: Medium, now: datetime) -> None:
        if datetime.fromisoformat(row.due) > now:
            raise _wrong(row, f"it is not due before {row.due}", "its key was not destroyed")
        self._service.expirer.require_clock()

    # --- after a rebuild --------------------------------------------------------------------------------------

    def bring_back(self) -> None:
        """Put the keys of media that live into the system token that a rebuild has made, out of their sealed copies."""
        pin = credential("system.pin")
        for row in self._register():
            copy = self._store.get(keys.medium_key(row.id))
            there = self._token_files()
            if not row.lives or copy is None or set(row.files) <= set(there):
                continue
            files = self._keys.bring_back(there, pin, row.id, json.loads(copy.value))
            if files is None:
                log.error("medium %s: the copy of its key cannot be opened; nothing opens the medium any more", row.id)
                continue
            item, _ = self._row(row.id)
            back = replace(row, files=tuple(sorted(files)))
            note_of = Caller(0, None)
            self._commit(back, item.mod_revision, self._live(files), "medium key rebuilt", note_of)

    # --- etcd -------------------------------------------------------------------------------------------------

    def _register(self) -> list[Medium]:
        prefix = keys.records(RECORD_KIND)
        return of_rows({item.key.removeprefix(prefix): json.loads(item.value) for item in self._store.scan(prefix)})

    def _row(self, medium: str) -> tuple[KeyValue, Medium]:
        item = self._store.get(keys.records(RECORD_KIND, check_id(medium)))
        if item is None:
            raise unknown(medium, self._register())
        return item, of_row(json.loads(item.value))

    def _value(self, key: str) -> dict[str, Any]:
        item = self._store.get(key)
        found: dict[str, Any] = {} if item is None else json.loads(item.value)
        return found

    def _token_files(self) -> dict[str, bytes]:
        found = stored(self._store, SYSTEM, ClearSealer())
        return {file: content.data for file, (_, content) in found.items()}

    def _live(self, files: Mapping[str, bytes]) -> list[Put]:
        return live_puts(SYSTEM, files, ClearSealer(), stamp(self._service.clock.utc()))

    def _commit(self, row: Medium, expected: int, ops: Sequence[Op], what: str, caller: Caller, **detail: Any) -> int:
        """The revision that has it all: the register, what goes with it, and the audit note."""
        record = keys.records(RECORD_KIND, row.id)
        entry = note(
            self._service.clock,
            self._service.config.node,
            what=what,
            who=str(caller),
            medium=row.id,
            name=row.name,
            **detail,
        )
        puts = [Put(keys.HEAD, b""), Put(record, compact(row.as_row())), entry]
        result = self._store.txn([Unchanged(record, expected)], [*puts, *ops])
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"the register's row of medium {row.id} was changed by somebody else at the same moment",
                not_done=f"not done: {what}",
                next_step="keyfold media list; then run the command again",
            )
        return result.revision


def _wrong(row: Medium, what: str, not_done: str) -> KeyfoldError:
    return KeyfoldError(
        "refused", f"medium {row.id} ({row.name}): {what}", not_done=not_done, next_step="keyfold media list"
    )
