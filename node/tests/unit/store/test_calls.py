"""One call, several endpoints: who is asked when, and what is raised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.http_script import Talk, answering, answering_always, serve

from keyfold.store import Store, StoreConfig, open_store
from keyfold.store.errors import OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Put


def answer(message: object, status: str = "200 OK") -> bytes:
    body = json.dumps(message).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def refusal(message: str, status: str = "503 Service Unavailable") -> bytes:
    return answer({"error": message, "message": message, "code": 14}, status)


DONE = answer({"header": {"revision": "7"}, "succeeded": True})


@contextmanager
def store_of(*servers: Talk) -> Iterator[Store]:
    """A store with one endpoint per server; each takes a single connection."""
    with ExitStack() as stack:
        urls = tuple(stack.enter_context(serve(talk)) for talk in servers)
        with open_store(StoreConfig(urls)) as store:
            yield store


def write(store: Store, seconds: float = 2.0) -> int:
    return store.txn([], [Put("k", b"")], timeout_seconds=seconds).revision


@pytest.mark.parametrize("message", ["etcdserver: no leader", "etcdserver: too many requests"])
def test_a_transaction_that_was_surely_refused_is_offered_to_the_next_and_the_client_stays_there(message: str) -> None:
    with store_of(answering(refusal(message)), answering(DONE, DONE)) as store:
        assert write(store) == 7
        assert write(store) == 7


@pytest.mark.parametrize(
    "first",
    [
        refusal("etcdserver: request timed out", "500 Internal Server Error"),
        refusal("etcdserver: leader changed"),
        refusal("an error of a later version"),
        b"HTTP/1.1 20",
        b'HTTP/1.0 200 OK\r\n\r\n{"head',
    ],
    ids=["timed out", "leader changed", "not known", "cut short", "cut short unnoticed"],
)
def test_a_transaction_that_may_have_been_proposed_is_not_sent_again_and_the_next_call_goes_elsewhere(
    first: bytes,
) -> None:
    with store_of(answering(first), answering(DONE)) as store:
        with pytest.raises(OutcomeUnknown):
            write(store)
        assert write(store) == 7


def test_a_read_that_failed_anyhow_is_repeated_elsewhere() -> None:
    with store_of(
        answering(refusal("etcdserver: request timed out")),
        answering(b"HTTP/1.1 20"),
        answering(answer({"header": {"revision": "7"}})),
    ) as store:
        assert store.revision() == 7


def test_without_a_leader_a_call_waits_for_the_election_within_its_deadline() -> None:
    with store_of(answering(refusal("etcdserver: no leader"), refusal("etcdserver: no leader"), DONE)) as store:
        assert write(store) == 7


def test_a_call_that_nobody_carried_out_names_each_endpoint_and_its_reason() -> None:
    refusing = answering_always(refusal("etcdserver: no leader"))
    with store_of(refusing, refusing) as store:
        with pytest.raises(StoreUnavailable) as caught:
            write(store, seconds=0.15)
        assert caught.value.what.count("no leader") == 2
        assert caught.value.code == "no_quorum"


def test_an_error_inside_a_successful_answer_is_an_error() -> None:
    """So does a streaming call of the gateway, such as keeping a lease alive."""
    inside = {"error": {"grpc_code": 2, "http_code": 500, "message": "not a primary lessor"}}
    with store_of(
        answering(answer(inside)), answering(answer({"result": {"header": {}, "ID": "5", "TTL": "30"}}))
    ) as store:
        assert store.keep_alive(5) == 30
