"""A backup over real HTTP to a store that fails: the error says what to do, nothing counts, the next run succeeds."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import CLUSTER_UUID, BackupSite, make_site
from support.webdav_server import make_credentials, serve, webdav_app

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.verify import require_good, verify_sets
from keyfold.errors import KeyfoldError
from keyfold.remote.webdav import WebDavRemote

pytestmark = pytest.mark.exhaustive


@dataclass
class Faulty:
    """WsgiDAV with a fault in front: `meets` says which requests, `does` what they get instead."""

    app: Callable[[dict[str, Any], Any], Any]
    meets: Callable[[dict[str, Any]], bool] = lambda _request: False
    does: Callable[[dict[str, Any], Any], Any] = lambda _request, _start: []

    def __call__(self, request: dict[str, Any], start_response: Any) -> Any:
        return (self.does if self.meets(request) else self.app)(request, start_response)


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    (tmp_path / "dav").mkdir()
    return Faulty(webdav_app(tmp_path / "dav"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty: Faulty) -> Iterator[BackupSite]:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    files = make_credentials(tmp_path / "pki")
    with (
        serve(faulty, files) as url,
        WebDavRemote(url, files.ca, files.cert, files.key, idle_seconds=0.3, transfer_seconds=5) as remote,
    ):
        yield replace(site, store=remote)  # type: ignore[arg-type]


def put_of(ending: str) -> Callable[[dict[str, Any]], bool]:
    return lambda request: request["REQUEST_METHOD"] == "PUT" and request["PATH_INFO"].endswith(ending)


def answers(status: str) -> Callable[[dict[str, Any], Any], Any]:
    def does(request: dict[str, Any], start_response: Any) -> list[bytes]:
        request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Length", "0")])
        return [b""]

    return does


def silent(request: dict[str, Any], start_response: Any) -> list[bytes]:
    """Longer than the client waits."""
    threading.Event().wait(1)
    return answers("201 Created")(request, start_response)  # type: ignore[no-any-return]


def stores_half(app: Callable[[dict[str, Any], Any], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """Keeps half of the body and says that all is well."""

    def does(request: dict[str, Any], start_response: Any) -> Any:
        whole = request["wsgi.input"].read(int(request["CONTENT_LENGTH"]))
        half = whole[: len(whole) // 2]
        return app({**request, "wsgi.input": io.BytesIO(half), "CONTENT_LENGTH": str(len(half))}, start_response)

    return does


FAULTS = {
    "409": (answers("409 Conflict"), "not_found"),
    "412": (answers("412 Precondition Failed"), "conflict"),
    "423": (answers("423 Locked"), "store_error"),
    "507": (answers("507 Insufficient Storage"), "store_error"),
    "500": (answers("500 Internal Server Error"), "store_error"),
    "503": (answers("503 Service Unavailable"), "store_error"),
    "silent": (silent, "store_error"),
    "half": (None, "store_error"),
}


@pytest.mark.parametrize("ending", [".age", manifest.NAME], ids=["archive", "manifest"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_store_publishes_nothing_and_the_next_run_succeeds(
    site: BackupSite, faulty: Faulty, fault: str, ending: str
) -> None:
    does, code = FAULTS[fault]
    first = site.run()
    faulty.meets, faulty.does = put_of(ending), does or stores_half(faulty.app)
    with pytest.raises(KeyfoldError) as caught:
        site.run()
    if (fault, ending) != ("412", manifest.NAME):  # then reading back finds no manifest at all
        assert caught.value.code == code
    assert "" not in (caught.value.what, caught.value.not_done, caught.value.next_step)
    faulty.meets = lambda _request: False
    assert believed(site) == [first.set_id]
    second = site.run()
    assert believed(site)[0] == second.set_id
    assert [path.name for path in site.spool.iterdir()] == ["backup.lock"]


def believed(site: BackupSite) -> list[str]:
    """The sets that a restore would take; a manifest cut short is one that it would refuse."""
    found = sets.read_all(site.store, ClusterState(site.agent).identity().signer, {})
    return [one.set_id for one in found if one.manifest is not None]


def test_an_answer_that_got_lost_is_settled_by_reading_back(site: BackupSite, faulty: Faulty) -> None:
    """The manifest is stored, and the store breaks off before it says so."""
    lost: list[str] = []

    def stores_and_fails(request: dict[str, Any], start_response: Any) -> Any:
        lost.append(request["PATH_INFO"])
        faulty.meets = lambda _request: False
        list(faulty.app(request, lambda *_said: None))
        return answers("502 Bad Gateway")({**request, "CONTENT_LENGTH": "0"}, start_response)

    faulty.meets, faulty.does = put_of(manifest.NAME), stores_and_fails
    made = site.run()
    assert lost == [f"/{CLUSTER_UUID}/{made.set_id}/{manifest.NAME}"]
    require_good(verify_sets(site.store, ClusterState(site.agent).identity().signer, {}))
