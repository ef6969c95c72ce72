"""One suite for every TokenDirectory, on memory and on real files under SoftHSM's protocol."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfold.errors import KeyfoldError
from keyfold.token import record_lock
from keyfold.token.directory import TokenDirectory
from keyfold.token.memory import MemoryDirectory
from keyfold.token.object_file import TornFile, identity, local_generation
from keyfold.token.softhsm import SoftHsmDirectory

NAME = "2f0c7d5e-8a52-4f5d-9d0e-0a8f5a0b6c11.object"
OTHER = "d8a0a5b2-21cb-4cc9-9c3e-2f4f0a3a0c55.object"
LOCK = NAME.replace(".object", ".lock")
IS_ROOT = os.geteuid() == 0
OWNER = (64_001, 64_002) if IS_ROOT else (os.geteuid(), os.getegid())


def an_object(label: str, generation: int = 5) -> bytes:
    text = label.encode()
    return struct.pack(">QQQQ", generation, 3, 3, len(text)) + text


@dataclass
class Subject:
    """A token directory, and what a test may do to it behind its back."""

    directory: TokenDirectory
    put: Callable[[str, bytes], object]
    disk_full: Callable[[], AbstractContextManager[None]]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Every write beyond `size` bytes of a file fails, after a short write, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def in_memory() -> Subject:
    directory = MemoryDirectory()

    @contextmanager
    def full() -> Iterator[None]:
        directory.disk_full = True
        yield
        directory.disk_full = False

    return Subject(directory, directory.put, full)


def on_files(path: Path) -> Subject:
    def put(name: str, data: bytes) -> None:
        (path / name).write_bytes(data)

    return Subject(SoftHsmDirectory(path, *OWNER), put, lambda: files_limited_to(12))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens" / "9f6f3f55-79a2-cf4a-8fc6-53893e85d89e"


@pytest.fixture(params=["memory", "softhsm"])
def subject(request: pytest.FixtureRequest, path: Path) -> Subject:
    made = in_memory() if request.param == "memory" else on_files(path)
    made.directory.create()
    return made


@pytest.fixture
def files(path: Path) -> SoftHsmDirectory:
    made = SoftHsmDirectory(path, *OWNER)
    made.create()
    return made


class TestEveryImplementation:
    def test_a_written_object_reads_back_with_its_identity(self, subject: Subject) -> None:
        subject.directory.write(NAME, an_object("mine"))
        data = subject.directory.read(NAME)
        assert data is not None
        assert identity(data) == identity(an_object("mine"))

    def test_an_update_moves_the_local_generation_by_one(self, subject: Subject) -> None:
        subject.put(NAME, an_object("old", generation=41))
        subject.directory.write(NAME, an_object("new", generation=7))
        assert subject.directory.read(NAME) == an_object("new", generation=42)

    def test_an_update_may_be_shorter_than_what_was_there(self, subject: Subject) -> None:
        subject.put(NAME, an_object("long" * 100, generation=1))
        subject.directory.write(NAME, an_object("short"), durable=False)
        subject.directory.sync()
        assert subject.directory.read(NAME) == an_object("short", generation=2)

    def test_a_batch_sees_what_it_writes_and_its_end_leaves_everything_usable(self, subject: Subject) -> None:
        with subject.directory.batch():
            subject.directory.write(NAME, an_object("mine"), durable=False)
            assert subject.directory.read(NAME) is not None
        subject.directory.sync()
        assert list(subject.directory.files()) == [NAME]

    def test_an_absent_object_reads_as_none(self, subject: Subject) -> None:
        assert subject.directory.read(NAME) is None
        assert not subject.directory.exists(NAME)
        assert not subject.directory.remove(NAME)

    def test_a_torn_file_is_told_from_an_absent_one_and_repaired_by_a_write(self, subject: Subject) -> None:
        subject.put(NAME, an_object("mine")[:20])
        assert subject.directory.exists(NAME)
        with pytest.raises(TornFile):
            subject.directory.read(NAME)
        subject.directory.write(NAME, an_object("mine"))
        assert subject.directory.read(NAME) is not None

    def test_an_empty_file_is_torn_and_repaired_by_a_write(self, subject: Subject) -> None:
        subject.put(NAME, b"")
        with pytest.raises(TornFile):
            subject.directory.read(NAME)
        subject.directory.write(NAME, an_object("mine"))
        assert subject.directory.read(NAME) is not None

    def test_a_torn_object_is_never_written(self, subject: Subject) -> None:
        with pytest.raises(TornFile):
            subject.directory.write(NAME, an_object("mine")[:-1])
        assert not subject.directory.exists(NAME)

    def test_a_removed_object_is_gone(self, subject: Subject) -> None:
        subject.directory.write(NAME, an_object("mine"))
        assert subject.directory.remove(NAME)
        assert subject.directory.files() == {}

    def test_files_lists_objects_and_the_token_itself(self, subject: Subject) -> None:
        subject.directory.write(NAME, an_object("mine"))
        subject.put("token.object", an_object("token"))
        subject.directory.bump()
        assert set(subject.directory.files()) == {NAME, "token.object"}

    def test_a_changed_file_has_another_stat(self, subject: Subject) -> None:
        subject.directory.write(NAME, an_object("mine"))
        before = subject.directory.files()[NAME]
        subject.directory.write(NAME, an_object("more"))
        after = subject.directory.files()[NAME]
        assert after != before
        assert after.size == before.size

    def test_every_bump_moves_the_generation(self, subject: Subject) -> None:
        assert subject.directory.generation() == 0
        assert [subject.directory.bump() for _ in range(3)] == [1, 2, 3]
        assert subject.directory.generation() == 3

    def test_a_full_disk_leaves_no_trace_of_a_new_object(self, subject: Subject) -> None:
        with subject.disk_full(), pytest.raises(KeyfoldError) as caught:
            subject.directory.write(NAME, an_object("mine"))
        assert caught.value.code == "disk"
        assert subject.directory.files() == {}

    @pytest.mark.parametrize("label", ["same", "much longer than before" * 400, ""])
    def test_a_full_disk_leaves_the_old_object(self, subject: Subject, label: str) -> None:
        subject.put(NAME, an_object("once", generation=9))
        with subject.disk_full(), pytest.raises(KeyfoldError) as caught:
            subject.directory.write(NAME, an_object(label))
        assert caught.value.code == "disk"
        assert subject.directory.read(NAME) == an_object("once", generation=9)

    def test_quarantine_keeps_torn_bytes_and_every_copy(self, subject: Subject, tmp_path: Path) -> None:
        subject.put(NAME, b"torn")
        copies = [subject.directory.quarantine(NAME, tmp_path / "conflicts" / "acme") for _ in range(3)]
        assert len({copy for copy in copies if copy is not None and copy.read_bytes() == b"torn"}) == 3
        assert all(copy is not None and copy.name.endswith(NAME) for copy in copies)
        assert subject.directory.quarantine(OTHER, tmp_path) is None


class TestFiles:
    def test_create_twice_is_fine_and_everything_belongs_to_the_partition(
        self, files: SoftHsmDirectory, path: Path
    ) -> None:
        files.create()
        files.write(NAME, an_object("mine"))
        files.bump()
        for made in (path.parent, path, path / NAME, path / LOCK, path / "generation"):
            status = made.stat()
            assert (status.st_uid, status.st_gid) == OWNER, made
            assert stat.S_IMODE(status.st_mode) == (0o700 if made.is_dir() else 0o600), made

    def test_a_missing_directory_lists_nothing_and_refuses_writes(self, path: Path) -> None:
        directory = SoftHsmDirectory(path, *OWNER)
        assert directory.files() == {}
        assert directory.read(NAME) is None
        assert directory.generation() == 0
        with pytest.raises(KeyfoldError) as caught:
            directory.write(NAME, an_object("mine"))
        assert caught.value.code == "disk"

    def test_an_update_keeps_the_inode(self, files: SoftHsmDirectory, path: Path) -> None:
        files.write(NAME, an_object("mine"))
        before = (path / NAME).stat().st_ino
        files.write(NAME, an_object("changed" * 50))
        assert (path / NAME).stat().st_ino == before

    def test_a_name_that_comes_back_never_has_the_generation_it_had(self, files: SoftHsmDirectory) -> None:
        generations = set()
        for _ in range(3):
            files.write(NAME, an_object("mine"))
            generations.add(local_generation(files.read(NAME) or b""))
            files.remove(NAME)
        assert len(generations) == 3

    def test_remove_takes_the_lock_file_too(self, files: SoftHsmDirectory, path: Path) -> None:
        files.write(NAME, an_object("mine"))
        files.remove(NAME)
        assert list(path.iterdir()) == []

    def test_remove_clears_a_lock_file_that_a_crash_left(self, files: SoftHsmDirectory, path: Path) -> None:
        (path / LOCK).touch()
        assert not files.remove(NAME)
        assert list(path.iterdir()) == []

    def test_what_a_crash_left_of_a_new_object_does_not_stop_the_next_write(
        self, files: SoftHsmDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object, **__: object) -> None:
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(os, "link", killed)
            with pytest.raises(SystemExit):
                files.write(NAME, an_object("mine"))
        assert files.files() == {}
        files.write(NAME, an_object("mine"))
        assert {entry.name for entry in path.iterdir()} == {NAME, LOCK}
        assert list(path.parent.iterdir()) == [path]

    def test_a_full_disk_leaves_nothing_but_the_lock_of_a_new_object(self, files: SoftHsmDirectory, path: Path) -> None:
        with files_limited_to(12), pytest.raises(KeyfoldError):
            files.write(NAME, an_object("mine"))
        assert [entry.name for entry in path.iterdir()] == [LOCK]
        assert list(path.parent.iterdir()) == [path]

    def test_a_full_disk_is_found_before_a_growing_object_is_touched(
        self, files: SoftHsmDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files.write(NAME, an_object("mine"))
        before = (path / NAME).read_bytes()
        with monkeypatch.context() as patch, files_limited_to(len(before)):
            patch.setattr(os, "pwrite", lambda *_: pytest.fail("wrote"))
            with pytest.raises(KeyfoldError):
                files.write(NAME, an_object("mine and more"))
        assert (path / NAME).read_bytes() == before

    def test_a_write_waits_for_whoever_holds_the_objects_lock(
        self, files: SoftHsmDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files.write(NAME, an_object("mine"))
        monkeypatch.setattr(record_lock, "TIMEOUT_SECONDS", 0.05)
        for held in (LOCK, NAME):
            with locked_by_another_process(path / held), pytest.raises(KeyfoldError) as caught:
                files.write(NAME, an_object("other"))
            assert caught.value.code == "conflict"
            assert identity(files.read(NAME) or b"") == identity(an_object("mine"))
        files.write(NAME, an_object("other"))

    def test_reading_waits_until_a_torn_file_is_whole(
        self, files: SoftHsmDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (path / NAME).write_bytes(b"")
        monkeypatch.setattr("time.sleep", lambda _: (path / NAME).write_bytes(an_object("mine")))
        assert files.read(NAME) == an_object("mine")

    @pytest.mark.parametrize("name", ["generation", "../x.object", ".hidden.object", "x.lock"])
    def test_names_that_are_no_objects_are_refused(self, files: SoftHsmDirectory, name: str) -> None:
        with pytest.raises(ValueError, match="not the name"):
            files.write(name, an_object("mine"))
        with pytest.raises(ValueError, match="not the name"):
            files.remove(name)


class TestHostilePartition:
    """The partition's user owns the directory that root works in."""

    @pytest.fixture
    def victim(self, tmp_path: Path) -> Path:
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / NAME).write_bytes(an_object("root's own"))
        (victim / "generation").write_bytes(b"precious")
        return victim

    def test_links_in_place_of_files_are_not_followed(self, files: SoftHsmDirectory, path: Path, victim: Path) -> None:
        for name in (NAME, "generation"):
            (path / name).symlink_to(victim / name)
        (path / OTHER).write_bytes(an_object("known"))
        (path / OTHER.replace(".object", ".lock")).symlink_to(victim / "made.lock")
        assert set(files.files()) == {OTHER}
        for attempt in (
            lambda: files.read(NAME),
            lambda: files.write(NAME, an_object("x")),
            lambda: files.write(OTHER, an_object("x")),
            files.bump,
            lambda: files.quarantine(NAME, path.parent),
        ):
            with pytest.raises(KeyfoldError):
                attempt()
        self.assert_untouched(victim)

    @pytest.mark.parametrize("level", ["token", "tokens"])
    def test_links_in_place_of_directories_are_not_followed(
        self, files: SoftHsmDirectory, path: Path, victim: Path, level: str
    ) -> None:
        path.rmdir()
        if level == "tokens":
            path.parent.rmdir()
            path.parent.symlink_to(victim.parent)
            victim.rename(victim.parent / path.name)
            victim = victim.parent / path.name
        else:
            path.symlink_to(victim)
        for attempt in (
            files.files,
            lambda: files.remove(NAME),
            lambda: files.write(OTHER, an_object("x")),
            files.bump,
        ):
            with pytest.raises(KeyfoldError):
                attempt()
        self.assert_untouched(victim)

    def test_a_pipe_in_place_of_an_object_does_not_block(self, files: SoftHsmDirectory, path: Path) -> None:
        os.mkfifo(path / NAME)
        with pytest.raises(KeyfoldError):
            files.read(NAME)

    @staticmethod
    def assert_untouched(victim: Path) -> None:
        assert {entry.name for entry in victim.iterdir()} == {NAME, "generation"}
        assert (victim / NAME).read_bytes() == an_object("root's own")
        assert (victim / "generation").read_bytes() == b"precious"


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    ready, ready_in = os.pipe()
    done, done_in = os.pipe()
    child = os.fork()
    if child == 0:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(ready_in, b".")
            os.read(done, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        yield
    finally:
        os.write(done_in, b".")
        os.waitpid(child, 0)
        for descriptor in (ready, ready_in, done, done_in):
            os.close(descriptor)


def test_the_full_disk_of_this_suite_is_one(tmp_path: Path) -> None:
    with files_limited_to(3), (tmp_path / "file").open("wb", buffering=0) as file:
        assert file.write(b"12345") == 3
        with pytest.raises(OSError, match="File too large"):
            file.write(b"45")
