"""The store: who may do what to it. Clients run on the backup site's node, whoever they say they are."""

from __future__ import annotations

import secrets

import pytest
from scenario.identities import NOBODY, Identity, foreign, issued, speak
from scenario.machines import machines

CREATE = {"If-None-Match": "*"}
READS = ("GET", "HEAD", "OPTIONS", "PROPFIND")


@pytest.fixture
def name() -> str:
    """A name below the store that nothing has yet."""
    return f"/keyfold/test-{secrets.token_hex(8)}"


def ask(who: Identity, *requests: tuple[str, str, dict[str, str], str], version: str = "TLSv1_3") -> list[int]:
    """The statuses; none if the connection was refused."""
    statuses: list[int] = speak(machines()["hsm3"], "store1", 443, who, list(requests), version).get("statuses", [])
    return statuses


def writer() -> Identity:
    return issued("store-writer-hsm3")


def reader() -> Identity:
    return issued("store-reader-hsm3")


def content(name: str) -> str:
    return machines()["store1"].run("cat", f"/srv/keyfold/{name.removeprefix('/keyfold/')}")


def test_writer_creates_and_reads(name: str) -> None:
    asked = ask(
        writer(),
        ("MKCOL", name, {}, ""),
        ("PUT", f"{name}/a", CREATE, "first"),
        ("GET", f"{name}/a", {}, ""),
        ("PROPFIND", name, {"Depth": "1"}, ""),
    )
    assert asked == [201, 201, 200, 207]


@pytest.mark.parametrize(
    ("headers", "status"),
    [(CREATE, 412), ({}, 403), ({"If-None-Match": '"x"'}, 403), ({**CREATE, "Content-Range": "bytes 0-4/5"}, 403)],
    ids=["create again", "plain", "another tag", "part of it"],
)
def test_writer_never_overwrites(name: str, headers: dict[str, str], status: int) -> None:
    assert ask(writer(), ("PUT", name, CREATE, "first"), ("PUT", name, headers, "other")) == [201, status]
    assert content(name) == "first"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("DELETE", {}),
        ("MOVE", {"Destination": "https://store1/keyfold/elsewhere"}),
        ("COPY", {"Destination": "https://store1/keyfold/elsewhere"}),
        ("PROPPATCH", {}),
        ("LOCK", {}),
        ("POST", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_writer_may_do_nothing_else(name: str, method: str, headers: dict[str, str]) -> None:
    assert ask(writer(), ("PUT", name, CREATE, "first"), (method, name, headers, "")) == [201, 403]
    assert content(name) == "first"


def test_reader_reads_and_no_more(name: str) -> None:
    ask(writer(), ("PUT", name, CREATE, "first"))
    reads = ask(reader(), *((method, name, {}, "") for method in READS))
    assert reads == [200, 200, 200, 207]
    writes = ask(reader(), ("PUT", f"{name}-2", CREATE, "x"), ("MKCOL", f"{name}-3", {}, ""), ("DELETE", name, {}, ""))
    assert writes == [403, 403, 403]


def test_a_subscribers_certificate_opens_nothing(name: str) -> None:
    ask(writer(), ("PUT", name, CREATE, "first"))
    asked = ask(issued("partition-acme"), ("GET", name, {}, ""), ("PUT", f"{name}-2", CREATE, "x"))
    assert asked == [403, 403]


@pytest.mark.parametrize(
    "who", [NOBODY, foreign("store", "writer")], ids=["no certificate", "another authority's certificate"]
)
def test_strangers_are_refused(name: str, who: Identity) -> None:
    assert ask(who, ("GET", "/keyfold/", {}, "")) == []


def test_etcds_certificates_are_strangers_here() -> None:
    assert ask(issued("etcd-client-hsm3"), ("GET", "/keyfold/", {}, "")) == []


def test_old_tls_is_refused() -> None:
    assert ask(writer(), ("OPTIONS", "/keyfold/", {}, ""), version="TLSv1_2") == []


def test_nothing_but_the_store_is_served() -> None:
    assert ask(writer(), ("GET", "/", {}, ""), ("GET", "/keyfold/../etc/passwd", {}, "")) in ([403, 400], [403, 403])
    assert machines()["store1"].run("ss", "-Htln", "sport = :80") == ""


def test_archives_are_apaches_alone() -> None:
    assert machines()["store1"].run("stat", "--format=%U:%G %a", "/srv/keyfold") == "www-data:www-data 750\n"
