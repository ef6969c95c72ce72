"""The store on etcd."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from weakref import WeakSet

from keyfold.errors import KeyfoldError
from keyfold.store.config import StoreConfig
from keyfold.store.errors import Compacted, LeaseGone, StoreUnavailable
from keyfold.store.etcd.calls import Calls
from keyfold.store.etcd.codec import (
    encode,
    get_request,
    header_revision,
    key64,
    key_values,
    number,
    txn_request,
    txn_result,
)
from keyfold.store.etcd.faults import fault
from keyfold.store.etcd.members import members
from keyfold.store.etcd.scan import ranges, scan
from keyfold.store.etcd.transport import Endpoint, NotDone, PerhapsDone
from keyfold.store.etcd.watch import EtcdWatch
from keyfold.store.interface import (
    DEFAULT_TIMEOUT_SECONDS,
    KeyValue,
    MemberStatus,
    Op,
    Put,
    Scan,
    Store,
    TxnResult,
    Unchanged,
    Watch,
)
from keyfold.store.limits import check_txn

_RANGE = "/v3/kv/range"
# Compaction and defragmentation go through the whole database.
_MAINTENANCE_SECONDS = 60.0


class EtcdStore(Store):
    """See `Store`. Connects on first use, so opening it never fails for want of a member."""

    def __init__(self, config: StoreConfig) -> None:
        if not config.endpoints:
            raise KeyfoldError(
                "invalid",
                "no etcd endpoint is configured",
                not_done="etcd was not contacted",
                next_step="set endpoints under [etcd] in /etc/keyfold/keyfold.toml",
            )
        tls = _tls(config) if any(url.startswith("https:") for url in config.endpoints) else None
        self._calls = Calls([Endpoint(url, tls) for url in config.endpoints])
        self._watches: WeakSet[EtcdWatch] = WeakSet()

    def get(self, key: str, *, serializable: bool = False, revision: int = 0) -> KeyValue | None:
        body = get_request(key, serializable=serializable, revision=revision)
        found = key_values(self._ask(_RANGE, body, require_leader=not serializable))
        return found[0] if found else None

    def scan(
        self, prefix: str, *, revision: int = 0, keys_only: bool = False, page: int = 500, without: str = ""
    ) -> Scan:
        def ask(body: bytes) -> dict[str, Any]:
            return self._ask(_RANGE, body)

        return scan(ask, ranges(prefix, without), revision=revision, keys_only=keys_only, page=page)

    def revision(self) -> int:
        return header_revision(self._ask(_RANGE, encode({"key": key64("\0"), "count_only": True})))

    def txn(
        self, compares: Sequence[Unchanged], ops: Sequence[Op], *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> TxnResult:
        check_txn(compares, ops)
        try:
            answer = self._calls.once("/v3/kv/txn", txn_request(compares, ops), timeout_seconds=timeout_seconds)
        except LeaseGone:
            raise LeaseGone(next(op.lease for op in ops if isinstance(op, Put) and op.lease)) from None
        return txn_result(compares, answer)

    def grant(self, ttl_seconds: int) -> int:
        return number(self._ask("/v3/lease/grant", encode({"TTL": str(ttl_seconds)})), "ID")

    def keep_alive(self, lease: int) -> int:
        answer = self._ask("/v3/lease/keepalive", encode({"ID": str(lease)}))
        return number(answer["result"], "TTL")

    def revoke(self, lease: int) -> None:
        with contextlib.suppress(LeaseGone):
            self._ask("/v3/lease/revoke", encode({"ID": str(lease)}))

    def watch(self, prefix: str, from_revision: int, *, progress: bool = True) -> Watch:
        if from_revision < 1:
            raise ValueError("a watch begins at a revision")
        watch = EtcdWatch(self._calls, prefix, from_revision, progress=progress)
        self._watches.add(watch)
        return watch

    def compact(self, revision: int) -> None:
        with contextlib.suppress(Compacted):
            body = encode({"revision": str(revision), "physical": True})
            self._calls.repeatable("/v3/kv/compaction", body, timeout_seconds=_MAINTENANCE_SECONDS)

    def defragment(self, endpoint: str) -> None:
        member = next(one for one in self._calls.endpoints if one.url == endpoint)
        path = "/v3/maintenance/defragment"
        try:
            answer = member.post(path, b"{}", deadline=time.monotonic() + _MAINTENANCE_SECONDS, require_leader=False)
        except (NotDone, PerhapsDone) as error:
            raise StoreUnavailable(f"{endpoint} did not defragment its database: {error}") from None
        if answer.status != HTTPStatus.OK:
            reason = fault(endpoint, answer.status, answer.body).reason
            raise StoreUnavailable(f"{endpoint} did not defragment its database: {reason}")

    def members(self) -> tuple[MemberStatus, ...]:
        return members(self._calls.endpoints)

    def close(self) -> None:
        self._calls.close()
        for watch in list(self._watches):
            watch.close()

    def _ask(self, path: str, body: bytes, *, require_leader: bool = True) -> dict[str, Any]:
        return self._calls.repeatable(
            path, body, timeout_seconds=DEFAULT_TIMEOUT_SECONDS, require_leader=require_leader
        )


def _tls(config: StoreConfig) -> ssl.SSLContext:
    """TLS 1.3, the cluster's CA only, our client certificate; the server's name must be in its certificate."""
    files = {"ca": config.ca, "cert": config.cert, "key": config.key}
    for name, file in files.items():
        if file is None:
            raise _certificate_error(f"etcd is reached over https, but its {name} file is not configured")
    ca, cert, key = (Path(str(file)) for file in files.values())
    try:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise _certificate_error(f"the files {ca}, {cert}, {key} cannot be used for etcd: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def _certificate_error(what: str) -> KeyfoldError:
    return KeyfoldError(
        "certificate",
        what,
        not_done="etcd was not contacted",
        next_step="see [etcd] in /etc/keyfold/keyfold.toml, then run playbooks/site.yml",
    )
