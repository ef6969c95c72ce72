"""SoftHsmDirectory beside running SoftHSM 2.6.1 processes: what they see, and that nobody's write is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.softhsm_application import Application, application

from keyfold.custody.create import create_partition_token, write_softhsm2_conf
from keyfold.token.object_file import TornFile, describe, identity, parse, with_generation
from keyfold.token.softhsm import SoftHsmDirectory

pytestmark = pytest.mark.container

PIN, SO_PIN = "user-pin-1", "officer-pin-1"
CKO_PUBLIC_KEY, CKO_PRIVATE_KEY = 2, 3
TOKEN = "token.object"


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    create_partition_token(tmp_path, "acme", os.geteuid(), os.getegid(), SO_PIN, PIN)
    return tmp_path


@pytest.fixture
def directory(partition: Path) -> SoftHsmDirectory:
    (path,) = (partition / "tokens").iterdir()
    return SoftHsmDirectory(path, os.geteuid(), os.getegid())


@pytest.fixture
def app(partition: Path) -> Iterator[Application]:
    with application(partition, "acme", PIN) as running:
        yield running


@pytest.fixture
def other(partition: Path) -> Iterator[Application]:
    with application(partition, "acme", PIN) as running:
        yield running


def content(directory: SoftHsmDirectory, name: str) -> bytes:
    data = directory.read(name)
    assert data is not None
    return data


def objects(directory: SoftHsmDirectory) -> dict[str, bytes]:
    return {name: content(directory, name) for name in directory.files() if name != TOKEN}


def public_key(directory: SoftHsmDirectory) -> tuple[str, bytes]:
    (found,) = [item for item in objects(directory).items() if describe(item[1]).object_class == CKO_PUBLIC_KEY]
    return found


@pytest.fixture
def remote_pair(other: Application, directory: SoftHsmDirectory) -> dict[str, bytes]:
    """The files of a key pair `mine` of the same token that this node does not have."""
    other("generate", "mine")
    made = objects(directory)
    other("destroy", "mine")
    assert objects(directory) == {}
    return made


def test_a_running_session_uses_new_objects_after_one_bump(
    app: Application, directory: SoftHsmDirectory, remote_pair: dict[str, bytes]
) -> None:
    assert app("find", "mine") == 0
    for name, data in remote_pair.items():
        directory.write(name, data)
    assert app("find", "mine") == 0, "SoftHSM lists the directory without a bump: then bump() is not needed"
    directory.bump()
    assert app("find", "mine") == 2
    assert len(app("sign", "mine")) == 128


def test_a_running_session_sees_an_update_without_a_bump(app: Application, directory: SoftHsmDirectory) -> None:
    app("generate", "mine")
    name, data = public_key(directory)
    directory.write(name, data.replace(b"mine", b"ours"))
    assert (app("find", "ours"), app("find", "mine")) == (1, 1)


def test_a_removed_object_is_gone_for_a_running_session(app: Application, directory: SoftHsmDirectory) -> None:
    app("generate", "mine")
    for name in objects(directory):
        assert directory.remove(name)
    directory.bump()
    assert app("find", "mine") == 0


def test_an_object_that_comes_back_is_the_new_one_for_a_running_session(
    app: Application, directory: SoftHsmDirectory
) -> None:
    """Removed and written between two looks of the process, under the generation it had."""
    app("generate", "mine")
    name, data = public_key(directory)
    directory.remove(name)
    directory.write(name, data.replace(b"mine", b"ours"))
    directory.bump()
    assert app("find", "ours") == 1


def test_a_process_sees_a_key_it_destroyed_come_back_if_it_looked_at_the_token_in_between(
    app: Application, directory: SoftHsmDirectory
) -> None:
    """SoftHSM forgets the name of a file that it removed itself only when it lists the directory after a bump."""
    app("generate", "mine")
    made = objects(directory)
    app("destroy", "mine")
    directory.bump()
    assert app("find", "mine") == 0
    for name, data in made.items():
        directory.write(name, data)
    directory.bump()
    assert app("find", "mine") == 2


def test_a_torn_object_works_again_once_it_is_repaired(
    app: Application, directory: SoftHsmDirectory, partition: Path
) -> None:
    app("generate", "mine")
    name, data = public_key(directory)
    (file,) = partition.glob(f"tokens/*/{name}")
    file.write_bytes(with_generation(data[:150], parse(data).generation + 1))
    assert app("find", "mine") == 1
    with pytest.raises(TornFile):
        directory.read(name)
    directory.write(name, data)
    assert app("find", "mine") == 2


def test_a_process_that_creates_before_it_looks_needs_a_bump_afterwards(
    app: Application, directory: SoftHsmDirectory, remote_pair: dict[str, bytes]
) -> None:
    assert app("find", "mine") == 0
    for name, data in remote_pair.items():
        directory.write(name, data)
    directory.bump()
    app("generate", "another")
    assert app("find", "mine") == 0, "SoftHSM notices by itself: then the second bump is not needed"
    directory.bump()
    assert app("find", "mine") == 2


def test_an_update_waits_for_softhsms_own_and_neither_is_torn(
    app: Application, other: Application, directory: SoftHsmDirectory, partition: Path
) -> None:
    app("generate", "mine")
    name, data = public_key(directory)
    app.begin("relabel_back_and_forth", "mine", "mine", 150)
    labels = {b"mine", b"ours"}
    for number in range(150):
        directory.write(name, data.replace(b"mine", b"ours" if number % 2 else b"mine"), durable=False)
        assert describe(content(directory, name)).label in labels
    app.finish()
    directory.write(name, data)
    assert (app("find", "mine"), other("find", "mine")) == (2, 2)


def test_a_reader_beside_a_writing_softhsm_always_gets_whole_objects(
    app: Application, directory: SoftHsmDirectory
) -> None:
    app("generate", "mine")
    name, data = public_key(directory)
    expected = {identity(data.replace(b"mine", label)) for label in (b"mine", b"ours")}
    app.begin("relabel_back_and_forth", "mine", "ours", 150)
    seen = {identity(content(directory, name)) for _ in range(500)}
    app.finish()
    assert seen <= expected


def test_logins_good_or_bad_do_not_change_the_tokens_identity(app: Application, directory: SoftHsmDirectory) -> None:
    before = content(directory, TOKEN)
    app("login_again", "wrong-pin", "wrong-pin")
    after_failures = content(directory, TOKEN)
    assert after_failures[8:] != before[8:], "SoftHSM records no failed login: then there is nothing to mask"
    assert identity(after_failures) == identity(before)
    assert app("login_again", PIN) == ["ok"]
    assert identity(content(directory, TOKEN)) == identity(before)


def test_a_new_pin_changes_the_tokens_identity_and_works_where_it_was_applied(
    app: Application, directory: SoftHsmDirectory, partition: Path
) -> None:
    before = content(directory, TOKEN)
    app("change_pin", PIN, "another-pin")
    changed = content(directory, TOKEN)
    assert identity(changed) != identity(before)
    for data, pin in ((before, PIN), (changed, "another-pin")):
        directory.write(TOKEN, data)
        with application(partition, "acme", pin):
            pass


def test_a_process_that_knows_only_the_old_pin_does_not_bring_it_back(
    app: Application, other: Application, directory: SoftHsmDirectory
) -> None:
    """SoftHSM keeps the PIN it read at its start: a running process goes on accepting the old one."""
    other("change_pin", PIN, "another-pin")
    changed = identity(content(directory, TOKEN))
    assert app("login_again", "another-pin", PIN)[1] == "ok"
    assert identity(content(directory, TOKEN)) == changed


def test_a_private_key_hides_its_label_and_a_public_one_shows_it(app: Application, directory: SoftHsmDirectory) -> None:
    app("generate", "mine")
    described = {describe(data).object_class: describe(data) for data in objects(directory).values()}
    assert described[CKO_PUBLIC_KEY].label == b"mine"
    assert (described[CKO_PRIVATE_KEY].label, described[CKO_PRIVATE_KEY].private) == (None, True)


def test_a_copied_directory_is_a_working_token(
    app: Application, directory: SoftHsmDirectory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a node that joins does: every object, token.object last, one bump."""
    app("generate", "mine")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_softhsm2_conf(elsewhere)
    copy = SoftHsmDirectory(elsewhere / "tokens" / "copied", os.geteuid(), os.getegid())
    copy.create()
    for name, data in sorted(objects(directory).items()):
        copy.write(name, data, durable=False)
    copy.write(TOKEN, content(directory, TOKEN), durable=False)
    copy.sync()
    copy.bump()
    with application(elsewhere, "acme", PIN) as there:
        assert len(there("sign", "mine")) == 128
