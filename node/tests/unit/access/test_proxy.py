"""What HAProxy 3.0 answers on its master socket, and what the watcher makes of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import MagicMock, call

import pytest

from keyfold.access import watcher
from keyfold.access.proxy import Proxy, Worker, parse_keys, parse_sessions, parse_workers
from keyfold.access.watcher import Watcher

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
WORKERS = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1162            master          5 [failed: 0]   0d00h02m07s     3.0.11-1
# workers
1271            worker          1               0d00h00m03s     3.0.11-1
# old workers
1233            worker          3               1d02h00m43s     3.0.11-1
# programs

"""
TABLE = """\
# table: connections, type: string, size:4000, used:2
0x7f2a: key=0A/261126120000Z/10.0.0.1:41234/acme use=1 exp=9000 shard=0
0x7f2b: key=0B/261126120000Z/10.0.0.1:41235/acme use=0 exp=500 shard=0

"""
SESSIONS = """\
0x55d0: proto=tcpv4 src=10.0.0.1:41234 fe=keyfold be=p_acme srv=s ts=00 epoch=0 age=1m calls=2 rate=0 cpu=0 lat=0
0x55d1: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1 rate=1 cpu=0 lat=0

"""


def test_the_process_that_takes_new_connections_comes_first_then_the_old_ones() -> None:
    assert parse_workers(WORKERS) == [Worker(1271, 3), Worker(1233, 93643)]


def test_only_open_connections_count() -> None:
    assert parse_keys(TABLE) == ["0A/261126120000Z/10.0.0.1:41234/acme"]


def test_only_subscribers_sessions_are_seen() -> None:
    assert parse_sessions(SESSIONS) == [("0x55d0", "10.0.0.1:41234")]


@pytest.fixture
def crl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(watcher, "revoked_serials", lambda pem: frozenset(map(int, pem.split())))
    path = tmp_path / "crl.pem"
    write(path, "7", NOW - timedelta(days=1))
    return path


def write(path: Path, serials: str, at: datetime) -> None:
    path.write_text(serials)
    os.utime(path, (at.timestamp(), at.timestamp()))


def proxy(*keys: str, age_seconds: int = 3600) -> MagicMock:
    made = MagicMock(spec=Proxy)
    made.workers.return_value = [Worker(2, age_seconds), Worker(1, 86_400)]
    made.keys.side_effect = lambda worker: list(keys) if worker.pid == 1 else []
    made.reload.return_value = "Success=1"
    return made


def clock() -> MagicMock:
    return MagicMock(utc=MagicMock(return_value=NOW))


def test_connections_in_a_process_from_before_a_reload_end_too(crl: Path) -> None:
    haproxy = proxy("07/261126120000Z/10.0.0.1:1/acme", "08/261126120000Z/10.0.0.1:2/acme")
    Watcher(haproxy, clock(), crl).step()
    assert haproxy.end.mock_calls == [call(Worker(1, 86_400), frozenset({"10.0.0.1:1"}))]


def test_a_list_that_haproxy_has_not_read_is_told_to_it_once(crl: Path) -> None:
    haproxy = proxy()
    watching = Watcher(haproxy, clock(), crl)
    watching.step()
    assert haproxy.reload.call_count == 0
    write(crl, "7 9", NOW - timedelta(seconds=5))
    watching.step()
    watching.step()
    assert haproxy.reload.call_count == 1


def test_a_haproxy_that_could_not_be_told_is_told_again_and_what_is_open_ends_all_the_same(crl: Path) -> None:
    write(crl, "9", NOW - timedelta(seconds=5))
    haproxy = proxy("09/261126120000Z/10.0.0.1:1/acme")
    haproxy.reload.side_effect = [TimeoutError("no answer"), "Success=1"]
    watching = Watcher(haproxy, clock(), crl)
    with pytest.raises(TimeoutError):
        watching.step()
    assert haproxy.end.call_count == 1
    watching.step()
    watching.step()
    assert haproxy.reload.call_count == 2


def test_a_list_that_came_while_nobody_watched_is_told_to_haproxy(crl: Path) -> None:
    write(crl, "9", NOW - timedelta(seconds=5))
    haproxy = proxy("09/261126120000Z/10.0.0.1:1/acme")
    Watcher(haproxy, clock(), crl).step()
    assert haproxy.reload.call_count == 1
    assert haproxy.end.call_count == 1


def test_without_haproxy_there_is_nothing_to_do(crl: Path, tmp_path: Path) -> None:
    Watcher(Proxy(tmp_path / "absent.sock"), clock(), crl).step()
