"""One suite for every PartitionLocks."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from keyfold.token.locks import Busy, FilePartitionLocks, MemoryPartitionLocks, PartitionLocks


@pytest.fixture(params=["memory", "files"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> PartitionLocks:
    return MemoryPartitionLocks() if request.param == "memory" else FilePartitionLocks(tmp_path)


@pytest.mark.parametrize("which", ["create", "update"])
def test_a_held_lock_is_busy_at_once_without_waiting(locks: PartitionLocks, which: str) -> None:
    with getattr(locks, which)(0), pytest.raises(Busy), getattr(locks, which)(0):
        pytest.fail("held twice")
    with getattr(locks, which)(0):
        pass


def test_a_waiter_gets_the_lock_when_it_is_released(locks: PartitionLocks) -> None:
    got = threading.Event()

    def wait() -> None:
        with locks.update(10):
            got.set()

    waiter = threading.Thread(target=wait)
    with locks.update(0):
        waiter.start()
        assert not got.wait(0.02)
    waiter.join(10)
    assert got.is_set()


def test_waiting_ends_at_the_deadline(locks: PartitionLocks) -> None:
    with locks.create(0), pytest.raises(Busy) as caught, locks.create(0.02):
        pytest.fail("held twice")
    assert caught.value.code == "conflict"
    assert "create.lock" in caught.value.what


def test_the_two_locks_are_independent(locks: PartitionLocks) -> None:
    with locks.create(0), locks.update(0):
        pass


def test_an_exception_releases_the_lock(locks: PartitionLocks) -> None:
    with pytest.raises(ZeroDivisionError), locks.create(0):
        raise ZeroDivisionError
    with locks.create(0):
        pass


def test_the_module_and_the_agent_exclude_each_other(tmp_path: Path) -> None:
    """The PKCS#11 module holds flock(2) on a descriptor of its own."""
    (tmp_path / "update.lock").touch()
    with (tmp_path / "update.lock").open("r+b") as module:
        fcntl.flock(module, fcntl.LOCK_EX)
        with pytest.raises(Busy), FilePartitionLocks(tmp_path).update(0):
            pytest.fail("held twice")


def test_a_missing_lock_file_is_made_for_the_partition(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 64_001, 64_002)
    with FilePartitionLocks(tmp_path).create(0):
        status = (tmp_path / "create.lock").stat()
    owner = tmp_path.stat()
    assert (status.st_uid, status.st_gid) == (owner.st_uid, owner.st_gid)
    assert status.st_mode & 0o777 == 0o600
