"""One suite for every SystemKeys, and what only a real token can promise."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PyKCS11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.custody.audit_signer import AuditSigner
from keyfold.custody.create import (
    CreatedSystem,
    NewToken,
    create_partition_token,
    create_partition_tokens,
    create_system_token,
    read_data_key,
    write_softhsm2_conf,
)
from keyfold.custody.derive import derive
from keyfold.custody.keys import SystemKeys
from keyfold.custody.labels import audit_label, backup_label, data_label, manifest_label
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.custody.softhsm import open_token, softhsm
from keyfold.custody.token_keys import TokenSystemKeys
from keyfold.errors import KeyfoldError

ROOT = bytes(range(32))
CLUSTER = "5f0c7d5e-8a52-4f5d-9d0e-0a8f5a0b6c11"
PIN, SO_PIN = "c0ffee" * 10, "officer-pin-1"
OWNER = (64_001, 64_002) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

DATA_KEY = "f5b119accd0938f144ce22c4913e6e1303b58f0b831b8a98164ad149503b8e25"
BACKUP_POINT = (
    "04febbeba1c18df5c223f88488f0200dba8212cc4fdb637bb19a70a87f11b1cb77"
    "ae98aa67a3ee8df12fa22cb06ed32d6199850935c3d39baa2ff66800dadccf07"
)
SIGNING_KEY = "55238e8f4de1469e3def97b17bab44c243957e44330cc1cfb4e35705dc32da64"
SIGNATURE = (
    "94dd7496ea8e434aaacd56f0ead55f942f9f4d1963a24d0153c16f29d003cd09"
    "e175db7740e41870b53b0e1b5b56d35578d9c7a901a3d8ac32158f7f99995604"
)
AUDIT_KEY = "8b69e9a129c238c5d54bcd76b0ae52af339e965dfb1303dd4c811bf204f73fa8"
AUDIT_SIGNATURE = (
    "8f07ea3504f7edb385d55d9ab3c9b7b430c838a83f3f5102d2e704fa411385a6"
    "184a3c4af598d43d83154c1c644828b305d67bd70d22c6f07284fe3d858ddb0e"
)
# The peer with this private scalar shares a secret that begins with a zero byte.
ZERO_LEADING_PEER = 138
ZERO_LEADING_SECRET = "007deb674c5f72e71a39bae8e52023139aabe50a53ce7da664d99122cef6186f"

on_token = pytest.mark.container


@dataclass
class SystemToken:
    partition: Path
    created: CreatedSystem

    @property
    def conf(self) -> Path:
        return self.partition / "softhsm2.conf"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SystemToken:
    partition = tmp_path_factory.mktemp("system")
    return SystemToken(partition, create_system_token(partition, *OWNER, PIN, ROOT, CLUSTER))


@pytest.fixture(params=["memory", pytest.param("token", marks=on_token)])
def keys(request: pytest.FixtureRequest) -> Iterator[SystemKeys]:
    if request.param == "memory":
        yield MemorySystemKeys(ROOT, CLUSTER)
        return
    token: SystemToken = request.getfixturevalue("token")
    with TokenSystemKeys(token.conf, "system", PIN) as opened:
        yield opened


def point_of(scalar: int) -> bytes:
    public = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class TestEveryImplementation:
    def test_the_golden_root_gives_the_golden_public_keys(self, keys: SystemKeys) -> None:
        assert keys.backup_public_key().hex() == BACKUP_POINT
        assert keys.signing_public_key().hex() == SIGNING_KEY
        assert keys.audit_public_key().hex() == AUDIT_KEY

    def test_the_golden_root_gives_the_golden_data_key(self, keys: SystemKeys) -> None:
        assert keys.data_key().hex() == DATA_KEY

    def test_signatures_are_deterministic_and_verify(self, keys: SystemKeys) -> None:
        assert keys.sign(b"manifest").hex() == SIGNATURE
        assert keys.sign_audit(b"manifest").hex() == AUDIT_SIGNATURE
        public = ed25519.Ed25519PublicKey.from_public_bytes(keys.signing_public_key())
        for message in (b"x", b"x" * 100_000):
            public.verify(keys.sign(message), message)

    def test_an_empty_message_is_refused(self, keys: SystemKeys) -> None:
        with pytest.raises(ValueError, match="empty"):
            keys.sign(b"")
        with pytest.raises(ValueError, match="empty"):
            keys.sign_audit(b"")

    def test_both_ends_compute_the_same_secret(self, keys: SystemKeys) -> None:
        peer = ec.generate_private_key(ec.SECP256R1())
        ours = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), keys.backup_public_key())
        sent = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert keys.ecdh(sent) == peer.exchange(ec.ECDH(), ours)

    def test_a_secret_that_begins_with_zero_keeps_its_32_bytes(self, keys: SystemKeys) -> None:
        assert keys.ecdh(point_of(ZERO_LEADING_PEER)).hex() == ZERO_LEADING_SECRET

    @pytest.mark.parametrize(
        "point",
        [b"", b"\x04" * 65, point_of(7)[:-1], point_of(7) + b"\0", b"\x02" + point_of(7)[1:33], bytes(65), b"x" * 300],
    )
    def test_what_is_no_uncompressed_point_is_refused(self, keys: SystemKeys, point: bytes) -> None:
        with pytest.raises(KeyfoldError) as caught:
            keys.ecdh(point)
        assert caught.value.code == "invalid"


@on_token
class TestToken:
    def test_it_belongs_to_the_partition_and_nothing_else_is_left(self, token: SystemToken) -> None:
        assert {entry.name for entry in token.partition.iterdir()} == {"softhsm2.conf", "tokens"}
        made = token.partition / "tokens" / token.created.token_uuid
        for path in (made.parent, made, *made.iterdir()):
            status = path.stat()
            assert (status.st_uid, status.st_gid) == OWNER, path
            assert stat.S_IMODE(status.st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert len(list(made.glob("*.object"))) == 8

    def test_creation_returns_the_public_halves(self, token: SystemToken) -> None:
        assert token.created.backup_public_key.hex() == BACKUP_POINT
        assert token.created.signing_public_key.hex() == SIGNING_KEY
        assert token.created.audit_public_key.hex() == AUDIT_KEY

    def test_no_file_of_the_token_holds_a_secret_in_clear(self, token: SystemToken) -> None:
        derived = derive(ROOT, CLUSTER)
        secrets = (
            derived.backup_scalar.to_bytes(32, "big"),
            derived.data_prk,
            derived.manifest_seed,
            derived.audit_seed,
            PIN.encode(),
        )
        for path in token.partition.rglob("*"):
            if path.is_file():
                assert not any(secret in path.read_bytes() for secret in secrets), path

    @pytest.mark.parametrize(
        ("object_class", "label"),
        [
            (PyKCS11.CKO_PRIVATE_KEY, backup_label(1)),
            (PyKCS11.CKO_PRIVATE_KEY, manifest_label(1)),
            (PyKCS11.CKO_PRIVATE_KEY, audit_label(1)),
            (PyKCS11.CKO_SECRET_KEY, data_label(1)),
        ],
    )
    def test_a_private_key_cannot_be_taken_out(self, token: SystemToken, object_class: int, label: str) -> None:
        with softhsm(token.conf) as library:
            session = open_token(library, "system", PIN)
            (key,) = session.findObjects([(PyKCS11.CKA_CLASS, object_class), (PyKCS11.CKA_LABEL, label)])
            assert session.getAttributeValue(key, [PyKCS11.CKA_VALUE]) == [None]
            wrapping = session.generateKey(
                [
                    (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
                    (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
                    (PyKCS11.CKA_VALUE_LEN, 32),
                    (PyKCS11.CKA_WRAP, True),
                ],
                mecha=PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_GEN, None),
            )
            with pytest.raises(PyKCS11.PyKCS11Error) as refused:
                session.wrapKey(wrapping, key, PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_WRAP_PAD, None))
            assert refused.value.value == PyKCS11.CKR_KEY_UNEXTRACTABLE
            for weaker in ((PyKCS11.CKA_EXTRACTABLE, True), (PyKCS11.CKA_SENSITIVE, False)):
                with pytest.raises(PyKCS11.PyKCS11Error) as refused:
                    session.setAttributeValue(key, [weaker])
                assert refused.value.value == PyKCS11.CKR_ATTRIBUTE_READ_ONLY

    def test_the_data_key_is_read_by_a_process_of_its_own(self, token: SystemToken) -> None:
        assert read_data_key(token.partition, PIN).hex() == DATA_KEY

    def test_the_audit_key_signs_in_a_process_of_its_own_that_is_started_again_after_it_died(
        self, token: SystemToken
    ) -> None:
        signer = AuditSigner(token.partition)
        try:
            assert [signature.hex() for signature in signer.sign([b"manifest"], 1, PIN)] == [AUDIT_SIGNATURE]
            helper = signer._process
            assert helper is not None
            assert signer.sign([b"x"] * 3, 1, "it is not asked again")[0] == signer.sign([b"x"], 1, PIN)[0]
            assert signer._process is helper
            helper.kill()
            helper.wait()
            assert [signature.hex() for signature in signer.sign([b"manifest"], 1, PIN)] == [AUDIT_SIGNATURE]
            with pytest.raises(KeyfoldError) as missing:
                signer.sign([b"x"], 7, PIN)
            assert missing.value.code == "not_found"
            with pytest.raises(KeyfoldError) as wrong:
                signer.sign([b"x"], 1, "wrong-pin-wrong")
            assert wrong.value.code == "denied"
        finally:
            signer.close()

    def test_a_wrong_pin_is_denied_and_not_repeated(self, token: SystemToken) -> None:
        with pytest.raises(KeyfoldError) as caught:
            read_data_key(token.partition, "wrong-pin-wrong")
        assert caught.value.code == "denied"
        assert "wrong-pin-wrong" not in str(caught.value)

    def test_a_missing_token_and_a_missing_key_are_not_found(self, token: SystemToken) -> None:
        with pytest.raises(KeyfoldError) as caught:
            TokenSystemKeys(token.conf, "another", PIN)
        assert caught.value.code == "not_found"
        with pytest.raises(KeyfoldError) as caught:
            read_data_key(token.partition, PIN, epoch=7)
        assert caught.value.code == "not_found"

    @pytest.mark.parametrize("before", [None, "/etc/softhsm/softhsm2.conf"])
    def test_the_configuration_of_one_use_does_not_leak_into_the_next(
        self, token: SystemToken, monkeypatch: pytest.MonkeyPatch, before: str | None
    ) -> None:
        monkeypatch.delenv("SOFTHSM2_CONF", raising=False)
        if before is not None:
            monkeypatch.setenv("SOFTHSM2_CONF", before)
        for _ in range(2):
            with TokenSystemKeys(token.conf, "system", PIN) as keys:
                assert len(keys.sign(b"x")) == 64
                with pytest.raises(KeyfoldError):
                    TokenSystemKeys(token.conf, "system", PIN)
            with pytest.raises(KeyfoldError):
                TokenSystemKeys(token.conf, "system", "wrong-pin-wrong")
        assert os.environ.get("SOFTHSM2_CONF") == before


@on_token
class TestPartitionToken:
    def test_both_pins_work_and_a_second_token_is_a_conflict(self, tmp_path: Path) -> None:
        create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
        for pin, role in ((PIN, PyKCS11.CKU_USER), (SO_PIN, PyKCS11.CKU_SO)):
            with softhsm(tmp_path / "softhsm2.conf") as library:
                open_token(library, "acme", pin, role=role)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(KeyfoldError) as caught:
            create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
        assert caught.value.code == "conflict"
        assert sorted(tmp_path.rglob("*")) == before

    def test_the_longest_name_fits_the_label(self, tmp_path: Path) -> None:
        name = "a" * 28
        create_partition_token(tmp_path, name, *OWNER, SO_PIN, "пароль-8")
        with softhsm(tmp_path / "softhsm2.conf") as library:
            open_token(library, name, "пароль-8")

    def test_a_configuration_that_is_there_is_kept(self, tmp_path: Path) -> None:
        conf = tmp_path / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tmp_path}/tokens\nslots.mechanisms = CKM_ECDSA\n", encoding="utf-8")
        create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
        assert conf.read_text(encoding="utf-8").endswith("CKM_ECDSA\n")

    def test_what_a_crash_left_does_not_count_as_a_token(self, tmp_path: Path) -> None:
        (tmp_path / ".creating" / "tokens" / "half-made").mkdir(parents=True)
        made = create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
        assert [entry.name for entry in (tmp_path / "tokens").iterdir()] == [made]
        assert not (tmp_path / ".creating").exists()


@on_token
class TestManyTokens:
    def test_each_token_opens_with_its_own_pins(self, tmp_path: Path) -> None:
        wanted = [NewToken(f"p{number}", f"so-pin-{number}", f"user-pin-{number}") for number in range(12)]
        made = create_partition_tokens(tmp_path, wanted)
        assert set(made) == {token.label for token in wanted}
        for number, token in enumerate(wanted):
            alone = tmp_path / f"alone-{number}"
            (alone / "tokens").mkdir(parents=True)
            made[token.label].rename(alone / "tokens" / made[token.label].name)
            conf = write_softhsm2_conf(alone)
            for pin, role in ((token.pin, PyKCS11.CKU_USER), (token.so_pin, PyKCS11.CKU_SO)):
                with softhsm(conf) as library:
                    open_token(library, token.label, pin, role=role)

    def test_a_pin_is_in_no_representation(self) -> None:
        assert "secret" not in repr(NewToken("acme", "secret-so", "secret-user"))

    def test_one_weak_pin_makes_no_token_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(KeyfoldError):
            create_partition_tokens(tmp_path, [NewToken("acme", SO_PIN, PIN), NewToken("beta", SO_PIN, "short")])
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("so_pin", "user_pin"), [("short", "long-enough"), ("long-enough", "short")])
def test_a_weak_pin_makes_nothing(tmp_path: Path, so_pin: str, user_pin: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        create_partition_token(tmp_path, "acme", *OWNER, so_pin, user_pin)
    assert caught.value.code == "invalid"
    assert "short" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class TestSecretsOnTheWay:
    def test_they_go_over_standard_input_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Any] = []

        def run(argv: list[str], **options: Any) -> Any:
            seen.append((argv, options["env"]))
            assert PIN in options["input"]
            return subprocess.CompletedProcess(argv, 0, stdout='{"ok": true, "data_key": "00"}')

        monkeypatch.setattr(subprocess, "run", run)
        read_data_key(tmp_path, PIN)
        assert PIN not in repr(seen)

    def test_a_worker_that_dies_says_nothing_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.executable", "/bin/false")
        with pytest.raises(KeyfoldError) as caught:
            create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
        assert caught.value.code == "internal"
        assert PIN not in str(caught.value)
        assert not (tmp_path / ".creating").exists()
        assert not (tmp_path / "tokens").exists()


@on_token
def test_a_tokens_label_is_padded_with_blanks_so_that_pkcs11_uris_find_it(tmp_path: Path) -> None:
    made = create_partition_token(tmp_path, "acme", *OWNER, SO_PIN, PIN)
    assert b"acme".ljust(32) in (tmp_path / "tokens" / made / "token.object").read_bytes()
