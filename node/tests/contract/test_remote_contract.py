"""What every Remote promises (keyfold/remote/interface.py), on memory, a directory and five real WebDAV servers.

A server of one's own joins with KEYFOLD_WEBDAV_URL, KEYFOLD_WEBDAV_CA, KEYFOLD_WEBDAV_CERT and KEYFOLD_WEBDAV_KEY.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.webdav_server import make_credentials
from support.webdav_servers import SERVERS

from keyfold.errors import KeyfoldError
from keyfold.remote import ExpirableRemote, Remote
from keyfold.remote.directory import DirectoryRemote
from keyfold.remote.memory import MemoryExpirer
from keyfold.remote.webdav import WebDavExpirer


@dataclass(frozen=True)
class Implementation:
    """Known differences: `put_new` on a taken name `overwrites`; an absent collection is a `vague` store_error."""

    remote: Remote
    overwrites: bool = False
    vague: bool = False


@contextmanager
def real(name: str, directory: Path) -> Iterator[Implementation]:
    known = SERVERS[name]
    credentials = make_credentials(directory / "pki")
    root = directory / "store"
    root.mkdir()
    with (
        known.start(root, credentials) as url,
        WebDavExpirer(url, credentials.ca, credentials.cert, credentials.key) as remote,
    ):
        yield Implementation(remote, known.overwrites, known.vague)


@contextmanager
def ones_own() -> Iterator[Implementation]:
    ca, cert, key = (Path(os.environ[f"KEYFOLD_WEBDAV_{name}"]) for name in ("CA", "CERT", "KEY"))
    with WebDavExpirer(os.environ["KEYFOLD_WEBDAV_URL"], ca, cert, key) as remote:
        yield Implementation(remote)


IMPLEMENTATIONS = ["memory", "directory", "wsgidav"] + (["server"] if "KEYFOLD_WEBDAV_URL" in os.environ else [])
DEBIANS = [pytest.param(name, marks=pytest.mark.container) for name in SERVERS if name != "wsgidav"]


# Nothing expires on a medium.
of_expirable = pytest.mark.parametrize(
    "implementation", [*(name for name in IMPLEMENTATIONS if name != "directory"), *DEBIANS], indirect=True
)


@pytest.fixture(scope="module", params=[*IMPLEMENTATIONS, *DEBIANS])
def implementation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Implementation]:
    if request.param == "memory":
        yield Implementation(MemoryExpirer())
        return
    if request.param == "directory":
        yield Implementation(DirectoryRemote(tmp_path_factory.mktemp("directory")))
        return
    context = ones_own() if request.param == "server" else real(request.param, tmp_path_factory.mktemp(request.param))
    with context as made:
        yield made


@pytest.fixture
def remote(implementation: Implementation) -> Remote:
    return implementation.remote


@pytest.fixture
def expirable(remote: Remote) -> ExpirableRemote:
    assert isinstance(remote, ExpirableRemote)
    return remote


@pytest.fixture
def place(remote: Remote) -> str:
    """A collection that is new in every test."""
    name = f"test-{secrets.token_hex(8)}"
    remote.make_collection(name)
    return name


def put(remote: Remote, name: str, content: bytes) -> None:
    remote.put_new(name, io.BytesIO(content), len(content))


def read(remote: Remote, name: str) -> bytes:
    with remote.get(name) as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 20) + 7])
def test_what_was_put_is_read_back(remote: Remote, place: str, size: int) -> None:
    content = os.urandom(size)
    put(remote, f"{place}/a.age", content)
    assert read(remote, f"{place}/a.age") == content


def test_a_taken_name_is_a_conflict_and_keeps_its_content(
    implementation: Implementation, remote: Remote, place: str
) -> None:
    put(remote, f"{place}/a", b"first")
    if implementation.overwrites:
        put(remote, f"{place}/a", b"second")
        assert read(remote, f"{place}/a") == b"second", "the known difference is gone: correct webdav_servers.py"
        return
    with pytest.raises(KeyfoldError) as caught:
        put(remote, f"{place}/a", b"second")
    assert caught.value.code == "conflict"
    assert f"{place}/a" in caught.value.what
    assert read(remote, f"{place}/a") == b"first"


def test_only_the_announced_length_is_stored(remote: Remote, place: str) -> None:
    remote.put_new(f"{place}/a", io.BytesIO(b"0123456789"), 4)
    assert read(remote, f"{place}/a") == b"0123"


def test_an_absent_name_is_not_found(remote: Remote, place: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        read(remote, f"{place}/nothing")
    assert caught.value.code == "not_found"


def test_put_into_an_absent_collection_is_not_found(implementation: Implementation) -> None:
    with pytest.raises(KeyfoldError) as caught:
        put(implementation.remote, f"absent-{secrets.token_hex(8)}/a", b"x")
    assert caught.value.code == ("store_error" if implementation.vague else "not_found")


def test_a_collection_inside_an_absent_one_is_not_found(remote: Remote) -> None:
    with pytest.raises(KeyfoldError) as caught:
        remote.make_collection(f"absent-{secrets.token_hex(8)}/inner")
    assert caught.value.code == "not_found"


def test_making_a_collection_twice_keeps_what_is_inside(remote: Remote, place: str) -> None:
    put(remote, f"{place}/a", b"x")
    remote.make_collection(place)
    assert read(remote, f"{place}/a") == b"x"


def test_a_listing_names_members_with_size_and_time(remote: Remote, place: str) -> None:
    put(remote, f"{place}/b.age", b"12345")
    put(remote, f"{place}/a.age", b"")
    remote.make_collection(f"{place}/inner")
    put(remote, f"{place}/inner/deeper", b"not listed")
    entries = remote.list(place)
    assert [(entry.name, entry.collection, entry.size) for entry in entries] == [
        ("a.age", False, 0),
        ("b.age", False, 5),
        ("inner", True, 0),
    ]
    for entry in entries[:2]:
        assert abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_root_can_be_listed(remote: Remote, place: str) -> None:
    assert place in [entry.name for entry in remote.list() if entry.collection]


def test_an_absent_collection_has_no_entries(remote: Remote) -> None:
    assert remote.list(f"absent-{secrets.token_hex(8)}") == ()


@pytest.mark.parametrize("name", ["../a", "a//b", "/a", "a/", ".hidden", "a b", "a\nb", "%2e%2e", ""])
def test_a_name_that_could_leave_the_store_is_never_sent(remote: Remote, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        put(remote, name, b"x")


@of_expirable
def test_a_removed_file_is_gone_and_its_neighbours_stay(expirable: ExpirableRemote, remote: Remote, place: str) -> None:
    put(remote, f"{place}/a", b"x")
    put(remote, f"{place}/b", b"y")
    expirable.remove(f"{place}/a")
    assert [entry.name for entry in remote.list(place)] == ["b"]


@of_expirable
def test_a_removed_collection_is_gone_with_everything_in_it(
    expirable: ExpirableRemote, remote: Remote, place: str
) -> None:
    remote.make_collection(f"{place}/inner")
    put(remote, f"{place}/inner/a", b"x")
    expirable.remove(f"{place}/inner")
    assert remote.list(place) == ()


@of_expirable
def test_removing_what_is_not_there_is_fine(expirable: ExpirableRemote, remote: Remote, place: str) -> None:
    expirable.remove(f"{place}/nothing")
    put(remote, f"{place}/a", b"x")
    for _ in range(2):
        expirable.remove(f"{place}/a")
