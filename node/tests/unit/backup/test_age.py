"""The stock age command with the plugin: what it encrypts only the same cluster decrypts."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from support import age_plugin

from keyfold.backup import recipient
from keyfold.backup.age import Encryption, decrypting
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError

ROOT = bytes(range(32))
CLUSTER = "11111111-2222-4333-8444-555555555555"
KEYS = MemorySystemKeys(ROOT, CLUSTER)
RECIPIENT = recipient.encode_recipient(KEYS.backup_public_key())
IDENTITY = recipient.encode_identity(recipient.tag(KEYS.backup_public_key()))


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age_plugin.install_program(tmp_path / "bin", ROOT, CLUSTER, monkeypatch)


def encrypt(target: Path, plain: bytes, to: str = RECIPIENT) -> Encryption:
    with Encryption(to, target) as encryption:
        for at in range(0, len(plain), 100_000):
            encryption.write(plain[at : at + 100_000])
    return encryption


def decrypt(path: Path) -> bytes:
    parts = []
    with path.open("rb") as file, decrypting(IDENTITY, file) as plain:
        while part := plain.read(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 300_001])
def test_what_was_encrypted_is_decrypted_and_described(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    file = tmp_path / "a.age"
    encryption = encrypt(file, content)
    assert (encryption.size, encryption.sha256) == (
        file.stat().st_size,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    assert decrypt(file) == content


def test_encryption_needs_no_private_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age_plugin.install_program(tmp_path / "other", bytes(32), "99999999-2222-4333-8444-555555555555", monkeypatch)
    encrypt(tmp_path / "a.age", b"content")
    age_plugin.install_program(tmp_path / "again", ROOT, CLUSTER, monkeypatch)
    assert decrypt(tmp_path / "a.age") == b"content"


@pytest.mark.parametrize("same_identity", [True, False])
def test_another_cluster_is_refused_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_identity: bool
) -> None:
    encrypt(tmp_path / "a.age", b"content")
    foreign = MemorySystemKeys(bytes(32), CLUSTER)
    age_plugin.install_program(tmp_path / "other", bytes(32), CLUSTER, monkeypatch)
    identity = IDENTITY if same_identity else recipient.encode_identity(recipient.tag(foreign.backup_public_key()))
    with (
        pytest.raises(KeyfoldError) as caught,
        (tmp_path / "a.age").open("rb") as file,
        decrypting(identity, file) as plain,
    ):
        plain.read(10)
    assert caught.value.code == "refused"
    assert "backup of another cluster" in caught.value.what


def test_a_flipped_bit_or_a_missing_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.age"
    encrypt(file, os.urandom(70_000))
    whole = file.read_bytes()
    header_end = whole.index(b"\n--- ")
    flips = [0, 30, header_end - 3, header_end + 10, header_end + 60, len(whole) // 2, len(whole) - 1]
    spoiled = [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in flips]
    spoiled += [whole[:length] for length in (0, header_end, len(whole) - 16, len(whole) - 1)]
    for content in spoiled:
        file.write_bytes(content)
        with pytest.raises(KeyfoldError) as caught:
            decrypt(file)
        assert caught.value.code == "refused"


def test_a_reader_that_stumbles_over_the_cut_hears_of_the_cut(tmp_path: Path) -> None:
    file = tmp_path / "a.age"
    encrypt(file, os.urandom(200_000))
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(KeyfoldError, match="altered or cut short"):
        stumble(file)


def stumble(path: Path) -> None:
    with path.open("rb") as file, decrypting(IDENTITY, file) as plain:
        while plain.read(1000):
            pass
        raise KeyfoldError("refused", "the tar ends early", not_done="", next_step="")


def test_an_error_of_the_block_ends_age_at_once(tmp_path: Path) -> None:
    def fail_writing() -> None:
        with Encryption(RECIPIENT, tmp_path / "a.age") as encryption:
            encryption.write(b"x" * 10)
            raise ZeroDivisionError

    def fail_reading() -> None:
        encrypt(tmp_path / "b.age", os.urandom(1_000_000))
        with (tmp_path / "b.age").open("rb") as file, decrypting(IDENTITY, file) as plain:
            plain.read(10)
            raise ZeroDivisionError

    for fail in (fail_writing, fail_reading):
        with pytest.raises(ZeroDivisionError):
            fail()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyfoldError) as caught:
        encrypt(Path("/dev/full"), os.urandom(5_000_000))
    assert caught.value.code == "disk"
    assert "is full" in caught.value.what


def test_a_wrong_recipient_is_an_error_and_no_file_counts(tmp_path: Path) -> None:
    with pytest.raises(KeyfoldError) as caught:
        encrypt(tmp_path / "a", os.urandom(5_000_000), RECIPIENT[:-1] + "q")
    assert caught.value.code == "internal"


def test_a_missing_age_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeyfoldError) as caught:
        encrypt(tmp_path / "a", b"")
    assert caught.value.code == "not_found"


def test_the_plain_command_line_of_age_works_too(tmp_path: Path) -> None:
    """What a runbook may ask for by hand."""
    key = tmp_path / "identity"
    key.write_text(f"# the backup key of the cluster\n{IDENTITY}\n")
    sealed = subprocess.run(["age", "-r", RECIPIENT], input=b"by hand", capture_output=True, check=True).stdout
    opened = subprocess.run(["age", "-d", "-i", key], input=sealed, capture_output=True, check=True).stdout
    assert opened == b"by hand"
