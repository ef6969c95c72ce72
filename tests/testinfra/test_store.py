"""The store: who may do what to it. Clients run on the backup site's node, whoever they say they are."""

from __future__ import annotations

import secrets
import tomllib

import pytest
from scenario.identities import NOBODY, Identity, foreign, issued, speak
from scenario.machines import machines

CREATE = {"If-None-Match": "*"}
READS = ("GET", "HEAD", "OPTIONS", "PROPFIND")


@pytest.fixture
def name() -> str:
    """A name below the store that nothing has yet."""
    return f"/keyfold/test-{secrets.token_hex(8)}"


def ask(
    who: Identity, *requests: tuple[str, str, dict[str, str], str], version: str = "TLSv1_3", at: str = "hsm3"
) -> list[int]:
    """The statuses; none if the connection was refused."""
    statuses: list[int] = speak(machines()[at], "store1", 443, who, list(requests), version).get("statuses", [])
    return statuses


def writer() -> Identity:
    return issued("store-writer-hsm3")


def reader() -> Identity:
    return issued("store-reader-hsm3")


def expirer() -> Identity:
    return issued("store-expirer-store1")


def cluster_uuid() -> str:
    """The cluster as the expirer knows it."""
    configured = tomllib.loads(machines()["store1"].run("cat", "/etc/keyfold/expiry.toml"))
    return str(configured["cluster"]["uuid"])


@pytest.fixture
def made_set() -> str:
    """A set's collection of the cluster, with one file `a`."""
    place = f"/keyfold/{cluster_uuid()}"
    ask(writer(), ("MKCOL", place, {}, ""))
    name = f"{place}/20260101T000000Z-{secrets.token_hex(4)}"
    assert ask(writer(), ("MKCOL", name, {}, ""), ("PUT", f"{name}/a", CREATE, "first")) == [201, 201]
    return name


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


def test_expirer_reads_and_removes_sets_of_its_cluster(made_set: str) -> None:
    reads = ask(expirer(), *((method, f"{made_set}/a", {}, "") for method in READS), at="store1")
    assert reads == [200, 200, 200, 207]
    removed = ask(expirer(), ("DELETE", f"{made_set}/a", {}, ""), ("DELETE", made_set, {}, ""), at="store1")
    assert removed == [204, 204]


@pytest.mark.parametrize("method", ["PUT", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "POST"])
def test_expirer_writes_nothing(made_set: str, method: str) -> None:
    headers = {**CREATE, "Destination": f"https://store1{made_set}/b"}
    assert ask(expirer(), (method, f"{made_set}/a", headers, ""), at="store1") == [403]
    assert content(f"{made_set}/a") == "first"


def test_expirer_removes_nothing_else(name: str) -> None:
    ask(writer(), ("PUT", name, CREATE, "first"))
    others = ("/keyfold/", name, f"/keyfold/{cluster_uuid()}", f"/keyfold/{cluster_uuid()}/not-a-set")
    assert ask(expirer(), *(("DELETE", other, {}, "") for other in others), at="store1") == [403] * len(others)
    assert content(name) == "first"


def test_expirers_certificate_is_of_no_use_elsewhere(made_set: str) -> None:
    assert ask(expirer(), ("GET", f"{made_set}/a", {}, ""), ("DELETE", made_set, {}, "")) == [403, 403]


def test_expirers_key_is_its_own_and_on_the_store_alone() -> None:
    key = "/etc/keyfold/pki/store-expirer.key"
    assert machines()["store1"].run("stat", "--format=%U %a", key) == "keyfold-expiry 600\n"
    assert machines()["hsm3"].attempt("test", "-e", key).returncode != 0


def test_reader_may_not_remove(made_set: str) -> None:
    assert ask(reader(), ("DELETE", f"{made_set}/a", {}, ""), at="store1") == [403]
    assert ask(writer(), ("DELETE", f"{made_set}/a", {}, ""), at="store1") == [403]


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
