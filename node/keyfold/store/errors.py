"""What the store raises. The difference between the first two is what a commit's answer rests on."""

from __future__ import annotations

from keyfold.errors import KeyfoldError


class StoreUnavailable(KeyfoldError):
    """It was definitely not done, and will not be."""

    def __init__(
        self, what: str, *, code: str = "no_quorum", next_step: str = "keyfold status; then see to the members it names"
    ) -> None:
        super().__init__(code, what, not_done="the request was not carried out by etcd", next_step=next_step)


class StoreFull(StoreUnavailable):
    """etcd refuses writes because its database has reached its quota."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"etcd's database has reached its quota (--quota-backend-bytes, alarm NOSPACE; said by {endpoint})",
            code="disk",
            next_step="compact and defragment each member (etcdctl compact, defrag), raise the quota if it is "
            "too small, then etcdctl alarm disarm",
        )


class CertificateRefused(StoreUnavailable):
    """No endpoint could be trusted, or none trusted us."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what, code="certificate", next_step="check the certificates' dates and names, then run playbooks/site.yml"
        )


class LeaseGone(StoreUnavailable):
    """A put named a lease that has expired or was revoked: grant another."""

    def __init__(self, lease: int) -> None:
        super().__init__(
            f"lease {lease:x} has expired or was revoked", code="conflict", next_step="grant a new lease and repeat"
        )


class OutcomeUnknown(KeyfoldError):
    """A transaction was sent and no answer came: it may have been applied, may not have been, and may still be."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "no_quorum",
            what,
            not_done="whether etcd applied the transaction is not known",
            next_step="repeat the identical transaction (keyfold.store.settle), or run keyfold status",
        )


class Compacted(KeyfoldError):
    """The history asked for is gone; `compact_revision` is the oldest that is left, 0 if etcd did not say."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(
            "conflict",
            f"etcd has compacted the history that was asked for (oldest left: {compact_revision or 'not said'})",
            not_done="nothing was read",
            next_step="read everything again at the present revision",
        )
        self.compact_revision = compact_revision


class TooLarge(KeyfoldError):
    """A transaction beyond etcd's limits; nothing was sent."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "too_large", what, not_done="the transaction was not sent", next_step="split it into smaller transactions"
        )
