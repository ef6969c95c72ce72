"""`keyfold store check` on five real servers: it sees of each what is known of it, and never more or less."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.webdav_server import make_credentials
from support.webdav_servers import SERVERS

from keyfold.clock import SystemClock
from keyfold.remote.check.grade import TABLE, grade
from keyfold.remote.check.probes import Probes
from keyfold.remote.check.wire import Wire
from keyfold.remote.tls import Identity


@pytest.mark.parametrize(
    "name", [name if name == "wsgidav" else pytest.param(name, marks=pytest.mark.container) for name in SERVERS]
)
def test_the_probes_see_what_is_known_of_the_server_and_leave_nothing(name: str, tmp_path: Path) -> None:
    server = SERVERS[name]
    credentials = make_credentials(tmp_path / "pki")
    root = tmp_path / "store"
    root.mkdir()
    with server.start(root, credentials) as url:
        probes = Probes(Wire(url, Identity(credentials.ca, credentials.cert, credentials.key)), SystemClock())
        graded = grade(probes.run())
    seen = {one.probe: one.outcome for one in graded.findings}
    differing = {
        probe: (seen[probe], outcomes) for probe, outcomes in server.expected.items() if seen[probe] not in outcomes
    }
    assert differing == {}, [one.happened for one in graded.findings if one.probe in differing]
    assert list(seen) == list(TABLE)
    assert (graded.verdict, graded.write_once) == ("adapt", False)
    assert (probes.left, [path.name for path in root.iterdir()]) == ("", [])
