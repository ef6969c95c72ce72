"""The module on real directories: what it writes, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfold_pki_x509 import Signer, new_key, sign_authority, sign_revocations

PASSPHRASE = "correct horse battery staple"
ACME = {"name": "partition-acme", "profile": "partition", "common_name": "acme", "days": 397}
MEMBER = {"name": "etcd-hsm1", "profile": "etcd", "sans": ["hsm1", "127.0.0.1"], "days": 397}

Pki = Callable[..., dict[str, Any]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "controller" / "pki"


@pytest.fixture
def pki(run: Callable[..., dict[str, Any]], directory: Path) -> Pki:
    def call(**arguments: Any) -> dict[str, Any]:
        given = {
            "directory": str(directory),
            "passphrase": PASSPHRASE,
            "ca_common_name": "Keyfold CA",
            "certificates": [ACME, MEMBER],
        }
        return run("keyfold_pki", **{**given, **arguments})

    return call


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def current(directory: Path, name: str) -> Path:
    return directory / "issued" / name / "current"


def revoked_serials(directory: Path) -> set[str]:
    return {f"{entry.serial_number:040x}" for entry in x509.load_pem_x509_crl((directory / "crl.pem").read_bytes())}


def test_check_and_apply_agree_and_a_second_run_changes_nothing(pki: Pki, directory: Path) -> None:
    checked = pki(check=True)
    assert not directory.exists()
    applied = pki()
    assert (checked["changed"], applied["changed"]) == (True, True)
    assert checked["actions"] == applied["actions"]
    assert set(checked["diff"]["after"]) == set(applied["diff"]["after"])
    assert (pki(check=True)["changed"], pki()["changed"]) == (False, False)


def test_certificates_say_what_the_interfaces_page_says(pki: Pki, directory: Path) -> None:
    pki()
    acme = certificate(current(directory, "partition-acme") / "tls.crt")
    member = certificate(current(directory, "etcd-hsm1") / "tls.crt")
    assert acme.subject.rfc4514_string() == "CN=acme,OU=partition,O=keyfold"
    assert member.subject.rfc4514_string() == "OU=node,O=keyfold"
    assert member.subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []
    names = member.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"hsm1", "127.0.0.1"}
    usage = acme.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert acme.not_valid_after_utc - acme.not_valid_before_utc == timedelta(days=397)


def test_etcd_has_an_authority_of_its_own_below_the_clusters(pki: Pki, directory: Path) -> None:
    pki()
    root, etcd = certificate(directory / "ca.crt"), certificate(directory / "etcd-ca.crt")
    etcd.verify_directly_issued_by(root)
    certificate(current(directory, "partition-acme") / "tls.crt").verify_directly_issued_by(root)
    certificate(current(directory, "etcd-hsm1") / "tls.crt").verify_directly_issued_by(etcd)
    assert etcd.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)


def test_keys_are_their_owners_alone_and_the_authoritys_are_encrypted(pki: Pki, directory: Path) -> None:
    pki()
    for key in [*directory.glob("*.key"), *directory.rglob("tls.key")]:
        assert key.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "etcd-ca.key"):
        pem = (directory / name).read_bytes()
        assert b"ENCRYPTED PRIVATE KEY" in pem
        serialization.load_pem_private_key(pem, PASSPHRASE.encode())


def test_no_secret_is_in_the_answer(pki: Pki) -> None:
    for answer in (pki(check=True), pki(), pki()):
        assert PASSPHRASE not in answer["printed"]
        assert "PRIVATE KEY" not in answer["printed"]


def test_a_changed_wish_replaces_certificate_and_key_and_the_diff_shows_both(pki: Pki, directory: Path) -> None:
    first = pki()["certificates"]["partition-acme"]["serial"]
    old_key = (current(directory, "partition-acme") / "tls.key").read_bytes()
    answer = pki(certificates=[{**ACME, "days": 90}, MEMBER])
    assert [action["name"] for action in answer["actions"]] == ["partition-acme"]
    assert answer["diff"]["before"]["partition-acme"]["serial"] == first
    assert answer["diff"]["after"]["partition-acme"]["serial"] != first
    assert (current(directory, "partition-acme") / "tls.key").read_bytes() != old_key
    assert len(list(directory.rglob("partition-acme/*/tls.key"))) == 2  # the pair, and the link to it
    assert (directory / "issued/partition-acme" / first / "tls.crt").exists()


def test_revocation_reaches_the_list_and_stays_there(pki: Pki, directory: Path) -> None:
    first = pki()["certificates"]["partition-acme"]["serial"]
    answer = pki(revoked=["partition-acme"])
    assert (answer["revoked"], answer["newly_revoked"]) == ([first], ["partition-acme"])
    assert revoked_serials(directory) == {first}
    again = pki(revoked=["partition-acme"])
    assert (again["changed"], again["newly_revoked"]) == (False, [])
    second = pki()["certificates"]["partition-acme"]["serial"]
    assert second != first
    assert pki(revoked=[second])["certificates"]["partition-acme"]["serial"] not in {first, second}
    assert revoked_serials(directory) == {first, second}


def test_revocation_lists_are_numbered_and_keep_their_dates() -> None:
    first, day = datetime(2026, 11, 24, tzinfo=UTC), timedelta(days=1)
    key = new_key()
    signer = Signer(sign_authority(Signer(None, key), key, "test", first, first + 9 * day), key)
    one, other = "1" * 40, "2" * 40
    before = sign_revocations(signer, frozenset({one}), None, first, first + 5 * day)
    after = x509.load_pem_x509_crl(
        sign_revocations(signer, frozenset({one, other}), before, first + day, first + 6 * day)
    )
    assert after.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    assert {f"{entry.serial_number:040x}": entry.revocation_date_utc for entry in after} == {
        one: first,
        other: first + day,
    }


def test_a_wrong_passphrase_changes_nothing(pki: Pki, directory: Path) -> None:
    pki()
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    answer = pki(passphrase="wrong but long enough", certificates=[{**ACME, "days": 90}])
    assert answer["failed"] is True
    assert "does not open" in answer["msg"]
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_a_short_passphrase_is_refused(pki: Pki, directory: Path) -> None:
    answer = pki(passphrase="elevenchars")
    assert answer["failed"] is True
    assert "less than 12 characters" in answer["msg"]
    assert not directory.exists()


def test_a_damaged_file_is_named(pki: Pki, directory: Path) -> None:
    pki()
    (directory / "crl.pem").write_text("not a revocation list")
    answer = pki()
    assert answer["failed"] is True
    assert "crl.pem cannot be read" in answer["msg"]


class Interrupted(BaseException):
    """The power fails."""


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail just before the given change of a name in the directory (replace, rename, symlink)."""
    done = 0

    def counting(method: str) -> None:
        original = getattr(Path, method)

        def change(self: Path, *arguments: Any) -> Any:
            nonlocal done
            done += 1
            if done == step:
                raise Interrupted
            return original(self, *arguments)

        monkeypatch.setattr(Path, method, change)

    for method in ("replace", "rename", "symlink_to"):
        counting(method)


def test_whatever_the_moment_of_an_interruption_what_is_given_out_is_whole_and_the_next_run_completes_it(
    pki: Pki, directory: Path
) -> None:
    pki(certificates=[MEMBER])
    step, interrupted = 0, True
    while interrupted:
        step += 1
        days = {"days": 100 + step}
        with pytest.MonkeyPatch.context() as monkeypatch:
            interrupt_at(step, monkeypatch)
            try:
                pki(certificates=[{**ACME, **days}, {**MEMBER, **days}], revoked=[_last_issued(directory)])
            except Interrupted:
                pass
            else:
                interrupted = False
        for pair in directory.glob("issued/*/current"):
            key = serialization.load_pem_private_key((pair / "tls.key").read_bytes(), None)
            assert key.public_key() == certificate(pair / "tls.crt").public_key()
        answer = pki(certificates=[{**ACME, **days}, {**MEMBER, **days}])
        assert "failed" not in answer
        assert pki(certificates=[{**ACME, **days}, {**MEMBER, **days}])["changed"] is False
        assert [path for path in directory.rglob("*") if path.name.startswith(".unfinished-")] == []
    assert step > 8  # two pairs of two files, two renames, two links, a revocation list


def _last_issued(directory: Path) -> str:
    pairs = [path for path in (directory / "issued/etcd-hsm1").iterdir() if not path.is_symlink()]
    return max(pairs, key=lambda path: path.stat().st_mtime_ns).name
