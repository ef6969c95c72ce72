"""The officers' set, and a dry look at approvals: operations of the administrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfold.agent.server import Caller, Operation, Reply
from keyfold.agent.service import Service
from keyfold.approval import officers as declared_officers
from keyfold.approval.gate import Gate, decode, shortage, used_for
from keyfold.approval.officers import KIND, Officers, OfficersChange, plan
from keyfold.approval.request import expiry_problems, parse
from keyfold.approval.ssh_keygen import SshKeygen
from keyfold.approval.verify import SignatureVerifier, tally
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import KeyValue, Op, Put, Unchanged


class OfficersOperations:
    def __init__(self, service: Service, verifier: SignatureVerifier | None = None) -> None:
        self._service = service
        self._store = service.store
        self._verifier = verifier or SshKeygen()

    def table(self) -> dict[str, Operation]:
        return {"officers_list": self._list, "officers_apply": self._apply, "approval_examine": self._examine}

    def _list(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        return self._current()[1].as_row()

    def _apply(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        return self.apply(request, check=bool(request.get("check")))

    def _examine(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        return self.examine(request["approval"])

    def apply(self, declared: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """`{"action", "before", "after", "approved_by"}`; a change needs `declared["approval"]`, of kind `officers`.

        Its own fields are `officers` and `required` as in `after`. Check mode asks for no approval.
        """
        item, current = self._current()
        change = plan({key: declared.get(key) for key in ("officers", "required")}, current)
        approved: tuple[str, ...] = ()
        if not check and change.action != "none":
            approved = self._execute(change, item, declared.get("approval"))
        return {
            "action": change.action,
            "before": change.before.as_row(),
            "after": change.after.as_row(),
            "approved_by": list(approved),
        }

    def examine(self, approval: Mapping[str, Any]) -> dict[str, Any]:
        """What a request is, who has signed it validly, and what keeps it from being used. Uses nothing up."""
        raw, signatures = decode(approval)
        request = parse(raw)
        _, officers = self._current()
        count = tally(self._verifier, raw, signatures, officers.keys)
        problems = expiry_problems(request, self._service.clock.utc())
        if request.cluster != self._service.config.cluster_uuid:
            problems.append(f"it has cluster: {request.cluster}, not {self._service.config.cluster_uuid}")
        used = self._store.get(keys.approval(request.id))
        if used is not None:
            problems.append(f"it was used {used_for(used.value)}")
        enough = officers.required > 0 and len(count.officers) >= officers.required
        if not enough:
            problems.append(shortage(count, officers))
        return {
            "request_id": request.id,
            "kind": request.kind,
            "partition": request.partition,
            "ticket": request.ticket,
            "reason": request.reason,
            "requested_by": request.requested_by,
            "expires": stamp(request.expires),
            "own": dict(request.own),
            "signed_by": list(count.officers),
            "rejected": list(count.rejected),
            "required": officers.required,
            "problems": problems,
        }

    def _current(self) -> tuple[KeyValue | None, Officers]:
        item = self._store.get(keys.OFFICERS)
        return item, declared_officers.decode(None if item is None else item.value)

    def _execute(
        self, change: OfficersChange, item: KeyValue | None, approval: Mapping[str, Any] | None
    ) -> tuple[str, ...]:
        compares = [Unchanged(keys.OFFICERS, 0 if item is None else item.mod_revision)]
        ops: list[Op] = [Put(keys.OFFICERS, change.after.encode())]
        approved: tuple[str, ...] = ()
        request_id = None
        if change.needs_approval:
            gate = Gate(self._store, self._service.clock, self._verifier)
            granted = gate.check(approval, kind=KIND, partition=None, subject=change.after.as_row())
            compares = list(granted.compares)
            ops += granted.finished
            approved, request_id = granted.officers, granted.request_id
        record = note(
            self._service.clock,
            self._service.config.node,
            what=f"officers {change.action}",
            who="administrator",
            before=change.before.as_row(),
            after=change.after.as_row(),
            approved_by=list(approved),
            request=request_id,
        )
        if not self._store.txn(compares, [*ops, record]).succeeded:
            raise KeyfoldError(
                "conflict",
                "the officers were changed by somebody else at the same moment, or the approval was used",
                not_done="the officers were not changed",
                next_step="keyfold officers list; then run this again",
            )
        return approved
