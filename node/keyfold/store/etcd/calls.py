"""One call to etcd: endpoints in turn until one has carried it out or the deadline has passed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from keyfold.store.errors import CertificateRefused, LeaseGone, OutcomeUnknown, StoreUnavailable
from keyfold.store.etcd.codec import encode, text64
from keyfold.store.etcd.endpoints import EndpointOrder
from keyfold.store.etcd.faults import Verdict, fault
from keyfold.store.etcd.transport import Endpoint, NotDone, PerhapsDone

_PAUSE_SECONDS = 0.1  # between rounds over all endpoints; an election takes 1 to 2 seconds
PROBE_SECONDS = 3.0
_PROBE = encode({"key": text64(b"\0"), "count_only": True})


class Calls:
    """Calls with failover. `closed` is set by `close` and wakes everybody who waits."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self.order = EndpointOrder(len(self.endpoints))
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()
        for endpoint in self.endpoints:
            endpoint.close()

    def repeatable(
        self, path: str, body: bytes, *, timeout_seconds: float, require_leader: bool = True
    ) -> dict[str, Any]:
        """A call that does no harm when carried out twice. Raises StoreUnavailable at the deadline."""
        return self._call(path, body, timeout_seconds, require_leader, once=False)

    def once(self, path: str, body: bytes, *, timeout_seconds: float) -> dict[str, Any]:
        """A call that leaves at most once. Raises StoreUnavailable (not done), or OutcomeUnknown."""
        return self._call(path, body, timeout_seconds, True, once=True)

    def alive(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint, within 3 seconds, answers a read for which it needs its majority."""
        try:
            answer = endpoint.post("/v3/kv/range", _PROBE, deadline=time.monotonic() + PROBE_SECONDS)
        except (NotDone, PerhapsDone):
            return False
        return answer.status == 200

    def _call(self, path: str, body: bytes, timeout_seconds: float, leader: bool, *, once: bool) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_seconds
        if self.order.home_due():
            threading.Thread(target=self._come_home, name="keyfold-store-home", daemon=True).start()
        while True:
            reasons: list[str] = []
            distrusted = 0
            candidates = self.order.order()
            for place, index in enumerate(candidates):
                endpoint = self.endpoints[index]
                until = deadline if once else _share(deadline, len(candidates) - place)
                try:
                    result = _attempt(endpoint, path, body, until, leader)
                except NotDone as error:
                    reasons.append(f"{endpoint.url}: {error}")
                    distrusted += error.certificate
                except PerhapsDone as error:
                    reasons.append(f"{endpoint.url}: {error}")
                    if once:
                        self.order.failed(index)  # so that a repetition asks another
                        raise OutcomeUnknown(f"etcd took the transaction, but then: {reasons[-1]}") from None
                else:
                    self.order.answered(index)
                    return result
            if distrusted == len(candidates):
                raise CertificateRefused(f"TLS trust failed with every etcd endpoint ({'; '.join(reasons)})")
            if time.monotonic() + _PAUSE_SECONDS >= deadline or self.closed.wait(_PAUSE_SECONDS):
                raise StoreUnavailable(f"no etcd endpoint did it within {timeout_seconds:.1f} s ({'; '.join(reasons)})")

    def _come_home(self) -> None:
        if self.alive(self.endpoints[0]):
            self.order.answered(0)


def _attempt(endpoint: Endpoint, path: str, body: bytes, until: float, leader: bool) -> dict[str, Any]:
    """Ask one endpoint. Raises NotDone or PerhapsDone, or the error that asking others would not change."""
    answer = endpoint.post(path, body, deadline=until, require_leader=leader)
    if answer.status != 200:
        raise _refusal(endpoint, answer.status, answer.body)
    try:
        result: dict[str, Any] = json.loads(answer.body)
    except ValueError:
        raise PerhapsDone("an answer that is not JSON") from None
    if "error" in result:  # a streaming call reports its errors inside an answer of status 200
        raise _refusal(endpoint, answer.status, encode(result["error"]))
    return result


def _refusal(endpoint: Endpoint, status: int, body: bytes) -> Exception:
    found = fault(endpoint.url, status, body)
    if found.verdict is Verdict.LEASE_GONE:
        return LeaseGone(0)
    if found.error is not None:
        return found.error
    return NotDone(found.reason) if found.verdict is Verdict.NOT_DONE else PerhapsDone(found.reason)


def _share(deadline: float, endpoints_left: int) -> float:
    """An equal share of the time for each endpoint still to be asked, so that one that hangs does not eat it all."""
    now = time.monotonic()
    return now + (deadline - now) / endpoints_left
