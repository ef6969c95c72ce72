"""One suite for every SignatureVerifier, and what only OpenSSH's own can promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from support.approvals import public_key
from support.ssh import SecurityKey, SshKey

from keyfold.approval import memory
from keyfold.approval.memory import MemoryVerifier
from keyfold.approval.ssh_key import canonical_key
from keyfold.approval.ssh_keygen import SshKeygen
from keyfold.approval.verify import SignatureVerifier, tally
from keyfold.errors import KeyfoldError

MESSAGE = b"kind: purge\npartition: acme\n"


class Signer(Protocol):
    @property
    def public(self) -> str: ...

    def sign(self, message: bytes, namespace: str = "keyfold-approval") -> str: ...


@dataclass(frozen=True)
class MemorySigner:
    public: str

    def sign(self, message: bytes, namespace: str = "keyfold-approval") -> str:
        return memory.sign(self.public, message, namespace)


@dataclass(frozen=True)
class Case:
    verifier: SignatureVerifier
    ada: Signer
    grace: Signer
    stranger: Signer

    @property
    def officers(self) -> dict[str, str]:
        return {"ada": canonical_key(self.ada.public), "grace": canonical_key(self.grace.public)}


@pytest.fixture(scope="module", params=["memory", "ssh-keygen"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param == "memory":
        return Case(MemoryVerifier(), *(MemorySigner(public_key(number)) for number in range(3)))
    home = tmp_path_factory.mktemp("keys")
    return Case(SshKeygen(), *(SshKey.make(home / name, "-t", "ed25519") for name in ("ada", "grace", "stranger")))


def reason(case: Case, signature: str, message: bytes = MESSAGE) -> str:
    verdict = case.verifier.verify(message, signature, case.officers)
    assert verdict.officer == ""
    return verdict.reason


class TestEveryImplementation:
    def test_an_officers_signature_names_the_officer(self, case: Case) -> None:
        for name, signer in (("ada", case.ada), ("grace", case.grace)):
            assert case.verifier.verify(MESSAGE, signer.sign(MESSAGE), case.officers).officer == name

    def test_a_strangers_signature_does_not_count(self, case: Case) -> None:
        assert reason(case, case.stranger.sign(MESSAGE)) == "its key is not one of the officers'"

    @pytest.mark.parametrize("change", [lambda m: m + b"\n", lambda m: m[:-1], lambda m: b"", lambda m: m.upper()])
    def test_a_signature_over_other_bytes_does_not_count(self, case: Case, change: Callable[[bytes], bytes]) -> None:
        assert "ada signed something else than this file" in reason(case, case.ada.sign(change(MESSAGE)))

    def test_a_signature_for_another_purpose_does_not_count(self, case: Case) -> None:
        assert "ada signed for another purpose" in reason(case, case.ada.sign(MESSAGE, "git"))

    @pytest.mark.parametrize("text", ["", "x", "-----BEGIN PGP SIGNATURE-----\n", "\0", "\ud800", "a" * 100_000])
    def test_what_is_no_signature_does_not_count(self, case: Case, text: str) -> None:
        assert "no SSH signature" in reason(case, text)

    def test_nobody_is_an_officer_where_none_are_declared(self, case: Case) -> None:
        assert not case.verifier.verify(MESSAGE, case.ada.sign(MESSAGE), {}).officer

    def test_an_officer_counts_once(self, case: Case) -> None:
        signatures = [case.ada.sign(MESSAGE), case.ada.sign(MESSAGE), case.grace.sign(MESSAGE)]
        count = tally(case.verifier, MESSAGE, signatures, case.officers)
        assert count.officers == ("ada", "grace")
        assert count.rejected == ("signature 2: ada has signed already",)


class TestSshKeygen:
    @pytest.mark.parametrize(
        "options",
        [
            ("-t", "ed25519"),
            ("-t", "rsa", "-b", "2048"),
            ("-t", "ecdsa", "-b", "256"),
            ("-t", "ecdsa", "-b", "384"),
            ("-t", "ecdsa", "-b", "521"),
        ],
        ids=lambda options: "-".join(options[1::2]),
    )
    def test_every_type_of_key_can_approve(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        key = SshKey.make(tmp_path / "key", *options)
        assert SshKeygen().verify(MESSAGE, key.sign(MESSAGE), {"ada": canonical_key(key.public)}).officer == "ada"

    @pytest.mark.parametrize("kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"])
    def test_security_keys_can_approve(self, kind: str) -> None:
        key = SecurityKey(kind)
        officers = {"ada": canonical_key(key.public)}
        assert SshKeygen().verify(MESSAGE, key.sign(MESSAGE), officers).officer == "ada"
        assert not SshKeygen().verify(MESSAGE + b" ", key.sign(MESSAGE), officers).officer

    def test_a_damaged_signature_does_not_count(self, tmp_path: Path) -> None:
        key = SshKey.make(tmp_path / "key", "-t", "ed25519")
        lines = key.sign(MESSAGE).splitlines()
        lines[2] = lines[2][:10] + ("A" if lines[2][10] != "A" else "B") + lines[2][11:]
        officers = {"ada": canonical_key(key.public)}
        for text in ("\n".join(lines) + "\n", "\n".join(lines[:2]), lines[0] + "\n"):
            verdict = SshKeygen().verify(MESSAGE, text, officers)
            assert not verdict.officer
            assert verdict.reason

    def test_without_ssh_keygen_nothing_is_approved(self) -> None:
        with pytest.raises(KeyfoldError, match="ssh-keygen cannot be run") as caught:
            SshKeygen("/nonexistent/ssh-keygen").verify(
                MESSAGE, "-----BEGIN SSH SIGNATURE-----\n", {"ada": public_key(1)}
            )
        assert caught.value.next_step == "apt-get install openssh-client"
