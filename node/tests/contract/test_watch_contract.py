"""One suite for every Watch, and what only the kernel can show."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfold.token.inotify import Inotify
from keyfold.token.memory_watch import MemoryWatch
from keyfold.token.softhsm import SoftHsmDirectory
from keyfold.token.watch import OVERFLOW, Change, Watch


@dataclass
class Subject:
    watch: Watch
    change: Callable[[Path, str], object]
    delete: Callable[[Path], object]


def write(directory: Path, name: str) -> None:
    (directory / name).write_bytes(b"x")


@pytest.fixture(params=["memory", "inotify"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        memory = MemoryWatch()
        yield Subject(memory, memory.report, memory.delete)
        memory.close()
    else:
        inotify = Inotify()
        yield Subject(inotify, write, Path.rmdir)
        inotify.close()


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    watch = Inotify()
    yield watch
    watch.close()


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    (tmp_path / "acme").mkdir()
    return tmp_path / "acme"


@pytest.fixture
def beta(tmp_path: Path) -> Path:
    (tmp_path / "beta").mkdir()
    return tmp_path / "beta"


def readable(watch: Watch) -> bool:
    return bool(select.select([watch], [], [], 0)[0])


def test_a_quiet_directory_reports_nothing(subject: Subject, acme: Path) -> None:
    subject.watch.add(acme, "acme")
    assert subject.watch.drain() == set()
    assert not readable(subject.watch)


def test_changes_are_reported_once_under_their_keys(subject: Subject, acme: Path, beta: Path) -> None:
    subject.watch.add(acme, "acme")
    subject.watch.add(beta, "beta")
    for directory, name in ((acme, "1.object"), (acme, "1.object"), (beta, "token.object")):
        subject.change(directory, name)
    assert readable(subject.watch)
    assert subject.watch.drain() == {Change("acme", "1.object"), Change("beta", "token.object")}
    assert subject.watch.drain() == set()
    assert not readable(subject.watch)


def test_lock_files_and_the_generation_stay_silent(subject: Subject, acme: Path) -> None:
    subject.watch.add(acme, "acme")
    for name in ("1.lock", "generation", "token.lock"):
        subject.change(acme, name)
    assert subject.watch.drain() == set()


def test_a_removed_key_is_silent_and_removing_it_again_is_fine(subject: Subject, acme: Path) -> None:
    subject.watch.add(acme, "acme")
    subject.watch.remove("acme")
    subject.watch.remove("acme")
    subject.change(acme, "1.object")
    assert subject.watch.drain() == set()


def test_a_key_can_move_to_another_directory(subject: Subject, acme: Path, beta: Path) -> None:
    subject.watch.add(acme, "moved")
    subject.watch.add(beta, "moved")
    subject.change(acme, "old.object")
    subject.change(beta, "new.object")
    assert subject.watch.drain() == {Change("moved", "new.object")}


def test_adding_a_directory_again_changes_nothing(subject: Subject, acme: Path) -> None:
    subject.watch.add(acme, "acme")
    subject.watch.add(acme, "acme")
    subject.change(acme, "1.object")
    assert subject.watch.drain() == {Change("acme", "1.object")}


def test_a_deleted_directory_is_reported_and_can_be_added_again(subject: Subject, acme: Path) -> None:
    subject.watch.add(acme, "acme")
    subject.delete(acme)
    assert subject.watch.drain() == {Change("acme", "")}
    acme.mkdir(exist_ok=True)
    subject.watch.add(acme, "acme")
    subject.change(acme, "1.object")
    assert subject.watch.drain() == {Change("acme", "1.object")}


def test_renames_and_deletions_are_changes(inotify: Inotify, acme: Path) -> None:
    for name in ("in.new", "out.object", "gone.object"):
        write(acme, name)
    inotify.add(acme, "acme")
    (acme / "in.new").rename(acme / "in.object")
    (acme / "out.object").rename(acme / "out.bak")
    (acme / "gone.object").unlink()
    assert inotify.drain() == {Change("acme", f"{name}.object") for name in ("in", "out", "gone")}


def test_a_new_object_of_our_own_takes_no_room_in_the_queue_and_a_change_of_it_is_reported(
    inotify: Inotify, acme: Path
) -> None:
    name = "2f0c7d5e-8a52-4f5d-9d0e-0a8f5a0b6c11.object"
    directory = SoftHsmDirectory(acme, os.geteuid(), os.getegid())
    inotify.add(acme, "acme")
    directory.write(name, struct.pack(">QQQQ", 1, 0, 2, 3))
    (queued,) = struct.unpack("i", fcntl.ioctl(inotify, termios.FIONREAD, bytes(4)))
    assert queued == 0
    directory.write(name, struct.pack(">QQQQ", 1, 0, 2, 4))
    assert inotify.drain() == {Change("acme", name)}


def test_a_file_is_not_reported_before_it_is_closed(inotify: Inotify, acme: Path) -> None:
    inotify.add(acme, "acme")
    with (acme / "1.object").open("wb", buffering=0) as file:
        file.write(b"half")
        assert inotify.drain() == set()
    assert inotify.drain() == {Change("acme", "1.object")}


def test_ten_thousand_changes_are_drained_at_once(inotify: Inotify, acme: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    count = min(10_000, limit - 1)
    inotify.add(acme, "acme")
    for number in range(count):
        write(acme, f"{number}.object")
    assert len(inotify.drain()) == count


def test_names_that_are_not_utf8_do_not_stop_the_queue(inotify: Inotify, acme: Path) -> None:
    inotify.add(acme, "acme")
    (Path(str(acme)) / "\udcff.object").write_bytes(b"x")
    write(acme, "1.object")
    assert Change("acme", "1.object") in inotify.drain()


def test_a_removed_key_frees_the_kernels_watch(inotify: Inotify, acme: Path) -> None:
    def watches() -> int:
        return Path(f"/proc/self/fdinfo/{inotify.fileno()}").read_text(encoding="ascii").count("inotify wd:")

    inotify.add(acme, "acme")
    assert watches() == 1
    inotify.remove("acme")
    assert watches() == 0


def test_lost_events_are_reported_as_overflow(inotify: Inotify, acme: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    inotify.add(acme, "acme")
    names = ("1.lock", "2.lock")
    # The kernel merges an event with an equal one before it, so the names alternate.
    for number in range(limit + 1):
        os.close(os.open(acme / names[number % 2], os.O_WRONLY | os.O_CREAT))
    assert inotify.drain() == {OVERFLOW}
