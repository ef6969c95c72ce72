"""What each error of etcd means for a request."""

from __future__ import annotations

import json

import pytest

from keyfold.errors import KeyfoldError
from keyfold.store.errors import Compacted, StoreFull, TooLarge
from keyfold.store.etcd.faults import Fault, Verdict, fault


def read(message: str) -> Fault:
    return fault("http://m1:2379", 503, json.dumps({"error": message, "message": message, "code": 14}).encode())


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: no leader",
        "etcdserver: too many requests",
        "raft proposal dropped",
        "not a primary lessor",
        "lease: not a primary lessor",
        "etcdserver: corrupt cluster",
        "etcdserver: rpc not supported for learner",
    ],
)
def test_refused_before_it_was_proposed_is_surely_not_done(message: str) -> None:
    assert read(message).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: request timed out",
        "etcdserver: request timed out, possibly due to previous leader failure",
        "etcdserver: request timed out, possibly due to connection lost",
        "etcdserver: leader changed",
        "etcdserver: server stopped",
        "transport is closing",
        "context deadline exceeded",
        "an error of a later version",
    ],
)
def test_anything_that_may_follow_a_proposal_is_unknown(message: str) -> None:
    assert read(message) == Fault(Verdict.UNKNOWN, message)


@pytest.mark.parametrize("body", [b"", b"404 page not found\n", b"[]", b'"text"', b"{}"])
def test_an_answer_that_is_not_etcds_is_unknown(body: bytes) -> None:
    assert fault("http://m1:2379", 404, body) == Fault(Verdict.UNKNOWN, "HTTP status 404 without an etcd error")


@pytest.mark.parametrize(
    ("message", "error", "code"),
    [
        ("etcdserver: mvcc: database space exceeded", StoreFull, "disk"),
        ("etcdserver: mvcc: required revision has been compacted", Compacted, "conflict"),
        ("etcdserver: mvcc: required revision is a future revision", KeyfoldError, "not_found"),
        ("etcdserver: request is too large", TooLarge, "too_large"),
        ("etcdserver: too many operations in txn request", TooLarge, "too_large"),
        ("etcdserver: permission denied", KeyfoldError, "denied"),
        ("etcdserver: user name is empty", KeyfoldError, "denied"),
        ("etcdserver: invalid auth token", KeyfoldError, "denied"),
    ],
)
def test_what_asking_again_cannot_help_is_an_error_of_its_own(
    message: str, error: type[KeyfoldError], code: str
) -> None:
    found = read(message)
    assert found.verdict is Verdict.FINAL
    assert type(found.error) is error
    assert found.error.code == code


def test_a_lease_that_is_gone_is_told_apart() -> None:
    assert read("etcdserver: requested lease not found").verdict is Verdict.LEASE_GONE


def test_a_full_quota_names_the_quota_and_the_remedy() -> None:
    error = read("etcdserver: mvcc: database space exceeded").error
    assert error is not None
    assert "--quota-backend-bytes" in error.what
    assert "defrag" in error.next_step
